"""One certificate's facts; the verdicts on a chain: trusted, unexpired, name match.

Rule of this room: no I/O but reading the trust anchors once.  The three verdicts are independent of
each other, as a strict SMTP client would find them:

- `chain_trusted`: OpenSSL finds a path from the leaf, over certificates as sent, to a trust anchor,
  for server purpose, with time checks off (RFC 5280 §6 without dates);
- `unexpired`: every certificate of that path is within its dates at the time of the probe; of the
  received chain, if there is no path;
- `name_match`: the leaf carries the host as DNS-ID (RFC 9525, by the service_identity library).

A certificate is parsed once per distinct SHA-256 and a chain judged once per distinct chain.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import crypto
from OpenSSL._util import lib
from service_identity.exceptions import CertificateError
from service_identity.hazmat import DNS_ID, DNSPattern

from crawler.config import ConfigError
from crawler.records import Certificate, printable

_NO_CHECK_TIME = 0x20_0000  # X509_V_FLAG_NO_CHECK_TIME, which pyOpenSSL does not name
_KEPT_CERTIFICATES = 8_000  # parsed certificates remembered by one process, about 10 KiB each
_KEPT_CHAINS = 8_000

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """What was computed for the keys used last; the least recently used is forgotten first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[K, V] = OrderedDict()

    def of(self, key: K, compute: Callable[[], V]) -> V:
        """The value of the key, computed if it is not remembered."""
        try:
            self._kept.move_to_end(key)
            return self._kept[key]
        except KeyError:
            value = self._kept[key] = compute()
            if len(self._kept) > self._size:
                self._kept.popitem(last=False)
            return value


@dataclass(slots=True)
class Known:
    """A certificate parsed once."""

    openssl: crypto.X509
    row: Certificate
    patterns: list[DNSPattern]


@dataclass(frozen=True, slots=True)
class ChainVerdict:
    """What OpenSSL says of a chain, dates apart, and between which instants its dates hold."""

    trusted: bool
    error_code: int
    error_depth: int | None
    error: str | None
    valid_from: datetime | None
    valid_until: datetime | None

    def unexpired(self, at: datetime) -> bool | None:
        """Whether the dates hold; None when they cannot be read."""
        if self.valid_from is None or self.valid_until is None:
            return None
        return self.valid_from <= at <= self.valid_until


class TrustStore:
    """Trust anchors and the memory of what was judged by them.

    `ca_file` is a PEM file; empty means certifi's.  Raises `ConfigError` when it cannot be read.
    """

    def __init__(self, ca_file: str = "") -> None:
        self.path = Path(ca_file or certifi.where())
        self._store = _store(self.path)
        _check_purpose_is_enforced()
        self._certificates: Recent[bytes, Known] = Recent(_KEPT_CERTIFICATES)
        self._chains: Recent[tuple[str, ...], ChainVerdict] = Recent(_KEPT_CHAINS)

    def known(self, certificate: crypto.X509) -> Known:
        """The certificate with its facts, parsed now or remembered."""
        der = crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
        return self._certificates.of(hashlib.sha256(der).digest(), lambda: _parse(certificate, der))

    def judge(self, chain: list[Known]) -> ChainVerdict:
        """The verdict on a received chain, leaf first.  The chain must not be empty."""
        key = tuple(str(known.row.sha256) for known in chain)
        return self._chains.of(key, lambda: _judge(self._store, chain))


def _store(path: Path) -> crypto.X509Store:
    store = crypto.X509Store()
    try:
        path.open("rb").close()
        store.load_locations(str(path))
    except OSError as error:
        raise ConfigError(f"{path}: trust anchors cannot be read ({error.strerror}); check --ca-file") from error
    except crypto.Error as error:
        raise ConfigError(f"{path}: holds no PEM certificates; check --ca-file") from error
    _enforce_server_purpose(store)
    store.set_flags(_NO_CHECK_TIME)
    return store


def _enforce_server_purpose(store: crypto.X509Store) -> None:
    """Make the store refuse certificates not meant for TLS servers.  pyOpenSSL has no public call for it."""
    if lib.X509_STORE_set_purpose(store._store, lib.X509_PURPOSE_SSL_SERVER) != 1:
        raise RuntimeError("OpenSSL refused to set the purpose of the trust store")


