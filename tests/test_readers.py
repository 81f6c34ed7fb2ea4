"""What others read a dataset with: each line that docs/data.md shows works, older parts included."""

from __future__ import annotations

import importlib
import pathlib
import re
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from analysis.dataset import Run
from crawler.merging import merge
from crawler.parts import PartWriter
from crawler.records import SCHEMA_VERSION, TABLES, Certificate, Outcome, Probe, schema_of
from crawler.storage import PROBES, ShardOutput
from crawler.storage import Run as StoredRun
from tests.small_runs import domain, host, probe, write_run

PAGE = Path(__file__).resolve().parent.parent / "docs" / "data.md"
LINES = [
    line
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    for line in block.splitlines()
    if "://" not in line  # those that read an object store are tried on one, in tests/real
]
NEWER = "common_name_match"
"""A column that the older run of these tests does not have yet."""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs, of which the first lacks a column; the current directory is the one above."""
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    rows = [domain("a.example", "mx.a.example"), host("mx.a.example", "192.0.2.1")]
    for run, addresses in (("20250101T000000Z", 1), ("ID", 2)):
        write_run(data, [*rows, *(probe("mx.a.example", f"192.0.2.{n}") for n in range(addresses))], run=run)
    part = data / "run=20250101T000000Z" / "probes" / "part-0.parquet"
    pq.write_table(pq.read_table(part, partitioning=None).drop_columns([NEWER, "dane_error"]), part)
    PartWriter(data / "run=ID" / "probes" / "empty.parquet", Probe, {}).close()
    return data


def test_both_halves_show_every_library() -> None:
    assert [line.partition(".")[0] for line in LINES] == 2 * ["duckdb", "pandas", "polars", "pyarrow"]


@pytest.mark.parametrize("number", range(len(LINES)), ids=lambda n: f"{LINES[n].partition('.')[0]} {n // 4 + 1}")
def test_a_line_of_the_documentation_opens_the_dataset(data: Path, number: int) -> None:
    line = LINES[number]
    name = line.partition(".")[0]
    library: Any = pytest.importorskip(name)
    if name == "pyarrow":
        importlib.import_module("pyarrow.dataset")
    opened = eval(line, {name: library, "pathlib": pathlib})
    if name == "duckdb":
        counted = opened.fetchall()
        assert sum(row[-1] for row in counted) == (2 if number < 4 else 3)
        assert {row[0] for row in counted} == ({"ok"} if number < 4 else {"20250101T000000Z", "ID"})
        return
    assert len(opened) == (2 if number < 4 else 3)
    columns = opened.columns if name != "pyarrow" else opened.column_names
    assert NEWER in columns
    assert number < 4 or "run" in columns


def test_a_part_that_lacks_a_newer_column_reads_as_null_there(data: Path) -> None:
    """Within one run, too: it may have been begun by an older version."""
    part = data / "run=ID" / "probes" / "part-0.parquet"
    rows = pq.read_table(part, partitioning=None)
    pq.write_table(rows.slice(0, 1), part)
    pq.write_table(rows.slice(1).drop_columns([NEWER]), part.with_name("part-1.parquet"))
    with Run.open(data, "ID") as run:
        frame = run.frame(f"SELECT address, {NEWER}, outcome FROM probes ORDER BY ALL")
    assert len(frame) == 2 and frame[NEWER].isna().all() and set(frame["outcome"]) == {Outcome.OK}
    table = pyarrow.dataset.dataset(part.parent, schema=schema_of(Probe)).to_table()
    assert table.num_rows == 2 and table[NEWER].null_count == 2 and table["stage"].null_count == 0


def test_a_run_of_an_older_version_is_judged_as_far_as_it_goes(data: Path) -> None:
    with Run.open(data, "20250101T000000Z") as run:
        (row,) = run.frame(f"SELECT domain, host, {NEWER} FROM deliveries JOIN probes USING (host)").to_dict("records")
    assert row["domain"] == "a.example" and row[NEWER] is None


# --- how parts are laid out ------------------------------------------------------------------------

SIGNATURE = {"run": "test", "config_sha256": "00"}


@pytest.fixture
def stored(tmp_path: Path) -> StoredRun:
    """A run with a thousand hosts' probes in two parts, merged."""
    run = StoredRun(tmp_path / "run=test")
    run.path.mkdir()
    run.make_directories(SIGNATURE)
    for shard in range(2):
        output = ShardOutput(run, PROBES, shard, SIGNATURE, expected=500)
        for n in range(500):
            number = (n * 7919 + shard * 500) % 1000
            output.emit(Probe(protocol="smtp", host=f"mx{number:03}.example", capabilities=["STARTTLS"]))
            output.emit(Certificate(sha256=f"{number * 7919 * 2**200:064x}", der=bytes(100)))
        output.commit({})
    merge(run, "certificates", SIGNATURE, lambda rows: None)
    return run


def test_rows_are_sorted_by_name_and_the_file_says_so(stored: StoredRun) -> None:
    for table, key in (("probes", "host"), ("certificates", "sha256")):
        parts = [part for part in stored.parts(table) if part.name != "empty.parquet"]
        assert parts
        for part in parts:
            column = pq.read_table(part, columns=[key], partitioning=None)[key].to_pylist()
            assert column == sorted(column) and len(column) > 100
            group = pq.read_metadata(part).row_group(0)
            (sorting,) = group.sorting_columns
            assert group.column(sorting.column_index).path_in_schema == key
            assert group.column(sorting.column_index).statistics.min == column[0]


def test_words_are_stored_once_in_lists_too_and_blobs_have_no_statistics(stored: StoredRun) -> None:
    columns = {}
    for table in ("probes", "certificates"):
        group = pq.read_metadata(stored.parts(table)[-1]).row_group(0)
        columns |= {(c := group.column(n)).path_in_schema: c for n in range(group.num_columns)}
    assert "RLE_DICTIONARY" in columns["capabilities.list.element"].encodings
    assert "DELTA_BYTE_ARRAY" in columns["host"].encodings
    assert columns["outcome"].is_stats_set and not columns["der"].is_stats_set
    assert {column.compression for column in columns.values()} == {"ZSTD"}


@pytest.mark.parametrize(("table", "key"), [("probes", "host"), ("certificates", "sha256")])
def test_a_name_that_is_not_there_is_known_without_reading_the_rows(stored: StoredRun, table: str, key: str) -> None:
    parts = [part for part in stored.parts(table) if part.name != "empty.parquet"]
    present = pq.read_table(parts[0], columns=[key], partitioning=None)[key][0].as_py()
    for name, may_hold in ((present, True), ("zz.example", False)):
        probed = duckdb.sql(f"FROM parquet_bloom_probe('{parts[0]}', '{key}', '{name}')").fetchall()
        assert [not excluded for *_, excluded in probed] == [may_hold]


def test_every_file_says_of_which_schema_and_run_it_is(stored: StoredRun) -> None:
    for table in TABLES:
        for part in stored.parts(table):
            metadata = pq.read_schema(part).metadata
            assert metadata[b"schema_version"] == str(SCHEMA_VERSION).encode()
            assert (metadata[b"run"], metadata[b"config_sha256"]) == (b"test", b"00")
