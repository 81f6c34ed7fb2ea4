"""One domain or mail host measured as a scan would, and explained for a person."""
