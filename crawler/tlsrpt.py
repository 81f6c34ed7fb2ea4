"""TLSRPT: the record that asks for reports (RFC 8460 §3).

Rule of this room: pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from crawler.records import TlsrptStatus

_BEGINS = re.compile(rb"v=TLSRPTv1[ \t]*;").match
_ALMOST = re.compile(rb"[ \t]*v[ \t]*=[ \t]*tlsrpt", re.IGNORECASE).match
_FIELDS = re.compile(rb"[ \t]*;[ \t]*").split
_EXTENSION = re.compile(rb"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}=[\x21-\x3A\x3C\x3E-\x7E]+").fullmatch
_COMMA = re.compile(rb"[ \t]*,[ \t]*").split
# RFC 3986 without "," and "!" and ";", which are to be percent-encoded here.
_URI = re.compile(
    rb"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<rest>(?:[A-Za-z0-9._~:/?#\[\]@$&'()*+=-]|%[0-9A-Fa-f]{2})*)"
).fullmatch
_REACHES = {b"mailto": re.compile(rb"[^@?]+@.+").fullmatch, b"https": re.compile(rb"//[^/?#].*").fullmatch}


def record_state(texts: Iterable[bytes]) -> tuple[TlsrptStatus, list[str] | None]:
    """State of the TXT records at `_smtp._tls.<domain>`, and the report addresses of a valid one.

    Several records are as good as none (RFC 8460 §3) and are called invalid; so is a text that is
    plainly meant as a record and does not begin as one must.  A record may have several `rua`
    fields.  URIs of other schemes than mailto and https are not supported (§3): a record that has
    none but those asks for reports at no place, and is invalid.
    """
    texts = list(texts)
    records = [text for text in texts if _BEGINS(text)]
    if not records:
        return TlsrptStatus.INVALID if any(_ALMOST(text) for text in texts) else TlsrptStatus.ABSENT, None
    addresses = _addresses(records[0]) if len(records) == 1 else None
    return (TlsrptStatus.VALID, addresses) if addresses else (TlsrptStatus.INVALID, None)


def _addresses(record: bytes) -> list[str] | None:
    """The supported addresses of a record, in its order; None if it is outside the grammar."""
    _, *fields = _FIELDS(record)
    if fields and not fields[-1]:
        fields.pop()  # one ";" may end the record
    addresses = []
    for field in fields:
        name, _, value = field.partition(b"=")
        if name != b"rua":
            if not _EXTENSION(field):
                return None
            continue
        for uri in map(_URI, _COMMA(value)):
            if uri is None:
                return None
            reaches = _REACHES.get(uri["scheme"].lower())
            if reaches is not None and not reaches(uri["rest"]):
                return None
            if reaches is not None:
                addresses.append(uri[0].decode("ascii"))
    return addresses
