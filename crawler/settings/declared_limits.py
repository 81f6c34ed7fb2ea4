"""Limits that are no settings: declared where they hold, and collected for docs/limits.md.

A limit that an operator may want to change is a setting. The limits here bound the cost of a stranger's bytes; with
other ones it would be another program.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from crawler.model.errors import UsageError

Value = TypeVar("Value", int, float, str)


@dataclass(frozen=True, slots=True)
class DeclaredLimit:
    """One limit, for the page of limits."""

    module: str
    value: int | float | str
    what: str
    protects: str
    cut: str


DECLARED: list[DeclaredLimit] = []


def limit(value: Value, what: str, *, protects: str, cut: str) -> Value:
    """Declare a limit: what it bounds, what it protects, and what is counted or said when it cuts; gives the value."""
    module = sys._getframe(1).f_globals["__name__"]
    DECLARED.append(DeclaredLimit(module, value, what, protects, cut))
    return value


def read_bounded(path: Path, most: int, what: str) -> bytes:
    """A file that is read whole.  Raises `OSError`, and `UsageError` where it is larger than what it is meant to be."""
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise UsageError(f"{path}: is larger than {most >> 20:,} MiB, and so is not {what}")
    return content
