"""The worker processes of one scan: started, handed shards, listened to, replaced when they die.

This module knows shards by number and what became of them, not what is in them.  A shard
that fails or whose process dies goes to another process, a few times; then the scan fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process, TaskGroup
from anyio.streams.buffered import BufferedByteReceiveStream

from crawler.config import Config
from crawler.errors import ScanFailed
from crawler.files import Damaged
from crawler.steps import MERGED, Step
from crawler.storage import Run

MAX_ACTIVE = 16
"""Shards under way at once in one process; most of them wait for slow hosts or for a second try."""

MAX_TRIES = 3
"""Times a shard is begun before the scan fails; more than one means a bug or a killed process.

So many processes in a row may die with no shard in hand, too; a shard that gets done in between begins the count anew."""

_MAX_MESSAGE = 1 << 16
_FAREWELL = 2.0

#: Where this package lies: a source tree that was not installed must be found by the workers too.
_ROOT = str(Path(__file__).resolve().parent.parent)

#: `-P`: a folder named `crawler` in the current directory is not what is meant.
COMMAND = (sys.executable, "-P", "-m", "crawler.worker")


@dataclass(eq=False)
class _Worker:
    process: Process
    active: set[int] = field(default_factory=set)


class Pool:
    """Processes that take shards of one step after another."""

    def __init__(
        self,
        run: Run,
        config: Config,
        size: int,
        *,
        command: Sequence[str] = COMMAND,
        on_rows: Callable[[int], None],
        on_outage: Callable[[str], None] = lambda words: None,
    ) -> None:
        """`on_rows` is told how many rows are done, `on_outage` that there is an outage and that it is over."""
        self.size = size
        # A run is judged by the trust anchors it was begun with, though certifi was upgraded since.
        config = replace(config, ca_file=str(run.trust_anchors))
        self._greeting = {"run": str(run.path), "config": config.as_dict(), "processes": size}
        self._lock = run.lock_descriptor
        self._command = command
        self._on_rows = on_rows
        self._on_outage = on_outage
        self._tasks: TaskGroup
        self._workers: list[_Worker] = []
        self._step: Step | None = None
        self._waiting: deque[int] = deque()
        self._lots: Mapping[int, object] = {}
        self._rows: dict[int, int] = {}
        self._finished_rows = 0
        self._rows_of: dict[int, int] = {}
        self._tries: Counter[tuple[str, int]] = Counter()
        self._idle_deaths = 0
        self._all_done = anyio.Event()
        self._run = run
        self._done_at: dict[int, float] = {}  # shards of the step, by when they were reported done
        self._held_by: _Worker | None = None
        self._is_held = False
        self.outages: list[dict[str, Any]] = []  #: for the manifest

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Within it shards can be done; at its end, however it comes, no process is left."""
        try:
            async with anyio.create_task_group() as self._tasks:
                yield
                self._tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self._dismiss()

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
        self._lots = lots or {}
        self._step, self._waiting, self._rows, self._finished_rows = step, deque(shards), {}, rows_before
        self._rows_of = {}
        self._all_done, self._done_at = anyio.Event(), {}
        await self.start(len(shards))
        # Two each, so that one is computed while the other is written; who has time to spare asks for more.
        for worker in (*self._workers, *self._workers):
            await self._hand(worker)
        await self._all_done.wait()

    async def hold(self, since: float, words: str, asked: Sequence[object] = (), by: _Worker | None = None) -> None:
        """There is an outage since that time: have every process give up what it has in hand, and withdraw what was done in it."""
        if self._is_held:
            return
        self._is_held, self._held_by = True, by
        lying = [shard for shard, at in self._done_at.items() if at >= since]
        self.outages.append(
            {"since": since, "until": None, "what": words, "asked": list(asked), "withdrawn": len(lying)}
        )
        self._on_outage(f"{words}; waiting, and doing again what lay in it")
        for shard in lying:
            self._withdraw(shard)
        for worker in self._workers:
            await self._tell(worker, {"hold": True})

    async def release(self) -> None:
        """The outage is over: go on."""
        if not self._is_held:
            return
        self._is_held, self._held_by = False, None
        self.outages[-1]["until"] = time.time()
        self._on_outage("the outage is over; going on")
        for worker in (*self._workers, *self._workers):
            await self._hand(worker)

    def _withdraw(self, shard: int) -> None:
        assert self._step is not None
        self._run.withdraw(self._step, shard)
        if self._done_at.pop(shard, None) is not None:
            self._finished_rows -= self._rows_of.pop(shard, 0)
        self._rows.pop(shard, None)
        self._tries[self._step.name, shard] -= 1
        if shard not in self._waiting:
            self._waiting.append(shard)

    async def reload(self) -> None:
        """Have every process read the opt-outs again."""
        for worker in self._workers:
            await self._tell(worker, {"reload": "opt-outs"})

    # --- one process ---

    async def _hire(self) -> None:
        path = os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH"))))
        process = await anyio.open_process(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is for us alone
            pass_fds=() if self._lock is None else (self._lock,),
        )
        worker = _Worker(process)
        self._workers.append(worker)
        await self._tell(worker, self._greeting)
        self._tasks.start_soon(self._listen, worker)

    async def _tell(self, worker: _Worker, message: dict[str, Any]) -> None:
        assert worker.process.stdin is not None
        try:
            await worker.process.stdin.send(json.dumps(message).encode() + b"\n")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # it has died, which `_listen` is about to notice

    async def _hand(self, worker: _Worker) -> None:
        if self._step is None or self._is_held or len(worker.active) >= MAX_ACTIVE:
            return
        elsewhere = {self._lots.get(shard) for other in self._workers if other is not worker for shard in other.active}
        elsewhere.discard(None)
        shard = next((shard for shard in self._waiting if self._lots.get(shard) not in elsewhere), None)
        if shard is not None:
            self._waiting.remove(shard)
            self._tries[self._step.name, shard] += 1
            worker.active.add(shard)
            await self._tell(worker, {"step": self._step.name, "shard": shard})

    async def _listen(self, worker: _Worker) -> None:
        assert worker.process.stdout is not None
        lines = BufferedByteReceiveStream(worker.process.stdout)
        while True:
            try:
                message = json.loads(await lines.receive_until(b"\n", _MAX_MESSAGE))
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                break
            await self._hear(worker, message)
        code = await worker.process.wait()
        # At once, for a shard that is neither waiting nor anybody's would pass for done.
        self._workers.remove(worker)
        for shard in worker.active:
            self._again(shard, f"its process ended with {_ending(code)}")
        if self._held_by is worker:
            await self.release()  # who was watching is gone; another will see whether there is still an outage
        await worker.process.aclose()
        if not worker.active:
            self._idle_deaths += 1
            if self._idle_deaths >= MAX_TRIES:
                raise ScanFailed(
                    f"{MAX_TRIES} worker processes in a row ended without a shard in hand, at last with {_ending(code)}; "
                    "their messages, if any, are above"
                )
        await self._hire()
        for other in self._workers:
            await self._hand(other)

    async def _hear(self, worker: _Worker, message: dict[str, Any]) -> None:
        event, shard = message["event"], message.get("shard", -1)
        if event == "rows":
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
            if self._is_held:  # it came to its end as it was to be given up
                self._withdraw(shard)
        elif event == "withdrawn":
            worker.active.discard(shard)
            self._withdraw(shard)
        elif event == "outage":
            words = "mail hosts that answered before cannot be reached"
            await self.hold(message["since"], words, message["asked"], worker)
        elif event == "over":
            await self.release()
        elif event == "gone":
            raise ScanFailed(message["problem"])
        elif event == "failed":
            worker.active.discard(shard)
            if message["fatal"]:
                raise ScanFailed(message["problem"])
            self._again(shard, message["problem"])
        if event in ("idle", "done", "failed", "withdrawn"):
            await self._hand(worker)
            if not self._is_held and not self._waiting and not any(other.active for other in self._workers):
                self._all_done.set()

    def _again(self, shard: int, problem: str) -> None:
        assert self._step is not None
        self._rows.pop(shard, None)
        if self._tries[self._step.name, shard] >= MAX_TRIES:
            raise ScanFailed(f"{self._step.name} shard {shard} failed {MAX_TRIES} times, at last: {problem}")
        self._waiting.append(shard)

    def _counted(self, rows: dict[str, int]) -> int:
        assert self._step is not None
        return rows.get(self._step.tables[0], 0) + rows.get("duplicates", 0)

    async def _dismiss(self) -> None:
        """The end of its standard input ends a process at once; one that is stuck is killed."""
        with anyio.move_on_after(_FAREWELL):
            for worker in self._workers:
                if worker.process.stdin is not None:
                    await worker.process.stdin.aclose()
            for worker in self._workers:
                await worker.process.wait()
        for worker in self._workers:
            if worker.process.returncode is None:
                worker.process.kill()
            await worker.process.aclose()
        self._workers = []


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def damage_of(error: Damaged) -> ScanFailed:
    """What a damaged part means for the run: a shard's own can be made again, while what it was made of is there."""
    where = error.path.parent
    lasting = where.parent.name == "_work" or (where.name in MERGED and error.path.name.startswith("merged-"))
    advice = (
        "what it was made of is gone, so begin another run by --run" if lasting else "the same command makes it again"
    )
    return ScanFailed(f"{error}; {advice}")
