"""PROBE: one endpoint to its row."""
