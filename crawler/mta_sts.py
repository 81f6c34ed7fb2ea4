"""MTA-STS: the record that announces a policy (RFC 8461 §3.1).

Rule of this room: pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from crawler.records import MtaStsRecord

_BEGINS = re.compile(rb"v=STSv1[ \t]*;").match
_ALMOST = re.compile(rb"[ \t]*v[ \t]*=[ \t]*sts", re.IGNORECASE).match
# sts-text-record: fields divided by ";" with white space about it, a last ";" allowed.
_RECORD = re.compile(
    rb"v=STSv1(?P<fields>(?:[ \t]*;[ \t]*[A-Za-z0-9][A-Za-z0-9_.-]{0,31}=[\x21-\x3A\x3C\x3E-\x7E]+)+)(?:[ \t]*;[ \t]*)?"
).fullmatch
_ID = re.compile(rb";[ \t]*id=([^; \t]*)").findall
_GOOD_ID = re.compile(rb"[A-Za-z0-9]{1,32}").fullmatch


def record_state(texts: Iterable[bytes]) -> tuple[MtaStsRecord, str | None]:
    """State of the TXT records at `_mta-sts.<domain>`, and the `id` of a valid one.

    Texts that do not begin with `v=STSv1;` are no MTA-STS records (RFC 8461 §3.1) and do not count,
    unless one of them is plainly meant as one: that is `invalid` rather than `absent`.
    """
    texts = list(texts)
    records = [text for text in texts if _BEGINS(text)]
    if len(records) > 1:
        return MtaStsRecord.MULTIPLE, None
    if not records:
        return MtaStsRecord.INVALID if any(_ALMOST(text) for text in texts) else MtaStsRecord.ABSENT, None
    match = _RECORD(records[0])
    ids = _ID(match["fields"]) if match else []
    if len(ids) != 1 or not _GOOD_ID(ids[0]):
        return MtaStsRecord.INVALID, None
    return MtaStsRecord.VALID, ids[0].decode("ascii")
