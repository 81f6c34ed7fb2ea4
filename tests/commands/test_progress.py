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
