"""The file of opt-outs: who asked not to be probed, one entry a line.

An entry is a domain, which covers the names below it; an address; a network; or a range of addresses.  People write
them in many ways, and each way whose meaning is clear is taken. `@example.org`, `user@example.org`, `*.example.org`
and a URL stand for the domain. Names may be in any script. A date and a reason may follow an entry.  A line that
cannot be an opt-out is an error, for whoever asked would be probed all the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
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

from crawler.model.errors import ConfigError
from crawler.model.names import InvalidName, a_label, is_top_level_domain, suffixes
from crawler.settings.declared_limits import limit, read_bounded

Network = IPv4Network | IPv6Network

_MOST_BYTES = limit(
    16 << 20,
    "bytes of the file of opt-outs, some 500,000 entries",
    protects="our memory",
    cut="a refusal before anybody is contacted, exit code 2",
)
_MOST_NETWORKS = limit(
    1_000_000,
    "networks that the entries of the file of opt-outs make; a range of addresses can be over two hundred",
    protects="our memory",
    cut="a refusal before anybody is contacted, exit code 2",
)
#: warnings that a person is shown; the rest is counted
_SHOWN = limit(5, "warnings about opt-outs that are shown", protects="the reader", cut="the rest is counted")

_ADDRESS = r"\[?[0-9A-Fa-f.:]{2,45}\]?"
_RANGE = re.compile(rf"({_ADDRESS})(?:\s*(?:[-\u2010-\u2015\u2212]|\.\.\.?)\s*|\s+to\s+(?=\S*[.:]))([^\s,;]+)").match
_SPACED = re.compile(rf"({_ADDRESS})\s*/\s*(\d+)(?=[\s,;]|$)").match
_NETWORK = re.compile(r"\[?([0-9A-Fa-f.:]+)\]?(/[0-9.]+)?").fullmatch
_DATE = re.compile(r"\d{4}-\d\d-\d\d|\d\d?[./]\d\d?[./]\d{2,4}").fullmatch
_WORD = re.compile(r"[^\s,;]+").match
_BEHIND = re.compile(r"[\s,;]*([^\s,;]*)").match
_HOST_OF_URL = re.compile(r"https?://([^/?#\s]+)", re.IGNORECASE).match

#: Words that join an entry to the next one, or the first address of a range or a network to the rest of it.
_JOINING = frozenset(
    {"also", "and", "e", "en", "et", "i", "oder", "och", "og", "or", "ou", "plus", "sowie", "und", "y"}
)
_SPANNING = frozenset(
    {"a", "al", "bis", "hasta", "mask", "netmask", "through", "thru", "till", "to", "tot", "until", "\u00e0"}
)
_SIGNS = "&/+|\\<>=~-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2192\u2026"
_QUOTES = "\"'()"
_RESERVED = frozenset({"example", "invalid", "test"})  # top-level domains of no list, RFC 2606

_MAPPED = IPv6Network("::ffff:0:0/96")
_LARGE = {32: 2**8, 128: 2**16}  # an entry of more than this part of all addresses is worth a warning: /8, /16

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
    content: bytes = field(default=b"", repr=False)  #: the file as it is

    def __str__(self) -> str:
        domains = f"{len(self.names):,} domain{'s' * (len(self.names) != 1)}"
        networks = f"{self.entries:,} network{'s' * (self.entries != 1)}"
        return f"{domains}, {networks}, from {self.path}, sha256 {self.sha256[:12]}…"

    def lines(self) -> Iterator[str]:
        """What was understood of the file, for people, and what is odd about it; nothing without a file."""
        if self.path:
            yield f"opt-outs: {self}"
            yield from (f"warning: {warning}" for warning in self.warnings[:_SHOWN])
            if len(self.warnings) > _SHOWN:
                yield f"warning: and {len(self.warnings) - _SHOWN:,} more such lines of {self.path}"

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
        data = read_bounded(path, _MOST_BYTES, "a file of opt-outs that is read here")
    except OSError as error:
        raise ConfigError(f"{path}: opt-outs cannot be read ({error.strerror}); check --exclude") from error
    return parse_opt_outs(data, path)


def parse_opt_outs(data: bytes, path: Path) -> OptOuts:
    """The same for what was read already of the file of that name."""
    try:
        text = data.decode("utf-8-sig")
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
            found, text, behind = _entry(line)
        except _Unreadable as problem:
            problems.append(f"{path}:{number}: {problem}")
            continue
        if isinstance(found, str):
            names[found] = None
        else:
            networks += found
            entries += 1
            if len(networks) > _MOST_NETWORKS:
                raise ConfigError(
                    f"{path}:{number}: the ranges up to here make more than {_MOST_NETWORKS:,} networks; give them as "
                    "networks, e.g. 192.0.2.0/24"
                )
        warnings += (f"{path}:{number}: {words}" for words in _doubts(found, text, behind))
    if problems:
        more = f" (and {len(problems) - 1:,} more such lines)" if len(problems) > 1 else ""
        raise ConfigError(f"{problems[0]}{more}; nobody was contacted")
    digest = hashlib.sha256(data).hexdigest()
    return OptOuts(str(path), digest, frozenset(names), tuple(networks), entries, tuple(warnings), data)


class _Unreadable(ValueError):
    """A line is no opt-out; the message says which word, and why."""


def _entry(line: str) -> tuple[str | list[Network], str, str]:
    """The A-label or the networks that a line opts out, how they were written, and the word behind.

    Raises `_Unreadable`.
    """
    made: str | list[Network] | None
    if (among := _RANGE(line)) and _is_range(among[1], among[2]):
        made, text, end = _range(among[1], among[2]), among[0], among.end()
    elif (spaced := _SPACED(line)) and _is_address(spaced[1]):
        made, text, end = _one(f"{spaced[1]}/{spaced[2]}"), spaced[0], spaced.end()
    elif found := _WORD(line):
        text, end = found[0].strip("\"'"), found.end()
        made = _one(text)
    else:
        raise _Unreadable(f"{line[:80]!r} begins with no domain, address, network or range")
    if made is None:
        raise _Unreadable(f"{text[:80]!r} is no domain, address, network or range of addresses")
    following = _BEHIND(line, end)
    behind = following[1].strip("\"'") if following else ""
    if behind and _looks_like_entry(behind):
        raise _Unreadable(f"{behind[:80]!r} is a second entry, which would have no effect; give one a line")
    if (joined := _joined(line[end:])) is not None:
        raise _Unreadable(
            f"{joined[:80]!r} is joined to the entry and would have no effect; give one entry a line, a range of addresses as FIRST-LAST, "
            "a network as ADDRESS/LENGTH"
        )
    return made, text, behind


def _one(word: str) -> str | list[Network] | None:
    if found := _NETWORK(word):
        try:
            return [_plain(ip_network(found[1] + (found[2] or ""), strict=False))]
        except ValueError:
            pass
    if url := _HOST_OF_URL(word):
        word = url[1].rpartition("@")[2].partition(":")[0]
    word = word.rpartition("@")[2].removeprefix("*").lstrip(".")
    try:
        name = a_label(word)
    except InvalidName:
        return None
    top = name.rpartition(".")[2]
    if top == name:
        return None  # a whole top-level domain is nobody's to opt out
    return name if top.isalpha() or top.startswith("xn--") else None


def _looks_like_entry(word: str) -> bool:
    """Whether a word behind the entry can only be another one; a reason may well have dots in it."""
    found = _one(word)
    if isinstance(found, list):
        return True
    return found is not None and "@" not in word and found.rpartition(".")[2].isalpha() and not word.endswith(".")


def _joined(rest: str) -> str | None:
    """The first address, network or name behind the entry that is joined to it, or to what stands between, by a word or sign."""
    before = ""
    for word in re.split(r"[\s,;]+", rest):
        bare = word.strip(_QUOTES)
        entry = bare.lstrip(_SIGNS)
        signs = bare != entry or (before and not before.strip(_SIGNS + ".:"))
        found = _one(entry.rstrip(".:"))
        if isinstance(found, list) and (signs or before in _JOINING or before in _SPANNING):
            return entry
        if isinstance(found, str) and "@" not in entry and (signs or before in _JOINING):
            top = found.rpartition(".")[2]
            if top in _RESERVED or is_top_level_domain(top):
                return entry
        if bare:
            before = "&" if any(map(_is_joining, bare.split("/"))) else bare.lower()
    return None


def _is_joining(word: str) -> bool:
    return word.lower() in _JOINING


def _is_address(word: str) -> bool:
    try:
        ip_address(word.strip("[]"))
    except ValueError:
        return False
    return True


def _is_range(first: str, last: str) -> bool:
    """Whether it is meant as one: what stands behind an address and a dash may be a note: a word, a date."""
    return _is_address(first) and not _DATE(last) and (any(map(str.isdigit, last)) or _is_address(last))


def _range(first: str, last: str) -> list[Network]:
    try:
        begin, end = ip_address(first.strip("[]")), ip_address(last.strip("[]"))
    except ValueError:
        raise _Unreadable(f"'{first}-{last[:80]}' is no range of addresses") from None
    if isinstance(begin, IPv4Address) and isinstance(end, IPv4Address) and begin <= end:
        return list(summarize_address_range(begin, end))
    if isinstance(begin, IPv6Address) and isinstance(end, IPv6Address) and begin <= end:
        return list(map(_plain, summarize_address_range(begin, end)))
    raise _Unreadable(f"'{first}-{last}' does not end after it begins")


def _plain(network: Network) -> Network:
    """An IPv4-mapped network (RFC 4291 §2.5.5.2) as the IPv4 network that it is: that is how it would be contacted."""
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def _doubts(found: str | list[Network], text: str, behind: str) -> Iterator[str]:
    """What is odd about an entry that is taken all the same."""
    if isinstance(found, str):
        local, at, _ = text.rpartition("@")
        if found in SHARED_MAIL_DOMAINS:
            yield (
                f"{found} is where strangers have their mailboxes; all of it is opted out. "
                "If one domain was meant, name that"
            )
        elif at and local and local.lower() not in _ROLES:
            yield f"all of {found} is opted out, as a mailbox there was given. If another domain was meant, name that"
        if suffixes(found)[0] is None:
            yield f"all domains below the public suffix {found} are opted out"
    else:
        size = sum(network.num_addresses for network in found)
        bits = found[0].max_prefixlen
        if size > 2**bits // _LARGE[bits]:
            yield f"{text} opts out one in {2**bits // size:,} of all IPv{found[0].version} addresses"
    if "@" in behind and _one(behind) not in (None, found):
        yield f"{behind[:80]!r} is taken for a note; give it a line of its own if it is an opt-out"
