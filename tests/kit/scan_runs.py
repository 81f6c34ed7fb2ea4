"""Scans of a small list, undisturbed or disturbed, and what they leave."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import IO


def leftovers(data: Path) -> list[Path]:
    return [path for path in data.rglob("*") if path.name.startswith(".tmp")]


def line_that_begins(words: str, stream: IO[str]) -> bool:
    """Read on to the line that begins so."""
    return any(line.startswith(words) for line in stream)


def comes_true(condition: Callable[[], object]) -> bool:
    """Whether it does within twenty seconds."""
    deadline = time.monotonic() + 20
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(met)
