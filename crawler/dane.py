"""DANE for SMTP: which TLSA records an SMTP client may use.

Rule of this room: pure.  RFC 6698 §2.1 (the record), RFC 7671 (operation), RFC 7672 (SMTP).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from crawler.records import TlsaStatus

DANE_TA, DANE_EE = 2, 3
CERTIFICATE, PUBLIC_KEY = 0, 1
FULL, SHA256, SHA512 = 0, 1, 2
_DIGEST_BYTES = {SHA256: 32, SHA512: 64}


def is_usable(usage: int, selector: int, matching: int, data: bytes) -> bool:
    """Whether the record is well formed and of a kind that SMTP clients know.

    RFC 7672 §3.1.3: PKIX-TA(0) and PKIX-EE(1) are not usable for SMTP.  A digest has the length of
    its algorithm; a full certificate or key is one DER SEQUENCE.
    """
    if usage not in (DANE_TA, DANE_EE) or selector not in (CERTIFICATE, PUBLIC_KEY):
        return False
    if matching == FULL:
        return _is_one_sequence(data)
    return len(data) == _DIGEST_BYTES.get(matching)


def records_of(rrset: Iterable[tuple[int, int, int, bytes]]) -> list[dict[str, Any]]:
    """TLSA records in the form in which they are stored, each judged by itself; in canonical order."""
    return [
        {
            "usage": usage,
            "selector": selector,
            "matching": matching,
            "data": data,
            "usable": is_usable(usage, selector, matching, data),
        }
        for usage, selector, matching, data in sorted(set(rrset))
    ]


def status_of(records: Iterable[dict[str, Any]]) -> TlsaStatus:
    """`usable` or `unusable`, for the records of a secure RRset (RFC 7672 §2.2)."""
    return TlsaStatus.USABLE if any(record["usable"] for record in records) else TlsaStatus.UNUSABLE


def _is_one_sequence(data: bytes) -> bool:
    """One DER SEQUENCE that ends where the data ends (X.690 §8.1.3)."""
    if len(data) < 4 or data[0] != 0x30:
        return False
    length, start = data[1], 2
    if length > 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    return start + length == len(data)
