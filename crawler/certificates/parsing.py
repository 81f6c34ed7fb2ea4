"""One certificate's facts.

This module is pure.  A certificate is hostile input: whatever its bytes, there is a row, and what
could not be read is null.  The library reads it; where it refuses, `der_fields` reads what it can.  The verdict on a
chain is made in `trust_store.py`, and whether the leaf names a host is told in `name_match.py`.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID
from OpenSSL import crypto

from crawler.certificates.der_fields import DerFields, Extensions, der_fields_of, validity_of, without_oddities
from crawler.certificates.effort import ELEMENT, TooCostly, meter_of_facts, reading_names, signature_under
from crawler.certificates.guard import Unreadable, guarded
from crawler.certificates.limits import LARGE, NAME_BYTES_KEPT, NAMES_KEPT, TEXT_KEPT
from crawler.certificates.signatures import is_signed_by
from crawler.model.rows import Certificate, printable, within

_ELEMENTS = bytes([0x06, 0x30, 0x31, *range(0x80, 0x89), *range(0xA0, 0xA9)])
_OBJECTS, _STRING, _ELEMENT_BYTES = 2_500, 60, 110
"""Bytes that the objects of a certificate take, a short text, and an element of a name or an extension in OpenSSL's form
of it, measured; two bytes of DER can be one.
"""


@dataclass(slots=True)
class ParsedCertificate:
    """A certificate parsed once."""

    row: Certificate
    der_fields: DerFields | None
    names: bytes | None  #: all its DNS names as `listed` puts them; None if they could not be read
    kept: crypto.X509 | None  #: OpenSSL's form of it, if it is not too large to be kept
    weight: int  #: bytes that it takes in memory, about
    effort: float  #: what it costs to try a path through it, names and constraints apart
    counted: tuple[int, int] | None = None  #: names and constraints, once `constraints` has counted them

    @property
    def openssl(self) -> crypto.X509:
        """OpenSSL's form of it.  Raises `Unreadable`."""
        return self.kept or guarded(crypto.load_certificate, crypto.FILETYPE_ASN1, self.der)

    @property
    def der(self) -> bytes:
        """Its encoding."""
        return self.row.der or b""


Chain = list[ParsedCertificate]
"""Certificates as a host sent them, leaf first."""


def _texts(names: list[bytes]) -> list[str]:
    """Names as they are stored; thousands of plain ones in one go."""
    joined = b"\n".join(names)
    if names and joined.count(b"\n") == len(names) - 1 and len(text := printable(joined)) == len(joined):
        return text.split("\n")
    return [printable(name) for name in names]


def listed(names: list[str]) -> bytes:
    """The names in one object, as they may be thousands: each between two NULs, which `printable` leaves in none."""
    return ("\0" + "\0".join(names) + "\0").encode().lower() if names else b""


def parse(certificate: crypto.X509, der: bytes) -> ParsedCertificate:
    """The certificate with its facts; `der` is its encoding."""
    der_fields = der_fields_of(der)
    row, names = _facts(der, der_fields)
    kept = certificate if len(der) <= LARGE else None
    elements = len(der) - len(der.translate(None, _ELEMENTS))
    effort = ELEMENT * elements + signature_under(der_fields.public_key if der_fields else b"")
    return ParsedCertificate(row, der_fields, names, kept, _weight(row, der_fields, names, kept, elements), effort)


def _weight(
    row: Certificate, der_fields: DerFields | None, names: bytes | None, kept: crypto.X509 | None, elements: int
) -> int:
    der = row.der or b""
    weight = _OBJECTS + len(der) + sum(map(len, der_fields or ())) + len(names or b"")
    weight += sum(map(len, row.names or ())) + _STRING * len(row.names or ())
    weight += sum(len(text or "") for text in (row.subject, row.issuer, row.issuer_organization, row.common_name))
    if kept is not None:
        weight += len(der) + _ELEMENT_BYTES * elements
    return weight


def load(der: bytes) -> ParsedCertificate:
    """The certificate of an encoding.  Raises `Unreadable` if OpenSSL cannot read it."""
    return parse(guarded(crypto.load_certificate, crypto.FILETYPE_ASN1, der), der)


def facts(der: bytes) -> Certificate:
    """The stored facts of one certificate; what cannot be parsed is null, with the first `parse_error`.

    Each part is read by itself: an odd extension hides no key, and an odd key hides no names. `der_fields` reads what
    the library refuses, or the library reads the certificate without its oddities.
    """
    return _facts(der, der_fields_of(der))[0]


