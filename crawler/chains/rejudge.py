"""The stored chains of a finished run judged again, by another store or another rule, without a new scan.

The result is a run like any other, which appears whole or not at all. Verdicts on chains are new, and everything else
is as it was. The same code makes them as while probing, so the same store and rule give the same verdicts. A
certificate that the run lost leaves null, never *no*.

`dane` does not change: it holds chains against TLSA records, whatever a store says.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from crawler.certificates.trust_store import TrustStore
from crawler.certificates.verdicts import Judge, conclude, judge_chain, judge_names
from crawler.chains.chain_index import CertificateIndex
from crawler.chains.incomplete import write_incomplete
from crawler.chains.intermediates import Intermediates
from crawler.dataset.files import Damaged, digest, replace_durably, sync_directory, sync_file, temporary_name
from crawler.dataset.find_run import find_finished
from crawler.dataset.manifest import anchors_of, timestamp, versions
from crawler.dataset.parts import PartWriter, batches, opened, row_count
from crawler.dataset.run import RunDirectory
from crawler.dataset.steps import EMPTY_PART, INCOMPLETE, LAYOUTS
from crawler.dataset.stored_manifest import time_of
from crawler.dataset.workspace import made_directory, sweep
from crawler.model.errors import UsageError
from crawler.model.reporting import Reporter, Silent
from crawler.model.rows import SCHEMA_VERSION, TABLES, Probe, schema_of
from crawler.model.schema_versions import RENAMED, as_now
from crawler.settings.memory_limit import RUN_MEMORY, limited_memory, memory_in_words

#: Columns of `probes` that depend on the chain and on who judges it.
VERDICTS = (
    "chain_trusted", "chain_error_code", "chain_error_depth", "chain_error", "chain_ordered",
    "name_match", "common_name_match", "within_validity", "strict_valid",
)  # fmt: skip

#: What verdicts follow from, beside the certificates.
_JUDGED_BY = ("host", "received_chain", "chain_dropped", "negotiated", "conclusive", "starttls_offered")

_SHOWN = ("chain_trusted", "name_match", "within_validity", "strict_valid")
_WORDS = {True: "yes", False: "no", None: "unknown"}


@dataclass(frozen=True, slots=True)
class Rule:
    """How chains are judged."""

    ca_file: str = ""  #: PEM; empty: the trust anchors of the run
    intermediates: str = "as-sent"  #: or `known`: as if senders knew what hosts of the run sent
    at: datetime | None = None  #: when dates must hold; None: at each probe


@dataclass(slots=True)
class Changes:
    """What came out otherwise than before."""

    endpoints: int = 0
    with_chain: int = 0
    verdicts: Counter[tuple[str, bool | None, bool | None]] = field(default_factory=Counter)

    def note(self, column: str, before: list[bool | None], after: list[bool | None]) -> None:
        """Count pairs that differ."""
        self.verdicts.update((column, old, new) for old, new in zip(before, after, strict=True) if old != new)

    def lines(self) -> Iterator[str]:
        """A short table."""
        yield f"  {self.endpoints:,} endpoints, {self.with_chain:,} of them with a chain"
        for column in _SHOWN:
            found = {pair[1:]: count for pair, count in self.verdicts.items() if pair[0] == column}
            for (old, new), count in sorted(found.items(), key=lambda item: -item[1]):
                yield f"  {column:<14} {_WORDS[old]:>7} -> {_WORDS[new]:<7} {count:>12,}"
        if not self.verdicts:
            yield "  no verdict has changed"


def rejudge(data: Path, wanted: str | None, out: Path, rule: Rule, progress: Reporter | None = None) -> str:
    """Write the run `wanted` of `data` (default: the one that is read by default) into `out`, judged again.

    Returns a summary.  Raises `UsageError` for what cannot be used, and then nothing is left behind.
    """
    with limited_memory(RUN_MEMORY), memory_in_words(data):
        return _rejudged(data, wanted, out, rule, progress or Silent())


def _rejudged(data: Path, wanted: str | None, out: Path, rule: Rule, progress: Reporter) -> str:
    try:
        source, notes = find_finished(data, wanted)
        _check_place(source, out)
        for note in notes:
            progress.say(note)
        trust = TrustStore(rule.ca_file or str(source.trust_anchors))
        with made_directory(out, "--out"), memory_in_words(data):
            sweep(out)
            with _appearing(out / source.path.name) as made, closing(CertificateIndex(made.path)) as index:
                changes = _Rejudgement(source, made, trust, rule, index, progress).write()
    except Damaged as error:
        raise UsageError(f"{error}; judge a whole copy of the run") from error
    finally:
        progress.close()
    return "\n".join([f"run {source.id} judged again: {out / source.path.name}", *changes.lines()]) + "\n"


def _check_place(source: RunDirectory, out: Path) -> None:
    if out.resolve().is_relative_to(source.path.resolve()):
        raise UsageError(f"{out}: is inside the run {source.path}; give another directory by --out")
    data = source.path.parent.resolve()
    if out.resolve().is_relative_to(data) and any(
        part.startswith("run=") for part in out.resolve().relative_to(data).parts
    ):
        raise UsageError(f"{out}: would be taken for a run of {data}; give another directory by --out")
    if (out / source.path.name).exists():
        raise UsageError(f"{out}: holds a run {source.id} already; give another directory by --out")


@contextmanager
def _appearing(path: Path) -> Iterator[RunDirectory]:
    """A run under a temporary name, which is replaced by its real one when everything in it is done."""
    made = RunDirectory(temporary_name(path))
    shutil.rmtree(made.path, ignore_errors=True)
    made.path.mkdir()
    try:
        yield made
        sync_directory(made.path)
        replace_durably(made.path, path)
    except BaseException:
        shutil.rmtree(made.path, ignore_errors=True)
        raise


class _Rejudgement:
    """One run on its way into another."""

    def __init__(
        self,
        source: RunDirectory,
        made: RunDirectory,
        trust: TrustStore,
        rule: Rule,
        index: CertificateIndex,
        progress: Reporter,
    ) -> None:
        self._source = source
        self._made = made
        self._trust = trust
        self._rule = rule
        self._shelf = index
        self._progress = progress
        self._manifest = source.manifest()
        self._signature = source.signature(self._manifest)
        self._is_of_today = self._manifest.schema_version == SCHEMA_VERSION
        self._started = time_of(self._manifest.started_at or "")
        self._changes = Changes()

    def write(self) -> Changes:
        """Everything but the name."""
        with self._shown("copying", "parts"):
            self._copy()
        with self._shown("taking chains and certificates", "rows"):
            self._shelve()
            judge = self._judge()
        with self._shown("judging", "endpoints", sum(map(row_count, self._source.parts("probes")))):
            (self._made.path / "probes").mkdir()
            for part in self._source.parts("probes"):
                self._rewrite(part, judge)
            sync_directory(self._made.path / "probes")
        with self._shown("completing chains", "rows"):
            lacking = self._complete()
        self._conclude(lacking)
        return self._changes

    @contextmanager
    def _shown(self, label: str, unit: str, total: int | None = None) -> Iterator[None]:
        self._progress.begin(label, unit, total)
        yield
        if total is None:
            self._progress.close()
        else:
            self._progress.end()

    def _copy(self) -> None:
        """The tables that no verdict is in, and the trust anchors."""
        for table in TABLES:
            if table not in ("probes", INCOMPLETE):
                folder = self._made.path / table
                folder.mkdir()
                for part in self._source.parts(table):
                    if self._is_of_today or table not in RENAMED:
                        _copy_file(part, folder / part.name)
                    else:
                        self._write_by_name_of_today(part, folder / part.name, table)
                    self._progress.advance(1)
                sync_directory(folder)
        _copy_file(self._trust.path, self._made.trust_anchors)

    def _write_by_name_of_today(self, part: Path, to: Path, table: str) -> None:
        """A part of an earlier schema, written with the columns of this one."""
        row = TABLES[table]
        schema = schema_of(row)
        layout = replace(LAYOUTS[table], expected=row_count(part))
        writer = PartWriter(to, row, self._signature, layout=layout)
        with opened(part) as file:
            for batch in batches(file):
                writer.extend(as_now(batch, table, schema))
        writer.close()

    def _shelve(self) -> None:
        for part in self._source.parts("probes"):
            with opened(part) as file:
                for batch in batches(file, ["received_chain"]):
                    self._shelf.keep(chain for chain in batch.column(0).to_pylist() if chain)
                    self._progress.advance(batch.num_rows)
        self._shelf.fill(self._source.parts("certificates"), self._progress.advance)

    def _judge(self) -> Judge:
        if self._rule.intermediates == "as-sent":
            return self._trust.judge
        known = Intermediates(self._shelf, self._trust, self._progress.advance)
        return lambda chain, at: self._trust.judge_with(chain, known, at)

    def _rewrite(self, part: Path, judge: Judge) -> None:
        layout = replace(LAYOUTS["probes"], expected=row_count(part))
        writer = PartWriter(self._made.path / "probes" / part.name, Probe, self._signature, layout=layout)
        schema = schema_of(Probe)
        with opened(part) as file:
            for batch in batches(file):
                writer.extend(self._judged(as_now(batch, "probes", schema), judge))
                self._progress.advance(batch.num_rows)
        writer.close()

    def _judged(self, batch: pa.RecordBatch, judge: Judge) -> pa.RecordBatch:
        """The same rows with new verdicts."""
        columns = [batch.column(name).to_pylist() for name in (*_JUDGED_BY, "started_at")]
        rows = [
            self._row(judge, Probe(**dict(zip(_JUDGED_BY, facts, strict=True))), at)
            for *facts, at in zip(*columns, strict=True)
        ]
        arrays = list(batch.columns)
        for name in VERDICTS:
            place = batch.schema.get_field_index(name)
            arrays[place] = pa.array([getattr(row, name) for row in rows], batch.schema.field(place).type)
            if name in _SHOWN:
                self._changes.note(name, batch.column(place).to_pylist(), arrays[place].to_pylist())
        self._changes.endpoints += len(rows)
        self._changes.with_chain += sum(bool(row.received_chain) for row in rows)
        return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)

    def _row(self, judge: Judge, row: Probe, started: datetime | None) -> Probe:
        """The row with verdicts on what was received, as far as all of it can be read."""
        if chain := row.received_chain:
            certificates = self._shelf.known(chain, self._trust.read)
            received = [known for known in certificates if known is not None]
            if len(received) == len(chain):
                judge_chain(row, received, judge, self._rule.at or started or self._started)
            if certificates[0] is not None:
                judge_names(row, certificates[0])
        conclude(row)
        return row

    def _complete(self) -> int:
        """The table of chains that lack an issuer: which they are depends on the store."""
        folder = self._made.path / INCOMPLETE
        folder.mkdir()
        PartWriter(folder / EMPTY_PART, TABLES[INCOMPLETE], self._signature).close()
        at = self._rule.at or self._started
        with closing(CertificateIndex(self._made.path)) as index:
            return write_incomplete(
                self._made, self._trust, at, index, self._made.path, self._signature, self._progress.advance
            )

    def _conclude(self, lacking: int) -> None:
        """The manifest: that of the measurement, and how it was judged again."""
        rule, counts = self._rule, self._manifest.counts or {}
        rows = {**(counts.get("rows") or {}), INCOMPLETE: lacking}
        again = {
            "at": timestamp(),
            "run": str(self._source.path.resolve()),
            "manifest_sha256": digest(self._source.path / "manifest.json"),
            "trust_anchors_before": self._manifest.trust_anchors,
            "intermediates": rule.intermediates,
            "judged_for": rule.at.isoformat() if rule.at else None,
            "versions": versions(),
        }
        self._made.write_manifest(
            replace(
                self._manifest,
                schema_version=SCHEMA_VERSION,
                trust_anchors=anchors_of(self._trust.path, rule.ca_file)
                if rule.ca_file
                else self._manifest.trust_anchors,
                counts={**counts, "rows": rows},
                rejudged=[*(self._manifest.rejudged or ()), again],
            )
        )


def _copy_file(source: Path, to: Path) -> None:
    shutil.copyfile(source, to)
    sync_file(to)
