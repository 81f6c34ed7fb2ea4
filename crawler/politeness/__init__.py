"""Which hosts must not be contacted, how many at once and how often."""
