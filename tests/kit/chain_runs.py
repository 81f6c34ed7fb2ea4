"""Finished runs whose chains are of a test's making, judged as a probe would, certificates stored with them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from crawler.certificates.parsing import facts
from crawler.certificates.trust_store import TrustStore
from crawler.certificates.verdicts import conclude, judge_chain, judge_names
from crawler.dataset.files import write_whole
from crawler.dataset.parts import PartWriter, read_rows
from crawler.dataset.run import RunDirectory
from crawler.dataset.stored_manifest import Manifest
from crawler.model.rows import SCHEMA_VERSION, TABLES, Certificate, Outcome, Probe, Stage
from crawler.probe.shard_rows import without_text
from tests.kit import chains
from tests.kit.chains import START, Subject, der, known, pem
from tests.kit.manifests import state_rows

SIGNATURE = {"run": "test", "config_sha256": "00"}
HOST = "mx.example"
ROOT, MIDDLE, LOWER, OTHER = Subject("Root"), Subject("Middle"), Subject("Lower"), Subject("Other Root")
ANCHOR, OTHER_ANCHOR = ROOT.root(), OTHER.root()
INTERMEDIATE = ROOT.issue(MIDDLE, ca=True)
LOWER_INTERMEDIATE = MIDDLE.issue(LOWER, ca=True)
LEAF, LOWER_LEAF = MIDDLE.leaf(HOST), LOWER.leaf(HOST)

Chain = Sequence[chains.Certificate]


def sha256(certificate: chains.Certificate) -> str:
    return hashlib.sha256(der(certificate)).hexdigest()


def probed(store: TrustStore, chain: Chain, at: datetime) -> Probe:
    """The row of a host that sent the chain; an empty one: it never came to TLS."""
    row = Probe(protocol="smtp", host=HOST, address="192.0.2.1", port=25, stage=Stage.DONE, outcome=Outcome.OK)
    row.started_at = at
    if chain:
        row.starttls_offered = row.negotiated = row.conclusive = True
        received = known(*chain)
        row.received_chain = [str(certificate.row.sha256) for certificate in received]
        judge_chain(row, received, store.judge, at)
        judge_names(row, received[0])
    conclude(row)
    return row


def stored(
    path: Path,
    received: Iterable[Chain],
    others: Iterable[chains.Certificate] = (),
    *,
    code: int | None = None,
    at: datetime = START,
    shards: int = 1,
    dropped: int | None = None,
) -> RunDirectory:
    """A run in which probes received chains (whatever they are, refused with `code`), and one got nowhere.

    Of each chain so many certificates were `dropped`.

    `others` came from hosts that are not in it.
    """
    run = RunDirectory(path)
    path.mkdir(parents=True)
    run.make_directories(SIGNATURE)
    write_whole(run.trust_anchors, pem(ANCHOR).encode())
    store = TrustStore(str(run.trust_anchors))
    sent = list(received)
    probes = [probed(store, chain, at) for chain in [*sent, []]]
    for probe in probes[:-1]:
        probe.chain_dropped = dropped
        probe.chain_error_code = probe.chain_error_code if code is None else code
    distinct = {sha256(one): one for one in (*(c for chain in sent for c in chain), *others)}
    rows: dict[str, list[Any]] = {"probes": probes, "certificates": [facts(der(one)) for one in distinct.values()]}
    for table, name in (("probes", "probes"), ("certificates", "merged")):
        for shard in range(shards):
            write_part(run, table, f"{name}-{shard:04d}", rows[table][shard::shards])
    manifest = {
        **SIGNATURE,
        "state": "finished",
        "schema_version": SCHEMA_VERSION,
        "started_at": START.isoformat(),
        "trust_anchors": {"sha256": hashlib.sha256(pem(ANCHOR).encode()).hexdigest()},
        "counts": {"rows": {table: len(rows.get(table, ())) for table in TABLES}},
    }
    run.write_manifest(Manifest.of(manifest))
    return run


def write_part(run: RunDirectory, table: str, name: str, rows: Iterable[Any]) -> None:
    """Write a part of a table, over one of that name."""
    writer = PartWriter(run.path / table / f"{name}.parquet", TABLES[table], SIGNATURE)
    for row in rows:
        writer.append(row)
    writer.close()


def without(run: RunDirectory, lost: chains.Certificate, how: str) -> None:
    """Lose a certificate of the run: `missing`, in its place bytes that are `not a certificate`, or `over budget`."""
    (part,) = (part for part in run.parts("certificates") if part.stem != "empty")
    rows: list[Certificate] = list(read_rows(part, Certificate))
    for row in rows:
        if row.sha256 == sha256(lost):
            row.der = b"\x30\x03\x02\x01\x01"
    if how == "over budget":
        rows = [without_text(row) if row.sha256 == sha256(lost) else row for row in rows]
    kept = [row for row in rows if row.sha256 != sha256(lost) or how != "missing"]
    write_part(run, "certificates", part.stem, kept)
    state_rows(run, "certificates", len(kept))
