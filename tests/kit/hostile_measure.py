"""Run one command of the crawler under a limit of memory, and measure what all its processes take together."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crawler.executors.turns import VARIABLE

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT = 3 << 30
"""Bytes of address space that each process may have (`prlimit --as`)."""

_EVERY = 0.05  # seconds between two looks at the memory
_PATIENCE = 300.0  # seconds after which a command is ended


@dataclass
class Taken:
    """What a command took: all its processes, our lab not among them."""

    code: int
    cpu: float  #: user and system seconds, of the command and all processes that it waited for
    wall: float
    peak: float  #: MiB: the largest sum of the proportional set sizes of all its processes (PSS)
    said: str
    turns: list[dict[str, Any]] = field(default_factory=list)  #: of the workers' event loops, the longest first

    @property
    def longest_turn(self) -> float:
        """Seconds of processor time; 0.0 if none was long enough to be noted."""
        return max((turn["cpu"] for turn in self.turns), default=0.0)


def measured(*arguments: str | Path, cwd: Path) -> Taken:
    """Run `starttls-crawler ARGUMENTS…` to its end."""
    with tempfile.TemporaryDirectory(prefix="turns-") as turns, tempfile.TemporaryFile("w+") as said:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: turns}
        begun = time.monotonic()
        process = subprocess.Popen(
            ["prlimit", f"--as={LIMIT}", sys.executable, "-m", "crawler", *map(str, arguments)],
            cwd=cwd, env=environment, stdout=said, stderr=subprocess.STDOUT,
        )  # fmt: skip
        peak = 0
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() - begun > _PATIENCE:
                process.kill()
            peak = max(peak, sum(map(_pss, _with_descendants(process.pid))))
            time.sleep(_EVERY)
        process.returncode = code = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - begun
        said.seek(0)
        found = [turn for path in Path(turns).glob("*.json") for turn in json.loads(path.read_text() or "[]")]
        found.sort(key=lambda turn: -turn["cpu"])
        return Taken(code, usage.ru_utime + usage.ru_stime, wall, peak / 1024, said.read(), found)


def _with_descendants(pid: int) -> Sequence[int]:
    found = [pid]
    for parent in found:  # grows while it is gone through
        with contextlib.suppress(OSError):
            found += map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
    return found


def _pss(pid: int) -> int:
    """KiB of memory that a process has, what it shares divided among those that share it."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
