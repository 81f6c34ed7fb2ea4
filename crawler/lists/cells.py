"""One cell or line of a list: a name, or what holds one, as a target.

No cell is fatal: what is no domain name is a `Target` with a `problem`.
"""

from __future__ import annotations

import re
from dataclasses import replace

from crawler.model.names import InvalidName, a_label, is_top_level_domain
from crawler.model.rows import Target
from crawler.settings.declared_limits import limit

_MOST_DIGITS = 18  # of a rank, which has 64 bits where it is stored

KEPT = limit(
    1_024,
    "characters kept of what a list writes for a name",
    protects="the disk, and our memory",
    cut="the text ends in how many characters were left out",
)

#: The host of a URL, with or without a scheme; of a mail address what is behind its `@` (RFC 3986 §3.2, RFC 5321 §4.1.2).
_URL = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//([^/?#]*)|([^/?#@:\s]+)/").match
_MAILBOX = re.compile(r"(?:mailto:)?<?[^@\s<>]+@([^@\s<>]+?)>?", re.IGNORECASE).fullmatch


def target_of(written: str, rank: int | None = None, *, is_owner: bool = False) -> Target:
    """One cell as a list has it.

    A single label is a word, unless it is a top-level domain that the Public Suffix List knows; or the `is_owner` of a
    record of a zone.
    """
    try:
        name = a_label(written)
        if "." not in name and not is_owner and not is_top_level_domain(name):
            return Target(None, written, rank, "a single word, and no top-level domain")
        return Target(name, written, rank)
    except InvalidName as error:
        if (inner := _inner(written)) is not None:
            try:
                name = a_label(inner)
            except InvalidName:
                name = ""
            if "." in name:
                return Target(name, written, rank)
        return Target(None, written, rank, str(error))


def rank_of(cell: str | int | None) -> int | None:
    """The rank that a cell states, in up to 18 digits; None for anything else."""
    text = str(cell).strip().strip('"')
    return int(text) if len(text) <= _MOST_DIGITS and is_number(text) else None


def kept(target: Target) -> Target:
    """The target with what is stored of its texts; what was cut off is said in its place."""
    if len(target.input or "") <= KEPT and len(target.problem or "") <= KEPT:
        return target
    return replace(target, input=_cut(target.input), problem=_cut(target.problem))


def _cut(text: str | None) -> str | None:
    if text is None or len(text) <= KEPT:
        return text
    return f"{text[:KEPT]}… ({len(text) - KEPT:,} more characters)"


def is_from_url(target: Target) -> bool:
    """Whether the name is the host of a URL."""
    written = target.input or ""
    return target.domain is not None and "/" in written


def is_from_mailbox(target: Target) -> bool:
    """Whether the name is what stands behind the `@` of a mail address."""
    written = target.input or ""
    return target.domain is not None and "@" in written and "/" not in written


def is_domain(cell: str) -> bool:
    """Whether a cell holds a domain name rather than a word, a number or a file's name: it has a dot and a top-level label."""
    if "." not in cell:
        return False
    name = target_of(cell.strip()).domain
    return name is not None and "." in name and not name.rpartition(".")[2].isdigit()


def is_number(cell: str) -> bool:
    """Whether a cell is digits only."""
    text = cell.strip().strip('"')
    return text.isascii() and text.isdigit()


def _inner(written: str) -> str | None:
    """The host of a URL or of a mail address."""
    if found := _URL(written):
        host = (found[1] or found[2] or "").rpartition("@")[2]
        return host if host.startswith("[") else host.partition(":")[0]
    found = _MAILBOX(written)
    return found[1] if found else None
