"""Lists of domains in a Parquet file, as warehouses give them out.

Rule of this room: as `list_forms.py`; one column is the name, by its own name or because it is the only one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from crawler.list_containers import InputError, reading
from crawler.list_forms import columns_of, target_of, text_of
from crawler.records import Target

MAGIC = b"PAR1"

_ROWS_AT_ONCE = 8_192


def is_parquet(path: Path) -> bool:
    """Whether the file begins as Parquet does.  Raises `InputError`."""
    with reading(path), path.open("rb") as raw:
        return raw.read(len(MAGIC)) == MAGIC


def row_count(path: Path) -> int:
    """Rows of the file.  Raises `InputError`."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def parquet_targets(path: Path) -> Iterator[Target]:
    """One target for each row with a name, in flat memory.  Raises `InputError`."""
    try:
        with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
            name, rank = _columns(path, file.schema_arrow)
            wanted = [name] if rank is None else [name, rank]
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=wanted):
                column = batch.column(name)
                if pa.types.is_dictionary(column.type):
                    column = column.dictionary_decode()
                names = column.cast(pa.large_binary()).to_pylist()  # what is called text there need not be UTF-8
                ranks = batch.column(rank).to_pylist() if rank is not None else [None] * len(names)
                for written, place in zip(names, ranks, strict=True):
                    text = text_of(written or b"")
                    if isinstance(text, Target):
                        yield replace(text, rank=place)
                    elif text:
                        yield target_of(text, place)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def _columns(path: Path, schema: pa.Schema) -> tuple[str, str | None]:
    """The columns of name and rank."""
    texts = [field.name for field in schema if _is_text(field.type)]
    numbers = [field.name for field in schema if pa.types.is_integer(field.type)]
    by_name, _ = columns_of(texts)
    _, by_rank = columns_of(numbers)
    if by_name is None and len(texts) != 1:
        raise InputError(
            f"{path}: which column has the names? it has the text columns {', '.join(texts) or '(none)'}; call one `domain`"
        )
    return texts[by_name or 0], numbers[by_rank] if by_rank is not None else None


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: damaged Parquet file ({' '.join(str(error).split())[:200]}); fetch it again")
