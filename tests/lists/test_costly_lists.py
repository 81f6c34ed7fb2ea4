"""A list costs no more than its share, whoever made it: what would is refused with one line, in bounded memory.

Each file is read in a process whose address space the system limits, so that the bound is the system's word.
"""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from crawler.lists.bounds import InputError
from crawler.lists.reader import read_targets, survey
from crawler.scan.choose_run import config_sha256
from crawler.settings.config import Config, Lists
from tests.kit.forged_parquet import (
    RLE_DICTIONARY,
    chunk,
    column,
    file,
    footer,
    group,
    one_column,
    page,
    same_index,
    strings,
    varint,
)

GIB = 1 << 30
ROOT = Path(__file__).resolve().parent.parent.parent

#: Reads the list that it is given, and says in JSON what came of it.
READER = """
import json, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]),) * 2)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
from crawler.lists.reader import InputError, survey
try:
    words = f"read {survey(Path(sys.argv[1])).contents.valid}"
except InputError as error:
    words = str(error)
own = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
most = max(int(own.split()[1]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
print(json.dumps([words, most]))
"""


def read_limited(path: Path, content: bytes, limit: int = GIB) -> tuple[str, int]:
    """What reading a list says in a process of so many bytes, and the most that it had in memory, in bytes."""
    path.write_bytes(content)
    done = subprocess.run(
        (sys.executable, "-P", "-c", READER, str(path), str(limit)),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-2_000:]
    words, most = json.loads(done.stdout)
    assert "\n" not in words
    return words, most << 10


def dictionary_of(entry: bytes, rows: int, claimed: int | None = None) -> bytes:
    """A file whose rows all refer to one entry."""
    pages = [
        page(strings(entry), 1, dictionary=True, claimed=claimed),
        page(same_index(0, rows), rows, encoding=RLE_DICTIONARY),
    ]
    return one_column(pages, rows, has_dictionary=True)


def nulls(rows: int) -> bytes:
    """A file of rows without a name."""
    run = varint(rows << 1) + b"\0"
    return one_column([page(struct.pack("<I", len(run)) + run, rows)], rows, optional=True)


def columns(names: list[str], rows: int = 1) -> bytes:
    """A file with so many text columns, of which only the first has a page."""
    described, data = chunk(names[:1], [page(strings(b"a.example"), 1)], rows)
    return file(data, footer([group("schema", len(names)), *map(column, names)], [described] * len(names), rows))


def nested(levels: int) -> bytes:
    """A file whose schema has so many groups in one another."""
    described, data = chunk(["domain"], [page(strings(b"a.example"), 1)], 1)
    return file(data, footer([group("schema", 1), *[group("g", 1)] * levels, column("domain")], [described], 1))


def test_the_forged_files_are_parquet_where_they_do_not_lie(tmp_path: Path) -> None:
    path = tmp_path / "list"
    for content, names in (
        (one_column([page(strings(b"a.example", b"b.example"), 2)], 2), ["a.example", "b.example"]),
        (dictionary_of(b"a.example", 5), ["a.example"] * 5),
        (nulls(3), []),
    ):
        path.write_bytes(content)
        assert [target.domain for target in read_targets(path)] == names


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(
            one_column([page(strings(b"a.example"), 1, claimed=2**31 - 1)], 1), "more than 512 MiB", id="claimed-page"
        ),
        pytest.param(dictionary_of(b"a.example", 5, claimed=2**31 - 1), "more than 512 MiB", id="claimed-dictionary"),
        pytest.param(dictionary_of(b"a" * (1 << 20), 8_192), "more than 512 MiB", id="long-entry-in-every-row"),
        pytest.param(dictionary_of(b"a.example", 2**31 - 1), "unpacks to more than", id="rows-of-one-entry"),
        pytest.param(nulls(2**31 - 1), "unpacks to more than", id="rows-of-nothing"),
        pytest.param(one_column([page(strings(b"a.example"), 1)], 2**60), "unpacks to more than", id="claimed-rows"),
        pytest.param(one_column([page(strings(b"a.example"), 1)], -1), "damaged", id="rows-below-zero"),
        pytest.param(one_column([page(strings(b"a.example"), 1)], 7), "damaged", id="rows-that-are-not-there"),
        pytest.param(file(b"", b"\x15\x04", claimed=2**32 - 1), "damaged", id="claimed-footer"),
        pytest.param(
            file(b"", footer([group("schema", 1), column("domain")], [], 1, claimed_groups=2**31 - 1)),
            "damaged",
            id="claimed-row-groups",
        ),
        pytest.param(lambda: nested(50_000), "damaged", id="deep-schema"),
        pytest.param(lambda: columns([f"c{n}" for n in range(200_000)]), "damaged", id="columns-beyond-count"),
        pytest.param(lambda: columns([f"c{n}" for n in range(2_000)]), "2,000 columns", id="columns-to-look-through"),
        pytest.param(b"PAR1" + b"\xff" * 4_000 + struct.pack("<I", 3_990) + b"PAR1", "damaged", id="noise"),
    ],
)
def test_a_parquet_list_that_asks_for_more_than_its_share_is_one_line(
    tmp_path: Path, content: bytes | Callable[[], bytes], words: str
) -> None:
    said, most = read_limited(tmp_path / "list.parquet", content if isinstance(content, bytes) else content())
    assert words in said
    assert most < 700 << 20


