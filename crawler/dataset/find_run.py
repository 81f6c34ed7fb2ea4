"""A run of which every shard is in, found for reading and held against its manifest.

Nothing here writes or judges; whatever is wrong is one line.
"""

from __future__ import annotations

from pathlib import Path

from crawler.dataset.parts import row_count
from crawler.dataset.run import RunDirectory
from crawler.dataset.stored_runs import StoredRun, choose_run
from crawler.model.errors import UsageError
from crawler.model.rows import TABLES
from crawler.model.schema_versions import ensure_types

_NEEDED = ("run", "config_sha256", "started_at", "trust_anchors", "counts")
"""Entries of the manifest without which a run cannot be judged again."""


def find_finished(data: Path, wanted: str | None) -> tuple[RunDirectory, list[str]]:
    """The run `wanted` of `data`, or the one that is read by default, and what to tell about that choice.

    Raises `UsageError` if there is none, or it is not finished, not whole, or of another schema. Raises `Damaged` for
    a part that cannot be read.
    """
    choice = choose_run(data, wanted, whole=True)
    run = RunDirectory(choice.run.path)
    _check(choice.run, run)
    return run, choice.notes()


def _check(stored: StoredRun, run: RunDirectory) -> None:
    if not stored.is_whole:
        raise UsageError(f"{run.path}: is {stored.state}, not finished; continue it with `scan`")
    if lacking := stored.manifest.lacking(_NEEDED):
        raise UsageError(f"{run.path}: its manifest says nothing of `{lacking}`; the run cannot be judged without it")
    if run.trust_anchors.exists() and not run.trust_anchors.is_file():
        raise UsageError(f"{run.trust_anchors}: is no regular file; judge a whole copy of the run")
    if stranger := next(run.foreign_files(), None):
        raise UsageError(f"{stranger}: is no part of this run; move it elsewhere")
    stated = (stored.manifest.counts or {}).get("rows") or {}
    for table in TABLES:
        rows = sum(map(row_count, run.parts(table)))
        ensure_types(run.parts(table), table)
        if (expected := stated.get(table)) is not None and expected != rows:
            raise UsageError(f"{run.path}: {table} has {rows:,} rows, its manifest says {expected:,}")
