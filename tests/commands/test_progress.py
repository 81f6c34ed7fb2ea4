"""Bars on a terminal, plain lines in a pipe, nothing when asked to be quiet."""

from __future__ import annotations

import io

import pytest

from crawler.commands.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work(progress: Progress) -> None:
    progress.begin("RESOLVE domains", "domains", 10, 4)
    progress.reach(7)
    progress.advance(3)
    progress.end(2)
    progress.say("done")
    progress.close()


def test_a_pipe_gets_a_line_at_the_end_of_each_part(capsys: pytest.CaptureFixture[str]) -> None:
    work(Progress(quiet=False))
    line = "RESOLVE domains: 8 domains (2 duplicates dropped) (4 before) in 0.0 s\ndone\n"
    assert capsys.readouterr() == ("", line)


def test_the_result_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    Progress(quiet=False).conclude("run 1 finished\n")
    assert capsys.readouterr() == ("run 1 finished\n", "")


def test_a_terminal_gets_the_result_broken_between_words_under_its_column(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ", ".join(f"outcome_{number} {number:,}" for number in range(20))
    text = f"run 1 finished: /a/{'long/' * 30}place\n  {'probes':<17} {20:>12,}  {words}\n\n"
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    for columns in (80, 60):
        monkeypatch.setenv("COLUMNS", str(columns))
        terminal.seek(0)
        terminal.truncate()
        Progress(quiet=False).conclude(text)
        shown = terminal.getvalue().splitlines()
        assert " ".join(terminal.getvalue().split()) == " ".join(text.split())
        table = [line for line in shown if "outcome_" in line]
        assert len(table) > 3 and max(map(len, table)) <= columns
        indents = {len(line) - len(line.lstrip()) for line in table[1:]}
        assert indents == {34 if columns > 68 else 4}


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    work(Progress(quiet=True))
    Progress(quiet=True).conclude("run 1 finished\n")
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_with_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    work(Progress(quiet=False))
    shown = terminal.getvalue()
    assert "RESOLVE domains: 100%" in shown and "10/10" in shown and "domains/s" in shown and "done" in shown
