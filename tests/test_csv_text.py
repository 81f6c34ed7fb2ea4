"""What a stranger may name is never a formula in a CSV of ours."""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.commands import report, stats
from analysis.publish.csv_text import csv_text
from tests.small_runs import domain, host, probe, write_run

FORMULAS = ["=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(1)", "\t=1", "\r=1", "\n=1"]


@given(
    st.lists(st.text() | st.sampled_from(FORMULAS) | st.integers() | st.floats(allow_nan=False) | st.none(), min_size=1)
)
def test_no_cell_begins_as_a_formula_does_and_numbers_stay_numbers(values: list[object]) -> None:
    text = csv_text(["value"], ({"value": value} for value in values))
    _, *rows = csv.reader(io.StringIO(text, newline=""))
    read = [row[0] if row else "" for row in rows]
    for value, cell in zip(values, read, strict=True):
        if isinstance(value, str):
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
            assert cell.removeprefix("'") == value.replace("\r", " ").removeprefix("'")
        else:
            assert cell == ("" if value is None else str(value))


@pytest.mark.parametrize("name", ["=cmd.example", "+1.example", "-x.example", "@y.example"])
def test_a_group_whose_name_is_a_formula_is_text_in_stats_and_in_downloads(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [domain(f"d{n}.test", f"mx.{name}", public_suffix=name) for n in range(12)]
    write_run(tmp_path / "data", [*rows, host(f"mx.{name}", "192.0.2.1"), probe(f"mx.{name}", "192.0.2.1")])
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    stats.add_parser(commands)
    report.add_parser(commands)
    for by in ("provider", "tld"):
        args = parser.parse_args(["stats", "--data", str(tmp_path / "data"), "--by", by, "--format", "csv"])
        assert args.run(args) == 0
        assert {row["group"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))} == {f"'{name}"}
    if not name.startswith("="):
        return  # the downloads are made by the same function, and take seconds
    args = parser.parse_args(["report", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "site")])
    assert args.run(args) == 0
    for path in (tmp_path / "site").glob("*.csv"):
        cells = [cell for row in csv.reader(io.StringIO(path.read_text("utf-8"))) for cell in row]
        assert cells and not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
