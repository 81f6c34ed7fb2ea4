"""Run one scene in a process of its own and measure it: CPU of itself and its children, wall, memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass
class Measured:
    """What a scene did (`count` of its unit) and what it took."""

    name: str
    count: int
    cpu: float  #: user + system seconds
    wall: float  #: seconds
    peak: float  #: MiB resident
    notes: dict[str, Any]

    def __add__(self, other: Measured) -> Measured:
        """Both rounds together."""
        return Measured(
            self.name,
            self.count + other.count,
            self.cpu + other.cpu,
            self.wall + other.wall,
            max(self.peak, other.peak),
            self.notes,
        )

    @property
    def rate(self) -> float:
        """Units per CPU-second."""
        return self.count / self.cpu if self.cpu else 0.0


class Stopwatch:
    """CPU and wall time since it was made; start-up is not the scene's."""

    def __init__(self) -> None:
        self._cpu, self._wall = _cpu(resource.RUSAGE_SELF), time.monotonic()

    def report(self, count: int, **notes: Any) -> None:
        """Print what `scene` reads: the last line of the scene's standard output."""
        result = {
            "count": count,
            "cpu": _cpu(resource.RUSAGE_SELF) - self._cpu,
            "wall": time.monotonic() - self._wall,
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "notes": notes,
        }
        sys.stdout.write(json.dumps(result) + "\n")


def scene(name: str, module: str, *arguments: str) -> Measured:
    """Run `python -m MODULE ARGUMENTS…` and read what its stopwatch reports."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, timeout=900)
    return Measured(name, **json.loads(done.stdout.splitlines()[-1]))


def program(name: str, command: list[str], count: Callable[[str], int]) -> Measured:
    """Run a foreign program; `count` finds in its output how much it did.  Its start-up is counted too."""
    before, begin = _cpu(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900, check=False
    )
    cpu, wall = _cpu(resource.RUSAGE_CHILDREN) - before, time.monotonic() - begin
    return Measured(name, count(done.stdout), cpu, wall, 0.0, {})


def _cpu(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def table(rows: list[Measured], reference: str, unit: str) -> str:
    """A plain table; `ratio` is units per CPU-second over those of the reference."""
    base = next(row.rate for row in rows if row.name == reference)
    lines = [f"{'':44} {unit + '/CPU-s':>18} {'ratio':>6} {'wall s':>7} {'CPU s':>7} {'peak MiB':>9}  notes"]
    for row in rows:
        notes = ", ".join(f"{key} {value}" for key, value in row.notes.items())
        peak = f"{row.peak:9.0f}" if row.peak else " " * 9
        lines.append(
            f"{row.name:44} {row.rate:18,.0f} {row.rate / base:6.2f} {row.wall:7.1f} {row.cpu:7.2f} {peak}  {notes}"
        )
    return "\n".join(lines)
