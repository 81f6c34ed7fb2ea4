"""What the TXT records of MTA-STS and TLSRPT have in common: a version, and fields divided by semicolons.

Pure.  RFC 8461 §3.1 and RFC 8460 §3 have one grammar.  All work is linear in the length of a text, which a stranger
chooses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

_FIELD = re.compile(rb"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}=[\x21-\x3A\x3C\x3E-\x7E]+").fullmatch


class Records(NamedTuple):
    """Those of a name's texts that are records of one kind."""

    texts: list[bytes]
    ambiguous: bool  #: a text has a blank between its version and the first `;`
    is_meant: bool  #: a text that is none is plainly meant as one


def records_among(texts: Iterable[bytes], version: bytes) -> Records:
    """The records of a version, e.g. `STSv1`, among the TXT records of a name, whatever their order.

    Where there are several texts, those that do not begin with `v=VERSION;` are discarded (RFC 8461 §3.1, RFC 8460
    §3).  The grammar allows blanks before that `;` as before every other. So a text that begins `v=VERSION ;` is a
    record when it stands alone, and is none beside other texts (erratum 6285 to RFC 8461 names the conflict).  It is
    `ambiguous` in either case.
    """
    found = set(texts)
    blanks = {text for text in found if _has_blank(text, b"v=" + version)}
    records = sorted(text for text in found if text.startswith(b"v=" + version + b";"))
    if not records and len(found) == 1:
        records = sorted(blanks)
    word = version.removesuffix(b"v1").lower()
    is_meant = any(_is_meant(text, word) for text in found - blanks)
    return Records(records, bool(blanks), is_meant)


def is_too_long(texts: Iterable[bytes], version: bytes, most: int) -> bool:
    """Whether a record of a version, or a text that is meant as one, has more than `most` bytes; others do not matter."""
    long = [text for text in texts if len(text) > most]
    return bool(long) and any(found.texts or found.is_meant for found in (records_among([t], version) for t in long))


def fields_of(text: bytes) -> list[bytes]:
    """The fields behind the version, with blanks about each `;` taken away.

    One `;` may end the record, and blanks may follow it and nothing else.
    """
    _, *fields = divided(text, b";")
    if fields and not fields[-1].strip(b" \t"):
        fields.pop()
    return fields


def divided(text: bytes, mark: bytes) -> list[bytes]:
    """The parts of a text between marks, without the blanks about the marks; those at its two ends stay."""
    parts = text.split(mark)
    last = len(parts) - 1
    return [
        (part.lstrip(b" \t") if place else part).rstrip(b" \t" if place < last else b"")
        for place, part in enumerate(parts)
    ]


def is_field(field: bytes) -> bool:
    """Whether this is `name=value` (`sts-ext-name`, `tlsrpt-ext-name`)."""
    return _FIELD(field) is not None


def _has_blank(text: bytes, begin: bytes) -> bool:
    behind = text[len(begin) :]
    return text.startswith(begin) and behind[:1] in (b" ", b"\t") and behind.lstrip(b" \t").startswith(b";")


def _is_meant(text: bytes, word: bytes) -> bool:
    """Whether it begins like a record, but for letter case, blanks, or the version's number."""
    name, equals, value = text.partition(b"=")
    return bool(equals) and name.strip(b" \t").lower() == b"v" and value.lstrip(b" \t")[: len(word)].lower() == word
