"""The packings of lists: gzip, zstd, xz, zip, or none. The first bytes of a file tell which it is.

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
from typing import Any, BinaryIO, Protocol, cast

import zstandard

from crawler.lists.bounds import Counted, InputError, Unpacked, too_costly
from crawler.settings.config import Lists
from crawler.settings.declared_limits import limit

_HEAD = 65_536

_AT_ONCE = 1_024
"""Packed bytes unpacked at once: of zstd they are at most some 30 MB of text, of xz 7 MB, whoever made them."""

_MOST_DIRECTORY = limit(
    1 << 20, "bytes of the directory of a zip archive", protects="our memory", cut="a refusal, exit code 2"
)
"""Bytes read at once of a zip archive, and so of its directory of files: an archive with one list has some hundred."""


class _Decompressor(Protocol):
    """What unpacks one stream of xz or one frame of zstd."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class _Frames(io.RawIOBase):
    """Streams of xz or frames of zstd, one behind another.

    The readers of the libraries either know no bound of memory, or take a file that ends in mid-frame for a whole one.
    """

    def __init__(self, raw: BinaryIO, begin: Callable[[], _Decompressor], padding: bytes = b"") -> None:
        """`begin` makes what unpacks the next of them; bytes of `padding` may stand between them."""
        self._raw = raw
        self._begin = begin
        self._padding = padding
        self._frame: _Decompressor | None = None
        self._packed = b""
        self._plain = memoryview(b"")

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._raw.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        while not self._plain:
            chunk = self._packed or self._raw.read(_AT_ONCE)
            self._packed = b""
            if not chunk:
                if self._frame is not None:
                    raise EOFError
                return 0
            if self._frame is None and not (chunk := chunk.lstrip(self._padding) if self._padding else chunk):
                continue
            self._frame = self._frame or self._begin()
            self._plain = memoryview(self._frame.decompress(chunk))
            if self._frame.eof:
                self._packed = self._frame.unused_data
                self._frame = None
        taken = self._plain[: len(buffer)]
        buffer[: len(taken)] = taken
        self._plain = self._plain[len(taken) :]
        return len(taken)


def _open_plain(path: Path, lists: Lists) -> BinaryIO:
    return path.open("rb")


def _open_gzip(path: Path, lists: Lists) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path))


def _open_xz(path: Path, lists: Lists) -> BinaryIO:
    def begin() -> _Decompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=lists.memory_bytes)

    return cast(BinaryIO, _Frames(path.open("rb"), begin, padding=b"\0"))


def _open_zst(path: Path, lists: Lists) -> BinaryIO:
    # The library takes powers of two up to 2 GiB; beside its window a frame needs little.
    window = 1 << min(31, lists.memory_bytes.bit_length() - 1)

    def begin() -> _Decompressor:
        return zstandard.ZstdDecompressor(max_window_size=window).decompressobj()

    return cast(BinaryIO, _Frames(path.open("rb"), begin))


class _ArchiveFile(io.FileIO):
    """The file of an archive, of which nobody reads much at once: its directory is read whole."""

    def read(self, size: int | None = -1, /) -> bytes:
        block = super().read(_MOST_DIRECTORY + 1 if size is None or size < 0 else min(size, _MOST_DIRECTORY + 1))
        if len(block) > _MOST_DIRECTORY:
            raise InputError(f"{self.name}: the archive has too many files; give one with the list alone")
        return block


def _open_zip(path: Path, lists: Lists) -> BinaryIO:
    """Tranco and Umbrella are published so: an archive with one member."""
    raw = _ArchiveFile(path)
    try:
        archive = zipfile.ZipFile(raw)
        members = [member for member in archive.infolist() if not member.is_dir()]
        if len(members) != 1:
            raise InputError(f"{path}: the archive has {len(members)} files; give one with the list alone")
        # Python unpacks the other methods without a bound of memory.
        if members[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(_cannot_unpack(path, "its method of compression is not deflate"))
        return cast(BinaryIO, _Member(archive.open(members[0]), raw))
    except (RuntimeError, NotImplementedError) as error:  # a password, or a method that is not read here
        raw.close()
        raise InputError(_cannot_unpack(path, error)) from error
    except BaseException:
        raw.close()
        raise


def _cannot_unpack(path: Path, why: object) -> str:
    return f"{path}: cannot be unpacked ({why}); unpack it and give what is inside"


class _Member(io.BufferedReader):
    """The member of an archive, with which its file is closed."""

    def __init__(self, member: Any, file: io.FileIO) -> None:
        super().__init__(member, _HEAD)
        self._file = file

    def close(self) -> None:
        super().close()
        self._file.close()


OPENERS: dict[bytes, tuple[str, Callable[[Path, Lists], BinaryIO]]] = {
    b"\x1f\x8b": ("gzip", _open_gzip),
    b"\x28\xb5\x2f\xfd": ("zstd", _open_zst),
    b"\xfd7zXZ\x00": ("xz", _open_xz),
    b"PK\x03\x04": ("zip", _open_zip),
}
_DAMAGED = (zlib.error, EOFError, lzma.LZMAError, zstandard.ZstdError, gzip.BadGzipFile, zipfile.BadZipFile)

#: The words in which the libraries say that a stream needs more memory than it may have.
_TOO_COSTLY = ("Memory usage limit exceeded", "too much memory")


@contextmanager
def opened(path: Path, lists: Lists) -> Iterator[BinaryIO]:
    """The text of a list as a byte stream, whatever it is compressed with.  Raises `InputError`, within it too."""
    kind = "plain text"
    try:
        with path.open("rb") as raw:
            magic = raw.read(8)
        kind, opener = next((o for prefix, o in OPENERS.items() if magic.startswith(prefix)), (kind, _open_plain))
        bytes_of = cast(io.RawIOBase, opener(path, lists))
        if opener is not _open_plain:
            bytes_of = Counted(bytes_of, Unpacked(path, lists))
        # Buffered twice for gzip, but then every container has the same fast `readline` and `peek`.
        with io.BufferedReader(bytes_of, _HEAD) as stream:
            if looks_binary(stream.peek(_HEAD)):
                raise InputError(
                    f"{path}: is not a list of names but binary data; give text, CSV or one of them packed"
                )
            yield cast(BinaryIO, stream)
    except _DAMAGED as error:
        if any(words in str(error) for words in _TOO_COSTLY):
            raise too_costly(path, lists) from error
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
