"""Runs of earlier schemas, read by the names and words of today.

Schema 2 (2026) renamed five columns and one word.  Their meaning did not change, so a part of schema 1 is read
by renaming.  `SCHEMA_VERSION` in `records` says which schema is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.records import SCHEMA_VERSION

READABLE = range(1, SCHEMA_VERSION + 1)
"""Schemas whose runs can be read; a run of an earlier one can be read and judged again, but not continued."""

RENAMED: Mapping[str, Mapping[str, str]] = {
    "domains": {"listed": "input"},
    "probes": {"unexpired": "within_validity", "hello": "hello_command"},
    "incomplete_chains": {"leaf": "leaf_sha256"},
}
"""Table -> column of schema 1 -> its name in schema 2."""

REWORDED: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "domains": ("mta_sts_fetch", {"blocked_address": "address_not_allowed"}),
    "probes": ("outcome", {"blocked_address": "address_not_allowed"}),
}
"""Table -> a column with words, and word of schema 1 -> word of schema 2."""


def schema_version_of(manifest: Mapping[str, Any]) -> int | None:
    """The schema of a run by its manifest; None if it states none that is a number."""
    stated = manifest.get("schema_version", SCHEMA_VERSION)
    return stated if isinstance(stated, int) and not isinstance(stated, bool) else None


def as_now(batch: pa.RecordBatch, table: str, schema: pa.Schema) -> pa.RecordBatch:
    """Rows of `table`, of this schema or an earlier one, with every column of `schema`.

    A column that the part lacks is null.
    """
    renamed = RENAMED.get(table, {})
    present = {renamed.get(name, name): batch.column(name) for name in batch.schema.names}
    if table in REWORDED:
        column, words = REWORDED[table]
        for before, now in words.items():
            values = present[column]
            present[column] = pc.if_else(pc.fill_null(pc.equal(values, before), False), now, values)
    columns = [present.get(field.name, pa.nulls(batch.num_rows, field.type)) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