def _facts(der: bytes, der_fields: DerFields | None) -> tuple[Certificate, bytes | None]:
    """The facts, and all DNS names for `_is_among`."""
    row = Certificate(sha256=hashlib.sha256(der).hexdigest(), der=der)
    meter = meter_of_facts(der)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library deplores oddities that we are here to count
        certificate = _loaded(row, der)
        _fill(row, _fill_dates, certificate)
        if len(der) > LARGE:
            _fill_by_der_fields(row, der, der_fields)
        if None in (row.names, row.is_ca, row.sct_count, row.must_staple):
            _fill(row, _fill_extensions, certificate)
        if row.parse_error is not None:
            _fill_by_der_fields(row, der, der_fields)
        plain = certificate
        if certificate is None and (known := without_oddities(der)) is not None:
            plain = _loaded(row, known)
        try:
            meter.take(reading_names(der if der_fields is None else der_fields.issuer + der_fields.subject))
            _fill(row, _fill_subject, plain)
            _fill(row, _fill_issuer, plain)
        except TooCostly:
            row.parse_error = row.parse_error or "subject and issuer: to read them would cost too much (our limit)"
        for fill in (_fill_signature, _fill_key):
            _fill(row, fill, plain)
    if der_fields is not None:
        row.spki_sha256 = hashlib.sha256(der_fields.public_key).hexdigest()
        row.self_signed = der_fields.issuer == der_fields.subject and is_signed_by(der, der_fields.public_key, meter)
    names = row.names
    if names is None:
        return row, None
    row.names = within(names[:NAMES_KEPT], NAME_BYTES_KEPT)
    row.names_dropped = len(names) - len(row.names)
    return row, listed(names)


def _loaded(row: Certificate, der: bytes) -> x509.Certificate | None:
    try:
        return guarded(x509.load_der_x509_certificate, der)
    except Unreadable as error:
        _note(row, error)
        return None


def _fill(
    row: Certificate, fill: Callable[[Certificate, x509.Certificate], None], certificate: x509.Certificate | None
) -> None:
    """Read some of the facts; a certificate that could not be loaded has said so already."""
    if certificate is None:
        return
    try:
        guarded(fill, row, certificate)
    except Unreadable as error:
        _note(row, error)


def _note(row: Certificate, error: Unreadable) -> None:
    row.parse_error = row.parse_error or str(error)


def _fill_by_der_fields(row: Certificate, der: bytes, der_fields: DerFields | None) -> None:
    """Read what the library did not."""
    if der_fields is None:
        return
    if row.not_before is None and (validity := validity_of(der_fields)) is not None:
        row.not_before, row.not_after = validity
    extensions = Extensions(der)
    if row.names is None and (names := extensions.dns_names()) is not None:
        row.names = _texts(names)
    if row.is_ca is None:
        row.is_ca = extensions.is_ca()
    if row.sct_count is None:
        row.sct_count = extensions.sct_count()
    if row.must_staple is None:
        row.must_staple = extensions.must_staple()


def _fill_dates(row: Certificate, certificate: x509.Certificate) -> None:
    row.not_before, row.not_after = certificate.not_valid_before_utc, certificate.not_valid_after_utc


def _fill_extensions(row: Certificate, certificate: x509.Certificate) -> None:
    extensions = certificate.extensions
    try:
        san = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        row.names = [printable(name.encode()) for name in san.get_values_for_type(x509.DNSName)]
    except x509.ExtensionNotFound:
        row.names = []
    try:
        row.is_ca = extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        row.is_ca = False
    try:
        scts = extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps).value
        row.sct_count = len(list(scts))
    except x509.ExtensionNotFound:
        row.sct_count = 0
    try:
        features = extensions.get_extension_for_class(x509.TLSFeature).value
        row.must_staple = x509.TLSFeatureType.status_request in features
    except x509.ExtensionNotFound:
        row.must_staple = False


def _fill_subject(row: Certificate, certificate: x509.Certificate) -> None:
    row.subject = _text(certificate.subject.rfc4514_string())
    common_names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if common_names:
        row.common_name = _text(str(common_names[-1].value))


def _fill_issuer(row: Certificate, certificate: x509.Certificate) -> None:
    row.issuer = _text(certificate.issuer.rfc4514_string())
    organizations = certificate.issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    if organizations:
        row.issuer_organization = _text(str(organizations[0].value))


def _text(text: str) -> str:
    return printable(text[:TEXT_KEPT].encode())[:TEXT_KEPT]


def _fill_signature(row: Certificate, certificate: x509.Certificate) -> None:
    row.signature_algorithm = getattr(certificate.signature_algorithm_oid, "_name", None)


def _fill_key(row: Certificate, certificate: x509.Certificate) -> None:
    row.key_type, row.key_bits = _key(certificate.public_key())


def _key(key: object) -> tuple[str, int | None]:
    match key:
        case rsa.RSAPublicKey():
            return "rsa", key.key_size
        case ec.EllipticCurvePublicKey():
            return f"ec:{key.curve.name}", key.key_size
        case dsa.DSAPublicKey():
            return "dsa", key.key_size
        case ed25519.Ed25519PublicKey():
            return "ed25519", 256
        case ed448.Ed448PublicKey():
            return "ed448", 456
    return type(key).__name__.removesuffix("PublicKey").lower(), None
