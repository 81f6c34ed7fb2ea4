"""DANE for SMTP: which TLSA records an SMTP client may use, and whether a received chain satisfies them.

This module is pure; what it costs, it costs only where records are usable.  RFC 6698 §2.1 (the
record), RFC 7671 (operation), RFC 7672 (SMTP).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, Protocol

from OpenSSL import crypto

from crawler.certificates.cache import LruCache
from crawler.certificates.chain_verdict import ChainVerdict
from crawler.certificates.effort import Meter, TooCostly, signature_under
from crawler.certificates.guard import Unreadable, guarded
from crawler.certificates.name_match import names_any
from crawler.certificates.parsing import ParsedCertificate, load
from crawler.certificates.signatures import is_signed_by
from crawler.certificates.trust_store import work_below
from crawler.model.rows import DaneError, DaneStatus, TlsaStatus
from crawler.model.three_valued import all_of


class PathTo(Protocol):
    """The verdict on a chain if one given certificate were its trust anchor: `TrustStore.path_to`."""

    def __call__(
        self, anchor: ParsedCertificate, chain: list[ParsedCertificate], *, anchor_expires: bool, at: datetime | None
    ) -> ChainVerdict: ...


DANE_TA, DANE_EE = 2, 3
CERTIFICATE, PUBLIC_KEY = 0, 1
FULL, SHA256, SHA512 = 0, 1, 2
_DIGEST_BYTES = {SHA256: 32, SHA512: 64}


Rdata = tuple[int, int, int, bytes]
"""Usage, selector, matching type and certificate association data of a TLSA record (RFC 6698 §2.1)."""


def is_usable(usage: int, selector: int, matching: int, data: bytes) -> bool:
    """Whether the record is well formed and of a kind that SMTP clients know.

    RFC 7672 §3.1.3 leaves open what a client does with PKIX-TA(0) and PKIX-EE(1), and lets it call them
    unusable; so do we.  A digest has the length of its algorithm; a full certificate or
    key is one that OpenSSL can read.
    """
    if usage not in (DANE_TA, DANE_EE) or selector not in (CERTIFICATE, PUBLIC_KEY):
        return False
    if matching == FULL:
        return _is_readable(selector, data)
    return len(data) == _DIGEST_BYTES.get(matching)


def records_of(rrset: Iterable[Rdata]) -> list[dict[str, Any]]:
    """TLSA records in the form in which they are stored, each judged by itself; in canonical order."""
    return [
        {
            "usage": usage,
            "selector": selector,
            "matching": matching,
            "data": data,
            "usable": is_usable(usage, selector, matching, data),
        }
        for usage, selector, matching, data in sorted(set(rrset))
    ]


def most_telling(rrset: Iterable[Rdata], most: int, most_bytes: int) -> list[Rdata]:
    """As many records, and bytes of them, as may be kept of an RRset: those by which a chain can be judged.

    First digests in force, then full values, then the rest, each in canonical order.  So no record
    that is kept is outdone by one that is not, and a match by one of them is a match.
    """
    rrset = sorted(set(rrset))
    if len(rrset) <= most and sum(len(data) for *_, data in rrset) <= most_bytes:
        return rrset
    digests = [rdata for rdata in rrset if rdata[2] != FULL and is_usable(*rdata)]
    strongest = {rdata[:2]: rdata[2] for rdata in digests}  # sorted: the last of its kind is the strongest
    in_force = {rdata for rdata in digests if rdata[2] == strongest[rdata[:2]]}
    kept: list[Rdata] = []
    for rdata in sorted(rrset, key=lambda rdata: (rdata not in in_force, rdata[2] != FULL)):
        if len(kept) < most and len(rdata[3]) <= most_bytes:
            kept.append(rdata)
            most_bytes -= len(rdata[3])
    return kept


def status_of(records: Iterable[dict[str, Any]], dropped: int = 0) -> TlsaStatus:
    """Whether a sender can use a secure RRset (RFC 7672 §2.2), by the records kept of it and the number of those
    dropped."""
    if any(record["usable"] for record in records):
        return TlsaStatus.USABLE
    return TlsaStatus.LOOKUP_FAILED if dropped else TlsaStatus.UNUSABLE


def _is_readable(selector: int, data: bytes) -> bool:
    try:
        if selector == CERTIFICATE:
            # Trailing bytes are read over by OpenSSL, and no certificate ever equals data that has them.
            certificate = guarded(crypto.load_certificate, crypto.FILETYPE_ASN1, data)
            return guarded(crypto.dump_certificate, crypto.FILETYPE_ASN1, certificate) == data
        guarded(crypto.load_publickey, crypto.FILETYPE_ASN1, data)
    except Unreadable:
        return False
    return True


# --- the verdict --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a DANE client would say: the record and certificate that matched, or why none did."""

    status: DaneStatus
    record: int | None = None  #: index of the record
    depth: int | None = None  #: index in the received chain; None for an anchor that only the record has
    error: DaneError | None = None


