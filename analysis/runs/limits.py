"""What reading a run may take; a module of its own, so that commands need no heavy library to state it."""

from __future__ import annotations

from crawler.settings.declared_limits import limit

MEMORY_LIMIT = limit(
    "2GB",
    "memory that DuckDB may take in `stats` and `report` (`--memory-limit`)",
    protects="our memory",
    cut="it spills to the disk; where that does not help, one line and exit code 1",
)
"""What DuckDB may hold before it spills; 20 M probes joined with 2 M certificates needed 1 GB."""
