"""A scan of the lab held against the truth."""
