"""Lists of domains in every form people publish them, one `Target` per line.

Rule of this room: it reads, decides nothing about mail, and no line of a list is fatal: what is not
a domain name is a `Target` with a `problem`.  Fatal is only a list that is no list (`InputError`).

Plain text, one name a line; CSV with the rank before the name (Tranco, Umbrella) or with a header
(Majestic); each as it is or compressed, which its first bytes tell.  CZDS zone files and Parquet
join here: a further form is a further `_Form`, a further container a further entry of `_OPENERS`.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import lzma
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import zstandard

from crawler.config import UsageError
from crawler.names import InvalidName, a_label
from crawler.records import Target

MAX_LINE = 16_384
"""Bytes of a line that are read; a name has at most 253 octets, the rest is room for a CSV's other columns."""

_KEPT = 256
"""Characters kept of a line that is too long."""

_HEAD = 65_536
_DOMAIN_COLUMNS = ("domain", "domain_name", "hostname", "host", "name")
_RANK_COLUMNS = ("rank", "globalrank", "global_rank", "position")


class InputError(UsageError):
    """A list that cannot be used."""


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
    _must_be_file(path)
    lines = 0
    last = b"\n"
    with _opened(path) as stream:
        while block := stream.read(1 << 20):
            lines += block.count(b"\n")
            last = block[-1:]
    with _reading(path), path.open("rb") as raw:
        digest = hashlib.file_digest(raw, "sha256").hexdigest()
        size = raw.tell()
    lines += last != b"\n"  # a last line without an end
    if next(read_targets(path), None) is None:
        raise InputError(f"{path}: the list is empty; give one domain name a line")
    return ListFacts(digest, size, lines)


def read_targets(path: Path, limit: int = 0) -> Iterator[Target]:
    """The lines of a list in their order, at most `limit` (0: all); duplicates are still in.

    `rank` is what the list states; a plain list states none.  Raises `InputError`.
    """
    _must_be_file(path)
    with _opened(path) as stream:
        yield from islice(_targets(stream), limit or None)


def comes_once(path: Path) -> bool:
    """Whether a list cannot be read again, such as the pipe of `<(command)`.  Raises `InputError`."""
    with _reading(path):
        return stat.S_ISFIFO(path.stat().st_mode)


def spool(source: BinaryIO, path: Path) -> None:
    """Copy a list that comes only once, such as standard input, so that the run can be resumed.

    Raises `InputError` for binary data before more than a block is written, `OSError` for a full disk.
    """
    with path.open("wb") as out:
        while block := source.read(1 << 20):
            if not out.tell() and looks_binary(block) and not block.startswith(tuple(_OPENERS)):
                raise InputError("standard input is not a list of names but binary data; give text, packed or not")
            out.write(block)


