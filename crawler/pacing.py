"""How many at once and how often: the targets' interest, not ours.

Rule of this room: it decides when, never what.  One `Budget` holds for a whole process, whatever
number of shards run in it; `Lanes` keeps the limits per address and per network, which are exact
because all endpoints of a network are in one shard.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from socket import AF_INET, AF_INET6, inet_pton
from typing import Generic, TypeVar

import anyio


def network_of(address: str) -> bytes:
    """The /24 or /48 that a limit per network counts an address into."""
    try:
        if ":" in address:
            return inet_pton(AF_INET6, address)[:6]
        return inet_pton(AF_INET, address)[:3]
    except OSError:  # no address at all; the guard will say so
        return address.encode()


class Budget:
    """Connections open at once, and new connections a second, of one process."""

    def __init__(self, in_flight: int, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.slots = anyio.Semaphore(in_flight, fast_acquire=True)
        self._interval = 1 / rate if rate else 0.0
        self._next = 0.0
        self._clock = clock

    async def turn(self) -> None:
        """Wait until another connection may be opened."""
        if not self._interval:
            return
        now = self._clock()
        # A quarter of a second may be caught up after a pause; more would be a burst.
        self._next = max(self._next + self._interval, now - 0.25)
        if self._next > now:
            await anyio.sleep(self._next - now)


T = TypeVar("T")


class Lanes(Generic[T]):
    """What is to be done at many addresses: one lane an address, in random order.

    `next` gives a lane whose network has room (or None while all must wait), `done` gives it back.
    """

    def __init__(self, items: Iterable[tuple[str, T]], per_network: int) -> None:
        lanes: dict[str, list[T]] = defaultdict(list)
        for address, item in items:
            lanes[address].append(item)
        addresses = list(lanes)
        random.shuffle(addresses)  # neighbours in the list are often neighbours in the network
        self._ready = deque((address, lanes[address]) for address in addresses)
        self._waiting: dict[bytes, deque[tuple[str, list[T]]]] = defaultdict(deque)
        self._busy: dict[bytes, int] = defaultdict(int)
        self._per_network = per_network

    def next(self) -> tuple[str, list[T]] | None:
        """A lane to be worked on now."""
        while self._ready:
            lane = self._ready.popleft()
            network = network_of(lane[0])
            if self._busy[network] < self._per_network:
                self._busy[network] += 1
                return lane
            self._waiting[network].append(lane)
        return None

    def done(self, address: str) -> None:
        """The lane of this address is finished; its network has room again."""
        network = network_of(address)
        self._busy[network] -= 1
        if not self._busy[network]:
            del self._busy[network]
        if waiting := self._waiting.get(network):
            self._ready.append(waiting.popleft())
            if not waiting:
                del self._waiting[network]

    def __bool__(self) -> bool:
        return bool(self._ready) or bool(self._waiting)
