"""Where a run keeps what: tables, the work between the steps, markers of finished shards, manifest, lock.

Rule of this room: it is the only one that decides what a run holds.  A shard counts as finished when
its marker stands, which is written after all its parts; doing a shard again replaces the same names,
so it may be done twice.

    DIR/run=ID/manifest.json, trust-anchors.pem
    DIR/run=ID/{domains,hosts,tlsa,probes,certificates,policies,incomplete_chains}/*.parquet
    DIR/run=ID/_work/{targets,hosts,endpoints}/NNNN.parquet   input of the three steps, cut into shards
    DIR/run=ID/_work/done/STEP-NNNN.json                      markers, with counts
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from crawler.parts import Layout, PartWriter, digest, hidden, sync_directory, write_json
from crawler.records import TABLES, Endpoint, MailHost, Target

EMPTY_PART = "empty.parquet"
"""A part without rows in every table, so that each can be opened from the start."""


MERGED = ("certificates", "policies")
"""Tables whose rows many shards find; in the end each is kept once."""

INCOMPLETE = "incomplete_chains"
"""The table that is made of the others when they are whole (`crawler.incomplete`)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One of the three kinds of work: the rows it takes, where they lie cut into shards, what it fills."""

    name: str
    row: type
    folder: str
    tables: tuple[str, ...]
    key: Callable[[Any], Any] | None  #: of the input; rows with a key seen before in the shard are duplicates


DOMAINS = Step("domains", Target, "targets", ("domains", "policies"), lambda t: t.domain or ("", t.listed))
HOSTS = Step("hosts", MailHost, "hosts", ("hosts", "tlsa"), attrgetter("host"))
PROBES = Step("probes", Endpoint, "endpoints", ("probes", "certificates"), None)
STEPS = {step.name: step for step in (DOMAINS, HOSTS, PROBES)}

#: How the tables' parts are laid out.
LAYOUTS = {
    "domains": Layout("domain", ("listed", "registrable_domain")),
    "hosts": Layout("host"),
    "tlsa": Layout("host", ("base_domain",)),
    "probes": Layout("host"),
    "certificates": Layout("sha256", ("spki_sha256",)),
    "policies": Layout("sha256"),
    "incomplete_chains": Layout("leaf"),
}

#: The names of a run's own parts, and of the shards that a step is cut into; whatever else lies there is somebody's.
_PART = re.compile(r"(?:domains|hosts|probes|merged)-[0-9]{4}\.parquet|empty\.parquet").fullmatch
_SHARD = re.compile(r"[0-9]{4}\.parquet").fullmatch

#: What is counted while rows pass, for the manifest.
_TALLIED = {"domains": "route", "probes": "outcome"}


# --- a run's directory -----------------------------------------------------------------------------


class Run:
    """The directory of one run: names of everything in it, its lock, its manifest."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name.removeprefix("run=")
        self.work = path / "_work"
        self.done = self.work / "done"
        self._lock: int | None = None

    def make_directories(self, signature: dict[str, str]) -> None:
        """Create all directories; each table gets a part without rows, so that it can be opened from the start."""
        self.done.mkdir(parents=True)
        for table, row in TABLES.items():
            (self.path / table).mkdir()
            writer = PartWriter(self.path / table / EMPTY_PART, row, signature)
            writer.close()
            sync_directory(self.path / table)
        sync_directory(self.work)
        sync_directory(self.path)

    def manifest(self) -> dict[str, Any]:
        """The manifest as stored.  Raises `OSError`, `ValueError` or `TypeError` if there is none that can be read."""
        value = json.loads((self.path / "manifest.json").read_text("utf-8"))
        return dict(value)

    @property
    def trust_anchors(self) -> Path:
        """What all chains of the run are judged by, PEM."""
        return self.path / "trust-anchors.pem"

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        write_json(self.path / "manifest.json", manifest)

    def signature(self, manifest: dict[str, Any]) -> dict[str, str]:
        """What each part says of itself in its metadata."""
        return {"run": str(manifest["run"]), "config_sha256": str(manifest["config_sha256"])}

    def lock(self) -> bool:
        """Take the run for this process and its workers; False if another has it.

        The kernel lets go of the lock when the last process that holds the descriptor is gone, however
        it died, so a lock is never left behind.
        """
        descriptor = os.open(self.work / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    def adopt(self, other: Run) -> None:
        """Take over the lock of a run that is about to be renamed to this one; a lock follows its file."""
        self._lock, other._lock = other._lock, None

    @property
    def lock_descriptor(self) -> int | None:
        """For the workers to inherit, so that the run stays locked until the last of them is gone."""
        return self._lock

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def parts(self, table: str) -> list[Path]:
        """The parts of a table that this run wrote, in order."""
        return sorted(path for path in (self.path / table).glob("*.parquet") if _PART(path.name))

    def strangers(self) -> Iterator[Path]:
        """What readers would take for parts of this run and is none: it would be counted, or stop them."""
        for table in TABLES:
            for path in sorted((self.path / table).glob("*.parquet")):
                if not _PART(path.name) or path.is_symlink() or not path.is_file():
                    yield path

    def shards(self, step: Step) -> list[int]:
        """The shards a step is cut into."""
        return sorted(int(path.stem) for path in (self.work / step.folder).glob("*.parquet") if _SHARD(path.name))

    def shard_path(self, step: Step, shard: int) -> Path:
        return self.work / step.folder / f"{shard:04d}.parquet"

    def part_path(self, table: str, step: Step, shard: int) -> Path:
        return self.path / table / f"{step.name}-{shard:04d}.parquet"

    def marker_path(self, step: Step, shard: int) -> Path:
        return self.done / f"{step.name}-{shard:04d}.json"

    def finished(self, step: Step) -> dict[int, dict[str, Any]]:
        """What the finished shards of a step counted, by shard.

        A marker whose parts are gone or have another size than it says does not count: the shard is done again.
        """
        markers = {}
        for shard in self.shards(step):
            try:
                marker = json.loads(self.marker_path(step, shard).read_text("utf-8"))
                whole = all(
                    self.is_merged(table) or self.part_path(table, step, shard).stat().st_size == size
                    for table, size in marker["bytes"].items()
                )
            except (OSError, ValueError, KeyError):
                continue
            if whole:
                markers[shard] = marker
        return markers

    def distrust(self, tick: Callable[[int], None]) -> list[Path]:
        """Take the marker from each finished shard of whose parts one holds something else than was written.

        Returns those parts.  Their size has not changed, so nothing but reading them tells.
        """
        damaged = []
        for step in STEPS.values():
            for shard, marker in self.finished(step).items():
                for table, written in marker.get("sha256", {}).items():
                    part = self.part_path(table, step, shard)
                    if not self.is_merged(table) and digest(part) != written:
                        damaged.append(part)
                        self.marker_path(step, shard).unlink(missing_ok=True)
                tick(1)
        return damaged

    def is_merged(self, table: str) -> bool:
        """Whether the parts of the shards were replaced by merged ones, each key once."""
        return (self.done / f"merged-{table}.json").exists()

    def remove_leftovers(self) -> None:
        """Remove what an interrupted process left under hidden names; only with the lock in hand."""
        for folder in (self.path, self.work, self.done):
            for path in folder.glob(".tmp-*"):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


class ShardOutput:
    """What one shard of a step yields: a part per table, made visible together by `commit`."""

    def __init__(self, run: Run, step: Step, shard: int, signature: dict[str, str], expected: int = 0) -> None:
        """`expected` rows go into the step's first table."""
        self._run = run
        self._step = step
        self._shard = shard
        self._expected = expected
        self._signature = signature
        self._tables = {TABLES[table]: table for table in step.tables}
        self._writers: dict[type, PartWriter] = {}

    def emit(self, row: Any) -> None:
        """Take a row for the table of its class."""
        writer = self._writers.get(type(row))
        if writer is None:
            writer = self._writers[type(row)] = self._open(type(row))
        writer.append(row)

    def rows(self) -> dict[str, int]:
        """Rows so far, by table."""
        return {self._tables[kind]: writer.rows for kind, writer in self._writers.items()}

    def commit(self, counts: dict[str, Any]) -> dict[str, Any]:
        """Close the parts, let them appear, and set the marker with `counts`; returns what the marker says."""
        for writer in self._writers.values():
            writer.close()
        sizes, digests = {}, {}
        for kind, table in self._tables.items():
            part = self._run.part_path(table, self._step, self._shard)
            if kind in self._writers:
                sizes[table] = self._temporary(table).stat().st_size
                digests[table] = digest(self._temporary(table))
                self._temporary(table).rename(part)
            else:
                part.unlink(missing_ok=True)  # of an earlier try that found more
            sync_directory(part.parent)
        tallies = {self._tables[kind]: dict(writer.counts) for kind, writer in self._writers.items() if writer.counts}
        marker = {"rows": self.rows(), "bytes": sizes, "sha256": digests, "tallies": tallies, **counts}
        write_json(self._run.marker_path(self._step, self._shard), marker)
        return marker

    def abandon(self) -> None:
        """Remove what was written so far."""
        for writer in self._writers.values():
            writer.abandon()

    def _temporary(self, table: str) -> Path:
        return hidden(self._run.work / f"{table}-{self._step.name}-{self._shard:04d}")

    def _open(self, kind: type) -> PartWriter:
        table = self._tables[kind]
        # What is merged later needs no filter, and what is merged needs one.
        layout = replace(LAYOUTS[table], expected=self._expected if table not in MERGED else 0)
        return PartWriter(self._temporary(table), kind, self._signature, tally=_TALLIED.get(table), layout=layout)
