"""Runs of earlier schemas, read by the names and words of today.

Schema 2 (2026) renamed five columns and one word.  Their meaning did not change, so a part of schema 1 is read
by renaming.  One column means another thing: `probes.strict_valid` was a verdict on the certificate alone, and is one
on the endpoint now.  It follows from other columns of its row, so it is made anew from them whenever a part is read.
`SCHEMA_VERSION` in `rows` says which schema is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler.model.errors import UsageError
from crawler.model.rows import SCHEMA_VERSION, TABLES, schema_of

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


def manifest_as_now(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest, whose counts by outcome an earlier schema may have put into other words, in those of today."""
    counts = manifest.get("counts") or {}
    if schema_version_of(manifest) == SCHEMA_VERSION or not counts.get("outcomes"):
        return manifest
    _, words = REWORDED["probes"]
    outcomes = {words.get(word, word): count for word, count in counts["outcomes"].items()}
    return {**manifest, "counts": {**counts, "outcomes": outcomes}}


def as_now(batch: pa.RecordBatch, table: str, schema: pa.Schema) -> pa.RecordBatch:
    """Rows of `table`, of this schema or an earlier one, with every column of `schema`.

    A column that the part lacks is null.
    """
    renamed = RENAMED.get(table, {})
    present = {renamed.get(name, name): batch.column(name) for name in batch.schema.names}
    for field in schema:
        present.setdefault(field.name, pa.nulls(batch.num_rows, field.type))
    if table in REWORDED:
        column, words = REWORDED[table]
        for before, now in words.items():
            values = present[column]
            present[column] = pc.if_else(pc.fill_null(pc.equal(values, before), False), now, values)
    if table == "probes":
        present["strict_valid"] = _strict_valid(present)
    return pa.RecordBatch.from_arrays([present[field.name] for field in schema], schema=schema)


#: `probes.strict_valid` in SQL, from the columns of its row by the names of today
#: (`crawler.certificates.verdicts.conclude`).
STRICT_VALID = """
    CASE WHEN negotiated THEN true WHEN conclusive OR NOT starttls_offered THEN false END
    AND chain_trusted AND name_match AND within_validity
"""


def _strict_valid(columns: Mapping[str, Any]) -> Any:
    """The same over Arrow columns."""
    no_tls = pc.or_kleene(columns["conclusive"], pc.invert(columns["starttls_offered"]))
    tls = pc.if_else(
        pc.fill_null(columns["negotiated"], False), True, pc.if_else(pc.fill_null(no_tls, False), False, None)
    )
    verdict = tls
    for name in ("chain_trusted", "name_match", "within_validity"):
        verdict = pc.and_kleene(verdict, columns[name])
    return verdict


def ensure_types(parts: Iterable[Path], table: str) -> None:
    """Refuse parts of a table whose columns have other types than the table has: whoever made them chose the work of reading
    them, and text in place of a verdict would count as one.

    Raises `UsageError`, also for a part whose schema cannot be read.
    """
    wanted = {field.name: field.type for field in schema_of(TABLES[table])}
    for part in parts:
        try:
            schema = pq.read_schema(part.absolute())  # pyarrow takes a leading `~` for a home
        except (OSError, ValueError) as error:  # among them all that pyarrow raises about a file
            raise UsageError(f"{part}: cannot be read as a run ({str(error).splitlines()[0][:200]})") from error
        for field in schema:
            kind = wanted.get(RENAMED.get(table, {}).get(field.name, field.name))
            found = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
            if kind is not None and found != kind:
                raise UsageError(
                    f"{part}: column {field.name} is {str(found)[:60]}, and not {kind}; it was not written by a scan"
                )
