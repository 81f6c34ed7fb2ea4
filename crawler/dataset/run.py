"""The places in the directory of a run: tables, the work between the steps, markers of finished shards, manifest, lock.

This module knows where everything is. A marker is written after all parts of its shard. A shard counts as finished
when its marker stands, and each of its parts stands or was merged as it was written. Doing a shard again replaces
files of the same names, so it may be done twice.

    DIR/run=ID/manifest.json, trust-anchors.pem
    DIR/run=ID/{domains,hosts,tlsa,probes,certificates,policies,incomplete_chains}/*.parquet
    DIR/run=ID/_work/{targets,hosts,endpoints}/NNNN.parquet   input of the three steps, cut into shards
    DIR/run=ID/_work/opt-outs-SHA256                  the opt-outs in force (`crawler.executors.kept_opt_outs`)
    DIR/run=ID/_work/list, lock                       a list that came once (`crawler.scan.begin`); who works on the run
    DIR/run=ID/_work/done/STEP-NNNN.json              markers, with counts and digests
    DIR/run=ID/_work/done/divided-STEP_NNNN.json      the two shards that one was divided into
    DIR/run=ID/_work/done/merged-TABLE[_NNNN].json    which parts were merged into which, a file for each time
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crawler.dataset.files import Damaged, digest, sync_directory, write_json
from crawler.dataset.parts import PartWriter
from crawler.dataset.steps import EMPTY_PART, FIRST_DIVIDED, MERGED, STEPS, Step
from crawler.dataset.stored_manifest import MANIFEST, Manifest, read_manifest
from crawler.model.errors import ScanFailed, UsageError
from crawler.model.rows import TABLES

#: The names of a run's own parts, and of the shards that a step is cut into; whatever else lies there is somebody's.
_PART = re.compile(r"(?:domains|hosts|probes|merged)-[0-9]{4}\.parquet|empty\.parquet").fullmatch
_SHARD = re.compile(r"[0-9]{4}\.parquet").fullmatch


@dataclass(frozen=True, slots=True)
class Merged:
    """The parts that replace those of a table's shards; parts of other names are left by an interrupted merge."""

    parts: dict[str, str]  #: SHA-256 of each, by name
    sources: dict[str, str]  #: SHA-256 of each part of a shard whose rows they hold, by name

    def holds(self, name: str, sha256: str) -> bool:
        """Whether a part of a shard is in them, as it was when it had this digest."""
        return self.sources.get(name) == sha256


