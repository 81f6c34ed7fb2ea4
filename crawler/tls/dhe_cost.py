"""What a handshake with finite-field Diffie-Hellman costs us, as estimated from its group.

This module is pure.  The library knows the groups of RFC 3526 and RFC 7919, and takes exponents there that are as short
as the strength of the group allows (RFC 7919 §5.2).  Over any other prime its exponent is as long as the prime.
"""

from __future__ import annotations

from hashlib import sha256

#: SHA-256 of the primes, of 2,048 to 8,192 bits, as the server sends them.
_KNOWN = frozenset(
    map(
        bytes.fromhex,
        (
            "d66436f79bbd6b2e38c0ffbd079be904d2641415e2e67140e09448be9a60890e",  # RFC 3526 §3
            "48cf8b092fbce4359d9871abf74f98e25b6163379eaa15cd9087e800c6d1c55c",  # §4
            "4ee95187682bcb230ad26a95205f6920e84708f6251b3894329b09ec23919e33",  # §5
            "d1bfe6d0925ce7e4da262b62861514a7755e35831e429f343e7b864848657efd",  # §6
            "39ab4feab950a3128fb71accb9fc3965d857012e081998a85996e3ea8b3c3bcf",  # §7
            "9cd3b7f336872f46c09428d1bbc19877a4d440512cda8d1c1cf0cd6e33698966",  # RFC 7919 A.1
            "0eaf67db3a839156d5013494a5318a772b5697d270d721f37f092efc69ea5a17",  # A.2
            "4648414224ac881b3d0dc59b466f96d06a558278776807797ecf1f66ff397b3e",  # A.3
            "227ac9066b3ddd9e193670cda2388fa884f65ba0cf98b742d1fe77a6687c79c7",  # A.4
            "770b14efaf6f049929c523113b3fa99a8d11dab1b18af3609590122075d19833",  # A.5
        ),
    )
)
_GENERATOR = b"\x02"  # of all of them; the library knows them by both

_AT_8192 = 0.4  # seconds of processor time over a prime of one's own; the work grows with the third power of the bits
_KNOWN_AT_8192 = 0.02  # over a known one, whose exponents grow less; with the second

LIGHT = 0.01
"""Seconds that are not worth counting: any prime of 2,048 bits, or a known one of 4,096."""


def estimated_seconds(prime: bytes, generator: bytes) -> float:
    """Seconds of our processor time for one handshake; from the group alone, so no verdict depends on a machine's speed."""
    size = int.from_bytes(prime).bit_length() / 8_192
    is_known = generator == _GENERATOR and sha256(prime).digest() in _KNOWN
    return _KNOWN_AT_8192 * size**2 if is_known else _AT_8192 * size**3
