"""What strangers wrote is shown and not obeyed: no terminal gets their escape sequences."""

from __future__ import annotations

import ast
import io
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from crawler.commands.main import main
from crawler.commands.progress import Progress
from crawler.model.visible import MESSAGES_OF_A_PLACE, FewOfEach, VisibleFormatter, visible
from crawler.model.visible_console import VisibleConsole
from tests.kit.small_runs import domain, host, probe, write_run

ROOT = Path(__file__).resolve().parent.parent.parent
RED = "\x1b[31mred\x9b0m\u202e"
SHOWN = "\\u001b[31mred\\u009b0m\\u202e"


def test_what_a_terminal_obeys_is_escaped_and_all_else_is_as_it_was() -> None:
    assert (
        visible(f"{RED}\ta\nb\r\nc\rd é 漢 \x07\x7f\udcff") == f"{SHOWN}\ta\nb\r\nc\\u000dd é 漢 \\u0007\\u007f\\udcff"
    )


@given(st.text())
def test_json_stays_json(text: str) -> None:
    assert json.loads(visible(json.dumps([text], ensure_ascii=False))) == [text]


def test_a_table_has_our_colours_and_nobody_elses() -> None:
    table = Table(RED)
    table.add_row(Text(RED, style="bold"))
    file = io.StringIO()
    VisibleConsole(file=file, force_terminal=True, color_system="standard", width=60).print(table)
    VisibleConsole(file=file, force_terminal=True, color_system="standard", width=60).print(Text(RED, style="bold"))
    assert SHOWN in file.getvalue() and "\x1b[1m" in file.getvalue()
    assert "\x1b[31m" not in file.getvalue() and "\x9b" not in file.getvalue()


def test_progress_and_the_log_show_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(quiet=False)
    progress.say(f"list: the header says {RED}")
    progress.conclude(f"{RED}\n")
    assert capsys.readouterr() == (f"{SHOWN}\n", f"list: the header says {SHOWN}\n")
    record = logging.LogRecord("x", logging.WARNING, "", 0, "%s", (RED,), None)
    assert VisibleFormatter("%(message)s").format(record) == SHOWN


def test_an_error_shows_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", "--data", f"nowhere-{RED}"]) == 2
    assert SHOWN in (err := capsys.readouterr().err) and "\x1b" not in err


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_the_run_of_a_stranger_writes_nothing_else_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    rows: list[Any] = [
        domain("a.example", "mx.a.example"),
        host("mx.a.example", "192.0.2.1"),
        probe("mx.a.example", "192.0.2.1", tls_version=RED),
    ]
    write_run(tmp_path, rows, vantage=RED, suspicions=[RED], state="suspect")
    assert main(["stats", "--data", str(tmp_path), "--format", form]) == 0
    out, err = capsys.readouterr()
    assert SHOWN in err and (form == "json" or SHOWN in out), "nothing of it is lost either"
    assert not {"\x1b", "\x9b", "\u202e"} & set(out + err)


def test_whatever_is_written_to_the_terminal_goes_through_the_one_door() -> None:
    """Calls that write to a standard stream, or make a console, outside of the lab, which shows only what it made itself."""
    beside = []
    for path in sorted([*ROOT.glob("crawler/**/*.py"), *ROOT.glob("analysis/**/*.py")]):
        if path.parent.name == "lab" or path.stem in ("visible", "visible_console"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            writes = called in {
                f"sys.{stream}.{verb}" for stream in ("stdout", "stderr") for verb in ("write", "writelines")
            }
            writes |= called in ("print", "tqdm.write", "json.dump", "Console", "logging.basicConfig")
            if writes and not ast.unparse(node.args[0] if node.args else node).startswith(("visible(", "(visible(")):
                beside.append(f"{path.relative_to(ROOT)}:{node.lineno} {called}")
    assert beside == []


def test_a_fault_that_thousands_of_hosts_meet_is_told_a_few_times_and_the_last_says_so() -> None:
    """A source address that went away was a line for each endpoint of the run."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    handler.addFilter(FewOfEach())
    logger = logging.getLogger("starttls-few-of-each")
    logger.propagate = False
    logger.addHandler(handler)
    for number in range(1_000):
        logger.error("host %d failed", number)
    logger.error("something else: 100 %")
    lines = said.getvalue().splitlines()
    assert lines[:2] == ["host 0 failed", "host 1 failed"] and len(lines) == MESSAGES_OF_A_PLACE + 1
    assert lines[-2] == f"host {MESSAGES_OF_A_PLACE - 1} failed (more of this kind are not written)"
    assert lines[-1] == "something else: 100 %"