def _targets(stream: BinaryIO) -> Iterator[Target]:
    form: _Form | None = None
    for line in _lines(stream):
        if len(line) > MAX_LINE:
            text = line[: 4 * _KEPT].decode("utf-8", "backslashreplace")[:_KEPT]
            yield Target(listed=text, problem=f"longer than {MAX_LINE} bytes")
            continue
        try:
            text = line.decode().strip()
        except UnicodeDecodeError:
            yield Target(listed=line.decode("utf-8", "backslashreplace").strip(), problem="not UTF-8 text")
            continue
        if "#" in text:
            text = text.partition("#")[0].rstrip()
        if not text:
            continue
        if form is None:
            form, is_header = _recognise(text)
            if is_header:
                continue
        yield form.target(text) if form.delimiter else _target(text, None)


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines with their ends; of a line beyond the limit the beginning, one byte longer than the limit."""
    line = stream.readline(MAX_LINE + 1).removeprefix(b"\xef\xbb\xbf")  # an editor's byte-order mark
    while line:
        yield line
        while len(line) > MAX_LINE and not line.endswith(b"\n"):
            line = stream.readline(MAX_LINE + 1)
        line = stream.readline(MAX_LINE + 1)


def _target(listed: str, rank: int | None) -> Target:
    try:
        return Target(a_label(listed), listed, rank)
    except InvalidName as error:
        return Target(None, listed, rank, str(error))


@dataclass(frozen=True, slots=True)
class _Form:
    """Which column of a line is the name and which the rank."""

    delimiter: str | None = None
    domain: int = 0
    rank: int | None = None

    def target(self, text: str) -> Target:
        assert self.delimiter is not None
        if '"' in text:
            try:
                columns = next(csv.reader([text], delimiter=self.delimiter, strict=True))
            except csv.Error as error:
                return Target(listed=text, problem=f"not a CSV line: {error}")
        else:
            columns = text.split(self.delimiter)
        if len(columns) == 1:  # a bare name among ranked ones
            return _target(text, None)
        if len(columns) <= self.domain:
            return Target(listed=text, problem="no column with a name")
        rank = columns[self.rank].strip() if self.rank is not None and self.rank < len(columns) else ""
        return _target(
            columns[self.domain].strip(), int(rank) if rank.isascii() and rank.isdigit() and len(rank) < 19 else None
        )


def _recognise(first: str) -> tuple[_Form, bool]:
    """The form of a list by its first line, and whether that line is a header."""
    delimiter = next((mark for mark in ",\t;" if mark in first), None)
    columns = [column.strip().strip('"').lower() for column in first.split(delimiter)] if delimiter else [first.lower()]
    domain = next((columns.index(name) for name in _DOMAIN_COLUMNS if name in columns), None)
    if domain is not None:
        rank = next((columns.index(name) for name in _RANK_COLUMNS if name in columns), None)
        return _Form(delimiter, domain, rank), True
    if delimiter is None:
        return _Form(), False
    domain = next((i for i, column in enumerate(columns) if column and not column.isdigit()), 0)
    return _Form(delimiter, domain, 0 if domain > 0 else None), False


# --- containers ------------------------------------------------------------------------------------


def _open_plain(path: Path) -> BinaryIO:
    return path.open("rb")


def _open_gzip(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path))


def _open_xz(path: Path) -> BinaryIO:
    return cast(BinaryIO, lzma.open(path))


class _ZstReader(io.RawIOBase):
    """zstandard's own reader takes a file that ends in mid-frame for a whole one; this one says so."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._packed = b""
        self._plain = memoryview(b"")

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._raw.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        while not self._plain:
            # Little at a time: 1 KiB of zstd is at most some 30 MB of text, whoever made it.
            chunk = self._packed or self._raw.read(1024)
            if not chunk:
                if self._frame is not None:
                    raise EOFError
                return 0
            self._frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
            self._plain = memoryview(self._frame.decompress(chunk))
            self._packed = self._frame.unused_data
            if self._frame.eof:
                self._frame = None
        taken = self._plain[: len(buffer)]
        buffer[: len(taken)] = taken
        self._plain = self._plain[len(taken) :]
        return len(taken)


def _open_zst(path: Path) -> BinaryIO:
    return cast(BinaryIO, _ZstReader(path.open("rb")))


def _open_zip(path: Path) -> BinaryIO:
    """Tranco and Umbrella are published so: an archive with one member."""
    archive = zipfile.ZipFile(path)
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) != 1:
        raise InputError(f"{path}: the archive has {len(members)} files; give one with the list alone")
    member = archive.open(members[0])
    archive.close()  # the file itself stays open until the member is closed
    return cast(BinaryIO, member)


_OPENERS: dict[bytes, tuple[str, Callable[[Path], BinaryIO]]] = {
    b"\x1f\x8b": ("gzip", _open_gzip),
    b"\x28\xb5\x2f\xfd": ("zstd", _open_zst),
    b"\xfd7zXZ\x00": ("xz", _open_xz),
    b"PK\x03\x04": ("zip", _open_zip),
}
_DAMAGED = (zlib.error, EOFError, lzma.LZMAError, zstandard.ZstdError, gzip.BadGzipFile, zipfile.BadZipFile)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The text of a list as a byte stream, whatever it is compressed with."""
    kind = "plain text"
    try:
        with path.open("rb") as raw:
            magic = raw.read(8)
        kind, opener = next((o for prefix, o in _OPENERS.items() if magic.startswith(prefix)), (kind, _open_plain))
        # Buffered twice for gzip and xz, but then every container has the same fast `readline` and `peek`.
        with io.BufferedReader(cast(io.RawIOBase, opener(path)), _HEAD) as stream:
            if looks_binary(stream.peek(_HEAD)):
                raise InputError(
                    f"{path}: is not a list of names but binary data; give text, CSV or one of them packed"
                )
            yield cast(BinaryIO, stream)
    except _DAMAGED as error:
        raise InputError(
            f"{path}: damaged {kind} file ({str(error) or 'it ends too early'}); fetch it again"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check LIST") from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check LIST") from error


def _must_be_file(path: Path) -> None:
    with _reading(path):
        mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: is a directory; give a file with one domain name a line, or - for standard input")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: is not a regular file; give a file with one domain name a line")


def looks_binary(head: bytes) -> bool:
    """Whether the first bytes of a file are no text: over a third unprintable (one bad line is only a bad line)."""
    text = head.decode("utf-8", "replace")
    return 3 * sum(c == "\ufffd" or (c < " " and c not in "\t\r\n\f") for c in text) > len(text)
