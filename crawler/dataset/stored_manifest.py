"""The manifest of a stored run, read with care.

It may have been damaged or edited by hand, so every entry that code relies on is held to its kind here, and a wrong
one is one line of words.  Nothing here writes.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from crawler.model.errors import UsageError
from crawler.model.rows import SCHEMA_VERSION
from crawler.model.schema_versions import READABLE, manifest_as_now, schema_version_of
from crawler.settings.declared_limits import limit

MANIFEST = "manifest.json"
_LARGEST = limit(
    16 << 20,
    "bytes of a manifest; a scan of a million names wrote 10 KiB, and JSON made for it takes up to 30 times its size in memory",
    protects="our memory",
    cut="a refusal, exit code 2; among several runs it is passed over, with the reason",
)
_DEEPEST = limit(
    20,
    "levels on which lists and objects of a manifest stand in each other; the crawler writes six",
    protects="our stack",
    cut="a refusal, exit code 2; among several runs it is passed over, with the reason",
)


def time_of(text: str) -> datetime:
    """A time of a manifest, ISO 8601, in UTC; without a zone UTC is meant.

    Raises `ValueError` for what is none, or lies outside of the years 1970 to 8999: calendars end soon after.
    """
    try:
        time = datetime.fromisoformat(text)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"{text!r} is no time") from error
    if not 1970 <= time.year < 9000:
        raise ValueError(f"{text!r} is not of the years 1970 to 8999")
    return time


def fault_of(manifest: dict[str, Any]) -> str | None:
    """What `read_manifest` would refuse of a manifest, in words; None if nothing."""
    return _fault(manifest, _KINDS)


def open_regular(path: Path) -> BinaryIO:
    """A file of a dataset that somebody else may have made.  Raises `OSError`, also for what is no regular file.

    A FIFO would be waited for without an end, and what waits could not be said.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file")
    return open(descriptor, "rb")


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of the run in directory `path`, every known entry of its kind.

    Raises `UsageError` if there is none, it is not JSON, an entry is of another kind than the crawler writes, or the
    run is of a schema that cannot be read.
    """
    file = path / MANIFEST
    try:
        with open_regular(file) as opened:
            content = opened.read(_LARGEST + 1)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror}); without it this is no run") from error
    if len(content) > _LARGEST:
        raise UsageError(f"{file}: is larger than {_LARGEST >> 20} MiB, so it is not the manifest of a run")
    try:
        manifest = json.loads(content)
        json.dumps(manifest, ensure_ascii=False, allow_nan=False).encode()  # half a surrogate pair cannot be shown
    except (ValueError, RecursionError) as error:
        words = " ".join(str(error).split())[:120]
        raise UsageError(f"{file}: is not JSON ({words}); the run cannot be read without it") from error
    if not isinstance(manifest, dict) or _is_deep(manifest):
        raise UsageError(f"{file}: is not the manifest of a run")
    if fault := fault_of(manifest):
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
    "list": {
        "path": str,
        "sha256": str,
        "bytes": int,
        "lines": int,
        "names": int,
        "cut": bool,
        "form": str,
        "valid": int,
        "invalid": int,
    },
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
    "opt_outs": {},
    "opt_outs_reloaded": _ListOf({}),
    "host_lookups_in_domains": {},
    "outages": _ListOf({"withdrawn": int, "stand": int}),
    "doubts": _ListOf({}),
    "given_up": _ListOf({"step": str, "shard": int, "name": str, "problem": str}),
    "rejudged": _ListOf({"intermediates": str, "judged_for": _Time}),
    "suspicions": _ListOf(str),
}
_WORDS = {str: "text", bool: "true or false", int: "a whole number", _Time: "a time"}


def _is_deep(value: Any, levels: int = _DEEPEST) -> bool:
    """Whether lists and objects stand in each other on more levels than that."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_is_deep(one, levels - 1) for one in inner if isinstance(one, (dict, list)))


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
            time_of(value)
        except ValueError:
            return False
        return True
    if kind is int:  # JSON's true is an int to Python; no number that the crawler writes is larger
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
    return isinstance(value, kind)


def _not(where: str, value: Any, kind: str) -> str:
    return f"`{where[:80]}` is {str(value)[:40]!r}, which is not {kind}"
