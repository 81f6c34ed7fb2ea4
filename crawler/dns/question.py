"""One question on its way.

It holds state only; `client.py` decides, `transport.py` and `tcp.py` carry.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True, eq=False)
class Question:
    """One question on its way to an answer."""

    name: str
    rdtype: int
    section: bytes  #: the question section as sent, whose bytes an answer must repeat
    waiters: list[asyncio.Future[Any]]
    sent: int = 0  #: tries, of which a truncated answer and the same over TCP are one
    server: int = 0  #: index of the server asked last
    deadline: float = 0.0
    over_tcp: bool = False
    edns: bool = True
    checking_disabled: bool = False
    failure: Any = None  #: the answer to give if nothing better comes
    suspect: bool = False  #: answered with checking disabled, so only validation failed

    def forget(self) -> None:
        """Nobody will answer; those who still wait are cancelled."""
        for waiter in self.waiters:
            waiter.cancel()


#: Bytes of answers that are read in one turn of the event loop.  The largest answer costs some 20 ms, and whoever sends
#: many of them has one turn for each.
BYTES_A_TURN = 65_536

#: What is under way on one socket or connection, by message ID, in order of sending.
Pending = dict[int, Question]
