"""Watches whether the network of this process is still there, and waits while it is not.

A stranger's hosts may answer and fail when he likes.  So an alarm is believed only if witnesses drawn by chance are gone
too, and if for a while after them no connection at all was made: nobody can keep honest hosts from answering.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from crawler.executors.outages import FailureWindow, is_gone
from crawler.executors.witnesses import Witnesses
from crawler.model.rows import Endpoint, Probe
from crawler.settings.config import Watch

_AT_A_TIME = 3
"""Witnesses without which nothing can be told, and that are asked at a time in an outage."""

_LONGEST_PAUSE = 60.0

Ask = Callable[[Endpoint], Awaitable[tuple[Probe, Any]]]


class Lookout:
    """What one process knows of who can be reached, and what it does about it."""

    def __init__(self, settings: Watch, ask: Ask, say: Callable[[dict[str, Any]], None]) -> None:
        """`ask` makes one attempt at an endpoint; `say` tells the pool of an outage, which decides on it."""
        self._settings = settings
        self._ask = ask
        self._say = say
        self._window = FailureWindow(settings)
        self._witnesses = Witnesses(settings.witnesses)
        self._alarm = anyio.Event()
        self._waiting: anyio.CancelScope | None = None

    @property
    def last_answer(self) -> float:
        """When the last connection that stood was made; 0: there was none."""
        return self._window.last_answer or 0.0

    def hear(self, endpoint: Endpoint, probe: Probe) -> None:
        """An attempt at an endpoint was made."""
        if not is_gone(probe):
            self._witnesses.note(endpoint)
        if self._window.note(endpoint, probe, time.time()):
            self._alarm.set()

    async def watch(self) -> None:
        """For ever: on an alarm ask again who answered before; if they are gone too, wait until one is back."""
        while True:
            await self._alarm.wait()
            self._say({"event": "doubt"})
            looks = _Looks(self._settings, self._ask, self._witnesses)
            began = time.time()
            if is_outage := await self._is_outage(looks, began):
                await self._sit_out(looks, began)
            self._window.calm(in_vain=not is_outage)
            self._alarm = anyio.Event()
            self._say({"event": "calm", "at": began, "asked": [] if is_outage else looks.names()})

    def calm(self) -> None:
        """There is no outage, or it is over, as another process has found."""
        if self._waiting is not None:
            self._waiting.cancel()

    async def _is_outage(self, looks: _Looks, began: float) -> bool:
        """Whether witnesses are gone, and a while later others too, and no connection was made in between."""
        if await looks.somebody(_AT_A_TIME) or len(looks.asked) < _AT_A_TIME:
            return False
        # Half of those that may be asked; the others are for the time of the outage.
        if await looks.somebody(self._settings.asked_again // 2 - _AT_A_TIME):
            return False
        await anyio.sleep(self._settings.pause)
        return self.last_answer <= began and not await looks.somebody(_AT_A_TIME)

    async def _sit_out(self, looks: _Looks, began: float) -> None:
        """Tell of the outage, and ask a few witnesses again, less and less often."""
        settings = self._settings
        self._say({"event": "outage", "since": self.last_answer or began, "looked": began, "asked": looks.names()})
        started, pause = time.monotonic(), settings.pause
        with anyio.CancelScope() as self._waiting:
            while True:
                await anyio.sleep(pause)
                if await looks.somebody(_AT_A_TIME):
                    self._say({"event": "over", "asked": looks.names()})
                    break
                if time.monotonic() - started > settings.patience:
                    said = f"mail hosts that answered before cannot be reached any more, for {settings.patience:.0f} s"
                    problem = f"{said}; everything finished before is kept"
                    self._say({"event": "gone", "problem": problem, "asked": looks.names()})
                    await anyio.sleep_forever()
                pause = min(2 * pause, _LONGEST_PAUSE)
        self._waiting = None


class _Looks:
    """What is asked on one alarm: witnesses drawn anew for each look, as long as there may be more of them."""

    def __init__(self, settings: Watch, ask: Ask, witnesses: Witnesses) -> None:
        self._most = settings.asked_again
        self._ask = ask
        self._witnesses = witnesses
        self.asked: list[Endpoint] = []

    def names(self) -> list[list[str | None]]:
        """Host and address of all that were asked."""
        return [[endpoint.host, endpoint.address] for endpoint in self.asked]

    async def somebody(self, count: int) -> bool:
        """Whether a connection stands to one of so many: new ones, and if there are too few, some that were asked before."""
        chosen = self._witnesses.draw(max(0, min(count, self._most - len(self.asked))), self.asked)
        again = min(count - len(chosen), len(self.asked))
        self.asked += chosen
        if again > 0:
            chosen = chosen + random.sample(self.asked[: len(self.asked) - len(chosen)], again)
        found = []

        async def ask(endpoint: Endpoint) -> None:
            probe, _ = await self._ask(endpoint)
            found.append(not is_gone(probe))

        async with anyio.create_task_group() as tasks:
            for endpoint in chosen:
                tasks.start_soon(ask, endpoint)
        return any(found)
