"""TLSRPT: the record that asks for reports (RFC 8460 §3).

Rule of this room: pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from crawler.records import TlsrptStatus

_BEGINS = re.compile(rb"v=TLSRPTv1[ \t]*;").match
_ALMOST = re.compile(rb"[ \t]*v[ \t]*=[ \t]*tlsrpt", re.IGNORECASE).match
# tlsrpt-record: fields divided by ";" with white space about it, a last ";" allowed.
_RECORD = re.compile(
    rb"v=TLSRPTv1(?P<fields>(?:[ \t]*;[ \t]*[A-Za-z0-9][A-Za-z0-9_.-]{0,31}=[\x20-\x3A\x3C-\x7E]+)+)(?:[ \t]*;[ \t]*)?"
).fullmatch
_RUA = re.compile(rb";[ \t]*rua=([^;]*)").findall
# RFC 3986 characters but "," and "!", which are to be percent-encoded here.
_GOOD_URI = re.compile(
    rb"(?:mailto:[A-Za-z0-9._~:/?#\[\]@$&'()*+=%-]+@[A-Za-z0-9._~:/?#\[\]@$&'()*+=%-]+"
    rb"|https://[A-Za-z0-9._~:/?#\[\]@$&'()*+=%-]+)",
    re.IGNORECASE,
).fullmatch


def record_state(texts: Iterable[bytes]) -> tuple[TlsrptStatus, list[str] | None]:
    """State of the TXT records at `_smtp._tls.<domain>`, and the report addresses of a valid one.

    Several records are as good as none (RFC 8460 §3) and are called invalid; so is a text that is
    plainly meant as a record and does not begin as one must.
    """
    texts = list(texts)
    records = [text for text in texts if _BEGINS(text)]
    if not records:
        return TlsrptStatus.INVALID if any(_ALMOST(text) for text in texts) else TlsrptStatus.ABSENT, None
    match = _RECORD(records[0])
    fields = _RUA(match["fields"]) if match else []
    if len(records) > 1 or len(fields) != 1:
        return TlsrptStatus.INVALID, None
    addresses = [address.strip(b" \t") for address in fields[0].split(b",")]
    if not all(_GOOD_URI(address) for address in addresses):
        return TlsrptStatus.INVALID, None
    return TlsrptStatus.VALID, [address.decode("ascii") for address in addresses]
