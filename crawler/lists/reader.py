"""Lists of domains in every form people publish them, one `Target` per line.

It reads and decides nothing about mail.  No line of a list is fatal: what is not
a domain name is a `Target` with a `problem`.  Fatal is only a list that is no list (`InputError`).

A list is plain text with one name a line or several, a CSV with the rank before the name (Tranco, Umbrella) or with a
header (Majestic, CrUX), a zone file (CZDS, the root zone), or Parquet. Text may be packed.  A further form is known to
`formats`, a further packing to `compression`.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from crawler.lists.bounds import InputError
from crawler.lists.cells import kept
from crawler.lists.compression import OPENERS, looks_binary, must_be_file, opened, reading
from crawler.lists.formats import targets_of
from crawler.lists.hosts import HostLines
from crawler.lists.parquet import MAGIC, is_parquet, parquet_targets, row_count
from crawler.lists.survey import ListContents, contents_of
from crawler.model.rows import Target
from crawler.settings.config import Lists

__all__ = ["InputError", "ListFacts", "comes_once", "read_targets", "spool", "survey"]

_BOUNDS = Lists()
_LINE, _ROW = 4, 1
"""Bytes that a line with a name has at least (`a.b` and its end), and a row of a Parquet file as it is packed."""


@dataclass(frozen=True, slots=True)
class ListFacts:
    """What is known of a list before it is cut: how large it is, that it is the same one again, and what is in it."""

    sha256: str
    size: int
    lines: int
    contents: ListContents = field(default_factory=ListContents)
    cut: bool = False  #: more names came behind the limit

    @property
    def names(self) -> int:
        """How many names are taken, duplicates and those that are none with them."""
        return self.contents.valid + self.contents.invalid

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "sha256": self.sha256,
            "bytes": self.size,
            "lines": self.lines,
            "names": self.names,
            "cut": self.cut,
            **self.contents.as_dict(),
        }


def survey(
    path: Path,
    limit: int = 0,
    covering: Callable[[str], str | None] | None = None,
    lists: Lists = _BOUNDS,
    hosts: HostLines | None = None,
) -> ListFacts:
    """Read a list through: hash of the file as it is, its lines (comments included), what is in its first `limit` names, and whether more come.

    `covering` names the opt-out that covers a name, `hosts` reads the lines of a list of hosts.  Raises `InputError` for what is no list: not there, a directory,
    damaged, binary, empty, or more costly to read than `lists` allows.
    """
    must_be_file(path)
    counts_rows = is_parquet(path)
    lines, unpacked = (row_count(path, lists), path.stat().st_size) if counts_rows else _lines_and_bytes(path, lists)
    with reading(path), path.open("rb") as raw:
        digest = hashlib.file_digest(raw, "sha256").hexdigest()
        size = raw.tell()
    if lines > lists.lines and unpacked < lines * (_ROW if counts_rows else _LINE):
        raise InputError(
            f"{path}: {lines:,} {'rows' if counts_rows else 'lines'} in {unpacked:,} bytes, so most are empty; take out what "
            "is empty, or allow more by `lists.lines`"
        )
    cut = False

    def taken(told: Callable[[str], None]) -> Iterator[Target]:
        nonlocal cut
        targets = read_targets(path, limit and limit + 1, told, lists, hosts)
        yield from islice(targets, limit or None)
        cut = next(targets, None) is not None

    contents = contents_of(taken, covering)
    if not contents.valid and not contents.invalid:
        raise InputError(f"{path}: the list is empty; give one {'host' if hosts else 'domain name'} a line")
    return ListFacts(digest, size, lines, contents, cut)


def read_targets(
    path: Path,
    limit: int = 0,
    told: Callable[[str], None] = lambda words: None,
    lists: Lists = _BOUNDS,
    hosts: HostLines | None = None,
) -> Iterator[Target]:
    """The names of a list in their order, at most `limit` (0: all); duplicates are still in.

    `rank` is what the list states; a plain list states none.  `told` hears the form of the list in words.  `hosts`
    reads the lines of a list of hosts.  Raises `InputError`.
    """
    must_be_file(path)
    if is_parquet(path):
        if hosts is not None:
            raise InputError(f"{path}: is Parquet; with --hosts give text, one host a line")
        yield from map(kept, islice(parquet_targets(path, told, lists), limit or None))
        return
    with opened(path, lists) as stream:
        read = targets_of if hosts is None else hosts.targets
        yield from map(kept, islice(read(stream, told), limit or None))


def _lines_and_bytes(path: Path, lists: Lists) -> tuple[int, int]:
    """Of a text, unpacked."""
    lines = size = 0
    last = b"\n"
    with opened(path, lists) as stream:
        while block := stream.read(1 << 20):
            lines += block.count(b"\n")
            size += len(block)
            last = block[-1:]
    return lines + (last != b"\n"), size  # a last line without an end


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
