"""Small runs written straight from rows, so that every rule of the analysis meets a truth computed by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import crypto

from analysis.runs.run import Run
from crawler.certificates.parsing import ParsedCertificate, parse
from crawler.certificates.verdicts import conclude
from crawler.model.names import suffixes
from crawler.model.rows import (
    TABLES,
    Certificate,
    Domain,
    Host,
    IncompleteChain,
    Outcome,
    Probe,
    Stage,
    Tlsa,
    is_conclusive,
    schema_of,
)  # fmt: skip
from crawler.policies.dane import Rdata, records_of
from tests.kit.conversations import ROOT

LEAF = "1f" * 32
INCOMPLETE = "1c" * 32


def domain(name: str, *mail_hosts: str | tuple[str, int], route: str = "explicit", **columns: Any) -> Domain:
    """A domain with mail hosts, of preference 10 where none is said."""
    mx = [
        {"host": h, "preference": 10} if isinstance(h, str) else {"host": h[0], "preference": h[1]} for h in mail_hosts
    ]
    registrable, suffix = suffixes(name)
    made = Domain(domain=name, input=name, route=route, mx=mx, registrable_domain=registrable, public_suffix=suffix)
    for column, value in columns.items():
        setattr(made, column, value)
    return made


def host(name: str, *addresses: str, ipv4: str = "", ipv6: str = "", dropped: int | None = None) -> Host:
    """A mail host; without statuses each family is `ok` where it has an address and `nodata` where not."""
    has_v6 = any(":" in address for address in addresses)
    has_v4 = any(":" not in address for address in addresses)
    return Host(
        host=name,
        addresses=list(addresses),
        ipv4_status=ipv4 or ("ok" if has_v4 else "nodata"),
        ipv6_status=ipv6 or ("ok" if has_v6 else "nodata"),
        addresses_dropped=dropped,
    )


def probe(host: str, address: str, kind: str = "strict", **columns: Any) -> Probe:
    """A probe that ended as `KINDS` describes."""
    stage, outcome, code, facts = KINDS[kind]
    made = Probe(protocol="smtp", host=host, address=address, port=25, stage=stage, outcome=outcome)
    for column, value in facts.items():
        setattr(made, column, value)
    inside = made.tls_version is not None
    made.conclusive = is_conclusive(stage, outcome, for_good=(code or 0) >= 500, inside_tls=inside)
    for column, value in columns.items():
        setattr(made, column, value)
    conclude(made)
    return made


_TLS = {
    "starttls_offered": True,
    "negotiated": True,
    "tls_version": "TLSv1.3",
    "tls_cipher": "TLS_AES_256_GCM_SHA384",
    "tls_group": "x25519",
    "forward_secret": True,
    "post_quantum": False,
    "received_chain": [LEAF],
    "chain_trusted": True,
    "name_match": True,
    "within_validity": True,
}
_NO_SECRECY = {"tls_version": "TLSv1.2", "tls_cipher": "AES128-SHA", "tls_group": None, "forward_secret": False}

#: Name -> stage, outcome, reply code, facts.
KINDS: dict[str, tuple[Stage | None, Outcome, int | None, dict[str, Any]]] = {
    "strict": (Stage.DONE, Outcome.OK, None, _TLS),
    "quantum": (Stage.DONE, Outcome.OK, None, _TLS | {"tls_group": "X25519MLKEM768", "post_quantum": True}),
    "self_signed": (
        Stage.DONE,
        Outcome.OK,
        None,
        _TLS | {"chain_trusted": False, "received_chain": ["5e" * 32]},
    ),
    "untrusted": (Stage.DONE, Outcome.OK, None, _TLS | {"chain_trusted": False}),
    "incomplete": (
        Stage.DONE,
        Outcome.OK,
        None,
        _TLS | {"chain_trusted": False, "chain_error_code": 20, "received_chain": [INCOMPLETE]},
    ),
    "wrong_name": (Stage.DONE, Outcome.OK, None, _TLS | {"name_match": False}),
    "expired": (Stage.DONE, Outcome.OK, None, _TLS | {"within_validity": False}),
    "static_rsa": (Stage.DONE, Outcome.OK, None, _TLS | _NO_SECRECY),
    "not_offered": (Stage.CAPABILITIES, Outcome.NOT_OFFERED, None, {"starttls_offered": False}),
    "preauthenticated": (Stage.GREETING, Outcome.STARTTLS_IMPOSSIBLE, None, {"negotiated": False}),
    "tls_alert": (Stage.HANDSHAKE, Outcome.TLS_ALERT, None, {"starttls_offered": True, "negotiated": False}),
    "garbage": (Stage.HANDSHAKE, Outcome.TLS_ERROR, None, {"starttls_offered": True, "negotiated": False}),
    "refused_for_good": (Stage.UPGRADE, Outcome.UPGRADE_REFUSED, 554, {"starttls_offered": True, "negotiated": False}),
    "not_now": (Stage.UPGRADE, Outcome.UPGRADE_REFUSED, 454, {"starttls_offered": True}),
    "our_library": (Stage.HANDSHAKE, Outcome.TLS_UNSUPPORTED_BY_US, None, {"starttls_offered": True}),
    "handshake_timeout": (Stage.HANDSHAKE, Outcome.TIMEOUT, None, {"starttls_offered": True}),
    "silent_after_tls": (
        Stage.AFTER_TLS,
        Outcome.TIMEOUT,
        None,
        {name: value for name, value in _TLS.items() if name != "negotiated"},
    ),
    "rejected": (Stage.GREETING, Outcome.REJECTED, 554, {}),
    "too_busy": (Stage.GREETING, Outcome.REJECTED, 421, {}),
    "greeting_timeout": (Stage.GREETING, Outcome.TIMEOUT, None, {}),
    "closed": (Stage.GREETING, Outcome.CLOSED, None, {}),
    "connection_refused": (Stage.CONNECT, Outcome.CONNECTION_REFUSED, None, {}),
    "connect_timeout": (Stage.CONNECT, Outcome.TIMEOUT, None, {}),
    "address_not_allowed": (None, Outcome.ADDRESS_NOT_ALLOWED, None, {}),
    "opted_out": (None, Outcome.OPTED_OUT, None, {}),
    "not_run": (None, Outcome.NOT_RUN, None, {}),
    "over_budget": (None, Outcome.OVER_BUDGET, None, {}),
    "gave_up": (None, Outcome.GAVE_UP, None, {}),
    "internal_error": (Stage.HANDSHAKE, Outcome.INTERNAL_ERROR, None, {}),
    "sampled_out": (None, Outcome.SAMPLED_OUT, None, {"representative_related": True}),
}


def certificate(sha256: str = LEAF, *names: str, **columns: Any) -> Certificate:
    """A stored certificate with DNS names."""
    made = Certificate(sha256=sha256, names=list(names), self_signed=False)
    for column, value in columns.items():
        setattr(made, column, value)
    return made


def known(*names: str, common_name: str = "leaf") -> ParsedCertificate:
    """A certificate with these names, as PROBE holds it."""
    der = ROOT.issue(*names, common_name=common_name).certificate.public_bytes(Encoding.DER)
    return parse(crypto.load_certificate(crypto.FILETYPE_ASN1, der), der)


def incomplete(trusted_if_known: bool | None, **columns: Any) -> IncompleteChain:
    """What is said of the chain of kind `incomplete`; its dates hold in 2026."""
    made = IncompleteChain(received_chain=[INCOMPLETE], leaf_sha256=INCOMPLETE, trusted_if_known=trusted_if_known)
    if trusted_if_known:
        made.valid_from, made.valid_until = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    for column, value in columns.items():
        setattr(made, column, value)
    return made


def tlsa(host: str, status: str, *rrset: Rdata, dropped: int | None = None) -> Tlsa:
    """The state of a mail host's TLSA RRset, and its records."""
    return Tlsa(
        host=host, port=25, status=status, records=records_of(rrset) if rrset else None, records_dropped=dropped
    )


