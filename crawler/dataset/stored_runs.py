"""The runs in a directory, and which of them is read where none is named.  Nothing here writes.

The run that is read by default is the newest finished one that covers its whole list.  A run with a limit, one that
is not finished, and one that the crawler calls `suspect` are read by name, or where nothing better is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crawler.dataset.stored_manifest import MANIFEST, Manifest, read_manifest
from crawler.model.errors import UsageError
from crawler.model.vocabulary import ONE_A_LINE

FINISHED = "finished"
SUSPECT = "suspect"
"""The scan came to its end, and what it found is implausible; `suspicions` says why."""

WHOLE = (FINISHED, SUSPECT)
"""States of a run whose every shard is in."""

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}").fullmatch
_NAMED_AT_MOST = 5
"""Runs that a line of words names."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One run by its manifest.  Entries that an older manifest lacks are None or empty."""

    path: Path
    manifest: Manifest

    @property
    def id(self) -> str:
        """The name of the run."""
        return self.path.name.removeprefix("run=")

    @property
    def state(self) -> str:
        """`running interrupted finished suspect`, or `unknown`."""
        return str(self.manifest.state or "unknown")

    @property
    def is_whole(self) -> bool:
        """Whether every shard is in."""
        return self.state in WHOLE

    @property
    def suspicions(self) -> tuple[str, ...]:
        """What the crawler found implausible about its own run, a sentence each."""
        return tuple(self.manifest.suspicions or ())

    @property
    def limit(self) -> int | None:
        """How many names of the list were taken at most; None: all of them, also where the list is no longer than that."""
        limit = (self.manifest.configuration or {}).get("limit") or None
        return None if limit is None or self._has_whole_list(limit) else int(limit)

    def _has_whole_list(self, limit: int) -> bool:
        """Whether the list has no names behind the first `limit`; of an older manifest, whether that can be told."""
        listed = self.manifest.listed or {}
        if listed.get("cut") is not None:
            return not listed["cut"]
        lines, valid, invalid = (listed.get(name) for name in ("lines", "valid", "invalid"))
        if valid is not None and invalid is not None and listed.get("form") != ONE_A_LINE:
            return bool(valid + invalid < limit)
        return lines is not None and lines <= limit

    @property
    def list_sha256(self) -> str | None:
        """SHA-256 (hex) of the list."""
        return self.manifest.list_sha256

    @property
    def vantage(self) -> str | None:
        """Name of the place measured from."""
        return self.manifest.vantage or None

    @property
    def started_at(self) -> str:
        """When it began, ISO 8601."""
        return self.manifest.started_at or ""

    @property
    def _preference(self) -> tuple[int, str, str]:
        """What is read first: whole lists, then parts of one, then what is not finished, then what is suspect."""
        kind = {FINISHED: 2, SUSPECT: 0}.get(self.state, 1)
        return 2 * kind + (self.limit is None), self.started_at, self.path.name

    def oddities(self) -> list[str]:
        """What keeps the run from being read by default, in a few words each."""
        found = [] if self.is_whole else [f"not finished (state: {self.state})"]
        if self.state == SUSPECT:
            found.append(f"suspect: {'; '.join(self.suspicions) or 'its manifest gives no reason'}")
        if self.limit is not None:
            found.append(f"limited to the first {self.limit:,} names of its list")
        return found


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A run that was not chosen though a reader might expect it."""

    id: str
    why: tuple[str, ...]  #: a few words each
    run: StoredRun | None = None  #: None where its manifest cannot be read


@dataclass(frozen=True, slots=True)
class Choice:
    """The run that is read, and those that are not."""

    run: StoredRun
    passed_over: tuple[PassedOver, ...] = ()

    def notes(self) -> list[str]:
        """What to tell whoever reads figures of this run, a line each."""
        run = self.run
        lines = [f"run {run.id} is {oddity}" for oddity in run.oddities()]
        if self.passed_over:
            named = [f"{other.id} ({', '.join(other.why)})" for other in self.passed_over[:_NAMED_AT_MOST]]
            more = len(self.passed_over) - len(named)
            origin = f"list {(run.list_sha256 or 'unknown')[:12]}, {f'from {run.vantage}' if run.vantage else 'no vantage named'}"
            lines.append(
                f"run {run.id} is read ({origin}); passed over: {', '.join(named)}"
                f"{f', and {more:,} more' if more else ''}; --run names another"
            )
        return lines


def choose_run(data: Path, wanted: str | None = None, *, whole: bool = False) -> Choice:
    """The run `wanted` of directory `data`, or the one that is read by default.

    With `whole` only runs of which every shard is in are read by default.  Raises `UsageError`: no such directory or
    run, or a manifest that cannot be read where there is no other run.
    """
    check_run_id(wanted)
    if not data.is_dir():
        what = "is not a directory" if data.exists() else "no such directory"
        raise UsageError(f"{data}: {what}; --data takes the directory that `scan --data` wrote to")
    paths = sorted(path for path in data.glob("run=*") if path.is_dir())
    if wanted is not None:
        path = data / f"run={wanted}"
        if not path.is_dir():
            known = ", ".join(path.name.removeprefix("run=") for path in paths[-5:]) or "none"
            raise UsageError(f"{data}: has no run {wanted!r}; runs here: {known}")
        return Choice(StoredRun(path, read_manifest(path)))
    runs, unreadable = _read_all(paths)
    candidates = [run for run in runs if run.is_whole or not whole]
    if not candidates:
        if unreadable:
            raise next(iter(unreadable.values()))
        if (data / MANIFEST).exists():
            hint = "holds no run; it is itself a run; give the directory above it"
        else:
            hint = "holds no finished run; end one with `scan`" if whole else "holds no run; start with `scan`"
        raise UsageError(f"{data}: {hint}")
    chosen = max(candidates, key=lambda run: run._preference)
    lost = [
        PassedOver(path.name.removeprefix("run="), (str(error).removeprefix(f"{path / MANIFEST}: "),))
        for path, error in unreadable.items()
    ]
    return Choice(chosen, (*_others(chosen, runs), *lost))


def _others(chosen: StoredRun, runs: list[StoredRun]) -> Iterator[PassedOver]:
    """Runs that are newer than the chosen one, and the newest of each other list and vantage."""
    seen = {(chosen.list_sha256, chosen.vantage)}
    for run in sorted(runs, key=lambda run: (run.started_at, run.path.name), reverse=True):
        origin = (run.list_sha256, run.vantage)
        is_newer = run.started_at > chosen.started_at
        if run is chosen or not (is_newer or origin not in seen):
            continue
        seen.add(origin)
        why = [f"newer, started {run.started_at or 'at an unknown time'}"] if is_newer else []
        why += run.oddities()
        if run.list_sha256 != chosen.list_sha256:
            why.append(f"another list, {(run.list_sha256 or 'unknown')[:12]}")
        if run.vantage != chosen.vantage:
            why.append(f"from {run.vantage}" if run.vantage else "no vantage named")
        yield PassedOver(run.id, tuple(why), run)


def check_apart(data: Path, out: Path) -> None:
    """Refuse to write a site where runs lie, or around them: readers would meet both.

    Raises `UsageError` if one directory is or holds the other, or `out` is part of a run or holds runs.
    """
    place, runs = out.resolve(), data.resolve()
    what = ""
    if place == runs:
        what = "is the directory of the runs"
    elif place.is_relative_to(runs):
        what = f"lies in the directory of the runs, {data}"
    elif runs.is_relative_to(place):
        what = f"holds the directory of the runs, {data}, which would be published with it"
    elif within := next((path for path in (place, *place.parents) if _is_run(path)), None):
        what = f"lies in the run {within}"
    elif any(_is_run(path) for path in place.glob("run=*")):
        what = "holds runs"
    if what:
        raise UsageError(f"--out {out}: {what}; give a directory of its own")


def _is_run(path: Path) -> bool:
    return path.name.startswith("run=") and (path / MANIFEST).exists()


def check_run_id(wanted: str | None) -> None:
    """Raises `UsageError` for what cannot be the name of a run."""
    if wanted is not None and not _RUN_ID(wanted):
        raise UsageError(f"--run: {wanted!r} must be letters, digits, dot, dash or underscore, 64 at most")


def _read_all(paths: list[Path]) -> tuple[list[StoredRun], dict[Path, UsageError]]:
    """The runs of these directories, and why the manifests of others cannot be read."""
    runs, unreadable = [], {}
    for path in paths:
        if not (path / MANIFEST).exists():
            continue  # somebody's directory, or a run that is just being made
        try:
            runs.append(StoredRun(path, read_manifest(path)))
        except UsageError as error:
            unreadable[path] = error
    return runs, unreadable
