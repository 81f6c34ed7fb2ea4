"""The cost of a whole program: CPU of all its processes from the first instruction on, and the bytes it wrote.

Start-up is counted.  A process that outlives its parent is counted too: it becomes a child of ours, and is waited for.
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_ORPHANS_FOR = 10.0  # seconds that orphans of a program get to end


@dataclass(frozen=True)
class Whole:
    """What one program took."""

    cpu: float  #: user + system seconds of all its processes, start-up included
    wall: float
    code: int
    out: str
    err: str


def whole(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    watch: Callable[[int], Callable[[], None]] | None = None,
    timeout: float = 900,
) -> Whole:
    """Run a program to its end.  `watch` is called with its process id, and what it returns when the program has ended."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    others, before, begin = _children(), _reaped_cpu(), time.monotonic()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        over = watch(process.pid) if watch else None
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()  # otherwise the end of this block would wait for it without a limit
            raise SystemExit(f"bench: {command[0]} did not end within {timeout:g} s") from None
        finally:
            if over is not None:
                over()
    wall = time.monotonic() - begin
    for orphan in _children() - others:
        _wait_for(orphan)
    return Whole(_reaped_cpu() - before, wall, process.returncode, out, err)


def _reaped_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _children() -> set[int]:
    return {int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


def _wait_for(orphan: int) -> None:
    deadline = time.monotonic() + _ORPHANS_FOR
    while os.waitpid(orphan, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            raise SystemExit(f"bench: process {orphan} outlived its program by {_ORPHANS_FOR:g} s")
        time.sleep(0.02)
