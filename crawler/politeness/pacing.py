"""How many at once and how often: the targets' interest, not ours.

This module decides when, never what.  `RateLimit` and `ConcurrencyLimits` hold for a whole process, whatever number of
shards run in it. A shard's `AddressQueues` never have two connections to one address. All endpoints of a network are
in one shard, so both limits hold for the whole run.  A network too large for that is cut into lots of addresses, and
they share its limit.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any, Generic, NamedTuple, TypeVar

import anyio

from crawler.settings.config import Pacing


def network_of(address: str) -> bytes:
    """The /24 or /48 that a limit per network counts an address into."""
    try:
        if ":" in address:
            return inet_pton(AF_INET6, address)[:6]
        return inet_pton(AF_INET, address)[:3]
    except OSError:  # no address at all; the guard will say so
        return address.encode()


class RateLimit:
    """Connections open at once, and new connections a second, of one process."""

    def __init__(self, pacing: Pacing, processes: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self.slots = anyio.Semaphore(pacing.in_flight, fast_acquire=True)
        self._interval = processes / pacing.rate if pacing.rate else 0.0
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


class NetworkShare(NamedTuple):
    """Some of the addresses of networks too large for one shard; one process at a time works on it."""

    name: str
    per_network: int  #: connections at once to each network; those of all its lots add up to the network's limit
    shards: int = 1  #: that have part of each network, and of the time that it may take in all


class LotNetwork(NamedTuple):
    """A network as far as a lot has a part in it."""

    network: bytes
    lot: NetworkShare


class Neighbour(NamedTuple):
    """A provider in a network that others are in too.  Where the network's time is spent it may have one connection at a time."""

    network: bytes
    provider: str
    is_spent: Callable[[bytes], bool]


Key = bytes | LotNetwork | Neighbour | str  # a network or a part of one, or a provider's registrable domain


