"""TLSRPT: the record that asks for reports (RFC 8460 §3).

This module is pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from crawler.model.rows import TlsrptStatus
from crawler.policies.text_records import divided, fields_of, is_field, records_among

# RFC 3986 without "," and "!" and ";", which are to be percent-encoded here.
_URI = re.compile(
    rb"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<rest>(?:[A-Za-z0-9._~:/?#\[\]@$&'()*+=-]|%[0-9A-Fa-f]{2})*)"
).fullmatch
_REACHES = {b"mailto": re.compile(rb"[^@?]+@.+").fullmatch, b"https": re.compile(rb"//[^/?#].*").fullmatch}


class RecordState(NamedTuple):
    """What the TXT records at `_smtp._tls.<domain>` say."""

    status: TlsrptStatus
    addresses: list[str] | None = None  #: where a valid record asks for reports
    ambiguous: bool = False  #: a text has a blank before its first `;`


def record_state(texts: Iterable[bytes]) -> RecordState:
    """State of the TXT records at `_smtp._tls.<domain>`.

    Which texts are records says `text_records`.  Several records are as good as none (RFC 8460 §3) and are called
    invalid; so is a text that is plainly meant as a record and does not begin as one must.  A record may have several
    `rua` fields.  URIs of other schemes than mailto and https are not supported (§3): a record that has
    none but those asks for reports at no place, and is invalid.
    """
    records = records_among(texts, b"TLSRPTv1")
    if not records.texts:
        status = TlsrptStatus.INVALID if records.is_meant else TlsrptStatus.ABSENT
        return RecordState(status, None, records.ambiguous)
    addresses = _addresses(records.texts[0]) if len(records.texts) == 1 else None
    status = TlsrptStatus.VALID if addresses else TlsrptStatus.INVALID
    return RecordState(status, addresses or None, records.ambiguous)


def _addresses(record: bytes) -> list[str] | None:
    """The supported addresses of a record, in its order; None if it is outside the grammar."""
    addresses = []
    for field in fields_of(record):
        name, _, value = field.partition(b"=")
        if name != b"rua":
            if not is_field(field):
                return None
            continue
        for uri in map(_URI, divided(value, b",")):
            if uri is None:
                return None
            reaches = _REACHES.get(uri["scheme"].lower())
            if reaches is not None and not reaches(uri["rest"]):
                return None
            if reaches is not None:
                addresses.append(uri[0].decode("ascii"))
    return addresses
