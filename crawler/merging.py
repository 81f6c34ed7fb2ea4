"""Certificates and policies, which many shards find: in the end each is kept once.

Rule of this room: flat memory, whatever the number of keys, and no moment at which a row is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from crawler.parts import ROWS_AT_ONCE, PartWriter, hidden, opened, publish, row_count, sync_directory, write_json
from crawler.records import TABLES
from crawler.storage import EMPTY_PART, LAYOUTS, Run

KEYS_AT_ONCE = 500_000
"""Distinct certificates held in memory while they are merged, 0.1 KiB each."""


def merge(run: Run, table: str, signature: dict[str, str], tick: Callable[[int], None]) -> None:
    """Replace the parts of a table whose key is `sha256` by parts with each key once.

    It may be interrupted anywhere and done again; in between readers see rows twice, never too few.
    """
    marker = run.done / f"merged-{table}.json"
    parts = run.parts(table)
    merged = [part for part in parts if part.name.startswith("merged-")]
    sources = [part for part in parts if part not in merged and part.name != EMPTY_PART]
    if sources and not marker.exists():
        # The keys seen are held in memory, so a large table is gone through several times, a share of the keys each.
        passes = 1 + sum(map(row_count, sources)) // KEYS_AT_ONCE
        for share in range(passes):
            _merge_share(run, table, sources, signature, share, passes, tick)
        write_json(marker, {"passes": passes})
    for part in sources:
        part.unlink()
    sync_directory(run.path / table)


def _merge_share(
    run: Run,
    table: str,
    sources: list[Path],
    signature: dict[str, str],
    share: int,
    passes: int,
    tick: Callable[[int], None],
) -> None:
    temporary = hidden(run.work / f"merged-{table}")
    layout = replace(LAYOUTS[table], expected=sum(map(row_count, sources)) // passes)
    writer = PartWriter(temporary, TABLES[table], signature, layout=layout)
    seen: set[bytes] = set()
    for part in sources:
        with opened(part) as file:
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                tick(batch.num_rows)
                fresh = []
                for text in batch.column("sha256").to_pylist():
                    key = bytes.fromhex(text)
                    is_fresh = int.from_bytes(key[:4]) % passes == share and key not in seen
                    if is_fresh:
                        seen.add(key)
                    fresh.append(is_fresh)
                writer.extend(batch.filter(pa.array(fresh, pa.bool_())))
    writer.close()
    publish(temporary, run.path / table / f"merged-{share:04d}.parquet")
