"""What a ClientHello offers, read off its bytes.

This module is pure, and for hellos of our own making.  RFC 8446 §4.1.2.
"""

from __future__ import annotations


def extensions_of(hello: bytes) -> dict[int, bytes]:
    """The extensions of a ClientHello record by their numbers, in its order (RFC 8446 §4.2)."""
    at = 5 + 4 + 2 + 32  # record and handshake headers, legacy_version, random
    at += 1 + hello[at]  # legacy_session_id
    at += 2 + int.from_bytes(hello[at : at + 2])  # cipher_suites
    at += 1 + hello[at] + 2  # legacy_compression_methods, length of the extensions
    found = {}
    while at < len(hello):
        kind, size = int.from_bytes(hello[at : at + 2]), int.from_bytes(hello[at + 2 : at + 4])
        found[kind] = hello[at + 4 : at + 4 + size]
        at += 4 + size
    return found


def offered_groups(hello: bytes) -> list[str]:
    """The supported_groups of a ClientHello record, in its order (RFC 8446 §4.2.7)."""
    ids = extensions_of(hello).get(_SUPPORTED_GROUPS, b"")[2:]
    numbers = [int.from_bytes(ids[n : n + 2]) for n in range(0, len(ids), 2)]
    return [_GROUPS.get(number, f"0x{number:04x}") for number in numbers]


_SUPPORTED_GROUPS = 10
#: IANA TLS Supported Groups, by OpenSSL's names.
_GROUPS = {
    0x0017: "secp256r1", 0x0018: "secp384r1", 0x0019: "secp521r1", 0x001D: "x25519", 0x001E: "x448",
    0x0100: "ffdhe2048", 0x0101: "ffdhe3072", 0x0102: "ffdhe4096", 0x0103: "ffdhe6144", 0x0104: "ffdhe8192",
    0x0200: "MLKEM512", 0x0201: "MLKEM768", 0x0202: "MLKEM1024",
    0x11EB: "SecP256r1MLKEM768", 0x11EC: "X25519MLKEM768", 0x11ED: "SecP384r1MLKEM1024",
    0x0029: "curveSM2", 0x11EE: "curveSM2MLKEM768",
}  # fmt: skip
