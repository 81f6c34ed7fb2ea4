"""The parts of a certificate as they stand in it, read without judging any of them (RFC 5280 §4.1, X.690).

This module is pure, and a reader of hostile bytes: what it cannot read is `None`, and it raises nothing.  The library
refuses a whole certificate for one oddity that senders read over: a version of 4, a `critical` FALSE that is written
out, one general name of a kind that it does not know. This reader does not.  What both can read they read alike; what
breaks the form that OpenSSL demands is read by neither.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

from crawler.certificates.der import Element, element, elements, only, wrapped
from crawler.settings.declared_limits import limit

T = TypeVar("T")

_BOOLEAN, _INTEGER, _BITS, _OCTETS, _OID, _SEQUENCE = 0x01, 0x02, 0x03, 0x04, 0x06, 0x30
_VERSION, _ISSUER_ID, _SUBJECT_ID, _EXTENSIONS = 0xA0, (0x81, 0xA1), (0x82, 0xA2), 0xA3
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_DNS_NAME = 0x82
#: otherName, rfc822Name, dNSName, x400Address, directoryName, ediPartyName, URI, iPAddress, registeredID (§4.2.1.6).
_GENERAL_NAMES = frozenset({0xA0, 0x81, _DNS_NAME, 0xA3, 0xA4, 0xA5, 0x86, 0x87, 0x88})

_SUBJECT_ALTERNATIVE_NAME = bytes.fromhex("551d11")
_BASIC_CONSTRAINTS = bytes.fromhex("551d13")
_NAME_CONSTRAINTS = bytes.fromhex("551d1e")
_SIGNED_TIMESTAMPS = bytes.fromhex("2b06010401d679020402")  # RFC 6962 §3.3
_TLS_FEATURE = bytes.fromhex("2b06010505070118")  # RFC 7633
_STATUS_REQUEST = b"\x02\x01\x05"

#: YYYYMMDDHHMMSSZ and YYMMDDHHMMSSZ: the two forms that there are (§4.1.2.5).
_TIME = re.compile(rb"(\d\d|\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z").fullmatch
_MOST_EXTENSIONS = limit(
    100,
    "extensions of a certificate that are read here; real ones have twenty",
    protects="our processor time",
    cut="`certificates.parse_error` says it; what could not be read is null",
)
_MOST_PARTS = 64  # of an extension that has few: three
_ANY_TIME = b"\x30\x1e" + 2 * (b"\x17\x0d" + b"500101000000Z")


class DerFields(NamedTuple):
    """Parts of a certificate in DER as they stand in it; a parsed value that is written anew may differ."""

    issuer: bytes
    subject: bytes
    public_key: bytes
    validity: bytes


class Signed(NamedTuple):
    """What a certificate's signature is of, and by which algorithm it says that it is made."""

    body: bytes  #: tbsCertificate, DER
    algorithm: bytes  #: AlgorithmIdentifier, DER
    algorithm_within: bytes  #: the same as the body has it
    signature: bytes


def der_fields_of(der: bytes) -> DerFields | None:
    """The parts of a certificate; None if it has no such form."""
    try:
        body = _body(der)
        return DerFields(
            **{name: der[part.start : part.end] for name, part in body.items() if name in DerFields._fields}
        )
    except (IndexError, ValueError):
        return None


def signed_parts(der: bytes) -> Signed | None:
    """What the signature of a certificate is over; None if it has no such form."""
    try:
        whole = only(der, 0, len(der), _SEQUENCE)
        body, algorithm, signature = elements(der, whole.content, whole.end)
        within = _body(der)["algorithm"]
        if (algorithm.tag, signature.tag) != (_SEQUENCE, _BITS) or der[signature.content] != 0:
            return None
    except (IndexError, ValueError):
        return None
    return Signed(
        body=der[body.start : body.end],
        algorithm=der[algorithm.start : algorithm.end],
        algorithm_within=der[within.start : within.end],
        signature=der[signature.content + 1 : signature.end],
    )


