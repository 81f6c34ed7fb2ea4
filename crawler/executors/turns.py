"""How long single turns of a worker's event loop take, for debugging.

It runs where the environment variable names a directory, and costs nothing otherwise.  Each process keeps a file
there, `PID.json`: the longest turns of its event loop, each with what was computed in it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import anyio

VARIABLE = "STARTTLS_CRAWLER_TURNS"

_BEAT = 0.005  # seconds between two looks at the clock
_NOTEWORTHY = 0.025  # seconds of processor time from which on a turn is noted
_KEPT = 30


async def watch(directory: Path) -> None:
    """For ever: measure the processor time of this thread from one beat to the next.

    Between two beats lie the callbacks of two turns at most, so no turn is longer than the longest time found.  It is
    processor time, as a busy machine makes every turn long.
    """
    path = directory / f"{os.getpid()}.json"
    places = _Places(threading.get_ident())
    found: list[dict[str, Any]] = []
    cpu, wall = time.thread_time(), time.monotonic()
    while True:
        await anyio.sleep(_BEAT)
        cpu_now, wall_now = time.thread_time(), time.monotonic()
        place = places.beat(wall_now)
        if cpu_now - cpu > _NOTEWORTHY:
            found.append({"cpu": round(cpu_now - cpu, 4), "wall": round(wall_now - wall, 4), "where": place})
            found = sorted(found, key=lambda turn: -turn["cpu"])[:_KEPT]
            await anyio.Path(path).write_text(json.dumps(found), "utf-8")
            cpu_now = time.thread_time()
        cpu, wall = cpu_now, time.monotonic()


class _Places:
    """Where a thread was when it had not come back for long: another thread looks."""

    def __init__(self, thread: int) -> None:
        self._thread = thread
        self._last = time.monotonic()
        self._place = ""
        threading.Thread(target=self._look, daemon=True).start()

    def beat(self, now: float) -> str:
        """The thread is back; returns where it was seen last."""
        place, self._place, self._last = self._place, "", now
        return place

    def _look(self) -> None:
        while True:
            time.sleep(_NOTEWORTHY / 2)
            if time.monotonic() - self._last > _NOTEWORTHY and (frame := sys._current_frames().get(self._thread)):
                calls = traceback.extract_stack(frame)[-12:]
                self._place = " < ".join(
                    f"{Path(call.filename).name}:{call.lineno} {call.name}" for call in calls[::-1]
                )
