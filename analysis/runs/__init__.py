"""A run opened as tables in SQL, from a directory or from an object store."""