def without_oddities(der: bytes) -> bytes | None:
    """A certificate with the same names, key, algorithm and signature, and nothing else of this one.

    It is of version 1, its dates are any and its signature is over another body: for libraries to read what they
    would not read in the whole.  None if the certificate has no such form.
    """
    der_fields, signed = der_fields_of(der), signed_parts(der)
    if der_fields is None or signed is None:
        return None
    body = (
        b"\x02\x01\x01"
        + signed.algorithm_within
        + der_fields.issuer
        + _ANY_TIME
        + der_fields.subject
        + der_fields.public_key
    )
    return wrapped(_SEQUENCE, wrapped(_SEQUENCE, body) + signed.algorithm + wrapped(_BITS, b"\0" + signed.signature))


def _body(der: bytes) -> dict[str, Element]:
    """The elements of the tbsCertificate by name."""
    whole = only(der, 0, len(der), _SEQUENCE)
    body = element(der, whole.content, whole.end)
    found = {}
    parts = elements(der, body.content, body.end)
    part = next(parts, None)
    if part is not None and part.tag == _VERSION:  # absent in X.509v1
        part = next(parts, None)
    for name, tag in _BODY:
        if part is None or part.tag != tag:
            raise ValueError(f"no {name}")
        found[name] = part
        part = next(parts, None)
    for name, tags in (("issuer_id", _ISSUER_ID), ("subject_id", _SUBJECT_ID), ("extensions", (_EXTENSIONS,))):
        if part is not None and part.tag in tags:
            found[name] = part
            part = next(parts, None)
    if part is not None:
        raise ValueError("more than a tbsCertificate has")
    return found


_BODY = (
    ("serial", _INTEGER), ("algorithm", _SEQUENCE), ("issuer", _SEQUENCE), ("validity", _SEQUENCE),
    ("subject", _SEQUENCE), ("public_key", _SEQUENCE),
)  # fmt: skip


# --- extensions -------------------------------------------------------------------------------------


class Extensions:
    """The extensions of a certificate, each read for itself: an odd one hides no other."""

    def __init__(self, der: bytes) -> None:
        self._values: dict[bytes, bytes | None] | None = {}
        try:
            for oid, value in _extensions(der):
                # A field that stands there twice has no meaning: no rule says which of the two counts.
                self._values[oid] = None if oid in self._values else value
        except (IndexError, ValueError):
            self._values = None

    def dns_names(self) -> list[bytes] | None:
        """The dNSNames of the subjectAltName as they stand there; an empty list if there is no such extension."""
        nobody: list[bytes] = []
        return self._read(_SUBJECT_ALTERNATIVE_NAME, _dns_names, nobody)

    def name_count(self) -> int | None:
        """Names of any kind in the subjectAltName."""
        return self._read(_SUBJECT_ALTERNATIVE_NAME, lambda value: _count(value, 0, len(value)), 0)

    def constraint_count(self) -> int | None:
        """Subtrees, permitted and excluded, in the name constraints (§4.2.1.10)."""
        return self._read(_NAME_CONSTRAINTS, _constraint_count, 0)

    def is_ca(self) -> bool | None:
        """Whether basicConstraints says that this is a CA; no if there is no such extension."""
        return self._read(_BASIC_CONSTRAINTS, _is_ca, False)

    def sct_count(self) -> int | None:
        """Embedded signed certificate timestamps."""
        return self._read(_SIGNED_TIMESTAMPS, _sct_count, 0)

    def must_staple(self) -> bool | None:
        """Whether the TLS feature extension demands a stapled OCSP response."""
        return self._read(_TLS_FEATURE, _must_staple, False)

    def _read(self, oid: bytes, read: Callable[[bytes], T], absent: T) -> T | None:
        if self._values is None:
            return None
        if oid not in self._values:
            return absent
        value = self._values[oid]
        try:
            return None if value is None else read(value)
        except (IndexError, ValueError):
            return None


def _extensions(der: bytes) -> Iterator[tuple[bytes, bytes]]:
    """OID and value of each extension (§4.2)."""
    outer = _body(der).get("extensions")
    if outer is None:
        return
    listed = only(der, outer.content, outer.end, _SEQUENCE)
    for extension in _few(elements(der, listed.content, listed.end), _MOST_EXTENSIONS):
        oid, *critical, value = elements(der, extension.content, extension.end)
        flags = [(flag.tag, flag.end - flag.content) for flag in critical]
        if (extension.tag, oid.tag, value.tag) != (_SEQUENCE, _OID, _OCTETS) or flags not in ([], [(_BOOLEAN, 1)]):
            raise ValueError("no extension")
        yield der[oid.content : oid.end], der[value.content : value.end]


