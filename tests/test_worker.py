"""What a worker process says of itself; what it does with shards is tested where scans are."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from crawler.worker import busy_time


def spin(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_computing_is_being_busy_and_so_is_being_kept_from_it_by_others() -> None:
    before = busy_time()
    spin(0.1)
    assert busy_time() - before >= 0.09


def test_where_the_system_does_not_say_the_time_of_the_thread_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert busy_time() == pytest.approx(time.thread_time(), abs=0.1)
