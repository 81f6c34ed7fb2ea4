"""The names of a Parquet list, read in a process of its own whose memory has a limit.

A Parquet file of some hundred bytes can ask for gigabytes in many places: pages that say they are large or that unpack
to much, dictionaries with one long entry that every row refers to, prefixes that each value repeats.  The library
allocates what the file asks for, and some of its failures end the process.  So the system limits this process, and
`list_parquet`, which starts it, lives on whatever happens here.

Standard output is an Arrow stream. Its schema says how many rows the file claims, and names the columns. Its batches
have the ranks and the names, cut to the length that is looked at.  Standard error has the one line of a refusal.
"""

from __future__ import annotations

import os
import sys
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler.lists.formats import MAX_LINE, columns_of, share_of_domains
from crawler.model.visible import visible
from crawler.settings.declared_limits import limit
from crawler.settings.memory_limit import MOST_MEMBERS, limit_memory

#: Exit codes, beside 0.
REFUSED, TOO_COSTLY, DAMAGED = 2, 3, 4

_ROWS_AT_ONCE = limit(1_024, "rows of a Parquet list read at once", protects="our memory", cut="nothing is cut")
_SAMPLE = 200

_MOST_COLUMNS = limit(1_000, "columns of a Parquet list", protects="our processor time", cut="a refusal, exit code 2")
"""Columns among which the names are looked for; published lists have up to some dozens."""

_SHOWN = 8
"""Columns that a refusal names."""


class _Refused(Exception):
    """The file is in order and no list that can be read; the message says why."""


def write_names(path: str, *, only_count: bool) -> None:
    """Write the stream to standard output; only its schema, without looking for columns, if just the rows count."""
    with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False, thrift_container_size_limit=MOST_MEMBERS) as file:
        rows = file.metadata.num_rows
        name, rank = (None, None) if only_count else _columns(file)
        kind = pa.int64() if rank is None else file.schema_arrow.field(rank).type
        schema = pa.schema([("name", pa.large_binary()), ("rank", kind)])
        schema = schema.with_metadata({"rows": str(rows), "name": name or "", "rank": rank or ""})
        with pa.ipc.new_stream(sys.stdout.buffer, schema) as stream:
            if name is None:
                return
            wanted = [name] if rank is None else [name, rank]
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=wanted, use_threads=False):
                ranks = pa.nulls(batch.num_rows, kind) if rank is None else batch.column(rank)
                stream.write_batch(pa.record_batch([_texts(batch.column(name)), ranks], schema=schema))


def _columns(file: pq.ParquetFile) -> tuple[str, str | None]:
    """The columns of name and rank: of the text columns the one that holds domain names, by its name where several do."""
    schema = file.schema_arrow
    if len(schema) > _MOST_COLUMNS:
        raise _Refused(f"it has {len(schema):,} columns; give one with the names alone")
    if twice := next((name for name, count in Counter(schema.names).items() if count > 1), None):
        raise _Refused(f"it has several columns `{repr(twice[:60])[1:-1]}`; give each a name of its own")
    texts = [field.name for field in schema if _is_text(field.type)]
    numbers = [field.name for field in schema if pa.types.is_integer(field.type)]
    _, by_rank = columns_of(numbers)
    rank = numbers[by_rank] if by_rank is not None else None
    if len(texts) == 1:
        return texts[0], rank
    sample = next(file.iter_batches(batch_size=_SAMPLE, columns=texts, use_threads=False), None) if texts else None
    shares: dict[str, float] = {}
    if sample is not None:
        cells = {
            name: [(cell or b"").decode("utf-8", "replace") for cell in _texts(sample.column(name)).to_pylist()]
            for name in texts
        }
        shares = {name: share_of_domains(column) for name, column in cells.items()}
    likely = [name for name in texts if shares.get(name, 0.0) >= max(0.5, 0.9 * max(shares.values()))]
    by_name, _ = columns_of(likely or texts)
    if by_name is None and len(likely) != 1:
        named = ", ".join(repr(name[:60])[1:-1] for name in texts[:_SHOWN]) or "(none)"
        more = f" and {len(texts) - _SHOWN:,} more" if len(texts) > _SHOWN else ""
        raise _Refused(f"which column has the names? it has the text columns {named}{more}; call one `domain`")
    return (likely or texts)[by_name or 0], rank


def _texts(column: pa.Array) -> pa.Array:
    """The cells as bytes, cut behind what is looked at: what is called text there need not be UTF-8."""
    if pa.types.is_dictionary(column.type):
        values = _texts(column.dictionary)
        return pa.DictionaryArray.from_arrays(column.indices, values).dictionary_decode()
    return pc.binary_slice(column.cast(pa.large_binary()), 0, MAX_LINE + 1)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def main(path: str, memory: str, only_count: str) -> int:
    """Read within the limit; the exit code says how it went."""
    limit_memory(int(memory))
    code, words = 0, ""
    try:
        write_names(path, only_count=bool(int(only_count)))
    except _Refused as error:
        code, words = REFUSED, str(error)
    except MemoryError:  # Arrow's own is one too
        code = TOO_COSTLY
    except BrokenPipeError:
        pass  # enough was read
    except UnicodeDecodeError:
        code, words = REFUSED, "the name of one of its columns is not UTF-8; call the one with the names `domain`"
    except (pa.ArrowException, OSError, ValueError, TypeError, LookupError, RuntimeError) as error:
        code, words = DAMAGED, str(error) or type(error).__name__
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        pass
    sys.stderr.write(visible(" ".join(words.split())[:400]))
    sys.stderr.flush()
    # Without the libraries' farewell, which may want memory that there is none of.
    os._exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
