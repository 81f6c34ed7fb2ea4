"""Parquet files as lists: the column of the names, told by its name or because it is the only one.

They are read by `parquet_names` in a process of its own, because no check of what a file says of itself bounds what
the library allocates on its way through it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from crawler.lists.bounds import InputError, Unpacked, too_costly
from crawler.lists.cells import rank_of, target_of
from crawler.lists.compression import reading
from crawler.lists.formats import Told, text_of
from crawler.lists.parquet_names import DAMAGED, REFUSED, TOO_COSTLY
from crawler.model.rows import Target
from crawler.settings.config import Lists

MAGIC = b"PAR1"

#: Where this package lies: a source tree that was not installed must be found by the process too.
_ROOT = str(Path(__file__).resolve().parent.parent.parent)

_MOST_WORDS = 4_096
"""Bytes that are read of what the process says."""


def is_parquet(path: Path) -> bool:
    """Whether the file begins as Parquet does.  Raises `InputError`."""
    with reading(path), path.open("rb") as raw:
        return raw.read(len(MAGIC)) == MAGIC


def row_count(path: Path, lists: Lists) -> int:
    """Rows of the file, as it claims.  Raises `InputError`."""
    with _stream(path, lists, only_count=True) as stream:
        return _claimed(path, stream.schema, lists)


def parquet_targets(path: Path, told: Told, lists: Lists) -> Iterator[Target]:
    """One target for each row with a name, in flat memory; `told` hears which column that is.  Raises `InputError`."""
    unpacked, found = Unpacked(path, lists), 0
    with _stream(path, lists, only_count=False) as stream:
        claimed = _claimed(path, stream.schema, lists)
        name, of_ranks = (stream.schema.metadata[key].decode() for key in (b"name", b"rank"))
        told(f"Parquet, names in column `{name}`" + (f", ranks in column `{of_ranks}`" if of_ranks else ""))
        for batch in stream:
            names, ranks = batch.column("name").to_pylist(), batch.column("rank").to_pylist()
            unpacked.add(len(names) + sum(len(written) for written in names if written))
            found += len(names)
            for written, place in zip(names, ranks, strict=True):
                text, rank = text_of(written or b""), rank_of(place)
                if isinstance(text, Target):
                    yield replace(text, rank=rank)
                elif text.strip():
                    yield target_of(text.strip(), rank)
    if found != claimed:
        raise _damaged(path, f"it has {found:,} rows and says that it has {claimed:,}")


def _claimed(path: Path, schema: pa.Schema, lists: Lists) -> int:
    """The number of rows that the file claims: not below zero, and not more than its size may unpack to."""
    rows = int(schema.metadata[b"rows"])
    if rows < 0:
        raise _damaged(path, f"it says that it has {rows:,} rows")
    Unpacked(path, lists).add(rows)
    return rows


@contextmanager
def _stream(path: Path, lists: Lists, *, only_count: bool) -> Iterator[pa.RecordBatchStreamReader]:
    """What a process reads of the file.  Raises `InputError`, within it too."""
    search = os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH"))))
    with subprocess.Popen(
        (
            sys.executable,
            "-P",
            "-m",
            "crawler.lists.parquet_names",
            path.absolute(),
            str(lists.memory_bytes),
            str(int(only_count)),
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # An allocator that reserves no address space ahead, as that is what is limited.
        env={**os.environ, "PYTHONPATH": search, "ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"},
        start_new_session=True,  # Ctrl-C is for us alone
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            with pa.ipc.open_stream(process.stdout) as stream:
                yield stream
            if process.wait():  # it failed between two batches
                raise pa.ArrowInvalid("the stream ended too early")
        except (pa.ArrowException, OSError) as error:
            process.stdout.close()
            words = process.stderr.read(_MOST_WORDS).decode("utf-8", "replace")
            raise _refusal(path, process.wait(), words, lists) from error
        finally:
            process.kill()


def _refusal(path: Path, code: int, words: str, lists: Lists) -> InputError:
    """Why the process gave up."""
    if code == REFUSED:
        return InputError(f"{path}: {words}")
    if code == TOO_COSTLY:
        return too_costly(path, lists)
    if code != DAMAGED:
        how = f"ended by signal {-code}" if code < 0 else f"exit code {code}"
        words = f"its reader broke off, {how}; lists.memory_bytes allows it {lists.memory_bytes >> 20:,} MiB of memory"
    return _damaged(path, words)


def _damaged(path: Path, words: str) -> InputError:
    return InputError(f"{path}: damaged Parquet file ({words[:200]}); fetch it again")