def _few(found: Iterator[Element], most: int = _MOST_PARTS) -> Iterator[Element]:
    """The elements, if there are no more than a few: of tens of thousands each costs a microsecond and more."""
    for number, one in enumerate(found):
        if number == most:
            raise ValueError(f"more than {most} of what there are few")
        yield one


def _dns_names(value: bytes) -> list[bytes]:
    names = only(value, 0, len(value), _SEQUENCE)
    found = []
    at, end = names.content, names.end
    while at < end:
        tag, start, behind = value[at], at + 2, at + 2 + value[at + 1]
        if behind > end or value[at + 1] >= 0x80:  # a length of several bytes, or too much
            _, _, start, behind = element(value, at, end)
        if tag == _DNS_NAME:  # there may be thousands
            found.append(value[start:behind])
        elif tag not in _GENERAL_NAMES:
            raise ValueError("no general name")
        at = behind
    return found


def _count(value: bytes, at: int, end: int) -> int:
    """How many elements are in the one that fills the bytes."""
    outer = element(value, at, end)
    if outer.end != end:
        raise ValueError("more than one element")
    return sum(1 for _ in elements(value, outer.content, outer.end))


def _constraint_count(value: bytes) -> int:
    constraints = only(value, 0, len(value), _SEQUENCE)
    parts = elements(value, constraints.content, constraints.end)
    return sum(_count(value, part.start, part.end) for part in parts)


def _is_ca(value: bytes) -> bool:
    constraints = only(value, 0, len(value), _SEQUENCE)
    parts = [*_few(elements(value, constraints.content, constraints.end))]
    ca = parts.pop(0) if parts and parts[0].tag == _BOOLEAN else None
    if [part.tag for part in parts] not in ([], [_INTEGER]) or (ca and ca.end - ca.content != 1):
        raise ValueError("no basicConstraints")
    return ca is not None and value[ca.content] != 0


def _sct_count(value: bytes) -> int:
    octets = only(value, 0, len(value), _OCTETS)
    timestamps = value[octets.content : octets.end]
    at = 2
    if int.from_bytes(timestamps[:at]) != len(timestamps) - at:
        raise ValueError("no list of timestamps")
    count = 0
    while at < len(timestamps):
        at += 2 + int.from_bytes(timestamps[at : at + 2])
        count += 1
    if at != len(timestamps):
        raise ValueError("a timestamp is longer than its list")
    return count


def _must_staple(value: bytes) -> bool:
    features = only(value, 0, len(value), _SEQUENCE)
    parts = [*_few(elements(value, features.content, features.end))]
    if any(part.tag != _INTEGER for part in parts):
        raise ValueError("no TLS feature")
    return any(value[part.start : part.end] == _STATUS_REQUEST for part in parts)


# --- dates ------------------------------------------------------------------------------------------


def instants_of(der_fields: DerFields) -> tuple[datetime | None, datetime | None]:
    """From when until when a certificate says that it holds; None for what is no date, such as 30 February."""
    der = der_fields.validity
    try:
        whole = only(der, 0, len(der), _SEQUENCE)
        start, end = (_time(der, one) for one in elements(der, whole.content, whole.end))
    except (IndexError, ValueError):
        return None, None
    return start, end


def validity_of(der_fields: DerFields) -> tuple[datetime, datetime] | None:
    """The same as one fact: None if one of the two is no date."""
    start, end = instants_of(der_fields)
    return None if start is None or end is None else (start, end)


def _time(der: bytes, date: Element) -> datetime | None:
    length = {_UTC_TIME: 13, _GENERALIZED_TIME: 15}.get(date.tag)
    text = der[date.content : date.end]
    return instant(text) if len(text) == length else None


def instant(text: bytes) -> datetime | None:
    """A UTCTime or GeneralizedTime in the forms of §4.1.2.5, of which the former stands for 1950 to 2049."""
    match = _TIME(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups())
    if len(match[1]) == 2:
        year += 1900 if year >= 50 else 2000
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
