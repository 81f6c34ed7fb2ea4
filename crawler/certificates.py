"""One certificate's facts, and whether it names a host.

Rule of this room: pure.  A certificate is hostile input: whatever its bytes, there is a row, and what
could not be read is null.  The verdict on a chain is made in `trust.py`; a name match stands beside
it, independent of it: the leaf carries the host as DNS-ID (RFC 9525, by the service_identity
library).
"""

from __future__ import annotations

import hashlib
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID
from OpenSSL import crypto
from service_identity.exceptions import CertificateError
from service_identity.hazmat import DNS_ID, DNSPattern

from crawler.records import Certificate, printable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """What was computed for the keys used last; the least recently used is forgotten first.

    All that is kept weighs no more than `size` together; without a scale each value weighs 1.
    """

    def __init__(self, size: int, weigh: Callable[[V], int] = lambda value: 1) -> None:
        self._size = size
        self._weigh = weigh
        self._weight = 0
        self._kept: OrderedDict[K, V] = OrderedDict()

    def of(self, key: K, compute: Callable[[], V]) -> V:
        """The value of the key, computed if it is not remembered."""
        try:
            self._kept.move_to_end(key)
            return self._kept[key]
        except KeyError:
            value = self._kept[key] = compute()
            self._weight += self._weigh(value)
            while self._weight > self._size:
                self._weight -= self._weigh(self._kept.popitem(last=False)[1])
            return value


class Anatomy(NamedTuple):
    """Parts of a certificate as they stand in it; a parsed value that is written anew may differ."""

    issuer: bytes
    subject: bytes
    public_key: bytes


@dataclass(slots=True)
class Known:
    """A certificate parsed once."""

    openssl: crypto.X509
    row: Certificate
    anatomy: Anatomy | None
    patterns: list[DNSPattern]

    @property
    def weight(self) -> int:
        """Bytes that stand for its place in memory: a twelfth of it, measured from 0.4 to 160 KB of DER."""
        return len(self.row.der or b"") + 256


def name_match(leaf: Known, host: str) -> bool | None:
    """Whether the certificate names the host: by DNS-IDs only, whatever the CN says (RFC 9525 §1.3, §6.3).

    A wildcard above fewer than two labels (`*.com`) names nothing, as the library and OpenSSL have it;
    the RFC leaves that open (§7.1).  None for a certificate whose names could not be read.
    """
    return None if leaf.row.names is None else _matches(leaf.patterns, host)


def common_name_match(leaf: Known, host: str) -> bool:
    """Whether the CN names the host in a certificate without any DNS-ID (RFC 7672 §3.2.3, RFC 6125 §6.4.4)."""
    if leaf.row.names != [] or leaf.row.common_name is None:
        return False
    return _matches(_patterns([leaf.row.common_name]), host)


def _matches(patterns: list[DNSPattern], host: str) -> bool:
    host = host.rstrip(".")
    label, _, parent = host.partition(".")
    try:
        reference = DNS_ID(host)
        # By RFC 9525 §6.3 a wildcard, which is a whole label, stands for any one label.  The library, as old as
        # RFC 6125, lets none stand for an A-label; it stands for one where it would stand for `x`.
        for_wildcards = DNS_ID(f"x.{parent}") if parent and label.lower().startswith("xn--") else reference
    except ValueError:  # a name that no certificate can carry as DNS-ID
        return False
    return any((for_wildcards if b"*" in one.pattern else reference).verify(one) for one in patterns)


def parse(certificate: crypto.X509, der: bytes) -> Known:
    """The certificate with its facts; `der` is its encoding."""
    row = facts(der)
    return Known(certificate, row, anatomy_of(der), _patterns(row.names or []))


