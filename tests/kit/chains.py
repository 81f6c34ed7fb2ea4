"""Certificates of every kind, good and bad, issued as a test asks for them.

`Issuer` is a key with a name and certificates for it; every oddity is an argument of `issue`.
"""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import crypto

from crawler.certificates.der_fields import der_fields_of
from crawler.certificates.parsing import ParsedCertificate, load

SERVER = ExtendedKeyUsageOID.SERVER_AUTH
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
START = datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def ec_key() -> ec.EllipticCurvePrivateKey:
    """A new P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class Subject:
    """A name and its key, which certificates are issued to, and which may issue others."""

    name: str
    key: Key = field(default_factory=ec_key)

    def issue(
        self,
        subject: Subject,
        *,
        ca: bool | None = None,
        path_length: int | None = None,
        usage: Iterable[x509.ObjectIdentifier] | None = None,
        names: Iterable[str | x509.GeneralName] = (),
        days: tuple[float, float] = (-30, 60),
        constraints: x509.NameConstraints | None = None,
        critical_unknown: bool = False,
        key_usage: x509.KeyUsage | None = None,
    ) -> x509.Certificate:
        """A certificate for the subject; `ca` None leaves basicConstraints out."""
        start, end = (START + datetime.timedelta(days=day) for day in days)
        made = x509.CertificateBuilder(
            _name(self.name), _name(subject.name), subject.key.public_key(), x509.random_serial_number(), start, end
        )
        if ca is not None:
            made = made.add_extension(x509.BasicConstraints(ca, path_length), critical=True)
        if usage is not None:
            made = made.add_extension(x509.ExtendedKeyUsage(list(usage)), critical=False)
        if names := [x509.DNSName(name) if isinstance(name, str) else name for name in names]:
            made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if constraints is not None:
            made = made.add_extension(constraints, critical=True)
        if key_usage is not None:
            made = made.add_extension(key_usage, critical=True)
        if critical_unknown:
            oid = x509.ObjectIdentifier("1.3.6.1.4.1.55555.1")
            made = made.add_extension(x509.UnrecognizedExtension(oid, b"\x05\x00"), critical=True)
        return made.sign(self.key, None if isinstance(self.key, ed25519.Ed25519PrivateKey) else hashes.SHA256())

    def root(self, **more: object) -> x509.Certificate:
        """Its certificate for itself, as a root has."""
        return self.issue(self, ca=True, **more)  # type: ignore[arg-type]

    def leaf(self, *names: str, **more: object) -> x509.Certificate:
        """A server certificate for the DNS names."""
        options: dict[str, object] = {"ca": False, "usage": [SERVER], "names": names} | more
        return self.issue(Subject("leaf"), **options)  # type: ignore[arg-type]


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


def tall(height: int, end: Subject, *names: str) -> list[x509.Certificate]:
    """A chain of so many certificates, leaf first and root last, for the names."""
    subjects = [Subject(f"Storey {n}") for n in range(height - 1)]
    above = [subjects[0].root()] + [a.issue(b, ca=True) for a, b in pairwise(subjects)]
    return [subjects[-1].issue(end, ca=False, usage=[SERVER], names=names), *reversed(above)]


def permitted(*names: str) -> x509.NameConstraints:
    """Only these names, and those below them."""
    return x509.NameConstraints([x509.DNSName(name) for name in names], None)


def excluded(*names: str) -> x509.NameConstraints:
    """Any but these names, and those below them."""
    return x509.NameConstraints(None, [x509.DNSName(name) for name in names])


def usage_without_signing() -> x509.KeyUsage:
    """A keyUsage that lets nobody sign certificates."""
    return x509.KeyUsage(True, False, False, False, False, False, False, False, False)


def with_sha1(certificate: x509.Certificate, issuer: Subject, digest: str = "sha1") -> x509.Certificate:
    """The same, signed again as nobody should any more; the `cryptography` library refuses to."""
    again = crypto.X509.from_cryptography(certificate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again.sign(crypto.PKey.from_cryptography_key(issuer.key), digest)
    return again.to_cryptography()


Certificate = x509.Certificate | crypto.X509  #: the latter where the library would not read it


def known(*certificates: Certificate) -> list[ParsedCertificate]:
    """The certificates as a probe has them."""
    return [load(der(certificate)) for certificate in certificates]


def der(certificate: Certificate) -> bytes:
    """Its encoding."""
    if isinstance(certificate, crypto.X509):
        return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
    return certificate.public_bytes(Encoding.DER)


def pem(*certificates: x509.Certificate) -> str:
    """The certificates as text, one behind the other."""
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)


# --- by hand: what no library would issue -----------------------------------------------------------


def element(tag: int, content: bytes) -> bytes:
    """A DER element."""
    length = len(content)
    octets = length.to_bytes((length.bit_length() + 7) // 8) if length >= 0x80 else b""
    return bytes([tag, 0x80 | len(octets) if octets else length]) + octets + content


def rebuilt(
    *,
    subject: bytes | None = None,
    issuer: bytes | None = None,
    public_key: bytes | None = None,
    extensions: Iterable[bytes] = (),
) -> ParsedCertificate:
    """A certificate of parts in DER, under a signature that is none: names as their RDNs, extensions each without its own
    SEQUENCE."""
    base = der_fields_of(der(Subject("leaf").root()))
    assert base is not None
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    names = [
        whole if rdns is None else element(0x30, rdns)
        for rdns, whole in ((issuer, base.issuer), (subject, base.subject))
    ]
    body = b"\xa0\x03\x02\x01\x02" + b"\x02\x01\x07" + algorithm + names[0] + base.validity + names[1]
    body += base.public_key if public_key is None else public_key
    listed = element(0x30, b"".join(element(0x30, extension) for extension in extensions))
    whole = (
        element(0x30, body + element(0xA3, listed))
        + algorithm
        + element(0x03, b"\0" + bytes.fromhex("3006020101020101"))
    )
    return load(element(0x30, whole))
