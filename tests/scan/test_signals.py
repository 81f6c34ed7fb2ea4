"""Signals, killed workers and the end of the time given."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.kit.scan_runs import comes_true, leftovers, line_that_begins
from tests.kit.scans import Kit
from tools.chaos import is_running


def test_a_killed_worker_is_replaced(kit: Kit, undisturbed: dict[str, list[dict[str, Any]]]) -> None:
    kit.scan("data", "--workers", "2", environment={"FAKE_DIE_ONCE": str(kit.path / "died")})
    assert (kit.path / "died").exists()
    assert kit.dataset("data") == undisturbed
    assert leftovers(kit.path / "data") == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_the_scan_in_time_and_keeps_what_is_finished(
    kit: Kit, undisturbed: dict[str, list[dict[str, Any]]], number: signal.Signals, code: int
) -> None:
    with kit.start("data", environment={"FAKE_DELAY": "0.003"}) as process:
        assert process.stderr is not None
        assert line_that_begins("RESOLVE domains", process.stderr)
        process.send_signal(number)
        started = time.monotonic()
        out, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert time.monotonic() - started < 4
    assert "Traceback" not in err and "the same command continues" in err
    assert "interrupted" in out
    assert kit.manifest("data")["state"] == "interrupted"
    assert kit.manifest("data")["counts"]["rows"]["domains"] == 702
    _, err = kit.scan("data")
    assert "(754 before)" in err
    assert kit.dataset("data") == undisturbed
    assert len(kit.manifest("data")["resumed_at"]) == len(kit.manifest("data")["resumed_with"]) == 1


def test_no_worker_outlives_a_killed_scan(kit: Kit) -> None:
    with kit.start("data", environment={"FAKE_DELAY": "0.01"}) as process:
        assert comes_true(lambda: children_of(process.pid))
        time.sleep(0.5)
        children = children_of(process.pid)
        process.kill()
        process.communicate()
    assert children and comes_true(lambda: not any(map(is_running, children)))


def children_of(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(child) for child in text.split()]


def test_time_is_up_and_the_same_command_continues(kit: Kit, undisturbed: dict[str, list[dict[str, Any]]]) -> None:
    out, err = kit.scan("data", "--max-runtime", "1.5s", environment={"FAKE_DELAY": "0.01"}, code=3)
    assert "time is up" in err and "interrupted" in out
    kit.scan("data", "--workers", "2")  # neither may differ from what the run was started with, and yet it is the same
    assert kit.dataset("data") == undisturbed


def test_a_second_signal_ends_the_scan_at_once_and_nothing_visible_is_half(
    kit: Kit, undisturbed: dict[str, list[dict[str, Any]]]
) -> None:
    with kit.start("data", environment={"FAKE_DELAY": "0.003", "FAKE_DEAF": str(kit.path / "heard")}) as process:
        assert process.stderr is not None
        assert line_that_begins("RESOLVE domains", process.stderr)
        children = children_of(process.pid)
        process.send_signal(signal.SIGINT)
        assert comes_true((kit.path / "heard").exists)  # that they shall end, which the scan waits for
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        process.wait(timeout=20)
        assert time.monotonic() - started < 1
        assert process.returncode == 130
        for child in children:  # they would end in ten seconds
            os.kill(child, signal.SIGKILL)
        process.communicate()
    for part in kit.run("data").glob("[a-z]*/*.parquet"):
        assert pq.ParquetFile(part).read() is not None
    kit.scan("data")
    assert kit.dataset("data") == undisturbed


def test_a_time_too_short_for_one_shard_is_said_to_be(kit: Kit) -> None:
    """The same command would go on for ever otherwise, and nobody would know why."""
    slow = {"FAKE_DELAY": "0.05"}
    kit.scan("data", "--max-runtime", "1s", environment=slow, code=3)
    _, err = kit.scan("data", "--max-runtime", "1s", environment=slow, code=3)
    assert "not one shard could be finished, so the run has not advanced" in err.splitlines()[-1]
    assert kit.manifest("data")["state"] == "interrupted"
