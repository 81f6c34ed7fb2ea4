"""Lists of domains in a Parquet file, as warehouses give them out.

The rules of `list_forms.py` hold here too; one column is the name, by its own name or because it is the only one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from crawler.list_cells import target_of
from crawler.list_containers import InputError, reading
from crawler.list_forms import Told, columns_of, share_of_domains, text_of
from crawler.records import Target

MAGIC = b"PAR1"

_ROWS_AT_ONCE = 8_192
_SAMPLE = 200


def is_parquet(path: Path) -> bool:
    """Whether the file begins as Parquet does.  Raises `InputError`."""
    with reading(path), path.open("rb") as raw:
        return raw.read(len(MAGIC)) == MAGIC


def row_count(path: Path) -> int:
    """Rows of the file.  Raises `InputError`."""
    try:
        return int(pq.read_metadata(path.absolute()).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def parquet_targets(path: Path, told: Told) -> Iterator[Target]:
    """One target for each row with a name, in flat memory; `told` hears which column that is.  Raises `InputError`."""
    try:
        with pq.ParquetFile(path.absolute(), buffer_size=1 << 20, pre_buffer=False) as file:
            name, rank = _columns(path, file)
            told(f"Parquet, names in column `{name}`" + (f", ranks in column `{rank}`" if rank else ""))
            wanted = [name] if rank is None else [name, rank]
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=wanted):
                names = _texts(batch.column(name))
                ranks = batch.column(rank).to_pylist() if rank is not None else [None] * len(names)
                for written, place in zip(names, ranks, strict=True):
                    text = text_of(written or b"")
                    if isinstance(text, Target):
                        yield replace(text, rank=place)
                    elif text.strip():
                        yield target_of(text.strip(), place)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def _columns(path: Path, file: pq.ParquetFile) -> tuple[str, str | None]:
    """The columns of name and rank: of the text columns the one that holds domain names, by its name where several do."""
    schema = file.schema_arrow
    texts = [field.name for field in schema if _is_text(field.type)]
    numbers = [field.name for field in schema if pa.types.is_integer(field.type)]
    _, by_rank = columns_of(numbers)
    rank = numbers[by_rank] if by_rank is not None else None
    if len(texts) == 1:
        return texts[0], rank
    sample = next(file.iter_batches(batch_size=_SAMPLE, columns=texts), None) if texts else None
    shares: dict[str, float] = {}
    if sample is not None:
        cells = {
            name: [(cell or b"").decode("utf-8", "replace") for cell in _texts(sample.column(name))] for name in texts
        }
        shares = {name: share_of_domains(column) for name, column in cells.items()}
    likely = [name for name in texts if shares.get(name, 0.0) >= max(0.5, 0.9 * max(shares.values()))]
    by_name, _ = columns_of(likely or texts)
    if by_name is None and len(likely) != 1:
        raise InputError(
            f"{path}: which column has the names? it has the text columns {', '.join(texts) or '(none)'}; call one `domain`"
        )
    return (likely or texts)[by_name or 0], rank


def _texts(column: pa.Array) -> list[bytes | None]:
    """The cells as bytes: what is called text there need not be UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    cells: list[bytes | None] = column.cast(pa.large_binary()).to_pylist()
    return cells


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: damaged Parquet file ({' '.join(str(error).split())[:200]}); fetch it again")
