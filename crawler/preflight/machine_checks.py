"""Whether this machine is fit to measure: its open files, its clock, its disk; and how a check of `doctor` is told."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from crawler.preflight.checks import descriptors_needed
from crawler.settings.config import Config

OK, WARNING, FAILED, UNKNOWN = "ok", "warning", "failed", "unknown"

_LOW_DISK = 2 << 30  # a million domains take some 0.2 GB
_TIME_ERROR = 5  # of adjtimex(2): the clock is not synchronised
_TIMEX_BYTES = 256
_NEWEST_RELEASE = 1_700_000_000  # 2023-11-14; a clock before it is wrong


@dataclass(frozen=True, slots=True)
class Check:
    """One thing a scan depends on."""

    name: str
    state: str
    finding: str
    advice: str | None = None


def open_files(config: Config) -> Check:
    """Whether a process may have as many open files as its connections take."""
    needed = descriptors_needed(config)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < needed:
        advice = "raise it (ulimit -Hn, LimitNOFILE=) or lower pacing.in_flight by --config"
        return Check(
            "open files", FAILED, f"limit {hard}, needed {needed} for {config.pacing.in_flight} connections", advice
        )
    return Check("open files", OK, f"{needed} needed in one process, which the limit allows")


def clock() -> Check:
    """Whether the clock is right, as far as the system knows."""
    if time.time() < _NEWEST_RELEASE:
        return Check(
            "clock", FAILED, f"says {time.strftime('%Y-%m-%d', time.gmtime())}", "set it; certificates have dates"
        )
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if state == _TIME_ERROR:
        advice = "run a time service (chrony, systemd-timesyncd); validity of certificates is judged by this clock"
        return Check("clock", WARNING, "the system does not know whether it is right", advice)
    return Check("clock", UNKNOWN if state < 0 else OK, "synchronised" if state >= 0 else "its state cannot be read")


def disk(data: Path) -> Check:
    """Whether there is room for a dataset, at a place that can be written."""
    place = next(path for path in (data.absolute(), *data.absolute().parents) if path.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return Check("disk", FAILED, f"{place} cannot be written", "name another place by --data")
    try:  # asking for permission is not enough: /proc grants it and takes nothing
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        return Check("disk", FAILED, f"{place} cannot be written ({error.strerror})", "name another place by --data")
    free = shutil.disk_usage(place).free
    words = f"{free / (1 << 30):.1f} GiB free at {place}"
    return Check("disk", OK, words) if free >= _LOW_DISK else Check("disk", WARNING, words, "make room")
