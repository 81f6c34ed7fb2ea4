"""What comes before the first shard: the list looked at, the run chosen, its directory made.

Whatever is wrong with what a person gave shows here, in one line, and then nothing
is left behind that was not there before.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from crawler.config import Config, UsageError
from crawler.copies import bring_manifests
from crawler.errors import disk_trouble
from crawler.manifest import Circumstances, open_run
from crawler.object_store import Store
from crawler.opt_out_file import OptOuts
from crawler.parts import hidden, process_space, sync_file
from crawler.preflight import ask_resolvers
from crawler.storage import Run
from crawler.stored_runs import check_run_id
from crawler.targets import InputError, ListFacts, comes_once, spool, survey
from crawler.trust import TrustStore

#: Names under which this module and `manifest` write what is not whole yet, with the process that does and where it is.
_OURS = re.compile(r"\.tmp-(?:list|run=.+)-([0-9a-f]{8})-([0-9]+)").fullmatch

Say = Callable[[str], None]

_FOREIGN_FOR = 24 * 3600
"""Seconds without a change after which what was written on another machine or in another container is nobody's."""


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
    """The run, locked, the list to cut and how long it is at most.

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
            run = open_run(data, wanted, config, Circumstances(path, facts, resolvers, opt_outs.as_dict()))
            kept = run.work / "list"
            if once and not kept.exists():
                source.rename(kept)
        finally:
            if once:
                source.unlink(missing_ok=True)
    return run, kept if once else source, facts.lines


@contextmanager
def made_directory(data: Path, option: str = "--data") -> Iterator[None]:
    """Have the directory of all runs; if nothing comes of it, what was made for it goes again."""
    missing = [path for path in (data, *data.parents) if not path.exists()]
    try:
        data.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, UsageError) as error:
        for path in missing:
            try:
                path.rmdir()
            except OSError:  # not empty, or not made
                break
        if isinstance(error, UsageError):
            raise
        words = disk_trouble(error) or error.strerror or error
        raise UsageError(f"{data}: cannot be written ({words}); check {option}") from error


def _understood(path: Path, config: Config, opt_outs: OptOuts, say: Say, accept_invalid: bool) -> ListFacts:
    """What is in a list, told before anybody is contacted.  Raises `InputError`."""
    facts = survey(path, config.limit, opt_outs.covering if opt_outs.names else None)
    for line in facts.contents.lines():
        say(line)
    if (reason := facts.contents.why_refused()) is not None and not accept_invalid:
        raise InputError(f"{path}: {reason}")
    return facts


def _spooled(given: str, data: Path, read: Callable[[Path], ListFacts]) -> tuple[Path, ListFacts]:
    """A copy of a list that comes only once."""
    path = hidden(data / "list")
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


def sweep(data: Path) -> None:
    """Remove what processes that are gone left under hidden names, and nothing else."""
    for path in data.glob(".tmp-*"):
        if (ours := _OURS(path.name)) and _is_nobodys(path, ours[1], int(ours[2])):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _is_nobodys(path: Path, space: str, process: int) -> bool:
    """Whether its writer is gone; of one that is not among the processes we see, only its silence can tell."""
    if space == process_space():
        return not Path("/proc", str(process)).exists()
    try:
        return time.time() - path.stat().st_mtime > _FOREIGN_FOR
    except FileNotFoundError:
        return False
