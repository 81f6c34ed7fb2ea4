"""Lists of domains in every form people publish them, one `Target` per line.

Rule of this room: it reads, decides nothing about mail, and no line of a list is fatal: what is not
a domain name is a `Target` with a `problem`.  Fatal is only a list that is no list (`InputError`).

Plain text, one name a line; CSV with the rank before the name (Tranco, Umbrella) or with a header
(Majestic); zone files (CZDS); Parquet; text of every kind as it is or packed.  A further form is
known to `list_forms`, a further packing to `list_containers`.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from crawler.list_containers import OPENERS, InputError, looks_binary, must_be_file, opened, reading
from crawler.list_forms import targets_of
from crawler.list_parquet import MAGIC, is_parquet, parquet_targets, row_count
from crawler.records import Target

__all__ = ["InputError", "ListFacts", "comes_once", "read_targets", "spool", "survey"]


@dataclass(frozen=True, slots=True)
class ListFacts:
    """What is known of a list before it is cut: how large it is, and that it is the same one again."""

    sha256: str
    size: int
    lines: int


def survey(path: Path) -> ListFacts:
    """Read a list through once: hash of the file as it is, and its lines (comments included).

    Raises `InputError` for what is no list: not there, a directory, damaged, binary, empty.
    """
    must_be_file(path)
    lines = row_count(path) if is_parquet(path) else _line_count(path)
    with reading(path), path.open("rb") as raw:
        digest = hashlib.file_digest(raw, "sha256").hexdigest()
        size = raw.tell()
    if next(read_targets(path), None) is None:
        raise InputError(f"{path}: the list is empty; give one domain name a line")
    return ListFacts(digest, size, lines)


def read_targets(path: Path, limit: int = 0) -> Iterator[Target]:
    """The lines of a list in their order, at most `limit` (0: all); duplicates are still in.

    `rank` is what the list states; a plain list states none.  Raises `InputError`.
    """
    must_be_file(path)
    if is_parquet(path):
        yield from islice(parquet_targets(path), limit or None)
        return
    with opened(path) as stream:
        yield from islice(targets_of(stream), limit or None)


def _line_count(path: Path) -> int:
    lines = 0
    last = b"\n"
    with opened(path) as stream:
        while block := stream.read(1 << 20):
            lines += block.count(b"\n")
            last = block[-1:]
    return lines + (last != b"\n")  # a last line without an end


def comes_once(path: Path) -> bool:
    """Whether a list cannot be read again, such as the pipe of `<(command)`.  Raises `InputError`."""
    with reading(path):
        return stat.S_ISFIFO(path.stat().st_mode)


def spool(source: BinaryIO, path: Path) -> None:
    """Copy a list that comes only once, such as standard input, so that the run can be resumed.

    Raises `InputError` for binary data before more than a block is written, `OSError` for a full disk.
    """
    with path.open("wb") as out:
        while block := source.read(1 << 20):
            if not out.tell() and looks_binary(block) and not block.startswith((MAGIC, *OPENERS)):
                raise InputError("standard input is not a list of names but binary data; give text, packed or not")
            out.write(block)
