"""A process that takes little: how busy it is, how seldom it looks for garbage, and what it does not import."""

from __future__ import annotations

import gc
import time
from importlib.abc import MetaPathFinder
from pathlib import Path


def busy_time() -> float:
    """CPU seconds that this thread used, and seconds that it waited for a core.

    A thread that waits for a core has no time to spare: more shards under way would only cost memory.
    """
    try:
        ran, waited, _ = Path("/proc/thread-self/schedstat").read_text("ascii").split()
        if int(ran):  # a kernel that keeps no such statistics says 0
            return (int(ran) + int(waited)) / 1e9
    except (OSError, ValueError):
        pass
    return time.thread_time()


def calm_garbage_collector() -> None:
    """Look for reference cycles less often, for thousands of live connections are no garbage.

    And never among what was imported.  It was 7 % of the CPU of PROBE.
    """
    gc.freeze()
    gc.set_threshold(10_000, 50, 50)


class NoPandas(MetaPathFinder):
    """Keeps pyarrow from importing pandas with the first array it makes: 0.2 s and 40 MiB of each process."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("not where nothing is counted", name=fullname)
