"""Whether this machine has a way to others at all, by IPv4 and by IPv6.  Nothing is sent."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator

from crawler.settings.config import Config

#: Documentation networks (RFC 5737, RFC 3849): a route is looked up towards them.
_ELSEWHERE = {"IPv4": (socket.AF_INET, "192.0.2.1"), "IPv6": (socket.AF_INET6, "2001:db8::1")}


def source_towards(family: str) -> str | None:
    """Our address on the way to others, of `IPv4` or `IPv6`; None if there is no way."""
    number, address = _ELSEWHERE[family]
    try:
        with socket.socket(number, socket.SOCK_DGRAM) as probe:  # connecting a datagram socket sends nothing
            probe.connect((address, 9))
            source = str(probe.getsockname()[0])
    except OSError:
        return None
    return None if ipaddress.ip_address(source).is_unspecified else source


def wanted_families(config: Config) -> Iterator[str]:
    """The families of addresses that are asked for and probed."""
    yield from (name for name, wanted in (("IPv4", config.ipv4), ("IPv6", config.ipv6)) if wanted)


def without_a_way(config: Config) -> list[tuple[str, str]]:
    """The families that are wanted and that nothing can be reached by, each with what to do."""
    others = {"IPv4": "--ipv6", "IPv6": "--ipv4"}
    wanted = list(wanted_families(config))
    missing = [name for name in wanted if source_towards(name) is None]
    if missing == wanted:
        return [
            (name, "every endpoint would be unknown; connect this machine to the Internet first") for name in missing
        ]
    return [(name, f"its endpoints would all be unknown; leave them out by {others[name]}") for name in missing]
