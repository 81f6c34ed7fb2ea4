"""Parquet parts: rows of one class written in flat memory, and read back.

`files` says how a part appears whole or not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from crawler.dataset.files import Damaged, sync_file
from crawler.model.row_weights import WEIGHTS
from crawler.model.rows import schema_of
from crawler.settings.memory_limit import MOST_MEMBERS

ROWS_AT_ONCE, BYTES_AT_ONCE = 1_024, 2 << 20
"""Rows held as Python objects before they become Arrow columns, and about how many bytes of them."""

ROW_GROUP_BYTES = 8 << 20
"""Arrow bytes held before they go to the file as one row group; a process may write dozens of files at once."""

BLOOM_ROWS = 20_000
"""Rows that the Bloom filter of a row group is made for at most: 16 KiB."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the rows of a table lie in its parts, so that they take little room and one is found quickly."""

    key: str  #: rows are sorted by it within a row group; it gets a Bloom filter where `expected` rows are known
    names: tuple[str, ...] = ()  #: further columns of mostly distinct text that is sorted with it
    expected: int = 0

    def options(self, schema: pa.Schema) -> dict[str, Any]:
        """For `ParquetWriter`: the beginning that sorted names share with their neighbours is stored once."""
        made: dict[str, Any] = {
            "column_encoding": dict.fromkeys((self.key, *self.names), "DELTA_BYTE_ARRAY"),
            "sorting_columns": [pq.SortingColumn(schema.get_field_index(self.key))],
        }
        if self.expected:
            rows = min(self.expected, BLOOM_ROWS)
            made["bloom_filter_options"] = {self.key: {"ndv": rows, "fpp": 0.05}}
        return made


class PartWriter:
    """Rows of one class into one Parquet file, in flat memory."""

    def __init__(
        self,
        path: Path,
        row: type,
        signature: dict[str, str],
        *,
        tally: Callable[[Any], object] | None = None,
        layout: Layout | None = None,
        rows_at_once: int = ROWS_AT_ONCE,
        group_bytes: int = ROW_GROUP_BYTES,
    ) -> None:
        schema = schema_of(row)
        self.rows = 0
        self.counts: Counter[str] = Counter()
        self._schema = schema.with_metadata({**(schema.metadata or {}), **signature})
        self._columns = [(attrgetter(field.name), field.type) for field in schema]
        self._tally = tally
        self._rows_at_once = rows_at_once
        self._group_bytes = group_bytes
        self._pending: list[Any] = []
        self._pending_bytes = 0
        self._weigh = WEIGHTS.get(row)
        self._batches: list[pa.RecordBatch] = []
        self._bytes = 0
        self._key = layout.key if layout else None
        names = (layout.key, *layout.names) if layout else ()
        leaves = [leaf for field in schema for leaf in _leaves(field.name, field.type)]
        self._path = path
        self._file = pq.ParquetWriter(
            path.absolute(),  # pyarrow takes a leading `~` for the home directory
            self._schema,
            compression="zstd",
            write_page_checksum=True,
            # A dictionary of values that differ from row to row would only be a second copy.
            use_dictionary=[name for name, kind in leaves if name not in names and not _differs(kind)],
            write_statistics=[name for name, kind in leaves if not pa.types.is_binary(kind)],
            **(layout.options(schema) if layout else {}),
        )

    def append(self, row: Any) -> None:
        """Take one row; it is converted with others of its batch."""
        self._pending.append(row)
        self.rows += 1
        if self._weigh is not None:
            self._pending_bytes += self._weigh(row)
        if len(self._pending) >= self._rows_at_once or self._pending_bytes >= BYTES_AT_ONCE:
            self._convert()

    def extend(self, batch: pa.RecordBatch) -> None:
        """Take rows that are Arrow columns already."""
        self.rows += batch.num_rows
        self._keep(batch)

    def close(self) -> None:
        """Write what is left, and sync."""
        self._convert()
        self._write_group()
        self._file.close()
        sync_file(self._path)

    def abandon(self) -> None:
        """Close and remove the file, whatever state it is in."""
        try:
            self._file.close()
        except OSError:
            pass  # such as the full disk for which it is abandoned
        self._path.unlink(missing_ok=True)

    def _convert(self) -> None:
        rows = self._pending
        if not rows:
            return
        self._pending, self._pending_bytes = [], 0
        if self._tally:
            self.counts.update(map(str, map(self._tally, rows)))
        columns = [pa.array([*map(value, rows)], kind) for value, kind in self._columns]
        self._keep(pa.RecordBatch.from_arrays(columns, schema=self._schema))

    def _keep(self, batch: pa.RecordBatch) -> None:
        self._batches.append(batch)
        self._bytes += batch.nbytes
        if self._bytes >= self._group_bytes:
            self._write_group()

    def _write_group(self) -> None:
        if self._batches:
            table = pa.Table.from_batches(self._batches)
            self._file.write_table(table.sort_by(self._key) if self._key else table)
            self._batches = []
            self._bytes = 0


def _leaves(path: str, kind: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
    """The columns that Parquet makes of a field, by the paths it gives them."""
    if pa.types.is_list(kind):
        yield from _leaves(f"{path}.list.element", kind.value_type)
    elif pa.types.is_struct(kind):
        for field in kind:
            yield from _leaves(f"{path}.{field.name}", field.type)
    else:
        yield path, kind


def _differs(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_timestamp(kind))


@contextmanager
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """A part to be read, every page held against its checksum.  Raises `Damaged`, within it too."""
    try:
        with pq.ParquetFile(
            path.absolute(), page_checksum_verification=True, thrift_container_size_limit=MOST_MEMBERS
        ) as file:
            yield file
    except pa.ArrowMemoryError:
        raise  # no word on the part
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the file system's words, not Parquet's
        raise Damaged(path, error) from error


def batches(file: pq.ParquetFile, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a part, never more at once than its writer held: of a row group, and at most `ROWS_AT_ONCE`."""
    for group in range(file.num_row_groups):
        yield from file.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=columns)


@dataclass(frozen=True, slots=True)
class StoredRows:
    """The rows of a part, to be gone through any number of times in bounded memory."""

    path: Path
    row: type

    def __iter__(self) -> Iterator[Any]:
        """Raises `Damaged`."""
        return read_rows(self.path, self.row)


def read_rows(path: Path, row: type) -> Iterator[Any]:
    """The rows of a part, in flat memory; words of the vocabulary come back as its members.

    Raises `Damaged`.
    """
    words = _vocabulary(row)
    names = [field.name for field in fields(row)]
    with opened(path) as file:
        for batch in batches(file, names):
            columns = []
            for name in names:
                values = batch.column(name).to_pylist()
                columns.append([words[name].get(value) for value in values] if name in words else values)
            yield from map(row, *columns)


def row_count(path: Path) -> int:
    """Rows of a part.  Raises `Damaged`."""
    with opened(path) as file:
        return int(file.metadata.num_rows)


def distinct(rows: Iterable[Any], key: Callable[[Any], Any], dropped: list[int]) -> Iterator[Any]:
    """The first row of each key; `dropped[0]` counts the others."""
    seen = set()
    for row in rows:
        mark = key(row)
        if mark in seen:
            dropped[0] += 1
            continue
        seen.add(mark)
        yield row


@cache
def _vocabulary(row: type) -> dict[str, dict[str, StrEnum]]:
    """Columns of a row class whose values are members of an enumeration."""
    found = {}
    for name, hint in get_type_hints(row).items():
        for kind in get_args(hint):
            if isinstance(kind, type) and issubclass(kind, StrEnum):
                found[name] = {member.value: member for member in kind}
    return found
