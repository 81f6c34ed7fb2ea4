"""What reading a run may take; a module of its own, so that commands need no heavy library to state it."""

from __future__ import annotations

MEMORY_LIMIT = "2GB"
"""What DuckDB may hold before it spills; 20 M probes joined with 2 M certificates needed 1 GB."""
