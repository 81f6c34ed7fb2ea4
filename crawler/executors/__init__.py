"""The processes that do the shards of a scan."""
