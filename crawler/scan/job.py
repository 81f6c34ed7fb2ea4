"""The main job: a list in, a dataset out; the same call continues what an interruption left.

This module puts the parts in order and holds no measurement of its own.  Everything is
checked before anything is written, and whatever ends it early, the manifest says so and each
finished shard stands.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio

from crawler.chains.incomplete import judge_incomplete
from crawler.dataset.counts import counts_of, summary
from crawler.dataset.files import Damaged
from crawler.dataset.manifest import timestamp, with_resumption
from crawler.dataset.merging import merge
from crawler.dataset.parts import row_count
from crawler.dataset.run import RunDirectory, damage_of
from crawler.dataset.steps import DOMAINS, HOSTS, MERGED, PROBES, STEPS, Step
from crawler.dataset.stored_runs import FINISHED, SUSPECT, WHOLE
from crawler.dataset.verify import ensure_columns, verify_parts
from crawler.executors.kept_opt_outs import remove_copies
from crawler.executors.network_shares import network_share_of
from crawler.executors.processes import Pool
from crawler.model.errors import ListChanged, ScanFailed, UsageError, disk_trouble, root_error
from crawler.model.reporting import Reporter
from crawler.object_store.session import WorkingCopy, working_copy
from crawler.politeness.opt_out_file import OptOuts
from crawler.preflight.readiness import check_readiness
from crawler.scan.begin import begin
from crawler.scan.consent import Consent
from crawler.scan.incidents import IncidentRecord
from crawler.scan.plan import Tick, cut_hosts, cut_targets, shard_count, state_divided_networks
from crawler.scan.plausibility import suspicions
from crawler.scan.request import ScanJob, process_count
from crawler.scan.resolver_watch import watch_resolver

__all__ = ["ScanJob", "process_count", "scan"]

T = TypeVar("T")

_LABELS = {"domains": "RESOLVE domains", "hosts": "RESOLVE hosts", "probes": "PROBE"}
_UNITS = {"domains": "domains", "hosts": "hosts", "probes": "endpoints"}


def scan(request: ScanJob) -> int:
    """Do or continue a run; returns the exit code.

    Raises `UsageError` for input that cannot be used, before a run is begun, and `ScanFailed`.
    """
    config = request.config
    readiness = check_readiness(config)
    opt_outs, progress = readiness.opt_outs, request.progress
    for line in opt_outs.lines():
        progress.say(line)
    run, source, names = begin(request, readiness)
    try:
        if (state := run.manifest().state) in WHOLE:
            where = run.path if request.store is None else f"{request.store.name}/{run.path.name}"
            if request.store is not None:
                shutil.rmtree(run.path)  # what was brought to know it
            words = "finished already" if state == FINISHED else "finished already, and suspect; begin another by --run"
            progress.say(f"run {run.id} is {words}: {where}")
            return int(state == SUSPECT)
        for family, advice in readiness.no_way_to:
            progress.say(f"this machine has no way to {family} addresses; {advice}")
        if request.store is None:
            return anyio.run(_Scan(request, run, source, names, progress, opt_outs).run)
        with working_copy(request.store, run, progress) as copy:
            code = anyio.run(_Scan(request, run, source, names, progress, opt_outs, copy).run)
        return code or int(copy.is_behind)
    except ListChanged:
        if request.store is None:
            shutil.rmtree(run.path)  # there is nothing in it, and no list to continue it with
        raise
    finally:
        progress.close()
        run.unlock()


class _Scan:
    """One call of `scan`, from the first shard to the last line."""

    def __init__(
        self,
        request: ScanJob,
        run: RunDirectory,
        source: Path,
        names: int,
        progress: Reporter,
        opt_outs: OptOuts,
        copy: WorkingCopy | None = None,
    ) -> None:
        self._config = request.config
        self._run = run
        self._source = source
        self._names = names
        self._progress = progress
        self._consent = Consent(run, request.config, opt_outs, progress.say)
        remove_copies(run)
        self._incidents = IncidentRecord(run)
        self._copy = copy
        self._pool = Pool(
            run,
            request.config,
            process_count(request.config),
            command=request.command,
            on_rows=progress.reach,
            say=progress.say,
            opt_outs=self._consent.keep(),
            on_incident=self._incidents.write,
        )
        self._is_resolving = False
        self._suspicions: list[str] = []
        self._signal: int | None = None
        self._finished = False
        self._is_continued = False
        self._units_before = 0

    async def run(self) -> int:
        """Work until done, interrupted or out of time; returns the exit code."""
        problem: str | None = None
        try:
            self._announce()
            await self._until_stopped()
        except ScanFailed as error:
            problem = str(error)
            raise
        finally:
            self._progress.close()
            self._conclude(problem)
        if self._signal is not None:
            self._progress.say("interrupted; everything finished is kept, the same command continues")
            return 128 + self._signal
        if not self._finished:
            if self._run.units_done() > self._units_before:
                words = "everything finished is kept, the same command continues"
            else:
                words = "not one shard could be finished, so the run has not advanced; give it more time"
            self._progress.say(f"time is up (--max-runtime); {words}")
            return 3
        for reason in self._suspicions:
            self._progress.say(f"run {self._run.id} is suspect, and is not read by default: {reason}")
        return 1 if self._suspicions else 0

    def _announce(self) -> None:
        """Say in the manifest that the run is under way, again perhaps."""
        try:
            self._run.remove_leftovers()
            self._units_before = self._run.units_done()
            manifest = self._run.manifest()
            if any(self._run.finished(step) for step in STEPS.values()) or manifest.state == "interrupted":
                self._progress.say(f"continuing run {self._run.id}")
                manifest = with_resumption(manifest, self._consent.opt_outs.as_dict())
                self._is_continued = True
            self._incidents.begin(manifest)
            self._run.write_manifest(replace(manifest, state="running", ended_at=None))
        except Damaged as error:
            raise damage_of(error) from error
        except OSError as error:
            raise self._unwritable(error) from error

    async def _until_stopped(self) -> None:
        scope = anyio.CancelScope(deadline=anyio.current_time() + (self._config.max_runtime or math.inf))
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._heed_signals, scope)
                tasks.start_soon(self._heed_the_store)
                tasks.start_soon(watch_resolver, self._config, self._pool, lambda: self._is_resolving)
                with scope:
                    async with self._pool.running():
                        await self._work()
                    self._finished = True
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise root_error(group, lambda error: isinstance(error, ScanFailed)) from None

    async def _heed_signals(self, scope: anyio.CancelScope) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            async for number in signals:
                if number == signal.SIGHUP:
                    await self._consent.reload(self._pool)
                    continue
                if self._signal is not None:
                    os._exit(128 + number)  # the workers hear it by the end of their input
                self._signal = number
                scope.cancel()

    async def _heed_the_store(self) -> None:
        while self._copy is not None:
            if self._copy.trouble:
                raise ScanFailed(self._copy.trouble)
            await anyio.sleep(1)

    async def _work(self) -> None:
        size = self._pool.size
        if self._is_continued:
            ensure_columns(self._run)  # of a run in a store they are here only now
            for part in await self._plan("checking parts", "parts", partial(verify_parts, self._run)):
                self._progress.say(f"{part}: is damaged; it is made again")
            self._incidents.forget_what_is_tried_again()
        await self._pool.start(shard_count(self._names, self._config.shards.domains, size))
        if not self._run.is_cut(DOMAINS):
            await self._plan(
                "reading the list",
                "lines",
                partial(cut_targets, self._run, self._source, self._names, self._config, size),
            )
        self._is_resolving = True
        await self._do(DOMAINS)
        self._is_resolving = False
        if not self._run.is_cut(HOSTS):
            await self._plan("collecting mail hosts", "hosts", partial(cut_hosts, self._run, self._config, size))
        self._is_resolving = True
        await self._do(HOSTS)
        self._is_resolving = False
        if not self._run.is_cut(PROBES):
            await self._plan("joining endpoints", "endpoints", partial(self._consent.cut_endpoints, size))
        await self._plan("counting lots", "shards", partial(state_divided_networks, self._run))
        await self._do(PROBES)
        signature = self._run.signature(self._run.manifest())
        for table in MERGED:
            await self._plan(f"merging {table}", "rows", partial(merge, self._run, table, signature))
        await self._plan("completing chains", "rows", partial(judge_incomplete, self._run, signature))
        self._run.remove_leftovers()  # of workers that died
        if self._copy is not None:
            await self._plan("uploading", "files", self._copy.settle, self._copy.pending())

    async def _do(self, step: Step) -> None:
        """The shards of a step that are not finished, the largest first: one begun last would be waited for alone."""
        try:
            paths = {shard: self._run.shard_path(step, shard) for shard in self._run.shards(step)}
            rows = {shard: row_count(path) for shard, path in paths.items()}
            lots = {shard: lot for shard, path in paths.items() if (lot := network_share_of(path))}
        except Damaged as error:
            raise damage_of(error) from error
        finished = self._run.finished(step)
        shards = sorted(rows.keys() - finished.keys(), key=lambda shard: (-rows[shard], shard))
        total, before = sum(rows.values()), sum(rows[shard] for shard in finished)
        of_hosts = self._config.hosts and step is DOMAINS
        label, unit = ("reading the hosts", "lines") if of_hosts else (_LABELS[step.name], _UNITS[step.name])
        self._progress.begin(label, unit, total, before)
        await self._pool.do(step, shards, before, lots)
        finished = self._run.finished(step)
        if missing := sorted(set(self._run.shards(step)) - finished.keys()):
            raise ScanFailed(f"{step.name} shard {missing[0]} was done and is gone; the same command does it again")
        self._progress.reach(total)
        self._progress.end(sum(marker["duplicates"] for marker in finished.values()))

    async def _plan(self, label: str, unit: str, work: Callable[[Tick], T], total: int | None = None) -> T:
        """Work between the steps, in a thread, so that signals are heard meanwhile."""

        def tick(rows: int) -> None:
            anyio.from_thread.check_cancelled()
            self._progress.advance(rows)

        self._progress.begin(label, unit, total)
        try:
            result = await anyio.to_thread.run_sync(work, tick)
            if total:
                self._progress.end()
            return result
        except Damaged as error:
            raise damage_of(error) from error
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            self._progress.close()

    def _unwritable(self, error: OSError) -> Exception:
        """What to raise for what a disk said; another error is not ours to put into words."""
        words = disk_trouble(error)
        return ScanFailed(f"{self._run.path}: cannot be written ({words})") if words else error

    def _conclude(self, problem: str | None) -> None:
        """Say in the manifest how it ended and what there is.

        Raises `ScanFailed` if only this keeps the run from being finished; beside another failure it is a line.
        """
        failure: ScanFailed | None = None
        ending: dict[str, Any] = {"state": FINISHED if self._finished else "interrupted", "ended_at": timestamp()}
        try:
            try:
                ending["counts"] = counts_of(self._run)
                ending |= self._incidents.entries()
                lookups = self._run.manifest().host_lookups_in_domains
                seen = {"outages": ending["outages"], "host_lookups_in_domains": lookups}
                found = suspicions({**ending["counts"], **seen}, self._config.watch)
                if self._finished and found:
                    self._suspicions = found
                    ending |= {"state": SUSPECT, "suspicions": found}
            except Damaged as error:
                failure = damage_of(error)
                ending["state"], problem = "interrupted", problem or str(failure)
            self._run.write_manifest(replace(self._run.manifest(), **ending, problem=problem))
            if self._copy is not None and ending["state"] in WHOLE:
                self._copy.finish()
        except (
            OSError,
            UsageError,
        ) as error:  # such as the full disk that ended the scan; that message is the one to show
            words = getattr(error, "strerror", None) or error
            failure = ScanFailed(f"{self._run.path}: the manifest could not be written ({words})")
        if failure is not None:
            if self._finished:
                raise failure
            self._progress.say(str(failure))
        if "counts" in ending:
            self._progress.conclude(summary(self._run, ending, self._copy.where if self._copy else self._run.path))
