"""RESOLVE: a name to its mail hosts, its policies and its endpoints."""