def _patterns(names: list[str]) -> list[DNSPattern]:
    """DNS-IDs in service_identity's form; one that is malformed does not hide its neighbours."""
    patterns = []
    for name in names:
        if name != name.strip():  # the library strips it, and a name with white space about it is no name
            continue
        try:
            patterns.append(DNSPattern.from_bytes(name.encode()))
        except CertificateError:
            continue
    return patterns


def facts(der: bytes) -> Certificate:
    """The stored facts of one certificate; what cannot be parsed is null, with the first `parse_error`.

    The parts are read each for itself: an odd extension hides no key, and an odd key no names.
    """
    row = Certificate(sha256=hashlib.sha256(der).hexdigest(), der=der)
    if (anatomy := anatomy_of(der)) is not None:
        row.spki_sha256 = hashlib.sha256(anatomy.public_key).hexdigest()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library deplores oddities that we are here to count
        try:
            certificate = x509.load_der_x509_certificate(der)
        except Exception as error:  # noqa: BLE001 - a parser of hostile input; whatever it raises is the finding
            row.parse_error = _problem(error)
            return row
        for fill in (_fill_dates, _fill_extensions, _fill_subject, _fill_issuer, _fill_signature, _fill_key):
            try:
                fill(row, certificate)
            except Exception as error:  # noqa: BLE001 - as above
                row.parse_error = row.parse_error or _problem(error)
    return row


def _problem(error: Exception) -> str:
    return f"{type(error).__name__}: {printable(str(error).encode())}"[:500]


def anatomy_of(der: bytes) -> Anatomy | None:
    """The parts of a certificate (RFC 5280 §4.1) without judging any of them; None if it has no such form."""
    try:
        at, _ = _content(der, 0)  # Certificate
        at, _ = _content(der, at)  # TBSCertificate
        if der[at] == 0xA0:  # version, absent in X.509v1
            at = _content(der, at)[1]
        parts = []
        for _ in ("serialNumber", "signature", "issuer", "validity", "subject", "subjectPublicKeyInfo"):
            start, at = at, _content(der, at)[1]
            parts.append(der[start:at])
    except (IndexError, ValueError):
        return None
    return Anatomy(issuer=parts[2], subject=parts[4], public_key=parts[5])


def _content(der: bytes, at: int) -> tuple[int, int]:
    """Where the content of the DER element at an offset begins and ends (X.690 §8.1).

    Raises `IndexError` and `ValueError` where the bytes end before it does.
    """
    length, start = der[at + 1], at + 2
    if length >= 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[at + 2 : start], "big")
    if start + length > len(der):
        raise ValueError("DER ends too early")
    return start, start + length


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
    row.subject = printable(certificate.subject.rfc4514_string().encode())
    common_names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if common_names:
        row.common_name = printable(str(common_names[-1].value).encode())


def _fill_issuer(row: Certificate, certificate: x509.Certificate) -> None:
    row.issuer = printable(certificate.issuer.rfc4514_string().encode())
    organizations = certificate.issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    if organizations:
        row.issuer_organization = printable(str(organizations[0].value).encode())


def _fill_signature(row: Certificate, certificate: x509.Certificate) -> None:
    row.signature_algorithm = getattr(certificate.signature_algorithm_oid, "_name", None)
    row.self_signed = _is_self_signed(certificate)


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


def is_issued_by(known: Known, issuer: Known) -> bool:
    """Whether names fit and the signature verifies; of issuers with one name OpenSSL tries but the first."""
    try:
        certificate = x509.load_der_x509_certificate(known.row.der or b"")
        certificate.verify_directly_issued_by(x509.load_der_x509_certificate(issuer.row.der or b""))
    except Exception:  # noqa: BLE001 - a bad signature, or an algorithm the library does not verify
        return False
    return True


def _is_self_signed(certificate: x509.Certificate) -> bool:
    if certificate.issuer != certificate.subject:
        return False
    try:
        certificate.verify_directly_issued_by(certificate)
    except Exception:  # noqa: BLE001 - a bad signature, or an algorithm the library does not verify
        return False
    return True