class RunDirectory:
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

    def manifest(self) -> Manifest:
        """The manifest as stored.  Raises `UsageError` if there is none that can be read."""
        return read_manifest(self.path)

    @property
    def trust_anchors(self) -> Path:
        """What all chains of the run are judged by, PEM."""
        return self.path / "trust-anchors.pem"

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest.  Raises `UsageError` for one that could not be read again."""
        document = manifest.as_dict()
        try:
            Manifest.of(json.loads(json.dumps(document)))
        except ValueError as error:
            raise UsageError(f"{self.path}: {error}; a manifest that says so could not be read") from None
        write_json(self.path / MANIFEST, document)

    def signature(self, manifest: Manifest) -> dict[str, str]:
        """What each part says of itself in its metadata."""
        return {"run": str(manifest.run), "config_sha256": str(manifest.config_sha256)}

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

    def adopt(self, other: RunDirectory) -> None:
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

    def foreign_files(self) -> Iterator[Path]:
        """What readers would take for parts of this run and is none: it would be counted, or stop them."""
        for table in TABLES:
            for path in sorted((self.path / table).glob("*.parquet")):
                if not _PART(path.name) or path.is_symlink() or not path.is_file():
                    yield path

    def shards(self, step: Step) -> list[int]:
        """The shards a step is cut into; one that was divided is none, the two that it was divided into are."""
        found = {int(path.stem) for path in (self.work / step.folder).glob("*.parquet") if _SHARD(path.name)}
        divided = self.divided(step)
        pieces = {piece for both in divided.values() for piece in both}
        if lost := pieces - found:
            path = self.shard_path(step, min(lost))
            raise Damaged(path, FileNotFoundError("it is part of a divided shard, and gone"))
        return sorted(shard for shard in found - divided.keys() if shard < FIRST_DIVIDED or shard in pieces)

    def divided(self, step: Step) -> dict[int, list[int]]:
        """The shards that were divided, each with those that it was divided into.  Raises `Damaged`."""
        found = {}
        for path in self.done.glob(f"divided-{step.name}_*.json"):
            try:
                found[int(path.stem.rpartition("_")[2])] = [int(piece) for piece in json.loads(path.read_text("utf-8"))]
            except (ValueError, TypeError) as error:
                raise Damaged(path, error) from error
        return found

    def mark_divided(self, step: Step, shard: int, pieces: list[int]) -> None:
        """Record that a shard was divided: its pieces, whose files exist already, count from now on."""
        write_json(self.done / f"divided-{step.name}_{shard:04d}.json", pieces)

    def units_done(self) -> int:
        """Plans that stand, shards that are finished or divided, and merges: what a later call need not do again."""
        return sum(map(self.is_cut, STEPS.values())) + sum(1 for _ in self.done.glob("*.json"))

    def is_cut(self, step: Step) -> bool:
        """Whether the plan of a step stands."""
        return (self.work / step.folder).is_dir()

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
        merged = {table: self.merged(table) for table in step.tables}
        markers = {}
        for shard in self.shards(step):
            try:
                marker = json.loads(self.marker_path(step, shard).read_text("utf-8"))
                whole = all(
                    merged[table].holds((part := self.part_path(table, step, shard)).name, marker["sha256"][table])
                    or part.stat().st_size == size
                    for table, size in marker["bytes"].items()
                )
            except (OSError, ValueError, KeyError):
                continue
            if whole:
                markers[shard] = marker
        return markers

    def withdraw(self, step: Step, shard: int) -> None:
        """Let a finished shard be one that is to be done: its marker goes first, then what it wrote."""
        self.marker_path(step, shard).unlink(missing_ok=True)
        sync_directory(self.done)
        for table in step.tables:
            self.part_path(table, step, shard).unlink(missing_ok=True)

    def written(self, table: str) -> dict[str, str]:
        """SHA-256 of the parts that the finished shards wrote for a table, by name, merged ones too."""
        (step,) = (step for step in STEPS.values() if table in step.tables)
        return {
            self.part_path(table, step, shard).name: marker["sha256"][table]
            for shard, marker in self.finished(step).items()
            if table in marker["sha256"]
        }

    def merged_path(self, table: str, first: int = 0) -> Path:
        """The marker of a merge whose first part has this number; it is never written over by the next."""
        return self.done / (f"merged-{table}_{first:04d}.json" if first else f"merged-{table}.json")

    def merged(self, table: str) -> Merged:
        """What was merged so far; a marker that cannot be read does not count, so the shards are done again."""
        merged = Merged({}, {})
        for path in self._merged_paths(table):
            try:
                marker = json.loads(path.read_text("utf-8"))
                parts, sources = dict(marker["sha256"]), dict(marker["sources"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
            merged.parts.update(parts)
            merged.sources.update(sources)
        return merged

    def mark_merged(self, table: str, parts: list[Path], sources: dict[str, str], first: int = 0) -> None:
        """Say that these parts, which stand, hold what those did."""
        digests = {part.name: digest(part) for part in parts}
        write_json(self.merged_path(table, first), {"sha256": digests, "sources": sources})

    def is_merged(self, table: str) -> bool:
        """Whether parts of the shards were replaced by merged ones, each key once."""
        return bool(self._merged_paths(table))

    def _merged_paths(self, table: str) -> list[Path]:
        return sorted([*self.done.glob(f"merged-{table}.json"), *self.done.glob(f"merged-{table}_[0-9]*.json")])

    def remove_leftovers(self) -> None:
        """Remove what an interrupted process left under hidden names; only with the lock in hand."""
        for folder in (self.path, self.work, self.done, *(self.work / step.folder for step in STEPS.values())):
            for path in folder.glob(".tmp-*"):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


def damage_of(error: Damaged) -> ScanFailed:
    """What a damaged part means for the run: a shard's own can be made again, while what it was made of is there."""
    where = error.path.parent
    lasting = where.parent.name == "_work" or (where.name in MERGED and error.path.name.startswith("merged-"))
    advice = (
        "what it was made of is gone, so begin another run by --run" if lasting else "the same command makes it again"
    )
    return ScanFailed(f"{error}; {advice}")
