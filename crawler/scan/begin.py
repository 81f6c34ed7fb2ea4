"""What comes before the first shard: the list looked at, the run chosen, its directory made.

Whatever is wrong with what a person gave shows here, in one line, and then nothing
is left behind that was not there before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from crawler.dataset.files import sync_file, temporary_name
from crawler.dataset.run import RunDirectory
from crawler.dataset.stored_runs import check_run_id
from crawler.dataset.workspace import made_directory, sweep
from crawler.lists.hosts import HostLines
from crawler.lists.reader import InputError, ListFacts, comes_once, spool, survey
from crawler.object_store.checkout import bring_manifests
from crawler.politeness.opt_out_file import OptOuts
from crawler.preflight.readiness import Readiness
from crawler.scan.choose_run import RunContext, open_run
from crawler.scan.request import ScanJob


def begin(request: ScanJob, readiness: Readiness) -> tuple[RunDirectory, Path, int]:
    """The run, locked, the list to cut and how many names are taken of it.

    Tells what was understood of the list.  Raises `UsageError`, also for a list most of whose lines are no names,
    unless the request accepts that.
    """
    config, data, wanted = request.config, request.data, request.run
    check_run_id(wanted)
    source = Path(request.source)
    once = request.source == "-" or comes_once(source)
    read = partial(_understood, request=request, opt_outs=readiness.opt_outs)
    facts = None if once else read(source)
    readiness = readiness.with_resolvers(config)
    with made_directory(data):
        sweep(data)
        if request.store is not None:
            bring_manifests(request.store, data, wanted)
        if facts is None:
            source, facts = _spooled(request.source, data, read)
        try:
            path = "-" if once else str(source.resolve())
            run = open_run(data, wanted, config, RunContext(path, facts, readiness))
            kept = run.work / "list"
            if once and not kept.exists():
                source.rename(kept)
        finally:
            if once:
                source.unlink(missing_ok=True)
    return run, kept if once else source, facts.names


def _understood(path: Path, request: ScanJob, opt_outs: OptOuts) -> ListFacts:
    """What is in a list, told before anybody is contacted.  Raises `InputError`."""
    config = request.config
    hosts = HostLines.of(config) if config.hosts else None
    facts = survey(path, config.limit, opt_outs.covering if opt_outs.names else None, config.lists, hosts)
    for line in facts.contents.lines():
        request.progress.say(line)
    if (reason := facts.contents.why_refused()) is not None and not request.accept_invalid:
        raise InputError(f"{path}: {reason}")
    return facts


def _spooled(given: str, data: Path, read: Callable[[Path], ListFacts]) -> tuple[Path, ListFacts]:
    """A copy of a list that comes only once."""
    path = temporary_name(data / "list")
    try:
        if given == "-":
            spool(sys.stdin.buffer, path)
        else:
            with Path(given).open("rb") as stream:
                spool(stream, path)
        sync_file(path)
        return path, read(path)
    except InputError as error:
        path.unlink(missing_ok=True)
        raise InputError(str(error).replace(str(path), "standard input" if given == "-" else given)) from None
    except OSError:
        path.unlink(missing_ok=True)
        raise
