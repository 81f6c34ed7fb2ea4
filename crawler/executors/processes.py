"""The worker processes of one scan: started, handed shards, listened to, replaced when they end.

This module knows the number and the fate of each shard, not its rows. Shards that were in hand when a process ended,
or that fail, go into quarantine. A shard that ends its process alone is divided. In the end its last row is given up,
so that everything else is measured.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
from anyio.abc import TaskGroup

from crawler.dataset.run import RunDirectory
from crawler.dataset.steps import Step
from crawler.executors.culprits import Culprits
from crawler.executors.pool_limits import MAX_ACTIVE, MAX_IDLE_DEATHS, MOST_DOUBTS
from crawler.executors.worker_handle import COMMAND, WorkerHandle, dismiss
from crawler.model.errors import ScanFailed
from crawler.settings.config import Config

_FAREWELL = 2.0
_HEARING = 3.0
"""Seconds in which other processes say whether they met somebody, before one that met nobody holds all; each says so every second."""

_LOOK_EVERY = 1.0


class Pool:
    """Processes that take shards of one step after another."""

    def __init__(
        self,
        run: RunDirectory,
        config: Config,
        size: int,
        *,
        command: Sequence[str] = COMMAND,
        on_rows: Callable[[int], None],
        say: Callable[[str], None] = lambda words: None,
        opt_outs: dict[str, str] | None = None,
        on_incident: Callable[[Mapping[str, Sequence[Any]]], None] = lambda incidents: None,
    ) -> None:
        """`opt_outs` is the run's copy of those in force (`kept_opt_outs`).

        `on_rows` is told how many rows are done; `say` of outages, and of processes that end in the middle of work.
        `on_incident` is told all incidents at each change of one, before anything follows from it.
        """
        self.size = size
        # A run is judged by the trust anchors it was begun with, though certifi was upgraded since.
        config = replace(config, ca_file=str(run.trust_anchors))
        self._config = config
        self._greeting = {"run": str(run.path), "config": config.as_dict(), "processes": size, "opt_outs": opt_outs}
        self._command = command
        self._on_rows = on_rows
        self._say = say
        self._on_incident = on_incident
        self._tasks: TaskGroup
        self._workers: list[WorkerHandle] = []
        self._step: Step | None = None
        self._waiting: deque[int] = deque()
        self._lots: dict[int, object] = {}
        self._culprits = Culprits(run, config, say, self._tell_incidents)
        self._rows: dict[int, int] = {}
        self._finished_rows = 0
        self._rows_of: dict[int, int] = {}
        self._idle_deaths = 0
        self._all_done = anyio.Event()
        self._run = run
        self._done_at: dict[int, float] = {}  # shards of the step, by when they were reported done
        self._held_by: WorkerHandle | None = None
        self._is_held = False
        self._withdrawals: Counter[int] = Counter()  # times that a shard of the step was withdrawn
        self.outages: list[dict[str, Any]] = []  #: for the manifest
        self.doubts: list[dict[str, Any]] = []  #: for the manifest: alarms in vain, with whom they had asked again
        self.given_up = self._culprits.given_up  #: for the manifest

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Within it shards can be done; at its end, however it comes, no process is left."""
        try:
            async with anyio.create_task_group() as self._tasks:
                self._tasks.start_soon(self._end_silent_ones)
                yield
                self._tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await dismiss(self._workers, _FAREWELL)
                self._workers = []

    async def start(self, wanted: int) -> None:
        """Have at least so many processes, as far as the size of the pool allows."""
        while len(self._workers) < min(wanted, self.size):
            await self._hire()

    async def do(
        self, step: Step, shards: Sequence[int], rows_before: int, lots: Mapping[int, object] | None = None
    ) -> None:
        """Do the shards of one step in about this order; returns when all are done.  Raises `ScanFailed`.

        Shards of one lot are never in the hands of two processes.
        """
        if not shards:
            return
        self._lots = dict(lots or {})
        self._step, self._waiting, self._rows, self._finished_rows = step, deque(shards), {}, rows_before
        self._rows_of = {}
        self._culprits.begin(step)
        self._all_done, self._done_at, self._withdrawals = anyio.Event(), {}, Counter()
        await self.start(len(shards))
        # Two each, so that one is computed while the other is written; who has time to spare asks for more.
        for worker in (*self._workers, *self._workers):
            await self._hand(worker)
        await self._all_done.wait()

    async def hold(
        self, since: float, words: str, asked: Sequence[object] = (), by: WorkerHandle | None = None
    ) -> None:
        """There is an outage since that time: have every process give up what it has in hand, and withdraw what was done in it.

        What was withdrawn often before stands, and is counted: there is no end otherwise, as long as there are alarms.
        """
        if self._is_held:
            return
        self._is_held, self._held_by = True, by
        lying = [shard for shard, at in self._done_at.items() if at >= since]
        met = {*lying, *(shard for worker in self._workers for shard in worker.active)}
        stand = {shard for shard in met if self._stands(shard)}
        self.outages.append(
            {"since": since, "until": None, "what": words, "asked": list(asked)}
            | {"withdrawn": len({*lying} - stand), "stand": len(stand)}
        )
        self._tell_incidents()
        self._say(f"{words}; waiting, and doing again what lay in it")
        if stand:
            self._say(
                f"{len(stand)} shards were done again {self._config.watch.withdrawals} times; what they find stands"
            )
        for shard in lying:
            if shard not in stand:
                self._withdraw(shard)
        for worker in self._workers:
            await worker.tell({"hold": True, "keep": sorted(stand)})

    async def release(self) -> None:
        """The outage is over: go on."""
        if not self._is_held:
            return
        self._is_held, self._held_by = False, None
        self.outages[-1]["until"] = time.time()
        self._tell_incidents()
        self._say("the outage is over; going on")
        for worker in self._workers:
            await worker.tell({"calm": True})
        for worker in (*self._workers, *self._workers):
            await self._hand(worker)

    async def _consider(self, worker: WorkerHandle, message: dict[str, Any]) -> None:
        """A process sees an outage: hold all, unless another made a connection after it began to look."""
        before = {id(other): other.reports for other in self._workers if other is not worker}
        with anyio.move_on_after(_HEARING):
            while any(other.reports == before.get(id(other)) for other in self._workers):  # noqa: ASYNC110 - several may end it
                await anyio.sleep(_LOOK_EVERY / 10)
        if worker not in self._workers:
            return
        if any(other.answered > message["looked"] for other in self._workers if other is not worker):
            await worker.tell({"calm": True})
        else:
            await self.hold(
                message["since"], "mail hosts that answered before cannot be reached", message["asked"], worker
            )

    def _stands(self, shard: int) -> bool:
        """Whether it was withdrawn as often as may be."""
        return self._withdrawals[shard] >= self._config.watch.withdrawals

    def _withdraw(self, shard: int) -> None:
        assert self._step is not None
        self._withdrawals[shard] += 1
        self._run.withdraw(self._step, shard)
        if self._done_at.pop(shard, None) is not None:
            self._finished_rows -= self._rows_of.pop(shard, 0)
        self._rows.pop(shard, None)
        if shard not in self._waiting:
            self._waiting.append(shard)

    async def reload(self, opt_outs: dict[str, str] | None) -> None:
        """Have other opt-outs in force in every process, those to come too."""
        self._greeting["opt_outs"] = opt_outs
        for worker in self._workers:
            await worker.tell({"reload": opt_outs})

    # --- one process ---

    async def _hire(self) -> None:
        worker = await WorkerHandle.start(self._command, self._run.lock_descriptor)
        self._workers.append(worker)
        await worker.tell(self._greeting)
        self._tasks.start_soon(self._listen, worker)

    async def _hand(self, worker: WorkerHandle) -> None:
        """Give a process a shard more, or if it has none a group from quarantine, which it does with nothing beside it."""
        if self._step is None or self._is_held or (worker.is_quarantined and worker.active):
            return
        elsewhere = {self._lots.get(shard) for other in self._workers if other is not worker for shard in other.active}
        elsewhere.discard(None)

        def may_begin(shard: int) -> bool:
            return self._lots.get(shard) not in elsewhere

        group = self._culprits.quarantine.next(may_begin) if not worker.active else ()
        worker.is_quarantined = bool(group)
        if not group and len(worker.active) < MAX_ACTIVE:
            group = tuple(shard for shard in self._waiting if may_begin(shard))[:1]
            for shard in group:
                self._waiting.remove(shard)
        worker.active.update(group)
        for shard in group:
            job = {"step": self._step.name, "shard": shard}
            await worker.tell(job | {"give_up": True} if shard in self._culprits.hopeless else job)

    async def _listen(self, worker: WorkerHandle) -> None:
        async for message in worker.messages():
            await self._hear(worker, message)
        ending = await worker.ending()
        # At once, for a shard that is neither waiting nor anybody's would pass for done.
        self._workers.remove(worker)
        guilty = self._culprits.suspect(worker.active, ending) if worker.active else None
        for shard in worker.active:
            self._rows.pop(shard, None)
        if self._held_by is worker:
            await self.release()  # who was watching is gone; another will see whether there is still an outage
        await worker.process.aclose()
        if not worker.active:
            self._idle_deaths += 1
            if self._idle_deaths >= MAX_IDLE_DEATHS:
                raise ScanFailed(
                    f"{MAX_IDLE_DEATHS} worker processes in a row ended without a shard in hand, at last: {ending}; "
                    "their messages, if any, are above"
                )
        if guilty is not None:
            await self._culprits.condemn(guilty, ending, self._lots)
        await self._hire()
        for other in self._workers:
            await self._hand(other)

    async def _end_silent_ones(self) -> None:
        """For ever: end processes that gave no sign of life for long, as they are stopped or stuck."""
        while True:
            before = time.monotonic()
            await anyio.sleep(_LOOK_EVERY)
            # We may have been stopped ourselves, and their messages be waiting for us.
            passed = min(time.monotonic() - before, 2 * _LOOK_EVERY)
            for worker in self._workers:
                worker.silence += passed
                if worker.silence > self._config.watch.silence and worker.ended_by_us is None:
                    worker.kill(f"its process was stuck or stopped for {self._config.watch.silence:g} s")

    async def _hear(self, worker: WorkerHandle, message: dict[str, Any]) -> None:
        event, shard = message["event"], message.get("shard", -1)
        if event in ("idle", "busy"):
            worker.reports += 1
            worker.answered = message.get("answered", 0.0)
        elif event == "rows":
            self._rows[shard] = self._counted(message["rows"])
            self._on_rows(self._finished_rows + sum(self._rows.values()))
        elif event == "done":
            self._idle_deaths = 0
            worker.active.discard(shard)
            self._rows.pop(shard, None)
            self._done_at[shard] = time.time()
            self._rows_of[shard] = self._counted(message["rows"])
            self._finished_rows += self._rows_of[shard]
            self._on_rows(self._finished_rows + sum(self._rows.values()))
            if self._is_held and not self._stands(shard):  # it came to its end as it was to be given up
                self._withdraw(shard)
        elif event == "withdrawn":
            worker.active.discard(shard)
            self._withdraw(shard)
        elif event in ("doubt", "calm"):
            worker.doubts = event == "doubt"  # meanwhile the step does not end, as what was done may be withdrawn
            if message.get("asked") and len(self.doubts) < MOST_DOUBTS:
                self.doubts.append({"at": message["at"], "asked": message["asked"]})
                self._tell_incidents()
        elif event == "outage":
            self._tasks.start_soon(self._consider, worker, message)
        elif event in ("over", "gone"):
            if self._is_held:
                asked = self.outages[-1]["asked"]
                asked += [one for one in message["asked"] if one not in asked]
            if event == "gone":
                raise ScanFailed(message["problem"])
            await self.release()
        elif event == "fatal":
            raise ScanFailed(message["problem"])
        elif event == "failed":
            worker.active.discard(shard)
            if message["fatal"]:
                raise ScanFailed(message["problem"])
            self._rows.pop(shard, None)
            if self._culprits.suspect([shard], message["problem"]) is not None:
                await self._culprits.condemn(shard, message["problem"], self._lots)
        if event in ("idle", "done", "failed", "withdrawn", "calm"):
            await self._hand(worker)
            is_busy = self._waiting or self._culprits or any(w.active or w.doubts for w in self._workers)
            if not self._is_held and not is_busy:
                self._all_done.set()

    def _tell_incidents(self) -> None:
        self._on_incident({"outages": self.outages, "doubts": self.doubts, "given_up": self.given_up})

    def _counted(self, rows: dict[str, int]) -> int:
        assert self._step is not None
        return rows.get(self._step.tables[0], 0) + rows.get("duplicates", 0)
