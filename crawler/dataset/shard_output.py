"""What one shard of a step yields: a part for each table, made visible together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from crawler.dataset.files import digest, sync_directory, temporary_name, write_json
from crawler.dataset.parts import PartWriter
from crawler.dataset.run import RunDirectory
from crawler.dataset.steps import LAYOUTS, MERGED, Step
from crawler.model.rows import TABLES, LookupStatus
from crawler.model.vocabulary import ANSWERED


def lookup_of(*statuses: LookupStatus | None) -> LookupStatus | None:
    """How the lookup of a host's addresses ended: a family that failed counts, else one that has some, else one that was asked."""
    asked = [status for status in statuses if status != LookupStatus.NOT_ASKED]
    failed = [status for status in asked if status not in ANSWERED]
    if failed:
        return failed[0]
    return LookupStatus.OK if LookupStatus.OK in asked else next(iter(asked), LookupStatus.NOT_ASKED)


#: What is counted while rows pass, for the manifest.
_TALLIED: dict[str, Callable[[Any], object]] = {
    "domains": attrgetter("route"),
    "hosts": lambda host: lookup_of(host.ipv4_status, host.ipv6_status),
    "probes": attrgetter("outcome"),
    "certificates": attrgetter("over_budget"),
}


class ShardOutput:
    """What one shard of a step yields: a part per table, made visible together by `commit`."""

    def __init__(self, run: RunDirectory, step: Step, shard: int, signature: dict[str, str], expected: int = 0) -> None:
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
        return temporary_name(self._run.work / f"{table}-{self._step.name}-{self._shard:04d}")

    def _open(self, kind: type) -> PartWriter:
        table = self._tables[kind]
        # What is merged later needs no filter, and what is merged needs one.
        layout = replace(LAYOUTS[table], expected=self._expected if table not in MERGED else 0)
        return PartWriter(self._temporary(table), kind, self._signature, tally=_TALLIED.get(table), layout=layout)
