"""Whether the keys and signatures of a path are as strong as senders that verify demand.

This module is pure. It judges as OpenSSL does at its security level 1, the least at which senders verify. The library
behind `crawler.certificates.trust_store` judges at level 0, and offers no way to set another.  By RFC 9325 §4.5 more
than this is forbidden to servers: RSA below 2,048 bits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cryptography.hazmat.primitives import hashes
from OpenSSL import crypto

from crawler.certificates.guard import Unreadable, guarded
from crawler.certificates.signatures import signature_hash

EE_KEY_TOO_SMALL, CA_KEY_TOO_SMALL, CA_MD_TOO_WEAK = 66, 67, 68
"""OpenSSL's X509_V_ERR codes."""

#: Bits of a key that are worth 80 bits of security; keys of other kinds are all worth more.
_LEAST_BITS = {crypto.TYPE_RSA: 1_024, crypto.TYPE_DSA: 1_024, crypto.TYPE_EC: 160}
_WEAK = re.compile(rb"sha1|md[245]", re.IGNORECASE).search  # in OpenSSL's names of signature algorithms
_WEAK_HASHES = (hashes.SHA1, hashes.MD5)


def weakness(path: Sequence[crypto.X509]) -> tuple[int, int] | None:
    """OpenSSL's code and the depth of what is too weak first in a verified path, its anchor last; None if nothing is.

    The signature of an anchor is no proof of anything, so it is not looked at.
    """
    for depth, certificate in enumerate(path):
        if _is_small(certificate):
            return CA_KEY_TOO_SMALL if depth else EE_KEY_TOO_SMALL, depth
        if depth < len(path) - 1 and _is_weakly_signed(certificate):
            return CA_MD_TOO_WEAK, depth
    return None


def _is_small(certificate: crypto.X509) -> bool:
    """A key that cannot be read is no good either, as OpenSSL has it."""
    try:
        key = guarded(certificate.get_pubkey)
        return guarded(key.bits) < _LEAST_BITS.get(guarded(key.type), 0)
    except Unreadable:
        return True


def _is_weakly_signed(certificate: crypto.X509) -> bool:
    """So is an algorithm that cannot be read, as it is to OpenSSL."""
    try:
        algorithm = guarded(certificate.get_signature_algorithm)
        if algorithm != b"rsassaPss":
            return _WEAK(algorithm) is not None
        # The hash is among its parameters, and is SHA-1 where they are left out.
        der = guarded(crypto.dump_certificate, crypto.FILETYPE_ASN1, certificate)
        return isinstance(signature_hash(der), _WEAK_HASHES)
    except Unreadable:
        return True