def test_a_page_that_really_unpacks_to_a_gibibyte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    packed = zstandard.ZstdCompressor().compressobj()
    plain = [struct.pack("<I", GIB - 4), *[bytes(1 << 20)] * 1023, bytes((1 << 20) - 4)]
    content = b"".join([*map(packed.compress, plain), packed.flush()])
    honest = page(b"", 1, claimed=GIB, packed=content)
    said, most = read_limited(path, one_column([honest], 1))
    assert "more than 512 MiB" in said
    assert most < 700 << 20


def test_the_limit_of_memory_is_a_setting(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    path.write_bytes(dictionary_of(b"a" * (100 << 10), 1_000))  # 98 MiB at once
    with pytest.raises(InputError, match="more than 64 MiB"):
        survey(path, lists=Lists(memory_bytes=64 << 20))
    assert survey(path).contents.invalid == 1_000


def test_a_row_is_cut_to_what_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    path.write_bytes(one_column([page(strings(b"a" * (5 << 20), b"b.example"), 2)], 2))
    long, name = read_targets(path)
    assert long.problem == "longer than 16384 bytes" and long.input == "a" * 1_024
    assert name.domain == "b.example"


# --- packed text ------------------------------------------------------------------------------------


def xz_with_dictionary(size: int) -> bytes:
    """A small list in xz whose reader must provide a dictionary of that size: only the block's header says so."""
    bits = {
        1 << 20: 16,
        1 << 30: 36,
        3 << 29: 37,
    }  # the filter's byte: twice the power of two above 4 KiB, odd: half as much again
    small = lzma.compress(
        b"a.example\n", lzma.FORMAT_XZ, lzma.CHECK_NONE, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]
    )
    header = bytearray(small[12 : 12 + (small[12] + 1) * 4])
    at = header.index(bytes([0x21, 1, bits[1 << 20]])) + 2
    header[at] = bits[size]
    header[-4:] = struct.pack("<I", zlib.crc32(header[:-4]))
    return small[:12] + bytes(header) + small[12 + len(header) :]


def zstd_with_window(log: int) -> bytes:
    """A small list in zstd whose reader must provide a window of 2 to the `log` bytes (RFC 8878 §3.1.1)."""
    text = b"a.example\n"
    return b"\x28\xb5\x2f\xfd" + bytes([0, log - 10 << 3]) + struct.pack("<I", len(text) << 3 | 1)[:3] + text


