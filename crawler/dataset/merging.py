"""Certificates and policies, which many shards find: in the end each is kept once.

Its memory is flat, whatever the number of keys, and there is no moment at which a row is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import compress
from pathlib import Path

import pyarrow as pa

from crawler.dataset.files import digest, replace_durably, sync_directory, temporary_name
from crawler.dataset.parts import PartWriter, batches, opened, row_count
from crawler.dataset.run import RunDirectory
from crawler.dataset.steps import EMPTY_PART, LAYOUTS
from crawler.model.rows import TABLES
from crawler.settings.declared_limits import limit

KEYS_AT_ONCE = limit(
    500_000,
    "distinct certificates held while they are merged",
    protects="our memory",
    cut="nothing is cut: they are merged in several passes",
)
"""Distinct certificates held in memory while they are merged, 0.1 KiB each."""


def merge(run: RunDirectory, table: str, signature: dict[str, str], tick: Callable[[int], None]) -> None:
    """Replace the parts of a table whose key is `sha256` by parts with each key once.

    It may be interrupted anywhere and done again; in between readers see rows twice, never too few. Rows of a shard
    that was done again since the last merge are added to the merged ones.
    """
    before = run.merged(table)
    written = run.written(table)
    parts = run.parts(table)
    standing = [part for part in parts if part.name in before.parts]
    sources = [part for part in parts if not part.name.startswith("merged-") and part.name != EMPTY_PART]
    new = [part for part in sources if not before.holds(part.name, written.get(part.name, ""))]
    first = 1 + max((int(part.stem.removeprefix("merged-")) for part in standing), default=-1)
    made = _add(run, table, new, standing, first, signature, tick) if new else []
    merged = [*standing, *made]
    _remove(part for part in parts if part.name.startswith("merged-") and part not in merged)
    sync_directory(run.path / table)
    if made:
        run.mark_merged(table, made, {part.name: written.get(part.name) or digest(part) for part in new}, first)
    _remove(sources)
    sync_directory(run.path / table)


def _remove(parts: Iterable[Path]) -> None:
    for part in parts:
        part.unlink(missing_ok=True)


def _add(
    run: RunDirectory,
    table: str,
    sources: list[Path],
    standing: list[Path],
    first: int,
    signature: dict[str, str],
    tick: Callable[[int], None],
) -> list[Path]:
    """Write the rows whose key the standing parts lack, into parts numbered from `first`."""
    # The keys seen are held in memory, so a large table is gone through several times, a share of the keys each.
    rows = sum(map(row_count, sources))
    passes = 1 + rows // KEYS_AT_ONCE
    layout = replace(LAYOUTS[table], expected=rows // passes)
    made = []
    for share in range(passes):
        seen = _held(sources, standing, share, passes, tick)
        temporary = temporary_name(run.work / f"merged-{table}")
        writer = PartWriter(temporary, TABLES[table], signature, layout=layout)
        try:
            _write(writer, sources, share, passes, seen, tick)
            writer.close()
        except BaseException:
            writer.abandon()
            raise
        made.append(run.path / table / f"merged-{first + share:04d}.parquet")
        replace_durably(temporary, made[-1])
    return made


def _write(
    writer: PartWriter, sources: list[Path], share: int, passes: int, seen: set[bytes], tick: Callable[[int], None]
) -> None:
    """Write the first row of each key that was not seen; one that is cut short only where there is no whole one."""
    for wanted in (False, True):
        left = False
        for batch, keys in _batches(sources, share, passes, tick):
            fresh = []
            for key, is_cut in zip(keys, _are_cut(batch), strict=True):
                fresh.append(is_cut is wanted and key not in seen)
                left = left or is_cut
                if fresh[-1]:
                    seen.add(key)
            writer.extend(batch.filter(pa.array(fresh, pa.bool_())))
        if not left:
            return


def _are_cut(batch: pa.RecordBatch) -> list[bool]:
    """Which rows are those of certificates that were over budget where they were found."""
    if "over_budget" not in batch.schema.names:
        return [False] * batch.num_rows
    return [value is True for value in batch.column("over_budget").to_pylist()]


def _held(
    sources: list[Path], standing: list[Path], share: int, passes: int, tick: Callable[[int], None]
) -> set[bytes]:
    """Those keys of the sources that the standing parts hold."""
    if not standing:
        return set()
    wanted = {key for _, keys in _batches(sources, share, passes, tick, ["sha256"]) for key in keys}
    return {key for _, keys in _batches(standing, share, passes, tick, ["sha256"]) for key in keys if key in wanted}


def _batches(
    parts: list[Path], share: int, passes: int, tick: Callable[[int], None], columns: list[str] | None = None
) -> Iterator[tuple[pa.RecordBatch, list[bytes]]]:
    """The rows whose keys are of this share, and these keys."""
    for part in parts:
        with opened(part) as file:
            for batch in batches(file, columns):
                tick(batch.num_rows)
                keys = [bytes.fromhex(text) for text in batch.column("sha256").to_pylist()]
                ours = [int.from_bytes(key[:4]) % passes == share for key in keys]
                yield batch.filter(pa.array(ours, pa.bool_())), [*compress(keys, ours)]
