"""What lists come packed in: gzip, zstd, xz, zip, or nothing; their first bytes tell.

A list is read as a stream of bytes, whatever its size unpacked, and what is damaged,
binary or no file at all is one line.
"""

from __future__ import annotations

import gzip
import io
import lzma
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import zstandard

from crawler.config import UsageError

_HEAD = 65_536


class InputError(UsageError):
    """A list that cannot be used."""


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
    try:
        member = archive.open(members[0])
    except (RuntimeError, NotImplementedError) as error:  # a password, or a method that Python does not know
        raise InputError(f"{path}: cannot be unpacked ({error}); unpack it and give what is inside") from error
    archive.close()  # the file itself stays open until the member is closed
    return cast(BinaryIO, member)


OPENERS: dict[bytes, tuple[str, Callable[[Path], BinaryIO]]] = {
    b"\x1f\x8b": ("gzip", _open_gzip),
    b"\x28\xb5\x2f\xfd": ("zstd", _open_zst),
    b"\xfd7zXZ\x00": ("xz", _open_xz),
    b"PK\x03\x04": ("zip", _open_zip),
}
_DAMAGED = (zlib.error, EOFError, lzma.LZMAError, zstandard.ZstdError, gzip.BadGzipFile, zipfile.BadZipFile)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The text of a list as a byte stream, whatever it is compressed with."""
    kind = "plain text"
    try:
        with path.open("rb") as raw:
            magic = raw.read(8)
        kind, opener = next((o for prefix, o in OPENERS.items() if magic.startswith(prefix)), (kind, _open_plain))
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
def reading(path: Path) -> Iterator[None]:
    """What the system says of a list that cannot be read becomes an `InputError`."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check LIST") from error


def must_be_file(path: Path) -> None:
    """Raises `InputError` for what is not there, or is no regular file."""
    with reading(path):
        mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: is a directory; give a file with one domain name a line, or - for standard input")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: is not a regular file; give a file with one domain name a line")


def looks_binary(head: bytes) -> bool:
    """Whether the first bytes of a file are no text: over a third unprintable (one bad line is only a bad line)."""
    text = head.decode("utf-8", "replace")
    return 3 * sum(c == "\ufffd" or (c < " " and c not in "\t\r\n\f") for c in text) > len(text)
