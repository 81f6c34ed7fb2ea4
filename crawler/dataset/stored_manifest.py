"""The manifest of a run, and how it is read.

A stored one may have been damaged or edited by hand.  So every entry that code relies on is held to its kind here, and
a wrong one is one line of words.  Nothing here writes; `RunDirectory.write_manifest` does.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
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


@dataclass(frozen=True, slots=True)
class _ListOf:
    kind: Any


@dataclass(frozen=True, slots=True)
class _EachIs:
    """An object with any names, all of whose entries are of one kind."""

    kind: Any


class _Time(str):
    """ISO 8601."""


def _entry(kind: Any, name: str | None = None, *, always: bool = False) -> Any:
    """An entry of the manifest: its kind, and its name in the file if that differs. `always` entries are written also
    while they are null."""
    return field(default=None, metadata={"kind": kind, "name": name, "always": always})


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The manifest of a run.

    None means an entry that an older manifest lacks, or one that is not known yet.
    """

    run: str | None = _entry(str)
    state: str | None = _entry(str)
    schema_version: int = SCHEMA_VERSION
    started_at: str | None = _entry(_Time)
    ended_at: str | None = _entry(_Time, always=True)
    resumed_at: Sequence[str] | None = _entry(_ListOf(str))
    resumed_with: Sequence[Mapping[str, Any]] | None = _entry(
        _ListOf({"at": str, "host_name": str, "public_suffix_list": str, "versions": _EachIs(str)})
    )
    configuration: Mapping[str, Any] | None = _entry(
        {"limit": int, "allow_network": _ListOf(str), "protocol": _ListOf(str)}
    )
    config_sha256: str | None = _entry(str)
    listed: Mapping[str, Any] | None = _entry(
        {
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
        "list",
    )
    vantage: str | None = _entry(str, always=True)
    source_address: Sequence[str] | None = _entry(_ListOf(str))
    host_name: str | None = _entry(str)
    ehlo_name: str | None = _entry(str)
    resolvers: Sequence[Mapping[str, Any]] | None = _entry(_ListOf({}))
    opt_outs: Mapping[str, Any] | None = _entry({}, always=True)
    opt_outs_reloaded: Sequence[Mapping[str, Any]] | None = _entry(_ListOf({}))
    opt_outs_that_reach_far: Sequence[Mapping[str, Any]] | None = _entry(_ListOf({}))
    trust_anchors: Mapping[str, Any] | None = _entry({"source": str, "date": str, "sha256": str, "certificates": int})
    public_suffix_list: str | None = _entry(str)
    tls_offered: Mapping[str, Any] | None = _entry({})
    versions: Mapping[str, str | None] | None = _entry(_EachIs(str))
    divided_networks: Sequence[Mapping[str, Any]] | None = _entry(_ListOf({}))
    host_lookups_in_domains: Mapping[str, float] | None = _entry({})
    counts: Mapping[str, Any] | None = _entry(
        {"rows": _EachIs(int), "routes": _EachIs(int), "outcomes": _EachIs(int)}, always=True
    )
    outages: Sequence[Mapping[str, Any]] | None = _entry(_ListOf({"withdrawn": int, "stand": int}))
    doubts: Sequence[Mapping[str, Any]] | None = _entry(_ListOf({}))
    given_up: Sequence[Mapping[str, Any]] | None = _entry(
        _ListOf({"step": str, "shard": int, "name": str, "problem": str})
    )
    problem: str | None = _entry(str, always=True)
    suspicions: Sequence[str] | None = _entry(_ListOf(str))
    rejudged: Sequence[Mapping[str, Any]] | None = _entry(_ListOf({"intermediates": str, "judged_for": _Time}))
    others: Mapping[str, Any] = field(default_factory=dict)  #: entries of other versions, which may be anything

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Manifest:
        """The manifest that a JSON object states.  Raises `ValueError`, in words, for an entry of another kind."""
        if fault := _fault(document, _KINDS):
            raise ValueError(fault)
        known = {_FIELDS[name]: value for name, value in document.items() if name in _FIELDS}
        others = {name: value for name, value in document.items() if name not in _FIELDS}
        return cls(**known, others=others)

    def as_dict(self) -> dict[str, Any]:
        """The entries by their names in the file.  One that is null is left out, unless it waits to be known."""
        values = {name: getattr(self, attribute) for name, attribute in _FIELDS.items()}
        made = {name: value for name, value in values.items() if value is not None or name in _ALWAYS}
        return {**made, **self.others}

    def lacking(self, names: Iterable[str]) -> str | None:
        """The first of these entries that is missing, null or empty."""
        return next((name for name in names if not getattr(self, _FIELDS[name])), None)

    @property
    def list_sha256(self) -> str | None:
        """SHA-256 (hex) of the list."""
        return (self.listed or {}).get("sha256") or None


_ENTRIES = {one.metadata.get("name") or one.name: one for one in fields(Manifest) if one.name != "others"}
_FIELDS = {name: one.name for name, one in _ENTRIES.items()}
#: Entry -> kind.  Null is allowed everywhere, as an older manifest may lack the entry; other entries may be anything.
_KINDS = {name: one.metadata["kind"] for name, one in _ENTRIES.items() if "kind" in one.metadata}
_ALWAYS = {name for name, one in _ENTRIES.items() if one.metadata.get("always")}


def open_regular(path: Path) -> BinaryIO:
    """A file of a dataset that somebody else may have made.  Raises `OSError`, also for what is no regular file.

    A FIFO would be waited for without an end, and what waits could not be said.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file")
    return open(descriptor, "rb")


def read_manifest(path: Path) -> Manifest:
    """The manifest of the run in directory `path`, in the words of today.

    Raises `UsageError` if there is none, it is not JSON, an entry is of another kind than the crawler writes, or the
    run is of a schema that cannot be read.
    """
    file = path / MANIFEST
    document = _document(file)
    try:
        manifest = Manifest.of(manifest_as_now(document) if _fault(document, _KINDS) is None else document)
    except ValueError as error:
        raise UsageError(f"{file}: {error}; it was damaged or edited, and the run cannot be read without it") from None
    schema = schema_version_of(document)
    if schema is None or schema < READABLE.start:
        raise UsageError(f"{file}: schema_version is {document['schema_version']!r}, which no version has written")
    if schema > SCHEMA_VERSION:
        raise UsageError(f"{file}: schema {schema} is newer than this program reads ({SCHEMA_VERSION}); update it")
    return manifest


def stated_schema(path: Path) -> int | None:
    """The schema of the run in directory `path`, also of one that cannot be read; None if its manifest states none."""
    try:
        return schema_version_of(_document(path / MANIFEST))
    except UsageError:
        return None


def _document(file: Path) -> dict[str, Any]:
    """The JSON object in a file of moderate size and depth.  Raises `UsageError`."""
    try:
        with open_regular(file) as opened:
            content = opened.read(_LARGEST + 1)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror}); without it this is no run") from error
    if len(content) > _LARGEST:
        raise UsageError(f"{file}: is larger than {_LARGEST >> 20} MiB, so it is not the manifest of a run")
    try:
        document = json.loads(content)
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode()  # half a surrogate pair cannot be shown
    except (ValueError, RecursionError) as error:
        words = " ".join(str(error).split())[:120]
        raise UsageError(f"{file}: is not JSON ({words}); the run cannot be read without it") from error
    if not isinstance(document, dict) or _is_deep(document):
        raise UsageError(f"{file}: is not the manifest of a run")
    return document


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
