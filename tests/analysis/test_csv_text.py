"""What a stranger may name is never a formula in a CSV of ours."""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.commands import report, stats
from analysis.tables.csv_text import csv_text
from tests.kit.small_runs import domain, host, probe, write_run

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


def test_groups_whose_names_are_formulas_are_text_in_stats_and_in_downloads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["=cmd.example", "+1.example", "-x.example", "@y.example"]
    rows: list[Any] = []
    for number, name in enumerate(names):
        mx, address = f"mx.{name}", f"192.0.2.{number}"
        rows += [domain(f"d{n}.g{number}.test", mx, public_suffix=name) for n in range(12)]
        rows += [host(mx, address), probe(mx, address)]
    write_run(tmp_path / "data", rows)
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    stats.add_parser(commands)
    report.add_parser(commands)
    args = parser.parse_args(["stats", "--data", str(tmp_path / "data"), "--by", "tld", "--format", "csv"])
    assert args.run(args) == 0
    groups = {row["group"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert groups == {f"'{name}" for name in names}
    args = parser.parse_args(["report", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "site")])
    assert args.run(args) == 0
    for path in (tmp_path / "site").glob("*.csv"):
        cells = [cell for row in csv.reader(io.StringIO(path.read_text("utf-8"))) for cell in row]
        assert cells and not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
