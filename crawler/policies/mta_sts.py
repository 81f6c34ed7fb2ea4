"""MTA-STS: the record that announces a policy, the policy, and the mail hosts it allows (RFC 8461).

This module is pure.  The grammar is followed to the letter, as whoever guesses what a policy
means may send mail elsewhere than its author wants.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from crawler.model.rows import MtaStsMode, MtaStsRecord, printable
from crawler.policies.text_records import fields_of, is_field, records_among

_GOOD_ID = re.compile(rb"[A-Za-z0-9]{1,32}").fullmatch


class RecordState(NamedTuple):
    """What the TXT records at `_mta-sts.<domain>` say."""

    record: MtaStsRecord
    id: str | None = None  #: of a valid record
    ambiguous: bool = False  #: a text has a blank before its first `;`


def record_state(texts: Iterable[bytes]) -> RecordState:
    """State of the TXT records at `_mta-sts.<domain>`.

    `text_records` decides which texts are records. Without a record, a text that is plainly meant as one makes the
    state `invalid` rather than `absent`. Where an `id` is given twice the first counts, and unknown fields do not
    (§3.2, last paragraph).
    """
    records = records_among(texts, b"STSv1")
    if len(records.texts) > 1:
        return RecordState(MtaStsRecord.MULTIPLE, None, records.ambiguous)
    if not records.texts:
        state = MtaStsRecord.INVALID if records.is_meant else MtaStsRecord.ABSENT
        return RecordState(state, None, records.ambiguous)
    fields = fields_of(records.texts[0])
    ids = [field[3:] for field in fields if field.startswith(b"id=")]
    if not all(map(is_field, fields)) or not ids or not _GOOD_ID(ids[0]):
        return RecordState(MtaStsRecord.INVALID, None, records.ambiguous)
    return RecordState(MtaStsRecord.VALID, ids[0].decode("ascii"), records.ambiguous)


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

    Lines end in LF or CRLF. Where a key that may occur once occurs again, the first counts; unknown keys do not count
    (§3.2). Empty lines at the end are skipped, although the grammar has one line end at most.  Raises `InvalidPolicy`.
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
