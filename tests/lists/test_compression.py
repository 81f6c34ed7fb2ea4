"""Packed lists, lists that come once, and what is no list."""

import gzip
import io
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from crawler.lists.reader import InputError, comes_once, spool, survey
from tests.kit.lists import targets_of, zipped


def two_frames(data: bytes) -> bytes:
    return zstandard.compress(data[:100]) + zstandard.compress(data[100:])


PACKERS = [gzip.compress, lzma.compress, zstandard.compress, two_frames, zipped]


LIST = "".join(f"{n},name{n * n}.example\n" for n in range(1, 3001)).encode()


@pytest.mark.parametrize("pack", PACKERS)
def test_a_packed_list_is_known_by_its_first_bytes(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    plain = targets_of(tmp_path, LIST)
    assert targets_of(tmp_path, pack(LIST)) == plain
    assert survey(tmp_path / "list").lines == 3000


@pytest.mark.parametrize("pack", PACKERS)
def test_a_damaged_packed_list_is_refused_with_one_line(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(LIST)
    path = tmp_path / "list"
    for damaged in (packed[: len(packed) // 2], packed[:12], packed[:-5]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged") as caught:
            survey(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"# nothing\n\n   \n", "empty"),
        (b"rank,domain\n", "empty"),
        (gzip.compress(b"", mtime=0), "empty"),
        (bytes(range(256)) * 40, "binary"),
        (b"\x7fELF" + bytes(100), "binary"),
        (b"PAR1\x15\x04\x15\x10\x15\x14", "damaged Parquet file"),
        ("example.com\n".encode("utf-16"), "binary"),
        (gzip.compress(bytes(1000), mtime=0), "binary"),
        (zipped(b"a.example", ("one.csv", "two.csv")), "2 files"),
    ],
)
def test_what_is_no_list_is_refused_with_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "list"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        survey(path)
    assert "\n" not in str(caught.value)


def test_a_missing_list_a_directory_and_a_device_are_refused(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none", "No such file"), (tmp_path, "directory"), (Path("/dev/zero"), "regular")):
        with pytest.raises(InputError, match=words):
            survey(path)


def test_the_survey_tells_one_list_from_another(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(b"a.example\nb.example")
    first = survey(path)
    assert (first.size, first.lines) == (19, 2)
    path.write_bytes(b"a.example\nc.example")
    assert survey(path).sha256 != first.sha256


def test_a_list_that_comes_once_is_spooled(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert comes_once(fifo)
    spool(io.BytesIO(b"a.example\n"), tmp_path / "spooled")
    assert not comes_once(tmp_path / "spooled")
    assert survey(tmp_path / "spooled").lines == 1
    spool(io.BytesIO(gzip.compress(b"a.example\n")), tmp_path / "packed")
    assert survey(tmp_path / "packed").lines == 1
    with pytest.raises(InputError, match="binary"):
        spool(io.BytesIO(bytes(5000)), tmp_path / "junk")
    assert (tmp_path / "junk").stat().st_size == 0
