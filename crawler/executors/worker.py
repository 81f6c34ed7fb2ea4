"""One worker process: shards in over standard input, progress out over standard output.

This module decides nothing; it does the shards it is handed, several at once, and says
what became of them.  One JSON object a line:

    in    {"run": …, "config": {…}, "processes": 2, "opt_outs": {…}}   first
          {"step": "domains", "shard": 3}      then any number
          {…, "give_up": true}                 measure nothing of it, and give each row the outcome `gave_up`
          {"hold": true, "keep": [4]}          give up the shards in hand but these: there is an outage
          {"calm": true}                       there is none, or it is over
          {"reload": {"path": …, "kept": …, "sha256": …}}    opt-outs that the run has a copy of
    out   {"event": "ready"}
          {"event": "rows", "step": …, "shard": 3, "rows": {"domains": 120, …}}
          {"event": "idle", "answered": 1.7e9} each second: another shard would not slow the others; the last connection that stood
          {"event": "busy", …}                 each second: it would
          {"event": "done", "step": …, "shard": 3, "rows": {…}}
          {"event": "fatal", "problem": "…"}  it can do nothing
          {"event": "failed", "step": …, "shard": 3, "problem": "…", "fatal": false}
          {"event": "doubt"}                   it asks witnesses whether there is an outage, until it says "calm"
          {"event": "outage", "since": 1.7e9, "looked": 1.7e9, "asked": [["mx.example", "192.0.2.1"], …]}
          {"event": "withdrawn", "step": …, "shard": 3}    given up in an outage; to be done again
          {"event": "over", "asked": […]}      the network is back
          {"event": "calm"}                    no doubt any more
          {"event": "gone", "problem": "…", "asked": […]}    the network stayed away

The end of standard input means that the parent is gone or wants us gone: the process ends at once,
whatever it is doing.  Nothing is lost, as a shard appears whole or not at all.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup

from crawler.dataset.files import Damaged
from crawler.dataset.parts import StoredRows, distinct, read_rows, row_count
from crawler.dataset.run import RunDirectory
from crawler.dataset.shard_output import ShardOutput
from crawler.dataset.steps import DOMAINS, HOSTS, STEPS
from crawler.dns.client import DnsClient
from crawler.executors import turns
from crawler.executors.given_up import rows_of
from crawler.executors.instruments import Instruments
from crawler.executors.kept_opt_outs import kept
from crawler.executors.lean_process import NoPandas, busy_time, calm_garbage_collector
from crawler.executors.lookout import Lookout
from crawler.executors.network_shares import network_share_of
from crawler.model.errors import UsageError, disk_trouble, is_disk_trouble, root_error
from crawler.model.visible import log_to_terminal
from crawler.politeness.opt_out_file import OptOuts
from crawler.resolve.asked import gathered
from crawler.settings.config import Config

log = logging.getLogger(__name__)

PROGRESS_EVERY = 0.25
"""Seconds between two reports of progress."""

SPARE_CPU = 0.7
"""Share of the time below which the event loop takes another shard: it is waiting for the network."""

Say = Callable[[dict[str, Any]], None]


class Worker:
    """The shards under way in this process, and what they share."""

    def __init__(
        self,
        run: RunDirectory,
        config: Config,
        processes: int,
        dns: DnsClient,
        say: Say,
        opt_outs: OptOuts | None = None,
    ) -> None:
        self._run = run
        self._config = config
        self._instruments = Instruments(config, dns, processes, lambda *tried: self.lookout.hear(*tried), opt_outs)
        self._prober = self._instruments.prober
        self.lookout = Lookout(config.watch, lambda endpoint: self._prober.probe_one(endpoint), say)
        self._say = say
        self._signature = run.signature(run.manifest())
        self._outputs: dict[tuple[str, int], tuple[ShardOutput, list[int]]] = {}
        self._scopes: dict[tuple[str, int], anyio.CancelScope] = {}

    async def work(self, step_name: str, shard: int, give_up: bool = False) -> None:
        """Do one shard and report how it went; raises nothing."""
        rows: dict[str, int] = {}
        try:
            with anyio.CancelScope() as scope:
                self._scopes[step_name, shard] = scope
                rows = await self._shard(step_name, shard, give_up)
            if scope.cancelled_caught:
                self._say({"event": "withdrawn", "step": step_name, "shard": shard})
                return
        except Exception as failure:
            error = root_error(failure, _is_fatal)
            if not _is_fatal(error):
                log.exception("%s shard %d failed", step_name, shard)
            self._failed(step_name, shard, self._words(error), fatal=_is_fatal(error))
        else:
            self._say({"event": "done", "step": step_name, "shard": shard, "rows": rows})
        finally:
            del self._scopes[step_name, shard]

    def hold(self, keep: Collection[int]) -> None:
        """Give up the shards in hand but these: what they found while there was an outage is no finding."""
        for (_, shard), scope in self._scopes.items():
            if shard not in keep:
                scope.cancel()

    def reload(self, entry: dict[str, str]) -> None:
        """Have other opt-outs in force, of which the run has a copy; without them no work goes on."""
        try:
            self._prober.exclusions.use(kept(entry))
        except UsageError as error:
            self._say({"event": "fatal", "problem": str(error)})
            self.hold(())

    async def watch(self) -> None:
        """Report progress for ever, and each second whether there is time for another shard."""
        said: dict[tuple[str, int], dict[str, int]] = {}
        busy, clock = busy_time(), time.monotonic()
        while True:
            await anyio.sleep(PROGRESS_EVERY)
            for (step, shard), (output, dropped) in self._outputs.items():
                rows = {**output.rows(), "duplicates": dropped[0]}
                if said.get((step, shard)) != rows:
                    said[step, shard] = rows
                    self._say({"event": "rows", "step": step, "shard": shard, "rows": rows})
            said = {key: rows for key, rows in said.items() if key in self._outputs}
            if (now := time.monotonic()) - clock >= 1.0:
                is_idle = busy_time() - busy < SPARE_CPU * (now - clock)
                self._say({"event": "idle" if is_idle else "busy", "answered": self.lookout.last_answer})
                busy, clock = busy_time(), now

    async def _shard(self, step_name: str, shard: int, give_up: bool) -> dict[str, int]:
        step = STEPS[step_name]
        started = time.monotonic()
        path = self._run.shard_path(step, shard)
        expected = row_count(path)
        output = ShardOutput(self._run, step, shard, self._signature, expected)
        dropped = [0]
        rows = read_rows(path, step.row)
        if step is HOSTS:
            rows = gathered(rows, self._config, dropped)
        elif step.key is not None:
            rows = distinct(rows, step.key, dropped)
        self._outputs[step_name, shard] = output, dropped
        in_domains: dict[str, dict[str, float]] = {}
        try:
            if give_up:
                for row in rows_of(rows, self._config):
                    output.emit(row)
            elif step is DOMAINS:
                await self._instruments.resolve_domains(rows, output.emit)
            elif step is HOSTS:
                await self._instruments.resolve_hosts(rows, output.emit)
            else:
                lot = network_share_of(path)
                in_domains = await self._prober.probe_endpoints(StoredRows(path, step.row), output.emit, lot)
            written = output.rows().get(step.tables[0], 0)
            if written + dropped[0] != expected:
                raise RuntimeError(f"{written} rows and {dropped[0]} duplicates of {expected} in")
            counts = {
                "duplicates": dropped[0],
                "seconds": round(time.monotonic() - started, 3),
                "in_domains": in_domains,
            }
            marker = await anyio.to_thread.run_sync(output.commit, counts)  # syncing must not stop the others
        except BaseException:
            output.abandon()
            raise
        finally:
            del self._outputs[step_name, shard]
        return {**marker["rows"], "duplicates": dropped[0]}

    def _words(self, error: BaseException) -> str:
        if isinstance(error, OSError) and (words := disk_trouble(error)):
            return f"{self._run.path}: cannot be written ({words})"
        is_said = isinstance(error, OSError | UsageError | Damaged)  # in words for a person
        return str(error) if is_said else f"{type(error).__name__}: {error}"

    def _failed(self, step: str, shard: int, problem: str, *, fatal: bool) -> None:
        self._say({"event": "failed", "step": step, "shard": shard, "problem": problem, "fatal": fatal})


def _is_fatal(error: BaseException) -> bool:
    """Whether another try would come to the same."""
    return isinstance(error, UsageError | Damaged) or is_disk_trouble(error)


async def serve() -> None:
    """Do what standard input says until it ends."""
    first = json.loads(sys.stdin.readline() or "null")
    if first is None:
        return
    config = Config.from_mapping(first["config"])
    say = _speaker()
    async with AsyncExitStack() as stack:
        try:
            opt_outs = kept(first["opt_outs"])
            dns = await stack.enter_async_context(DnsClient(config))
            worker = Worker(RunDirectory(Path(first["run"])), config, first["processes"], dns, say, opt_outs)
        except (
            UsageError,
            OSError,
        ) as error:  # such as a file that is gone: in words, and another process has no more luck
            say({"event": "fatal", "problem": str(error)})
            return
        tasks = await stack.enter_async_context(anyio.create_task_group())
        tasks.start_soon(worker.watch)
        tasks.start_soon(worker.lookout.watch)
        if path := os.environ.get(turns.VARIABLE):
            tasks.start_soon(turns.watch, Path(path))
        say({"event": "ready"})
        await anyio.to_thread.run_sync(_listen, worker, tasks)


def _listen(worker: Worker, tasks: TaskGroup) -> None:
    """Hand shards to the event loop; in a thread, so that the end is heard even while the loop computes."""
    for line in sys.stdin:
        job = json.loads(line)
        if "hold" in job:
            anyio.from_thread.run_sync(worker.hold, job["keep"])
            continue
        if "calm" in job:
            anyio.from_thread.run_sync(worker.lookout.calm)
            continue
        if "reload" in job:
            anyio.from_thread.run_sync(worker.reload, job["reload"])
            continue
        anyio.from_thread.run_sync(tasks.start_soon, worker.work, job["step"], job["shard"], "give_up" in job)
    os._exit(0)


def _speaker() -> Say:
    out = sys.stdout

    def say(message: dict[str, Any]) -> None:
        try:
            out.write(json.dumps(message) + "\n")
            out.flush()
        except BrokenPipeError:
            os._exit(1)

    return say


def main() -> int:
    """Run as `python -m crawler.executors.worker`."""
    sys.meta_path.insert(0, NoPandas())
    calm_garbage_collector()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    log_to_terminal()
    anyio.run(serve, backend_options={"use_uvloop": True})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
