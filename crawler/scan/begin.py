"""What comes before the first shard: the list looked at, the run chosen, its directory made.

Whatever is wrong with what a person gave shows here, in one line, and then nothing
is left behind that was not there before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from crawler.certificates.trust_store import TrustStore
from crawler.dataset.files import sync_file, temporary_name
from crawler.dataset.run import Run
from crawler.dataset.stored_runs import check_run_id
from crawler.dataset.workspace import made_directory, sweep
from crawler.lists.hosts import HostLines
from crawler.lists.reader import InputError, ListFacts, comes_once, spool, survey
from crawler.object_store.checkout import bring_manifests
from crawler.object_store.client import Store
from crawler.politeness.opt_out_file import OptOuts
from crawler.preflight.checks import ask_resolvers
from crawler.scan.choose_run import RunContext, open_run
from crawler.settings.config import Config

Say = Callable[[str], None]


def begin(
    given: str,
    data: Path,
    wanted: str | None,
    config: Config,
    opt_outs: OptOuts,
    say: Say,
    store: Store | None = None,
    *,
    accept_invalid: bool = False,
) -> tuple[Run, Path, int]:
    """The run, locked, the list to cut and how many names are taken of it.

    `given` is the path of the list or `-`, `wanted` the run that was asked for; `opt_outs` is what was read of their
    file; `say` tells what was understood of the list; `store` is where the runs lie of which `data` holds copies.
    A list most of whose lines are no names is refused, unless `accept_invalid`.  Raises `UsageError`.
    """
    check_run_id(wanted)
    TrustStore(config.ca_file)  # raises if the trust anchors cannot be read
    source = Path(given)
    once = given == "-" or comes_once(source)
    read = partial(_understood, config=config, opt_outs=opt_outs, say=say, accept_invalid=accept_invalid)
    facts = None if once else read(source)
    resolvers = [resolver.as_dict() for resolver in ask_resolvers(config)]
    with made_directory(data):
        sweep(data)
        if store is not None:
            bring_manifests(store, data, wanted)
        if facts is None:
            source, facts = _spooled(given, data, read)
        try:
            path = "-" if once else str(source.resolve())
            run = open_run(data, wanted, config, RunContext(path, facts, resolvers, opt_outs.as_dict()))
            kept = run.work / "list"
            if once and not kept.exists():
                source.rename(kept)
        finally:
            if once:
                source.unlink(missing_ok=True)
    return run, kept if once else source, facts.names


def _understood(path: Path, config: Config, opt_outs: OptOuts, say: Say, accept_invalid: bool) -> ListFacts:
    """What is in a list, told before anybody is contacted.  Raises `InputError`."""
    hosts = HostLines.of(config) if config.hosts else None
    facts = survey(path, config.limit, opt_outs.covering if opt_outs.names else None, config.lists, hosts)
    for line in facts.contents.lines():
        say(line)
    if (reason := facts.contents.why_refused()) is not None and not accept_invalid:
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