def write_run(data: Path, rows: Iterable[Any], *, run: str = "20260101T000000Z", **manifest: Any) -> Path:
    """Write rows as the run `run` of `data`; `manifest` replaces entries of the manifest."""
    rows = list(rows)
    path = data / f"run={run}"
    path.mkdir(parents=True)
    for name, kind in TABLES.items():
        table = [asdict(row) for row in rows if isinstance(row, kind)]
        if table:
            (path / name).mkdir()
            pq.write_table(
                pa.Table.from_pylist(table, schema=schema_of(kind)), (path / name / "part-0.parquet").absolute()
            )
    stated = {
        "state": "finished",
        "started_at": "2026-01-01T00:00:00+00:00",
        "list": {"sha256": "ab" * 32},
        "versions": {"starttls-crawler": "0.1.0"},
        "counts": {"rows": {name: sum(isinstance(row, kind) for row in rows) for name, kind in TABLES.items()}},
    }
    (path / "manifest.json").write_text(json.dumps(stated | manifest), "utf-8")
    return path


@contextmanager
def opened(*rows: Any, **manifest: Any) -> Iterator[Run]:
    """A run of these rows, opened."""
    with TemporaryDirectory() as data:
        write_run(Path(data), rows, **manifest)
        with Run.open(Path(data)) as run:
            yield run