def _check_purpose_is_enforced() -> None:
    """Start-up self-test of the private call: a client-only leaf must be refused, a server leaf taken."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "self-test")])
    now = datetime.now(UTC)

    def issue(usage: x509.ObjectIdentifier | None) -> crypto.X509:
        subject = name if usage is None else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")])
        builder = x509.CertificateBuilder(name, subject, key.public_key(), x509.random_serial_number(), now, now)
        builder = builder.add_extension(x509.BasicConstraints(usage is None, None), critical=True)
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return crypto.X509.from_cryptography(builder.sign(key, hashes.SHA256()))

    store = crypto.X509Store()
    store.add_cert(issue(None))
    store.set_flags(_NO_CHECK_TIME)
    _enforce_server_purpose(store)
    crypto.X509StoreContext(store, issue(ExtendedKeyUsageOID.SERVER_AUTH)).verify_certificate()
    try:
        crypto.X509StoreContext(store, issue(ExtendedKeyUsageOID.CLIENT_AUTH)).verify_certificate()
    except crypto.X509StoreContextError:
        return
    raise RuntimeError("OpenSSL does not enforce the server purpose; verdicts would be wrong")


def _judge(store: crypto.X509Store, chain: list[Known]) -> ChainVerdict:
    received = [known.openssl for known in chain]
    try:
        path = crypto.X509StoreContext(store, received[0], received[1:]).get_verified_chain()
    except crypto.X509StoreContextError as error:
        code, depth, text = error.errors
        return ChainVerdict(False, code, depth, text, *_window(received))
    return ChainVerdict(True, 0, None, None, *_window(path))


def _window(certificates: list[crypto.X509]) -> tuple[datetime | None, datetime | None]:
    """The time in which all the certificates are within their dates."""
    starts, ends = [], []
    for certificate in certificates:
        start, end = _instant(certificate.get_notBefore()), _instant(certificate.get_notAfter())
        if start is None or end is None:
            return None, None
        starts.append(start)
        ends.append(end)
    return max(starts), min(ends)


def _instant(asn1_time: bytes | None) -> datetime | None:
    try:
        return datetime.strptime((asn1_time or b"").decode(), "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def name_match(leaf: Known, host: str) -> bool:
    """Whether the certificate names the host: DNS-IDs only, the CN is ignored (RFC 9525 §6.3)."""
    try:
        reference = DNS_ID(host.rstrip("."))
    except ValueError:  # a name that no certificate can carry as DNS-ID
        return False
    return any(reference.verify(pattern) for pattern in leaf.patterns)


def _parse(certificate: crypto.X509, der: bytes) -> Known:
    row = facts(der)
    return Known(certificate, row, _patterns(row.names or []))


def _patterns(names: list[str]) -> list[DNSPattern]:
    """DNS-IDs in service_identity's form; one that is malformed does not hide its neighbours."""
    patterns = []
    for name in names:
        try:
            patterns.append(DNSPattern.from_bytes(name.encode()))
        except CertificateError:
            continue
    return patterns


def facts(der: bytes) -> Certificate:
    """The stored facts of one certificate; what cannot be parsed is null, with `parse_error`."""
    row = Certificate(sha256=hashlib.sha256(der).hexdigest(), der=der)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library deplores oddities that we are here to count
            _fill(row, x509.load_der_x509_certificate(der))
    except Exception as error:  # noqa: BLE001 - a parser of hostile input; whatever it raises is the finding
        row.parse_error = f"{type(error).__name__}: {printable(str(error).encode())}"[:500]
    return row


def _fill(row: Certificate, certificate: x509.Certificate) -> None:
    """Fill the row, the most needed facts first, so that a late oddity hides little."""
    row.not_before, row.not_after = certificate.not_valid_before_utc, certificate.not_valid_after_utc
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
    row.subject = printable(certificate.subject.rfc4514_string().encode())
    row.issuer = printable(certificate.issuer.rfc4514_string().encode())
    organizations = certificate.issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    if organizations:
        row.issuer_organization = printable(str(organizations[0].value).encode())
    row.signature_algorithm = getattr(certificate.signature_algorithm_oid, "_name", None)
    try:
        scts = extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps).value
        row.sct_count = len(list(scts))
    except x509.ExtensionNotFound:
        row.sct_count = 0
    key = certificate.public_key()
    row.key_type, row.key_bits = _key(key)
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    row.spki_sha256 = hashlib.sha256(spki).hexdigest()
    row.self_signed = _is_self_signed(certificate)


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


def _is_self_signed(certificate: x509.Certificate) -> bool:
    if certificate.issuer != certificate.subject:
        return False
    try:
        certificate.verify_directly_issued_by(certificate)
    except Exception:  # noqa: BLE001 - a bad signature, or an algorithm the library does not verify
        return False
    return True