class ConcurrencyLimits:
    """How many connections there may be at once to each network and provider, for a whole process.

    A provider that refuses us many times in a row is left alone for a while (a circuit breaker),
    each time twice as long; in the end it is given up.
    """

    def __init__(self, pacing: Pacing, processes: int = 1) -> None:
        self._limits = {bytes: pacing.per_network, str: max(1, pacing.per_provider // processes)}
        self._pacing = pacing
        self._busy: dict[Key, int] = {}
        self._waiting: dict[Key, deque[tuple[AddressQueues[Any], AddressQueue[Any]]]] = {}
        self._breakers: dict[str, _Breaker] = {}

    def full(self, keys: Iterable[Key]) -> Key | None:
        """The first of the keys that has no room."""
        for key in keys:
            if self._busy.get(key, 0) >= self._limit(key) or self._rests(key):
                return key
        return None

    def enter(self, keys: Iterable[Key]) -> None:
        """Take a place at each."""
        for key in keys:
            self._busy[key] = self._busy.get(key, 0) + 1

    def leave(self, keys: Iterable[Key]) -> None:
        """Give the places back and let those who wait for them try again."""
        for key in keys:
            self._busy[key] -= 1
            if not self._busy[key]:
                del self._busy[key]
            self.wake(key)

    def wait(self, key: Key, lanes: AddressQueues[Any], lane: AddressQueue[Any]) -> None:
        """Have the lane tried again when there is room at the key."""
        self._waiting.setdefault(key, deque()).append((lanes, lane))
        if not self._busy.get(key):  # nobody there who could leave: it rests, and time will wake it
            asyncio.get_running_loop().call_later(self._breakers[str(key)].left(), self.wake, key)

    def wake(self, key: Key) -> None:
        """Let as many as there is room for try again, those first who waited longest."""
        waiting = self._waiting.get(key)
        if waiting is None:
            return
        room = self._limit(key) - self._busy.get(key, 0)
        while waiting and room > 0:
            lanes, lane = waiting.popleft()
            lanes.again(lane)
            room -= 1
        if not waiting:
            del self._waiting[key]

    def forget(self, lanes: AddressQueues[Any]) -> None:
        """The lanes of a shard that was given up wait no longer; those behind them must not wait for them."""
        for key, waiting in list(self._waiting.items()):
            kept = deque(entry for entry in waiting if entry[0] is not lanes)
            if len(kept) < len(waiting):
                self._waiting[key] = kept
                self.wake(key)

    def _limit(self, key: Key) -> int:
        if isinstance(key, Neighbour):
            return 1 if key.is_spent(key.network) else self._pacing.per_network
        return key.lot.per_network if isinstance(key, LotNetwork) else self._limits[type(key)]

    # --- the circuit breaker ---

    def note(self, provider: str, refused: bool) -> None:
        """A host of the provider has talked to us, or said that it will not; silence says neither."""
        if not self._pacing.breaker_refusals:
            return
        if not refused:
            self._breakers.pop(provider, None)
            return
        breaker = self._breakers.setdefault(provider, _Breaker())
        breaker.refusals += 1
        if breaker.refusals >= self._pacing.breaker_refusals and not breaker.left():
            breaker.rest(self._pacing.breaker_pause)

    def given_up(self, provider: str) -> bool:
        """Whether the provider has refused us so often that the rest of its endpoints is not run."""
        breaker = self._breakers.get(provider)
        return breaker is not None and breaker.trips >= self._pacing.breaker_trips

    def _rests(self, key: Key) -> bool:
        breaker = self._breakers.get(key) if isinstance(key, str) else None
        if breaker is None or breaker.trips >= self._pacing.breaker_trips:
            return False
        # After a rest one connection at a time feels the way.
        return bool(breaker.left()) or (breaker.trips > 0 and self._busy.get(key, 0) > 0)


class _Breaker:
    """Refusals in a row of one provider."""

    __slots__ = ("_until", "refusals", "trips")

    def __init__(self) -> None:
        self.refusals = 0
        self.trips = 0
        self._until = 0.0

    def rest(self, pause: float) -> None:
        self._until = time.monotonic() + pause * 2**self.trips
        self.trips += 1
        self.refusals = 0

    def left(self) -> float:
        """Seconds of rest that are left."""
        return max(0.0, self._until - time.monotonic())


T = TypeVar("T")


class AddressQueue(NamedTuple, Generic[T]):
    """The work at one address, done one after the other, and where it takes up room: in its network, and at every
    provider with a name there.
    """

    keys: tuple[Key, ...]
    items: list[T]


class AddressQueues(Generic[T]):
    """The lanes of one shard, in random order, for any number of takers.

    `take` gives a lane for which there is room, waiting for it, and None when none is left; `done`
    gives it back.
    """

    def __init__(
        self,
        items: Iterable[tuple[str, str, T]],
        room: ConcurrencyLimits,
        lot: NetworkShare | None = None,
        is_spent: Callable[[bytes], bool] | None = None,
    ) -> None:
        """Items come with their address and their provider; those of a lot keep to its limits.

        `is_spent` says of a network whether its time is.
        """
        providers: dict[str, dict[Key, None]] = {}
        lanes: dict[str, list[T]] = {}
        for address, provider, item in items:
            if address not in lanes:
                network = network_of(address)
                providers[address] = {LotNetwork(network, lot) if lot else network: None}
            providers[address][provider] = None
            if is_spent is not None:
                providers[address][Neighbour(network_of(address), provider, is_spent)] = None
            lanes.setdefault(address, []).append(item)
        order = [AddressQueue(tuple(providers[address]), lanes[address]) for address in lanes]
        random.shuffle(order)  # neighbours in the list are often neighbours in the network
        self._ready = deque(order)
        self._left = len(order)  # not yet taken
        self._room = room
        self._idle: deque[anyio.Event] = deque()  # takers that wait

    def __len__(self) -> int:
        """Lanes not yet taken."""
        return self._left

    async def take(self) -> AddressQueue[T] | None:
        """A lane to be worked on now; its room is taken."""
        while self._left:
            if (lane := self._next()) is not None:
                return lane
            woken = anyio.Event()
            self._idle.append(woken)
            await woken.wait()
        return None

    def _next(self) -> AddressQueue[T] | None:
        while self._ready:
            lane = self._ready.popleft()
            if (full := self._room.full(lane.keys)) is not None:
                self._room.wait(full, self, lane)
                continue
            self._room.enter(lane.keys)
            self._left -= 1
            if not self._left:
                while self._idle:
                    self._idle.popleft().set()
            return lane
        return None

    def done(self, lane: AddressQueue[T]) -> None:
        """The lane is finished; there is room again where it was."""
        self._room.leave(lane.keys)

    def close(self) -> None:
        """Nobody will take from here any more."""
        self._left = 0
        self._ready.clear()
        self._room.forget(self)

    def again(self, lane: AddressQueue[T]) -> None:
        """There may be room for a lane that waited."""
        self._ready.append(lane)
        if self._idle:
            self._idle.popleft().set()
