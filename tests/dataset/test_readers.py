"""What others read a dataset with: each line that docs/data.md shows works, older parts included."""

from __future__ import annotations

import ast
import importlib
import pathlib
import re
import runpy
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from analysis.runs.run import Run
from crawler.dataset.merging import merge
from crawler.dataset.parts import PartWriter
from crawler.dataset.run import RunDirectory as StoredRun
from crawler.dataset.shard_output import ShardOutput
from crawler.dataset.steps import PROBES
from crawler.model.rows import SCHEMA_VERSION, TABLES, Certificate, Probe, schema_of
from tests.kit.small_runs import LEAF, certificate, domain, host, probe, write_run

ROOT = Path(__file__).resolve().parent.parent.parent
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
LINES = [
    line
    for block in BLOCK.findall((ROOT / "docs" / "data.md").read_text("utf-8"))
    for line in block.splitlines()
    if "://" not in line  # those that read an object store are tried on one, in tests/real
]
RECIPES = BLOCK.findall((ROOT / "README.md").read_text("utf-8"))
NEWER = "common_name_match"
"""A column that the older run of these tests does not have yet."""
START = datetime(2026, 1, 1, 12, 30, 15, 250_000, tzinfo=UTC)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs, of which the first lacks a column; the current directory is the one above."""
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    rows = [domain("a.example", "mx.a.example"), host("mx.a.example", "192.0.2.1"), certificate(LEAF, "mx.a.example")]
    for run, kinds in (("20250101T000000Z", ["strict"]), ("ID", ["strict", "self_signed", "greeting_timeout"])):
        probes = [probe("mx.a.example", f"192.0.2.{n}", kind, started_at=START) for n, kind in enumerate(kinds)]
        write_run(data, [*rows, *probes], run=run)
    part = data / "run=20250101T000000Z" / "probes" / "part-0.parquet"
    pq.write_table(pq.read_table(part, partitioning=None).drop_columns([NEWER, "dane_error"]), part)
    PartWriter(data / "run=ID" / "probes" / "empty.parquet", Probe, {}).close()
    return data


def test_each_block_shows_every_library() -> None:
    assert [line.partition(".")[0] for line in LINES] == 3 * ["duckdb", "pandas", "polars", "pyarrow"]


def words(row: dict[str, Any]) -> str:
    """Something to sort rows by, whatever library made their times."""
    return repr([value for value in row.values() if not isinstance(value, datetime)])


def fetched(opened: Any) -> list[dict[str, Any]]:
    """Every row of what a line opened, as each library hands rows out."""
    if isinstance(opened, duckdb.DuckDBPyRelation):
        by_arrow = opened.to_arrow_table().to_pylist()
        rows = [dict(zip(opened.columns, row, strict=True)) for row in opened.fetchall()]
        assert sorted(rows, key=words) == sorted(by_arrow, key=words)  # it is asked twice, and the order is open
        return rows
    if isinstance(opened, pd.DataFrame):
        return opened.to_dict("records")  # type: ignore[return-value]  # names of columns are text
    if isinstance(opened, pa.Table):
        return list(opened.to_pylist())
    return list(opened.to_dicts())


@pytest.mark.parametrize("number", range(8), ids=lambda n: f"{LINES[n].partition('.')[0]} {n // 4 + 1}")
def test_a_line_of_the_documentation_opens_the_dataset_and_its_rows_can_be_fetched(data: Path, number: int) -> None:
    line = LINES[number]
    name = line.partition(".")[0]
    library: Any = pytest.importorskip(name)
    if name == "pyarrow":
        importlib.import_module("pyarrow.dataset")
    rows = fetched(eval(line, {name: library, "pathlib": pathlib}))
    assert len(rows) == (3 if number < 4 else 4)
    assert {row["started_at"].astimezone(UTC) for row in rows} == {START}
    assert Counter(row["outcome"] for row in rows) == {"ok": len(rows) - 1, "timeout": 1}
    assert all(NEWER in row for row in rows)
    assert number < 4 or {str(row["run"]) for row in rows} == {"20250101T000000Z", "ID"}


@pytest.mark.parametrize("number", range(8, 12), ids=lambda n: LINES[n].partition(".")[0])
def test_a_line_of_the_documentation_hands_out_rows_one_by_one(data: Path, number: int) -> None:
    name = LINES[number].partition(".")[0]
    library: Any = pytest.importorskip(name)
    rows = eval(LINES[number], {name: library})
    assert len(rows) == 3
    times = [value for row in rows for value in (row.values() if isinstance(row, dict) else row)]
    assert [value.astimezone(UTC) for value in times if isinstance(value, datetime)] == 3 * [START]


@pytest.mark.parametrize("number", range(len(RECIPES)), ids=lambda n: RECIPES[n].split()[1])
def test_a_recipe_of_the_readme_runs_and_one_that_counts_counts_right(data: Path, number: int) -> None:
    pytest.importorskip(RECIPES[number].split()[1].partition(".")[0])
    tree = ast.parse(RECIPES[number])
    assert isinstance(tree.body[-1], ast.Expr)
    tree.body[-1] = ast.Assign([ast.Name("result", ast.Store())], tree.body[-1].value, lineno=0)
    path = data / "recipe.py"
    path.write_text(ast.unparse(ast.fix_missing_locations(tree)), "utf-8")
    result = runpy.run_path(str(path))["result"]
    if "strict_valid" in RECIPES[number]:  # yes, no and unknown are one each
        assert float(result if isinstance(result, float) else result.item()) == 0.5
    else:
        fetched(result) if not isinstance(result, int) else None


def test_a_part_that_lacks_a_newer_column_reads_as_null_there(data: Path) -> None:
    """Within one run, too: it may have been begun by an older version."""
    part = data / "run=ID" / "probes" / "part-0.parquet"
    rows = pq.read_table(part, partitioning=None)
    pq.write_table(rows.slice(0, 1), part)
    pq.write_table(rows.slice(1).drop_columns([NEWER]), part.with_name("part-1.parquet"))
    with Run.open(data, "ID") as run:
        frame = run.frame(f"SELECT address, {NEWER}, outcome FROM probes ORDER BY ALL")
    assert len(frame) == 3 and frame[NEWER].isna().all() and set(frame["outcome"]) == {"ok", "timeout"}
    table = pyarrow.dataset.dataset(part.parent, schema=schema_of(Probe)).to_table()
    assert table.num_rows == 3 and table[NEWER].null_count == 3 and table["stage"].null_count == 0


def test_a_run_of_an_older_version_is_judged_as_far_as_it_goes(data: Path) -> None:
    with Run.open(data, "20250101T000000Z") as run:
        (row,) = run.frame(f"SELECT domain, host, {NEWER} FROM deliveries JOIN probes USING (host)").to_dict("records")
    assert row["domain"] == "a.example" and pd.isna(row[NEWER])


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
