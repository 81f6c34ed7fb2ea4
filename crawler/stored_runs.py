"""The runs in a directory: their manifests, and which run is read where none is named.

A manifest may have been damaged or edited by hand, so every entry that code relies on is held to its kind here, and
a wrong one is one line of words.  Nothing in this file writes.

The run that is read by default is the newest finished one that covers its whole list.  A run with a limit, one that
is not finished, and one that the crawler calls `suspect` are read by name, or where nothing better is there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from crawler.config import UsageError
from crawler.records import SCHEMA_VERSION
from crawler.schema_versions import READABLE, manifest_as_now, schema_version_of

MANIFEST = "manifest.json"
FINISHED = "finished"
SUSPECT = "suspect"
"""The scan came to its end, and what it found is implausible; `suspicions` says why."""

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}").fullmatch
_NAMED_AT_MOST = 5
"""Runs that a line of words names."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One run by its manifest.  Entries that an older manifest lacks are None or empty."""

    path: Path
    manifest: dict[str, Any]

    @property
    def id(self) -> str:
        """The name of the run."""
        return self.path.name.removeprefix("run=")

    @property
    def state(self) -> str:
        """`running interrupted finished suspect`, or `unknown`."""
        return str(self.manifest.get("state") or "unknown")

    @property
    def is_whole(self) -> bool:
        """Whether every shard is in."""
        return self.state in (FINISHED, SUSPECT)

    @property
    def suspicions(self) -> tuple[str, ...]:
        """What the crawler found implausible about its own run, a sentence each."""
        return tuple(self.manifest.get("suspicions") or ())

    @property
    def limit(self) -> int | None:
        """How many names of the list were taken at most; None: all of them, also where the list is no longer than that."""
        limit = (self.manifest.get("configuration") or {}).get("limit") or None
        lines = (self.manifest.get("list") or {}).get("lines")
        return None if limit is None or (lines is not None and lines <= limit) else int(limit)

    @property
    def list_sha256(self) -> str | None:
        """SHA-256 (hex) of the list."""
        return (self.manifest.get("list") or {}).get("sha256") or None

    @property
    def vantage(self) -> str | None:
        """Name of the place measured from."""
        return self.manifest.get("vantage") or None

    @property
    def started_at(self) -> str:
        """When it began, ISO 8601."""
        return self.manifest.get("started_at") or ""

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


def check_run_id(wanted: str | None) -> None:
    """Raises `UsageError` for what cannot be the name of a run."""
    if wanted is not None and not _RUN_ID(wanted):
        raise UsageError(f"--run: {wanted!r} must be letters, digits, dot, dash or underscore, 64 at most")


# --- manifests -------------------------------------------------------------------------------------


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


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of the run in directory `path`, every known entry of its kind.

    Raises `UsageError` if there is none, it is not JSON, an entry is of another kind than the crawler writes, or the
    run is of a schema that cannot be read.
    """
    file = path / MANIFEST
    try:
        manifest = json.loads(file.read_bytes())
        json.dumps(manifest, ensure_ascii=False, allow_nan=False).encode()  # half a surrogate pair cannot be shown
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror}); without it this is no run") from error
    except (ValueError, RecursionError) as error:
        words = " ".join(str(error).split())[:120]
        raise UsageError(f"{file}: is not JSON ({words}); the run cannot be read without it") from error
    if not isinstance(manifest, dict):
        raise UsageError(f"{file}: is not the manifest of a run")
    if fault := _fault(manifest, _KINDS):
        raise UsageError(f"{file}: {fault}; it was damaged or edited, and the run cannot be read without it")
    schema = schema_version_of(manifest)
    if schema is None or schema < READABLE.start:
        raise UsageError(f"{file}: schema_version is {manifest['schema_version']!r}, which no version has written")
    if schema > SCHEMA_VERSION:
        raise UsageError(f"{file}: schema {schema} is newer than this program reads ({SCHEMA_VERSION}); update it")
    return manifest_as_now(manifest)


@dataclass(frozen=True, slots=True)
class _ListOf:
    kind: Any


@dataclass(frozen=True, slots=True)
class _EachIs:
    """An object with any names, all of whose entries are of one kind."""

    kind: Any


class _Time(str):
    """ISO 8601."""


#: Entry -> kind.  Null is allowed everywhere, as an older manifest may lack the entry; other entries may be anything.
_KINDS: dict[str, Any] = {
    "run": str,
    "state": str,
    "started_at": _Time,
    "ended_at": _Time,
    "resumed_at": _ListOf(str),
    "resumed_with": _ListOf(
        {"at": str, "host_name": str, "public_suffix_list": str, "versions": _EachIs(str)},
    ),
    "configuration": {"limit": int, "allow_network": _ListOf(str), "protocol": _ListOf(str)},
    "config_sha256": str,
    "list": {"path": str, "sha256": str, "bytes": int, "lines": int},
    "vantage": str,
    "source_address": _ListOf(str),
    "host_name": str,
    "ehlo_name": str,
    "resolvers": _ListOf({}),
    "trust_anchors": {"source": str, "date": str, "sha256": str, "certificates": int},
    "public_suffix_list": str,
    "versions": _EachIs(str),
    "divided_networks": _ListOf({}),
    "counts": {"rows": _EachIs(int), "routes": _EachIs(int), "outcomes": _EachIs(int)},
    "problem": str,
    "rejudged": _ListOf({"intermediates": str, "judged_for": _Time}),
    "suspicions": _ListOf(str),
}
_WORDS = {str: "text", int: "a whole number", _Time: "a time"}


def _fault(value: Any, kind: Any, where: str = "") -> str | None:
    """The first entry that is not of its kind, in words; None if there is none."""
    if value is None:
        return None
    entries: Iterable[tuple[str, Any, Any]]
    if isinstance(kind, _ListOf):
        if not isinstance(value, list) or None in value:
            return _not(where, value, "a list without gaps")
        entries = ((f"{where}[{number}]", entry, kind.kind) for number, entry in enumerate(value))
    elif isinstance(kind, (dict, _EachIs)):
        if not isinstance(value, dict):
            return _not(where, value, "an object")
        kinds = kind if isinstance(kind, dict) else dict.fromkeys(value, kind.kind)
        entries = (
            (f"{where}.{name}" if where else name, entry, kinds[name]) for name, entry in value.items() if name in kinds
        )
    else:
        return None if _is(value, kind) else _not(where, value, _WORDS[kind])
    return next((fault for name, entry, inner in entries if (fault := _fault(entry, inner, name))), None)


def _is(value: Any, kind: type) -> bool:
    if kind is _Time:
        try:
            return 1970 <= datetime.fromisoformat(value).year < 9000  # calendars end soon after
        except (TypeError, ValueError):
            return False
    if kind is int:  # JSON's true is an int to Python; no number that the crawler writes is larger
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
    return isinstance(value, kind)


def _not(where: str, value: Any, kind: str) -> str:
    return f"`{where[:80]}` is {str(value)[:40]!r}, which is not {kind}"
