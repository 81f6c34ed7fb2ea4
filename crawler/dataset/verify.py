"""The parts of a run that is continued, held against what was written, and against what this version writes.

`verify_parts` only takes away markers; whoever finds none does the work again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq

from crawler.dataset.files import Damaged, digest
from crawler.dataset.run import RunDirectory
from crawler.dataset.steps import EMPTY_PART, INCOMPLETE, MERGED, STEPS
from crawler.model.errors import UsageError
from crawler.model.rows import TABLES, schema_of


def verify_parts(run: RunDirectory, tick: Callable[[int], None]) -> list[Path]:
    """Take the marker from whatever was made of which one part holds something else than was written.

    Returns those parts.  Their size has not changed, so nothing but reading them tells.  Raises
    `Damaged` for a part that cannot be made again: what was merged into it is gone.
    """
    damaged = []
    for table in (*MERGED, INCOMPLETE):
        for name, written in run.merged(table).parts.items():
            part = run.path / table / name
            tick(1)
            if part.is_file() and digest(part) == written:
                continue
            if table in MERGED:
                raise Damaged(part, ValueError("it is not what was written"))
            damaged.append(part)
            run.merged_path(table).unlink()
    for step in STEPS.values():
        merged = {table: run.merged(table) for table in step.tables}
        for shard, marker in run.finished(step).items():
            for table, written in marker["sha256"].items():
                part = run.part_path(table, step, shard)
                if not merged[table].holds(part.name, written) and digest(part) != written:
                    damaged.append(part)
                    run.marker_path(step, shard).unlink(missing_ok=True)
            tick(1)
    return damaged


def ensure_columns(run: RunDirectory) -> None:
    """Refuse a run whose rows have other columns than this version writes: its shards could not be read, and its tables
    would have parts of two kinds.

    Raises `UsageError`.
    """
    for part, row in _samples(run):
        try:
            stored = {field.name: field.type for field in pq.read_schema(part.absolute())}
        except (OSError, ValueError) as error:  # among them all that pyarrow raises about a file
            raise Damaged(part, error) from error
        wanted = {field.name: field.type for field in schema_of(row)}
        if stored != wanted:
            other = sorted(name for name in stored.keys() | wanted.keys() if stored.get(name) != wanted.get(name))
            raise UsageError(
                f"{run.path}: was begun by a version whose rows have other columns ({', '.join(other)}); "
                "continue it with that version, or name another run by --run"
            )


def _samples(run: RunDirectory) -> Iterator[tuple[Path, type]]:
    """A part of each kind that is there, with its row."""
    for table, row in TABLES.items():
        if (part := run.path / table / EMPTY_PART).is_file():
            yield part, row
    for step in STEPS.values():
        if (shard := next((run.work / step.folder).glob("*.parquet"), None)) is not None:
            yield shard, step.row