def zip_of(count: int, method: int = zipfile.ZIP_STORED, data: bytes = b"a.example\n") -> bytes:
    """An archive with so many files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for number in range(count):
            archive.writestr(f"{number}.txt", data)
    return out.getvalue()


def test_dictionary_and_window_are_what_the_headers_say(tmp_path: Path) -> None:
    path = tmp_path / "list"
    for content in (xz_with_dictionary(1 << 20), zstd_with_window(20)):
        path.write_bytes(content)
        assert [target.domain for target in read_targets(path)] == ["a.example"]


@pytest.mark.parametrize(
    "content", [xz_with_dictionary(1 << 30), xz_with_dictionary(3 << 29), zstd_with_window(30), zstd_with_window(41)]
)
def test_a_packed_list_that_needs_much_memory_is_one_line(tmp_path: Path, content: bytes) -> None:
    said, most = read_limited(tmp_path / "list", content)
    assert "more than 512 MiB of memory" in said
    assert most < 300 << 20


def zstd_of(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1).compress(data)


@pytest.mark.parametrize(
    "pack", [gzip.compress, lzma.compress, zstd_of, lambda data: zip_of(1, zipfile.ZIP_DEFLATED, data)]
)
@pytest.mark.parametrize("text", [b"a.example\n", b"\0", b"x"])
def test_what_unpacks_to_far_more_than_its_size_is_one_line(
    tmp_path: Path, pack: Callable[[bytes], bytes], text: bytes
) -> None:
    path = tmp_path / "list"
    path.write_bytes(pack(text * (4_000_000 // len(text))))
    few = Lists(unpacked_bytes=1 << 20)
    with pytest.raises(InputError, match=r"unpacks to more than|binary data") as error:
        survey(path, lists=few)
    assert "\n" not in str(error.value)


def test_a_bomb_within_the_bound_takes_no_memory(tmp_path: Path) -> None:
    said, most = read_limited(tmp_path / "list", gzip.compress(b"x" * (100 << 20), 1))
    assert said == "read 0"
    assert most < 150 << 20


def test_a_list_that_packs_well_is_read(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(lzma.compress(b"a.example\n" * 200_000))
    assert survey(path).contents.valid == 200_000
    assert survey(path, lists=Lists(unpacked_bytes=1 << 16, unpacked_ratio=100_000)).contents.valid == 200_000


def test_streams_of_xz_one_behind_another_are_all_read(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(lzma.compress(b"a.example\n") + bytes(4) + lzma.compress(b"b.example\n") + bytes(8))
    assert [target.domain for target in read_targets(path)] == ["a.example", "b.example"]


def test_an_archive_with_very_many_files_is_one_line(tmp_path: Path) -> None:
    directory = b"PK\x01\x02" + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"a"
    many = directory * 100_000
    end = b"PK\x05\x06" + bytes(4) + struct.pack("<HHLLH", 1, 1, len(many), 0, 0)
    said, most = read_limited(tmp_path / "list.zip", b"PK\x03\x04" + many + end)
    assert "too many files" in said
    assert most < 200 << 20


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_of_zip_that_python_unpacks_without_a_bound_are_refused(tmp_path: Path, method: int) -> None:
    path = tmp_path / "list.zip"
    path.write_bytes(zip_of(1, method))
    with pytest.raises(InputError, match="cannot be unpacked"):
        survey(path)


def test_bounds_of_lists_do_not_make_another_measurement() -> None:
    assert config_sha256(Config(lists=Lists(memory_bytes=64 << 20))) == config_sha256(Config())


def _parquet_of_nulls(path: Path, rows: int) -> None:
    pq.write_table(pa.table({"domain": pa.array(["a.example", *[None] * (rows - 1)], pa.string())}), path)


def _packed_blank_lines(path: Path, lines: int) -> None:
    path.write_bytes(gzip.compress(b"a.example\n" + b"\n" * (lines - 1)))


def _blank_lines(path: Path, lines: int) -> None:
    path.write_bytes(b"a.example\n" + b"\n" * (lines - 1))


@pytest.mark.parametrize("write", [_parquet_of_nulls, _packed_blank_lines, _blank_lines])
def test_a_list_of_nearly_nothing_but_empty_lines_is_refused_by_their_number(
    tmp_path: Path, write: Callable[[Path, int], None]
) -> None:
    """Twenty million empty lines in 19 KB took half a minute, two hundred million empty rows no end."""
    path = tmp_path / "list"
    write(path, 100_000)
    with pytest.raises(InputError, match=r"100,000 (lines|rows) in [0-9,]+ bytes, so most are empty"):
        survey(path, lists=Lists(lines=50_000))
    assert survey(path, lists=Lists(lines=100_000)).contents.valid == 1


def test_a_long_list_of_names_is_no_list_of_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "list.gz"
    path.write_bytes(gzip.compress("".join(f"{n * 7_919 % 99_991:x}.example\n" for n in range(5_000)).encode()))
    assert survey(path, lists=Lists(lines=10)).contents.valid == 5_000
