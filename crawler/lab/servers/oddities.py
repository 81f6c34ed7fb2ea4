"""Certificates that are odd in form: senders read over it, and libraries refuse them.

This module does no I/O.  It writes DER by hand where the library would not, and reads none; so it shares nothing
with `crawler.certificates.der_fields`, which is measured with it.
"""

from __future__ import annotations

from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import crypto

SAN, _POLICIES = x509.ObjectIdentifier("2.5.29.17"), x509.ObjectIdentifier("2.5.29.32")
_ECDSA_WITH_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")

#: Oddity -> the general name that stands before the DNS names.
_STRANGE_NAMES = {
    "ediPartyName": bytes.fromhex("a50ba1090c07") + b"Partner",
    "address as text": b"\x87\x09" + b"192.0.2.1",
    "name without an end": b"\x82\x7f" + b"mx",
}
#: Oddity -> bytes of the certificate, and what they are made.
_CHANGED = {
    "version 4": (bytes.fromhex("a003020102"), bytes.fromhex("a003020103")),
    "critical FALSE": (bytes.fromhex("0603551d130101ff"), bytes.fromhex("0603551d13010100")),
}
ODDITIES = (*_STRANGE_NAMES, *_CHANGED, "user notice")
"""What `with_oddity` knows."""


def with_oddity(
    oddity: str, builder: x509.CertificateBuilder, names: Iterable[str], signer: ec.EllipticCurvePrivateKey
) -> crypto.X509:
    """The certificate of a builder for the DNS names, odd in one way, signed."""
    encoded = [element(0x82, name.encode()) for name in names]
    if oddity in _STRANGE_NAMES:
        encoded.insert(0, _STRANGE_NAMES[oddity])
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    san = x509.UnrecognizedExtension(SAN, element(0x30, b"".join(encoded)))
    builder = builder.add_extension(san, critical=False)
    if oddity == "user notice":
        builder = builder.add_extension(x509.UnrecognizedExtension(_POLICIES, _policy()), critical=False)
    made = builder.sign(signer, hashes.SHA256())
    return changed(made, signer, *_CHANGED.get(oddity, (b"", b"")))


def changed(
    certificate: x509.Certificate, signer: ec.EllipticCurvePrivateKey, before: bytes, after: bytes
) -> crypto.X509:
    """The certificate with some of its bytes changed into as many others, signed again."""
    body = certificate.tbs_certificate_bytes
    if len(before) != len(after) or (before and body.count(before) != 1):
        raise ValueError(f"{before.hex()} does not stand there once, or {after.hex()} is longer")
    body = body.replace(before, after) if before else body
    signature = signer.sign(body, ec.ECDSA(hashes.SHA256()))
    der = element(0x30, body + _ECDSA_WITH_SHA256 + element(0x03, b"\0" + signature))
    return crypto.load_certificate(crypto.FILETYPE_ASN1, der)


def _policy() -> bytes:
    """Certificate policies with a user notice in Latin-1, which VisibleString does not allow (RFC 5280 §4.2.1.4)."""
    notice = element(0x30, element(0x1A, "Gr\xfc\xdfe".encode("latin-1")))
    qualifier = element(0x30, bytes.fromhex("06082b06010505070202") + notice)
    policy = bytes.fromhex("06092b0601040183b15201")
    return element(0x30, element(0x30, policy + element(0x30, qualifier)))


def element(tag: int, content: bytes) -> bytes:
    """A DER element."""
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(octets)]) + octets + content
