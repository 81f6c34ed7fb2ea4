"""A finished run that is to be read: found by its name, or the newest, and whole.

Rule of this room: it reads and judges nothing; whatever is wrong is one line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crawler.config import UsageError
from crawler.manifest import check_run_id
from crawler.parts import row_count
from crawler.records import SCHEMA_VERSION, TABLES
from crawler.schema_versions import READABLE
from crawler.storage import Run


def find_finished(data: Path, wanted: str | None) -> Run:
    """The run `wanted` of `data`, or its newest finished one.

    Raises `UsageError`: there is none, it is not finished, of another schema or not whole; `Damaged` for a part that
    cannot be read.
    """
    check_run_id(wanted)
    if not data.is_dir():
        raise UsageError(f"{data}: no such directory; --data takes the directory that `scan --data` wrote to")
    if wanted is None:
        runs = [Run(path) for path in data.glob("run=*") if (path / "manifest.json").is_file()]
        finished = [
            (str(manifest.get("started_at")), run.id, run) for run in runs if _is_finished(manifest := _or_none(run))
        ]
        if not finished:
            raise UsageError(f"{data}: holds no finished run; end one with `scan`")
        run = max(finished, key=lambda entry: entry[:2])[2]
    else:
        run = Run(data / f"run={wanted}")
        if not run.path.is_dir():
            there = ", ".join(sorted(path.name.removeprefix("run=") for path in data.glob("run=*"))[-10:])
            raise UsageError(f"{data}: has no run {wanted!r}; runs here: {there or '(none)'}")
    _check(run)
    return run


def _read(run: Run) -> dict[str, Any]:
    try:
        return run.manifest()
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{run.path}: its manifest cannot be read ({error}); without it this is no run") from error


def _or_none(run: Run) -> dict[str, Any]:
    """The manifest; nothing where it cannot be read, which is no obstacle to reading another run."""
    try:
        return _read(run)
    except UsageError:
        return {}


def _is_finished(manifest: dict[str, Any]) -> bool:
    return bool(manifest.get("state") == "finished")


def _check(run: Run) -> None:
    manifest = _read(run)
    if (schema := manifest.get("schema_version")) not in READABLE:
        raise UsageError(f"{run.path}: is of schema {schema} and this version reads 1 to {SCHEMA_VERSION}")
    if not _is_finished(manifest):
        raise UsageError(f"{run.path}: is {manifest.get('state')}, not finished; continue it with `scan`")
    if stranger := next(run.strangers(), None):
        raise UsageError(f"{stranger}: is no part of this run; move it elsewhere")
    stated = (manifest.get("counts") or {}).get("rows") or {}
    for table in TABLES:
        rows = sum(map(row_count, run.parts(table)))
        if stated.get(table, rows) != rows:
            raise UsageError(f"{run.path}: {table} has {rows:,} rows, its manifest says {stated[table]:,}")
