"""Tables on a terminal that is narrow, in a pipe, and of a run in which there is nothing yet."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from analysis.figures.compute import compute
from analysis.runs.run import Run
from analysis.tables import terminal
from crawler.scan.choose_run import open_run
from crawler.settings.config import Config
from tests.kit.contexts import run_context
from tests.kit.figure_runs import run_stats
from tests.kit.small_runs import domain, host, probe, write_run

ROWS = [
    *(domain(f"{name}.example", f"mx.{name}.example") for name in "ab"),
    *(host(f"mx.{name}.example", "192.0.2.1") for name in "ab"),
    *(probe(f"mx.{name}.example", "192.0.2.1") for name in "ab"),
]


def by_tld(run: Run, width: int) -> list[str]:
    out = terminal.console(file=io.StringIO(), force_terminal=True, color_system=None, width=width)
    terminal.print_stats(out, compute(run, by=("tld",), smallest_group=1), "tld")
    assert isinstance(out.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;]*m", "", out.file.getvalue()).splitlines()


@pytest.mark.parametrize("width", range(50, 110, 10))
def test_a_narrow_terminal_goes_without_the_least_important_and_keeps_the_headline(tmp_path: Path, width: int) -> None:
    write_run(tmp_path, ROWS)
    with Run.open(tmp_path) as run:
        lines = by_tld(run, width)
    start = next(number for number, line in enumerate(lines) if line.startswith("By tld"))
    shown = lines[start : lines.index("", start)]
    assert "(Facebook)" in " ".join(shown)
    left_out = " ".join(shown).partition("(this terminal is too narrow for: ")[2]
    assert not left_out or left_out.startswith("negotiated")
    assert any(re.match(r"example +2 ", line) for line in shown), "the rows are those of before"


def test_in_a_pipe_a_table_is_as_wide_as_columns_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path, ROWS)
    widest = {}
    for columns in ("60", "", "0", "many"):
        monkeypatch.setenv("COLUMNS", columns)
        run_stats("--data", str(tmp_path))
        lines = [line for line in capsys.readouterr().out.splitlines() if "facebook_2014|" not in line]
        widest[columns] = max(map(len, lines))
    assert widest["60"] <= 60 < widest[""] == widest["0"] == widest["many"]


def test_of_a_run_with_nothing_in_it_one_line_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_run(tmp_path, "mine", Config(ehlo_name="probe.example"), run_context()).unlock()
    for options in ([], ["--by", "tld"]):
        run_stats("--data", str(tmp_path), *options)
        first, last = capsys.readouterr().out.splitlines()
        assert first.startswith("run mine (running)")
        assert last == "nothing was measured yet: no domain of this run has a row"


def test_what_a_run_has_none_of_is_a_line_and_no_table_of_dashes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A list of hosts has no domains."""
    listed = domain("mx.a.example", route="host")
    write_run(tmp_path, [listed, host("mx.a.example", "192.0.2.1"), probe("mx.a.example", "192.0.2.1")])
    run_stats("--data", str(tmp_path))
    said = capsys.readouterr().out
    assert "\nDomains: none in this run\n" in said and "\nMail hosts: " in said
    assert "–       –" not in said and "Nothing to count in this run: " in said
