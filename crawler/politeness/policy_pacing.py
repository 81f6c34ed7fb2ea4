"""When a policy host is contacted, and for how long it and its like are waited for.

This module decides when, never what.  Limits hold for the address that is really connected to, and for its network.
Time counts against the registrable domain that published the policy host, because that domain alone chose the address.
So nobody is crowded or given up for what a stranger has published.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import anyio

from crawler.politeness.pacing import RateLimit, network_of
from crawler.settings.config import Config
from crawler.settings.declared_limits import limit

#: addresses that are silent, and domains that are slow, remembered by one process
_KEPT = limit(
    10_000,
    "silent addresses, and slow domains, remembered by a process",
    protects="our memory",
    cut="the oldest are forgotten and may be asked again",
)

Key = TypeVar("Key")
Number = TypeVar("Number", int, float)


@dataclass(slots=True)
class _Place:
    """An address or a network that fetches are under way to, or wait for."""

    room: anyio.Semaphore
    fetches: int = 0


class PolicyPacing:
    """What one of `processes` may do at once, and whom it has waited for long enough."""

    def __init__(self, config: Config, processes: int = 1) -> None:
        self._settings = config.https
        self._per_address = max(1, config.https.per_address // processes)
        self._per_network = max(1, config.https.per_network // processes)
        self._budget = RateLimit(
            replace(config.pacing, in_flight=config.https.in_flight, rate=config.https.rate), processes
        )
        self._silences: OrderedDict[str, int] = OrderedDict()  # in a row, by address
        self._slowness: OrderedDict[str, float] = OrderedDict()  # seconds beyond the ordinary, by registrable domain
        self.places: dict[Hashable, _Place] = {}  #: addresses and networks with a fetch under way

    @asynccontextmanager
    async def room(self, address: str) -> AsyncIterator[None]:
        """Wait until the address, its network and the process have room.

        In this order: who waits for a crowded address or network takes up no room of the process, by which
        it would keep others from theirs.
        """
        async with (
            self._place(address, self._per_address),
            self._place(network_of(address), self._per_network),
            self._budget.slots,
        ):
            yield

    async def turn(self) -> None:
        """Wait until the rate allows another fetch."""
        await self._budget.turn()

    @asynccontextmanager
    async def _place(self, key: Hashable, limit: int) -> AsyncIterator[None]:
        place = self.places.setdefault(key, _Place(anyio.Semaphore(limit)))
        place.fetches += 1
        try:
            async with place.room:
                yield
        finally:
            place.fetches -= 1
            if not place.fetches:
                del self.places[key]

    # --- who is waited for no longer ---

    def given_up(self, address: str) -> bool:
        """Whether the address was silent so often in a row that it is asked no more."""
        return self._silences.get(address, 0) >= self._settings.failures

    def was_silent(self, address: str) -> None:
        """The address had its time and did not answer."""
        _keep(self._silences, address, self._silences.get(address, 0) + 1)

    def has_answered(self, address: str) -> None:
        """Whatever the address said: it is not silent."""
        self._silences.pop(address, None)

    def is_spent(self, domain: str) -> bool:
        """Whether policy hosts of the registrable domain were waited for long enough."""
        return self._slowness.get(domain, 0.0) >= self._settings.slow_seconds

    def took(self, domain: str, seconds: float) -> None:
        """A fetch for the registrable domain took so long, its turns not counted."""
        beyond = seconds - self._settings.ordinary_seconds
        if beyond > 0:
            _keep(self._slowness, domain, self._slowness.get(domain, 0.0) + beyond)


def _keep(kept: OrderedDict[Key, Number], key: Key, value: Number) -> None:
    """Remember the value, and forget what was longest not spoken of when that is too much."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > _KEPT:
        kept.popitem(last=False)
