"""The file of opt-outs: who asked not to be probed, one entry a line.

An entry is a domain, which covers the names below it; an address; a network; or a range of addresses.  People write
them in many ways, and each way that can be meant is taken: `@example.org` and `user@example.org` for the domain,
`*.example.org`, a URL, names in any script, a date and a reason behind the entry.  A line that cannot be an opt-out is
an error, for whoever asked would be probed all the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
    summarize_address_range,
)
from pathlib import Path
from typing import Any

from crawler.names import InvalidName, a_label
from crawler.settings import ConfigError

Network = IPv4Network | IPv6Network

_ADDRESS = r"\[?[0-9A-Fa-f.:]+\]?"
_RANGE = re.compile(rf"({_ADDRESS})\s*[-\u2013]\s*({_ADDRESS})(?=[\s,;]|$)").match
_WORD = re.compile(r"[^\s,;]+").match
_BEHIND = re.compile(r"[\s,;]*([^\s,;]*)").match
_HOST_OF_URL = re.compile(r"https?://([^/?#\s]+)", re.IGNORECASE).match

#: Mailboxes that speak for their domain (RFC 2142).
_ROLES = frozenset(
    {"abuse", "admin", "administrator", "contact", "hostmaster", "info", "noc", "postmaster", "security", "webmaster"}
)

#: Domains at which strangers have their mailboxes.  Whoever opts out one of them has probably meant a mailbox.
SHARED_MAIL_DOMAINS = frozenset(
    ["126.com", "163.com", "aol.com", "fastmail.com", "free.fr", "gmail.com", "gmx.at", "gmx.de", "gmx.net", "googlemail.com", "hotmail.com", "icloud.com", "laposte.net", "libero.it", "live.com", "mac.com", "mail.ru", "me.com", "msn.com", "naver.com", "orange.fr", "outlook.com", "proton.me", "protonmail.com", "qq.com", "rediffmail.com", "seznam.cz", "t-online.de", "web.de", "wp.pl", "yahoo.co.jp", "yahoo.co.uk", "yahoo.com", "yandex.ru", "zoho.com"]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OptOuts:
    """What was read of the file."""

    path: str = ""
    sha256: str = ""
    names: frozenset[str] = frozenset()  #: A-labels; each covers the names below it
    networks: tuple[Network, ...] = ()
    entries: int = 0  #: addresses, networks and ranges, each of which may be several networks
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        domains = f"{len(self.names):,} domain{'s' * (len(self.names) != 1)}"
        networks = f"{self.entries:,} network{'s' * (self.entries != 1)}"
        return f"{domains}, {networks}, from {self.path}, sha256 {self.sha256[:12]}…"

    def lines(self) -> Iterator[str]:
        """What was understood of the file, for people, and what is odd about it; nothing without a file."""
        if self.path:
            yield f"opt-outs: {self}"
            yield from (f"warning: {warning}" for warning in self.warnings)

    def as_dict(self) -> dict[str, Any] | None:
        """For the manifest; None without a file."""
        if not self.path:
            return None
        return {"path": self.path, "sha256": self.sha256, "domains": len(self.names), "networks": self.entries}

    def covering(self, name: str) -> str | None:
        """The entry that covers a name: the name itself or a domain above it."""
        if not self.names:
            return None
        while name not in self.names:
            _, dot, name = name.partition(".")
            if not dot:
                return None
        return name


def read_opt_outs(path: Path) -> OptOuts:
    """Read the file.  Raises `ConfigError` with the first line that cannot be an opt-out, and how many there are."""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: opt-outs cannot be read ({error.strerror}); check --exclude") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: opt-outs cannot be read (they are not UTF-8 text); check --exclude") from error
    names: dict[str, None] = {}
    networks: list[Network] = []
    entries = 0
    warnings: list[str] = []
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        try:
            found = _entry(line)
        except _Unreadable as problem:
            problems.append(f"{path}:{number}: {problem}")
            continue
        if isinstance(found, str):
            names[found] = None
            warnings += (f"{path}:{number}: {words}" for words in _doubts(line, found))
        else:
            networks += found
            entries += 1
    if problems:
        more = f" (and {len(problems) - 1:,} more such lines)" if len(problems) > 1 else ""
        raise ConfigError(f"{problems[0]}{more}; nobody was contacted")
    digest = hashlib.sha256(data).hexdigest()
    return OptOuts(str(path), digest, frozenset(names), tuple(networks), entries, tuple(warnings))


class _Unreadable(ValueError):
    """A line is no opt-out; the message says which word, and why."""


def _entry(line: str) -> str | list[Network]:
    """The A-label or the networks that a line opts out.  Raises `_Unreadable`."""
    if among := _RANGE(line):
        return _range(among[1], among[2])
    found = _WORD(line)
    if found is None:
        raise _Unreadable(f"{line[:80]!r} begins with no domain, address, network or range")
    word = found[0].strip("\"'")
    made = _one(word)
    if made is None:
        raise _Unreadable(f"{word[:80]!r} is no domain, address, network or range of addresses")
    behind = _BEHIND(line, found.end())
    if behind is not None and behind[1] and _looks_like_entry(behind[1].strip("\"'")):
        raise _Unreadable(f"{behind[1][:80]!r} is a second entry, which would have no effect; give one a line")
    return made


def _one(word: str) -> str | list[Network] | None:
    try:
        return [ip_network(word.strip("[]"), strict=False)]
    except ValueError:
        pass
    if url := _HOST_OF_URL(word):
        word = url[1].rpartition("@")[2].partition(":")[0]
    word = word.rpartition("@")[2].removeprefix("*").lstrip(".")
    try:
        name = a_label(word)
    except InvalidName:
        return None
    return name if "." in name else None  # a whole top-level domain is nobody's to opt out


def _looks_like_entry(word: str) -> bool:
    """Whether a word behind the entry can only be another one; a reason may well have dots in it."""
    found = _one(word)
    if isinstance(found, list):
        return True
    return found is not None and "@" not in word and found.rpartition(".")[2].isalpha() and not word.endswith(".")


def _range(first: str, last: str) -> list[Network]:
    try:
        begin, end = ip_address(first.strip("[]")), ip_address(last.strip("[]"))
    except ValueError:
        raise _Unreadable(f"'{first}-{last}' is no range of addresses") from None
    if isinstance(begin, IPv4Address) and isinstance(end, IPv4Address) and begin <= end:
        return list(summarize_address_range(begin, end))
    if isinstance(begin, IPv6Address) and isinstance(end, IPv6Address) and begin <= end:
        return list(summarize_address_range(begin, end))
    raise _Unreadable(f"'{first}-{last}' does not end after it begins")


def _doubts(line: str, name: str) -> Iterator[str]:
    """What is odd about an entry that is taken all the same."""
    found = _WORD(line)
    local, at, _ = (found[0] if found else "").rpartition("@")
    if name in SHARED_MAIL_DOMAINS:
        yield f"{name} is where strangers have their mailboxes; all of it is opted out. If one domain was meant, name that"
    elif at and local and local.lower() not in _ROLES:
        yield f"all of {name} is opted out, as a mailbox there was given. If another domain was meant, name that"
