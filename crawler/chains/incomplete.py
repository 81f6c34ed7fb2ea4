"""Chains that lack an issuer, judged once more over the certificates of the whole run (table `incomplete_chains`).

It is done when all probes are, for what is known depends on all of them; so each row
follows from the set of stored chains, in whatever order they came.  `crawler.chains.intermediates` says what is
known.  Memory does not grow with the run.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from crawler.certificates.parsing import ParsedCertificate
from crawler.certificates.trust_store import TrustStore
from crawler.chains.chain_index import CertificateIndex
from crawler.chains.intermediates import Intermediates
from crawler.dataset.files import replace_durably, temporary_name
from crawler.dataset.parts import PartWriter, batches, opened
from crawler.dataset.run import RunDirectory
from crawler.dataset.steps import INCOMPLETE, LAYOUTS
from crawler.dataset.stored_manifest import time_of
from crawler.model.rows import MISSING_ISSUER, IncompleteChain

_PART = "merged-0000.parquet"
_CODES = pa.array(MISSING_ISSUER, pa.int32())

Tick = Callable[[int], None]
"""Told how many rows went by; may raise to stop the work."""


def judge_incomplete(run: RunDirectory, signature: dict[str, str], tick: Tick) -> None:
    """Fill the table of a run whose certificates are merged.  It may be interrupted anywhere and done again.

    A table that was made of other parts than there are now, as a shard was done again, is made anew.
    """
    sources = run.written("probes") | run.merged("certificates").parts
    made = run.merged(INCOMPLETE)
    if made.parts and made.sources == sources:
        return
    started = time_of(run.manifest().started_at or "")
    with closing(CertificateIndex(run.work)) as index:
        write_incomplete(run, TrustStore(str(run.trust_anchors)), started, index, run.work, signature, tick)
    run.mark_merged(INCOMPLETE, [run.path / INCOMPLETE / _PART], sources)


def write_incomplete(
    run: RunDirectory,
    trust: TrustStore,
    at: datetime,
    index: CertificateIndex,
    work: Path,
    signature: dict[str, str],
    tick: Tick,
) -> int:
    """Write the table for the chains that `probes` says lack an issuer; returns how many they are.

    `at` is one time for all, to choose between twins of an intermediate; `index` is empty, and
    `work` is a directory beside the tables.
    """
    for part in run.parts("probes"):
        _keep_incomplete(part, index, tick)
    index.fill(run.parts("certificates") if index.count() else (), tick)
    known = Intermediates(index, trust, tick)
    (run.path / INCOMPLETE).mkdir(exist_ok=True)  # a run may have been begun by a version that had it not
    temporary = temporary_name(work / INCOMPLETE)
    writer = PartWriter(temporary, IncompleteChain, signature, layout=LAYOUTS[INCOMPLETE])
    try:
        for chain in index.chains():
            writer.append(_judged(chain, index.known(chain, trust.read), trust, known, at))
            tick(1)
        writer.close()
    except BaseException:
        writer.abandon()
        raise
    replace_durably(temporary, run.path / INCOMPLETE / _PART)
    return writer.rows


def _keep_incomplete(part: Path, index: CertificateIndex, tick: Tick) -> None:
    with opened(part) as file:
        for batch in batches(file, ["received_chain", "chain_error_code"]):
            incomplete = batch.filter(pc.is_in(batch.column("chain_error_code"), _CODES))
            index.keep(chain for chain in incomplete.column("received_chain").to_pylist() if chain)
            tick(batch.num_rows)


def _judged(
    chain: list[str],
    certificates: list[ParsedCertificate | None],
    trust: TrustStore,
    known: Intermediates,
    at: datetime,
) -> IncompleteChain:
    row = IncompleteChain(received_chain=chain, leaf_sha256=chain[0])
    received = [certificate for certificate in certificates if certificate is not None]
    if len(received) < len(chain):
        return row  # what was received cannot be judged without one of its certificates
    verdict = trust.judge_with(received, known, at)
    row.trusted_if_known = verdict.trusted
    row.error_code, row.error_depth, row.error = verdict.error_code, verdict.error_depth, verdict.error
    if verdict.trusted:
        row.known_issuers = list(verdict.added)
        if verdict.window.is_whole:
            row.valid_from, row.valid_until = verdict.window.start, verdict.window.end
    return row