_TOO_COSTLY = Verdict(DaneStatus.UNKNOWN, error=DaneError.TOO_COSTLY)
_WITHOUT_CHAIN = {
    TlsaStatus.ABSENT: DaneStatus.ABSENT,
    TlsaStatus.INSECURE: DaneStatus.INSECURE,
    TlsaStatus.BOGUS: DaneStatus.BOGUS,
    TlsaStatus.UNUSABLE: DaneStatus.UNUSABLE,
}
_FURTHEST = [DaneError.NO_MATCH, DaneError.PATH, DaneError.EXPIRED, DaneError.NAME]


def verdict(
    status: TlsaStatus | None,
    records: Sequence[dict[str, Any]],
    chain: list[ParsedCertificate],
    names: Iterable[str],
    at: datetime,
    path_to: PathTo,
    *,
    dropped: int = 0,
) -> Verdict:
    """Hold the chain received (leaf first, empty if none was) against a host's TLSA records.

    `names` are the reference names of DANE-TA: TLSA base domain and host (RFC 7671 §10.2; RFC 7672 §3.2.2 adds the
    next-hop domain, which is not known to an endpoint that many domains share: `error` is then `name`).  `at` is the
    time of the probe.  A verdict that would cost too much is unknown (`too_costly`). Where records were `dropped` and
    none of those kept matches, the verdict is unknown as well.
    """
    if status != TlsaStatus.USABLE:
        return Verdict(_WITHOUT_CHAIN.get(status, DaneStatus.UNKNOWN) if status else DaneStatus.UNKNOWN)
    if not chain:
        return Verdict(DaneStatus.UNKNOWN)
    wanted = {
        (record["usage"], record["selector"], record["matching"], record["data"]): index
        for index, record in in_force(records)
    }
    if (index := next(_found(wanted, DANE_EE, chain[0]), None)) is not None:
        return Verdict(DaneStatus.MATCH, index, 0)  # neither name nor expiry count (RFC 7671 §5.1)
    unknown = Verdict(DaneStatus.UNKNOWN) if dropped or _is_key_unread(wanted, chain) else None
    try:
        return _of_anchors(wanted, chain, list(names), at, path_to, unknown)
    except TooCostly:
        return _TOO_COSTLY


def _of_anchors(
    wanted: _Wanted,
    chain: list[ParsedCertificate],
    names: list[str],
    at: datetime,
    path_to: PathTo,
    unknown: Verdict | None,
) -> Verdict:
    """The verdict by DANE-TA; `unknown` is what it is where none vouches.  Raises `TooCostly`."""
    meter, error = Meter(), DaneError.NO_MATCH
    for anchor in _anchors(wanted, chain, meter):
        if anchor.certificate is not None:
            meter.take(work_below(anchor.certificate, chain, at))
        holds, problem = _vouches(anchor, chain, names, at, path_to)
        if holds:
            return Verdict(DaneStatus.MATCH, anchor.record, anchor.depth)
        if holds is None:
            unknown = unknown or Verdict(DaneStatus.UNKNOWN)
        elif problem is not None:
            error = max(error, problem, key=_FURTHEST.index)
    return unknown or Verdict(DaneStatus.MISMATCH, error=error)


