"""What options take that is more than a word: directories, ports by name, durations.

A text becomes a value, or an `ArgumentTypeError` that shows how it is written.
"""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

from crawler.object_store.url import is_location


def directory(text: str) -> Path:
    """A directory, and no object store."""
    if is_location(text):
        raise argparse.ArgumentTypeError(f"{text.partition(':')[0]}: is no directory, and this command takes no other")
    return Path(text)


def named_port(text: str) -> tuple[str, int]:
    """`smtp=2525`."""
    name, _, number = text.partition("=")
    if not (name and number.isascii() and number.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PORT, e.g. smtp=2525")
    return name, int(number)


def duration(text: str) -> float:
    """Seconds of `8h`, `90m`, `1h30m`, `45s` or `45`."""
    found = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    seconds = (
        sum(float(part or 0) * unit for part, unit in zip(found.groups(), (3600, 60, 1), strict=True)) if found else 0
    )
    if not seconds or not math.isfinite(seconds):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no duration above zero, e.g. 90m, 8h or 1h30m")
    return seconds
