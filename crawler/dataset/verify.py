"""The parts of a run that is continued, held against what was written.

This module only takes away markers; whoever finds none does the work again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from crawler.dataset.files import Damaged, digest
from crawler.dataset.run import Run
from crawler.dataset.steps import INCOMPLETE, MERGED, STEPS


def verify_parts(run: Run, tick: Callable[[int], None]) -> list[Path]:
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
