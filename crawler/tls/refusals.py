"""Reasons for which a handshake fails on our side: words of OpenSSL, and one of our own.

This module is pure.
"""

from __future__ import annotations

#: Reasons of OpenSSL about a finite-field Diffie-Hellman group that it does not take.
DHE_REFUSED = frozenset({"dh key too small", "modulus too small", "modulus too large"})
#: Our own reason, in OpenSSL's manner: a finite-field group beyond `limits.dh_bits`, or beyond what the provider may cost.
DHE_TOO_LARGE = "dh key too large"

#: The alert of a host that demands another protocol by ALPN than the one offered, as the library words it (RFC 7301 §3.2).
NO_ALPN = "no application protocol"

#: Reasons that mean 'our library cannot', or 'will not by its own policy': the host may serve others well.
OURS = DHE_REFUSED | {
    # versions and ciphers that the wheel lacks
    "unsupported protocol",
    "version too low",
    "version too high",
    "wrong ssl version",
    "unsupported ssl version",
    "unknown protocol",
    "unknown cipher returned",
    "wrong cipher returned",
    "no ciphers available",
    # curves that it lacks, or that we do not offer
    "wrong curve",
    "unsupported elliptic curve",
    "unable to find ecdh parameters",
    "explicit params not supported",
    "gf2m not supported",
    "unknown group",
    "field too large",
    # signature algorithms from before TLS 1.2, such as RSA with MD5
    "wrong signature type",
    "legacy sigalg disallowed or unsupported",
    "no suitable signature algorithm",
    "unknown signature algorithm",
    "unknown digest",
    "no suitable digest algorithm",
    # keys: of algorithms that it lacks, or outside the sizes that it takes
    "unknown certificate type",
    "unknown pkey type",
    "unknown key type",
    "unknown public key type",
    "unsupported public key type",
    "unsupported algorithm",
    "unable to find public key parameters",
    "bad e value",
    "bad q value",
    "key size too small",
    "ee key too small",
    "ca key too small",
    "ca md too weak",
}
#: … and that mean 'more than we take'.
TOO_MUCH = frozenset({"excessive message size", "too many key updates", "certificate list too large"})
