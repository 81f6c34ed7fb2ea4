"""Whether a certificate's signature verifies under a key, in three values.

This module is pure.  *No* is the verdict of a library that could check; a certificate, key or algorithm that it
cannot read or does not verify is unknown.  OpenSSL's own `X509_verify` is not to be had from Python.

What it costs is of the key's choice; `effort` says how much, and whoever asks here has asked there before.
"""

from __future__ import annotations

from typing import Any, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key
from cryptography.x509.oid import SignatureAlgorithmOID

from crawler.certificates.der_fields import der_fields_of, signed_parts, without_oddities
from crawler.certificates.effort import Meter, TooCostly, signature_under
from crawler.certificates.guard import Unreadable, guarded


def is_signed_by(certificate: bytes, public_key: bytes, meter: Meter | None = None) -> bool | None:
    """Whether a certificate (DER) is signed by the owner of a key (SubjectPublicKeyInfo, DER).

    Unknown, too, where that costs more than the meter gives.
    """
    try:
        if meter is not None:
            meter.take(signature_under(public_key))
        return guarded(_verifies, certificate, public_key)
    except (TooCostly, Unreadable):
        return None


def is_issued_by(certificate: bytes, issuer: bytes) -> bool | None:
    """Whether a certificate names another (both DER) as its issuer, and is signed by it."""
    issued, issuing = der_fields_of(certificate), der_fields_of(issuer)
    if issued is None or issuing is None:
        return None
    return issued.issuer == issuing.subject and is_signed_by(certificate, issuing.public_key)


def signature_hash(certificate: bytes) -> HashAlgorithm | None:
    """The hash in a certificate's signature algorithm.  Raises `Unreadable`; None where the algorithm has none."""
    return guarded(lambda: _plain(certificate).signature_hash_algorithm)


def _plain(certificate: bytes) -> x509.Certificate:
    plain = without_oddities(certificate)
    if plain is None:
        raise ValueError("no certificate")
    return x509.load_der_x509_certificate(plain)


def _verifies(certificate: bytes, public_key: bytes) -> bool:
    parts, read = signed_parts(certificate), _plain(certificate)
    if parts is None or parts.algorithm != parts.algorithm_within:
        return False  # as OpenSSL has it; the two must be one (RFC 5280 §4.1.1.2)
    key = load_der_public_key(public_key)
    scheme: Any = read.signature_algorithm_parameters
    kind = _KINDS.get(type(scheme)) or _KINDS_BY_OID.get(read.signature_algorithm_oid)
    if kind is None:
        raise UnsupportedAlgorithm(f"signature algorithm {read.signature_algorithm_oid.dotted_string}")
    if not isinstance(key, kind):
        return False
    how = [scheme] if scheme is not None else []
    if kind in (rsa.RSAPublicKey, dsa.DSAPublicKey):
        how.append(read.signature_hash_algorithm)
    try:
        cast(Any, key).verify(parts.signature, parts.body, *how)
    except InvalidSignature:
        return False
    return True


#: The keys that a signature can be of, by its scheme where it has one, else by its algorithm.
_KINDS: dict[type, type] = {
    padding.PKCS1v15: rsa.RSAPublicKey,
    padding.PSS: rsa.RSAPublicKey,
    ec.ECDSA: ec.EllipticCurvePublicKey,
}
_KINDS_BY_OID: dict[x509.ObjectIdentifier, type] = {
    SignatureAlgorithmOID.DSA_WITH_SHA1: dsa.DSAPublicKey,
    SignatureAlgorithmOID.DSA_WITH_SHA224: dsa.DSAPublicKey,
    SignatureAlgorithmOID.DSA_WITH_SHA256: dsa.DSAPublicKey,
    SignatureAlgorithmOID.DSA_WITH_SHA384: dsa.DSAPublicKey,
    SignatureAlgorithmOID.DSA_WITH_SHA512: dsa.DSAPublicKey,
    SignatureAlgorithmOID.ED25519: ed25519.Ed25519PublicKey,
    SignatureAlgorithmOID.ED448: ed448.Ed448PublicKey,
}
