"""Outages of the pretend Internet: all its mail hosts gone, or its resolver, for a while or for good.

An outage begins when so much work was done, not at a time, so that it meets a scan in the middle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

_LOOK_EVERY = 0.01

KINDS = ("mail", "resolver")


@dataclass(frozen=True, slots=True)
class Outage:
    """What is gone, from when on, and for how long."""

    kind: str  #: `mail` or `resolver`
    after: int  #: connections accepted, or questions answered, when it begins
    seconds: float  #: 0: it stays gone


def outage_of(text: str) -> Outage:
    """`mail:200:10`: kind, after how many connections or questions, for how many seconds.  Raises `ValueError`."""
    kind, after, seconds = text.split(":")
    if kind not in KINDS or int(after) < 0 or float(seconds) < 0:
        raise ValueError(text)
    return Outage(kind, int(after), float(seconds))


async def play(outage: Outage, count: Callable[[], int], leave: Callable[[], None], back: Callable[[], None]) -> None:
    """Let it happen; `count` says how much work was done."""
    while count() < outage.after:  # noqa: ASYNC110 - a counter that others raise has no event
        await asyncio.sleep(_LOOK_EVERY)
    leave()
    if outage.seconds:
        await asyncio.sleep(outage.seconds)
        back()