def in_force(records: Sequence[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Index and record of those that a client heeds: usable, and not outdone by a stronger digest.

    Digest algorithm agility (RFC 7671 §9): of one usage and selector only the strongest digest
    counts; full values always do, and unusable records outdo none.
    """
    strongest: dict[tuple[int, int], int] = {}
    for record in records:
        if record["usable"]:
            kind = record["usage"], record["selector"]
            strongest[kind] = max(strongest.get(kind, FULL), record["matching"])
    for index, record in enumerate(records):
        kind = record["usage"], record["selector"]
        if record["usable"] and record["matching"] in (FULL, strongest[kind]):
            yield index, record


_Wanted = dict[Rdata, int]


def _found(wanted: _Wanted, usage: int, certificate: ParsedCertificate) -> Iterator[int]:
    """Indexes of the records of a usage that a certificate is in."""
    for selector, matching in ((s, m) for s in (CERTIFICATE, PUBLIC_KEY) for m in (FULL, SHA256, SHA512)):
        if (
            index := wanted.get((usage, selector, matching, _association(certificate, selector, matching)))
        ) is not None:
            yield index


def _association(certificate: ParsedCertificate, selector: int, matching: int) -> bytes:
    """Certificate association data (RFC 6698 §2.1.4)."""
    if selector == CERTIFICATE:
        data = certificate.row.der or b""
    else:
        data = certificate.der_fields.public_key if certificate.der_fields is not None else b""
    if matching == FULL:
        return data
    return (hashlib.sha256 if matching == SHA256 else hashlib.sha512)(data).digest()


def _is_key_unread(wanted: _Wanted, chain: list[ParsedCertificate]) -> bool:
    """Whether a record names the key of one that a certificate received may have, for all that could be read of it."""
    unread = [certificate.der_fields is None for certificate in chain]
    usages = {usage for usage, selector, _, _ in wanted if selector == PUBLIC_KEY}
    return (DANE_EE in usages and unread[0]) or (DANE_TA in usages and any(unread))


class _Anchor(NamedTuple):
    """Where a path may end."""

    record: int
    depth: int | None
    certificate: ParsedCertificate | None  #: None: it could not be read
    expires: bool  #: its own dates count
    is_named: bool | None = True  #: the record is for it; None: that could not be found out


def _anchors(wanted: _Wanted, chain: list[ParsedCertificate], meter: Meter) -> Iterator[_Anchor]:
    """Every trust anchor that DANE-TA records name; the leaf, which it is to vouch for (RFC 6698 §2.1.1), is none.

    An anchor that was not sent is known from a full record only (RFC 7671 §5.2.2); for a bare key
    stands what it signed (§5.2.3).  The dates of an anchor count where it is self-issued, as OpenSSL has it.
    """
    leaf = chain[0]
    for depth, certificate in enumerate(chain):
        if certificate.row.sha256 != leaf.row.sha256:
            for index in _found(wanted, DANE_TA, certificate):
                yield _Anchor(index, depth, certificate, _is_self_issued(certificate))
    for (usage, selector, matching, data), index in wanted.items():
        if (usage, matching) != (DANE_TA, FULL):
            continue
        if selector == PUBLIC_KEY:
            for signed in chain:
                meter.take(signature_under(data))
                if (is_signed := _is_signed_by(signed, data)) is not False:
                    yield _Anchor(index, None, signed, True, is_signed)
        elif data != leaf.der:
            anchor = _PARSED.of(hashlib.sha256(data).digest(), partial(_parsed, data))
            yield _Anchor(index, None, anchor, anchor is not None and _is_self_issued(anchor))


#: What a name server says of many endpoints is worked out once: signatures under bare keys, certificates in full.
_SIGNED: LruCache[tuple[str | None, bytes], bool | None] = LruCache(16_384)
_PARSED: LruCache[bytes, ParsedCertificate | None] = LruCache(
    12 << 20, lambda known: known.weight if known is not None else 256
)


def _parsed(der: bytes) -> ParsedCertificate | None:
    try:
        return load(der)
    except Unreadable:
        return None


def _is_self_issued(certificate: ParsedCertificate) -> bool:
    return certificate.der_fields is None or certificate.der_fields.issuer == certificate.der_fields.subject


def _vouches(
    anchor: _Anchor, chain: list[ParsedCertificate], names: list[str], at: datetime, path_to: PathTo
) -> tuple[bool | None, DaneError | None]:
    """Whether the anchor vouches for the leaf, and if not, how far it got.  None: that could not be found out."""
    if anchor.certificate is None:
        return None, None
    path = path_to(anchor.certificate, chain, anchor_expires=anchor.expires, at=at)
    in_force = path.within_validity(at)
    if in_force is False and anchor.certificate.der_fields is None:
        in_force = None  # whether it is self-issued, and so whether its own dates count, is not known
    if path.trusted is False:
        return False, DaneError.PATH
    if in_force is False:
        return False, DaneError.EXPIRED
    if path.trusted is None or in_force is None:
        return None, None
    if (is_named := names_any(chain[0], names)) is False:
        return False, DaneError.NAME
    return all_of(is_named, anchor.is_named), None


def _is_signed_by(certificate: ParsedCertificate, public_key: bytes) -> bool | None:
    """Whether the certificate's signature verifies under a bare key, found out now or remembered."""
    pair = certificate.row.sha256, hashlib.sha256(public_key).digest()
    return _SIGNED.of(pair, partial(is_signed_by, certificate.der, public_key))
