"""MTA-STS: the record that announces a policy, the policy, and the mail hosts it allows (RFC 8461).

Rule of this room: pure.  The grammar is followed to the letter, as whoever guesses what a policy
means may send mail elsewhere than its author wants.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from crawler.records import MtaStsMode, MtaStsRecord, printable

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
    unless one of them is plainly meant as one: that is `invalid` rather than `absent`.  Of an `id`
    given twice the first counts, and unknown fields do not (§3.2, last paragraph).
    """
    texts = list(texts)
    records = [text for text in texts if _BEGINS(text)]
    if len(records) > 1:
        return MtaStsRecord.MULTIPLE, None
    if not records:
        return MtaStsRecord.INVALID if any(_ALMOST(text) for text in texts) else MtaStsRecord.ABSENT, None
    match = _RECORD(records[0])
    ids = _ID(match["fields"]) if match else []
    if not ids or not _GOOD_ID(ids[0]):
        return MtaStsRecord.INVALID, None
    return MtaStsRecord.VALID, ids[0].decode("ascii")


# --- the policy, §3.2 ---------------------------------------------------------------------------

MAX_AGE = 31_557_600
"""Seconds, about a year: the largest `max_age` (§3.2)."""

# sts-policy-field: a name, ":", white space, a value without controls or spaces about it.
_FIELD = re.compile(
    r"(?P<key>[A-Za-z0-9][A-Za-z0-9_.-]{0,31}):[ \t]*(?P<value>[^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?)[ \t]*"
).fullmatch
_LINE_END = re.compile(r"\r?\n").split
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_MX_PATTERN = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*").fullmatch
_DIGITS = re.compile(r"[0-9]{1,10}").fullmatch


class InvalidPolicy(ValueError):
    """The text is no MTA-STS policy; the message says why."""


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """A policy: what to do about mail hosts that are not in it, or that fail to authenticate."""

    mode: MtaStsMode
    mx: tuple[str, ...]  #: patterns, lower case
    max_age: int  #: seconds


def parse_policy(text: bytes) -> StsPolicy:
    """Read a policy.

    Lines end in LF or CRLF, as they like.  Of a key that may occur once the first counts, unknown
    keys do not (§3.2).  Empty lines at the end are read over, where the grammar has one line end at
    most.  Raises `InvalidPolicy`.
    """
    try:
        lines = _LINE_END(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidPolicy(f"byte {error.start} is not UTF-8") from error
    while len(lines) > 1 and not lines[-1]:
        lines.pop()
    fields: dict[str, str] = {}
    mx: list[str] = []
    for number, line in enumerate(lines, 1):
        field = _FIELD(line)
        if field is None:
            raise InvalidPolicy(f"line {number} is no field: {printable(line[:80].encode())}")
        if field["key"] == "mx":
            mx.append(_mx_pattern(field["value"], number))
        else:
            fields.setdefault(field["key"], field["value"])
    for key in ("version", "mode", "max_age"):
        if key not in fields:
            raise InvalidPolicy(f"has no {key}")
    if fields["version"] != "STSv1":
        raise InvalidPolicy(f"version is {printable(fields['version'][:80].encode())}, not STSv1")
    if fields["mode"] not in list(MtaStsMode):
        raise InvalidPolicy(f"mode is {printable(fields['mode'][:80].encode())}")
    if not _DIGITS(fields["max_age"]) or int(fields["max_age"]) > MAX_AGE:
        raise InvalidPolicy(f"max_age is {printable(fields['max_age'][:80].encode())}, not 0 to {MAX_AGE}")
    mode = MtaStsMode(fields["mode"])
    if not mx and mode is not MtaStsMode.NONE:
        raise InvalidPolicy("has no mx")
    return StsPolicy(mode, tuple(mx), int(fields["max_age"]))


def _mx_pattern(value: str, number: int) -> str:
    if len(value) > 255 or not _MX_PATTERN(value):
        raise InvalidPolicy(f"line {number} is no mx pattern: {printable(value[:80].encode())}")
    return value.lower()


def is_allowed(host: str, patterns: Iterable[str]) -> bool:
    """Whether a mail host (A-label, lower case) is one of the policy's (§4.1): `*.` stands for exactly one label."""
    behind = host.partition(".")[2]
    return any(pattern == host or (pattern.startswith("*.") and pattern[2:] == behind != "") for pattern in patterns)
