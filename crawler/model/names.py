"""Domain names: any spelling to one A-label form, and what the Public Suffix List says of it.

This module is pure, and the only place that decides whether a text is a domain name.
RFC 1035 §2.3.4 (sizes), RFC 5890 (A-labels), UTS #46 (mapping of what people write).
"""

from __future__ import annotations

import ipaddress
import re
from functools import cache
from pathlib import Path

import idna
import publicsuffixlist

MAX_NAME = 253
MAX_LABEL = 63

# The underscore is no host-name character, and yet mail hosts with one exist and DNS answers for them.
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*").fullmatch
_WRONG_CHARACTER = re.compile(r"[^a-z0-9_.-]").search


class InvalidName(ValueError):
    """A text that is not a domain name; the message says why."""


def a_label(text: str) -> str:
    """The name in A-label form: lower case, without trailing dot.

    Internationalised names go through UTS #46 mapping and IDNA 2008.  Raises `InvalidName`.
    """
    name = text.lower().removesuffix(".") if text.isascii() else _from_unicode(text)
    if not _NAME(name) or len(name) > MAX_NAME:
        raise InvalidName(_reason(name))
    if name[-1] in "0123456789" and name.rpartition(".")[2].isdigit():
        raise InvalidName(_reason_numeric(name))
    return name


def suffixes(name: str) -> tuple[str | None, str | None]:
    """Registrable domain and public suffix of an A-label; (None, name) for a public suffix itself.

    An address has neither.  The longest match counts, also in the private section of the list. Under a top-level
    domain that the list does not know, that domain is the suffix (the list's own default rule `*`).
    """
    if is_address_like(name):
        return None, None
    suffix = _public_suffixes().publicsuffix(name)
    if suffix is None:
        return None, None
    if suffix == name:
        return None, name
    label = name[: -len(suffix) - 1].rpartition(".")[2]
    return f"{label}.{suffix}", suffix


def is_address_like(text: str) -> bool:
    """Whether a text stands where a name may and can be none, as no top-level domain is a number (see `a_label`)."""
    return ":" in text or (text[-1:].isdigit() and text.rpartition(".")[2].isdigit())


def is_top_level_domain(label: str) -> bool:
    """Whether the Public Suffix List knows a top-level domain of this name (A-label)."""
    return _known_suffixes().publicsuffix(label) is not None


@cache
def _known_suffixes() -> publicsuffixlist.PublicSuffixList:
    return publicsuffixlist.PublicSuffixList(accept_unknown=False)


@cache
def _public_suffixes() -> publicsuffixlist.PublicSuffixList:
    return publicsuffixlist.PublicSuffixList()  # 30 ms: read when first asked, not at import


def _psl_version() -> str:
    """The date line of the list that is installed, e.g. `2026-10-22_08-36-41_UTC`."""
    head = Path(publicsuffixlist.PSLFILE).read_bytes()[:4096].decode("utf-8", "replace")
    found = re.search(r"^// VERSION: (\S+)", head, re.MULTILINE)
    return found[1] if found else "unknown"


PSL_VERSION = _psl_version()


def _from_unicode(text: str) -> str:
    """UTS #46 mapping (which also knows the other full stops), then IDNA 2008 label by label."""
    try:
        mapped = idna.uts46_remap(text, std3_rules=False).removesuffix(".")
        return ".".join(label if label.isascii() else idna.alabel(label).decode("ascii") for label in mapped.split("."))
    except (idna.IDNAError, UnicodeError) as error:
        raise InvalidName(f"not an internationalised domain name: {error}") from None


def _reason(name: str) -> str:
    """Why a text is not a name, in the words of the one who wrote it."""
    if not name:
        return "empty"
    if "://" in name or "/" in name:
        return "a URL, not a domain name"
    if "@" in name:
        return "a mail address, not a domain name"
    if name.startswith("*"):
        return "a wildcard, not a domain name"
    if ":" in name or name.startswith("["):
        return "an address or a port, not a domain name"
    if wrong := _WRONG_CHARACTER(name):
        return f"character {wrong[0]!r} is not allowed"
    labels = name.split(".")
    if "" in labels:
        return "an empty label"
    if any(len(label) > MAX_LABEL for label in labels):
        return f"a label longer than {MAX_LABEL} characters"
    if len(name) > MAX_NAME:
        return f"longer than {MAX_NAME} characters"
    return "a label begins or ends with a hyphen"


def _reason_numeric(name: str) -> str:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "the last label is a number"
    return "an IP address, not a domain name"
