"""Benchmarks count all that a program takes, and compare nothing that is absent or did less than its work."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench import others
from bench.others import PROGRAMS, Given, Row, run, table
from bench.scan_world import World
from bench.whole import whole

BURN = "import time\nwhile time.process_time() < 0.2: pass\n"

#: A process that leaves another behind when it ends, which computes.
ORPHAN = f"import os, sys\nif os.fork() == 0:\n    os.setsid(); os.close(1); os.close(2)\n    exec({BURN!r})\n    os._exit(0)\n"


def test_the_cpu_of_a_process_that_outlives_its_parent_is_counted() -> None:
    assert whole([sys.executable, "-S", "-c", ORPHAN]).cpu >= 0.2


def test_start_up_is_counted() -> None:
    assert whole([sys.executable, "-c", BURN]).cpu > 0.2


@pytest.fixture
def given(tmp_path: Path) -> Given:
    return Given(tmp_path, World(4, 2, 53, 25, 465, 443, tmp_path, 1), 1).write()


def said(given: Given, words: str) -> Row:
    """What is made of a program that prints these words and writes nothing."""
    program = next(program for program in PROGRAMS if program.name == "dnsperf")
    return run(replace(program, command=lambda given: [sys.executable, "-c", f"print({words!r})"]), given)


def test_a_program_that_did_all_its_work_is_compared(given: Given) -> None:
    row = said(given, "Queries completed: 6 (100.00%)")
    assert (row.count, row.problem) == (6, "")
    assert "6 answers" not in table([[row]]) and "does: MX and A asked" in table([[row]])


def test_a_program_that_did_less_than_it_was_given_is_not_compared(given: Given) -> None:
    row = said(given, "Queries completed: 5 (83.33%)")
    assert "dnsperf" in table([[row]]) and "not compared: did 5 of 6" in table([[row]])


def test_a_program_that_does_not_say_what_it_did_is_not_compared(given: Given) -> None:
    assert "not compared: ended with 0: unknown flag" in table([[said(given, "unknown flag")]])


def test_a_program_that_ends_with_an_error_is_not_compared_whatever_it_counted(given: Given) -> None:
    program = next(program for program in PROGRAMS if program.name == "dnsperf")
    script = "print('Queries completed: 6'); raise SystemExit(3)"
    row = run(replace(program, command=lambda given: [sys.executable, "-c", script]), given)
    assert "not compared: ended with 3" in table([[row]])


def test_a_program_that_does_not_end_is_killed_and_its_watcher_is_told() -> None:
    told: list[str] = []
    with pytest.raises(SystemExit, match="did not end within"):
        whole(
            [sys.executable, "-S", "-c", "import time; time.sleep(60)"],
            watch=lambda pid: lambda: told.append("over"),
            timeout=0.1,
        )
    assert told == ["over"]


def test_programs_that_are_not_on_the_path_are_named(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(given.directory))
    assert list(others.rows(given)) == []
    assert "absent from PATH, so not compared: dnsperf, massdns, openssl, tls-scan, zdns, zgrab2" in table([])


def test_each_host_is_given_once_with_its_address(given: Given) -> None:
    assert given.targets.read_text() == "127.10.0.1,mx0.provider0.test\n127.10.0.2,mx0.provider1.test\n"
