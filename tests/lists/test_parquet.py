"""Parquet files as lists."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crawler.lists.formats import MAX_LINE
from crawler.lists.reader import InputError, read_targets, spool, survey
from tests.kit.lists import zipped


def stored(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("columns", "ranks"),
    [
        ({"domain": ["a.test", "B.test.", None, " ", "not a name"]}, [None] * 3),
        ({"x": ["?"] * 5, "Rank": [1, 2, 3, 4, 5], "Domain": ["a.test", "b.test", None, "", "not a name"]}, [1, 2, 5]),
        ({"only_text": pa.array(["a.test", "b.test", "not a name"]).dictionary_encode(), "n": [7, 8, 9]}, [None] * 3),
        ({"host": pa.array(["a.test", "b.test", "not a name"], pa.large_string()), "position": [7, 8, 9]}, [7, 8, 9]),
        ({"domain": ["a.test", "b.test", "not a name"], "rank": pa.array([2**63, 0, 5], pa.uint64())}, [None, 0, 5]),
    ],
)
def test_a_parquet_file_is_a_list(tmp_path: Path, columns: dict[str, Any], ranks: list[int | None]) -> None:
    path = stored(tmp_path / "list.parquet", **columns)
    targets = list(read_targets(path))
    assert [target.domain for target in targets] == ["a.test", "b.test", None]
    assert [target.rank for target in targets] == ranks
    assert targets[2].problem and targets[2].input == "not a name"
    assert survey(path).lines == len(next(iter(columns.values())))
    assert len(list(read_targets(path, 2))) == 2


def test_a_cell_that_is_no_text_or_too_long_is_a_target_with_a_problem(tmp_path: Path) -> None:
    cells = pa.array([b"a.test", b"\xff\xfe", b"x" * 5_000_000], pa.binary()).view(pa.string())
    first, second, third = read_targets(stored(tmp_path / "list.parquet", domain=cells, rank=[1, 2, 3]))
    assert (first.domain, second.problem, second.rank) == ("a.test", "not UTF-8 text", 2)
    assert third.problem == f"longer than {MAX_LINE} bytes" and len(third.input or "") <= 1_024


def test_an_archive_that_cannot_be_unpacked_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "list.zip"
    content = bytearray(zipped(b"a.example\n"))
    for begin, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flag that says: with a password
        content[content.index(begin) + at] |= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be unpacked") as error:
        survey(path)
    assert "\n" not in str(error.value)


def test_a_parquet_file_that_does_not_say_which_column_has_the_names_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path / "list.parquet", a=["a.test"], b=["b.test"])
    with pytest.raises(
        InputError, match=r"which column has the names\? it has the text columns a, b; call one `domain`"
    ):
        survey(path)
    with pytest.raises(InputError, match=r"text columns \(none\)"):
        survey(stored(tmp_path / "numbers.parquet", a=[1]))


@pytest.mark.parametrize("keep", [4, 40, -9])
def test_a_damaged_parquet_file_is_refused_with_one_line(tmp_path: Path, keep: int) -> None:
    path = stored(tmp_path / "list.parquet", domain=["a.test"] * 100)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="damaged Parquet file") as error:
        survey(path)
    assert "\n" not in str(error.value)


def test_a_parquet_file_from_standard_input_is_spooled(tmp_path: Path) -> None:
    path = stored(tmp_path / "list.parquet", domain=["a.test"])
    with path.open("rb") as stream:
        spool(stream, tmp_path / "kept")
    assert [target.domain for target in read_targets(tmp_path / "kept")] == ["a.test"]


def test_a_parquet_list_is_told_by_the_content_of_its_columns_too(tmp_path: Path) -> None:
    path = stored(tmp_path / "list.parquet", name=["Acme Inc.", "Foo"], site=["https://a.example/", "b.example"])
    assert [target.domain for target in read_targets(path)] == ["a.example", "b.example"]
    assert survey(path).contents.form == "Parquet, names in column `site`"


def test_a_rank_of_parquet_that_cannot_be_stored_is_none_for_bad_names_too(tmp_path: Path) -> None:
    ranks = pa.array([2**64 - 1, 2**64 - 1, 7], pa.uint64())
    path = stored(tmp_path / "list.parquet", domain=["x" * 20_000, "a.example", "b.example"], rank=ranks)
    assert [target.rank for target in read_targets(path)] == [None, None, 7]


def test_parquet_columns_of_one_name_or_of_no_text_are_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    pq.write_table(pa.table([pa.array(["a.example"]), pa.array(["b.example"])], names=["domain", "domain"]), path)
    with pytest.raises(InputError, match="several columns `domain`"):
        survey(path)
    pq.write_table(pa.table({"domainXY": ["a.example"]}), path)
    path.write_bytes(path.read_bytes().replace(b"domainXY", b"domain\xff\xfe"))
    with pytest.raises(InputError, match="columns is not UTF-8"):
        survey(path)
