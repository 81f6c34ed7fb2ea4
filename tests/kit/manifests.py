"""Manifests of stored runs with other entries."""

from __future__ import annotations

from typing import Any

from crawler.dataset.run import RunDirectory
from crawler.dataset.stored_manifest import Manifest


def state_rows(run: RunDirectory, table: str, rows: int) -> None:
    """Have the manifest say that a table has so many rows."""
    counts = run.manifest().counts or {}
    amended(run, counts={**counts, "rows": {**counts["rows"], table: rows}})


def amended(run: RunDirectory, /, **entries: Any) -> None:
    """Write the manifest with other entries."""
    run.write_manifest(Manifest.of({**run.manifest().as_dict(), **entries}))
