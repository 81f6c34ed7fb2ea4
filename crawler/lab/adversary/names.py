"""Names of the lab's hostile domains."""

from __future__ import annotations

from collections.abc import Iterator

MOST = 250
"""Hostile domains at most: each has networks of its own, whose last or third octet is its number."""


def hostile_names(count: int) -> Iterator[str]:
    """So many of them; short, so that names of very many labels fit below them."""
    return (f"bad{number}.test" for number in range(1, count + 1))


def is_hostile(name: str) -> bool:
    """Whether a name is one of them, or in one."""
    labels = name.split(".")[-2:]
    return (
        len(labels) == 2 and labels[1] == "test" and labels[0].removeprefix("bad").isdigit() and labels[0][:3] == "bad"
    )
