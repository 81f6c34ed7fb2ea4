"""A list in, a dataset out: steps, shards, resuming, signals."""
