"""The names and addresses that must not be contacted: special-purpose address space, and those that asked us not to.

This module answers for one name or one address and opens no connection.  `connection.py`
asks again for the address really used, whatever earlier stages decided.

The file of opt-outs is read in `opt_out_file`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_pton

from crawler.model.names import InvalidName, a_label
from crawler.model.rows import Endpoint, Outcome
from crawler.politeness.opt_out_file import Network, OptOuts, read_opt_outs
from crawler.settings.config import Config

#: Not for contact unless the operator allows it by name.  IANA special-purpose address registries
#: (RFC 6890), multicast, and all IPv6 outside global unicast 2000::/3 (RFC 4291 §2.4).  Blocks that
#: are globally reachable but belong to a service (AS112, AMT, PCP anycast, 6to4) are left alone too.
SPECIAL_PURPOSE: tuple[str, ...] = (
    "0.0.0.0/8",  # this network, RFC 791
    "10.0.0.0/8",  # private, RFC 1918
    "100.64.0.0/10",  # shared (CGNAT), RFC 6598
    "127.0.0.0/8",  # loopback, RFC 1122
    "169.254.0.0/16",  # link-local, RFC 3927
    "172.16.0.0/12",  # private, RFC 1918
    "192.0.0.0/24",  # IETF protocol assignments, RFC 6890
    "192.0.2.0/24",  # documentation, RFC 5737
    "192.31.196.0/24",  # AS112, RFC 7535
    "192.52.193.0/24",  # AMT, RFC 7450
    "192.88.99.0/24",  # 6to4 relay anycast, RFC 7526
    "192.168.0.0/16",  # private, RFC 1918
    "192.175.48.0/24",  # AS112, RFC 7534
    "198.18.0.0/15",  # benchmarking, RFC 2544
    "198.51.100.0/24",  # documentation, RFC 5737
    "203.0.113.0/24",  # documentation, RFC 5737
    "224.0.0.0/4",  # multicast, RFC 5771
    "240.0.0.0/4",  # reserved and limited broadcast, RFC 1112, RFC 919
    "::/3",  # unspecified, loopback, IPv4-mapped, NAT64 (RFC 6052, 8215), discard (RFC 6666), reserved
    "2001::/23",  # IETF protocol assignments: Teredo, benchmarking, ORCHID, RFC 2928
    "2001:db8::/32",  # documentation, RFC 3849
    "2002::/16",  # 6to4, RFC 3056
    "2620:4f:8000::/48",  # AS112, RFC 7534
    "3fff::/20",  # documentation, RFC 9637
    "4000::/2",  # outside global unicast; holds 5f00::/16, RFC 9602
    "8000::/1",  # outside global unicast; holds ULA, link-local, site-local, multicast
)


class AddressSet:
    """Networks of one purpose; membership by bisection, about a microsecond whatever their number."""

    def __init__(self, networks: list[Network]) -> None:
        self._starts: dict[int, list[int]] = {}
        self._ends: dict[int, list[int]] = {}
        for version in (4, 6):
            starts, ends = self._starts.setdefault(version, []), self._ends.setdefault(version, [])
            for network in sorted((n for n in networks if n.version == version), key=lambda n: int(n.network_address)):
                if not ends or int(network.broadcast_address) > ends[-1]:  # else it lies within the one before
                    starts.append(int(network.network_address))
                    ends.append(int(network.broadcast_address))

    def __contains__(self, address: tuple[int, int]) -> bool:
        """Whether the address, as (IP version, number), lies in one of the networks."""
        version, number = address
        at = bisect_right(self._starts[version], number) - 1
        return at >= 0 and number <= self._ends[version][at]


class Exclusions:
    """The address guard and the opt-outs of one run.

    `opt_outs` are those that were read already; without them the file is read, which may be possible only once.
    Raises `ConfigError` when it cannot be read or understood.
    """

    def __init__(self, config: Config, opt_outs: OptOuts | None = None) -> None:
        self._special = AddressSet([ip_network(text) for text in SPECIAL_PURPOSE])
        self._allowed = AddressSet(list(config.allowed_networks()))
        if opt_outs is None:
            opt_outs = read_opt_outs(Path(config.exclude)) if config.exclude else OptOuts()
        self.use(opt_outs)

    def use(self, opt_outs: OptOuts) -> None:
        """Have these in force from now on."""
        self.opt_outs = opt_outs
        self._networks = AddressSet(list(opt_outs.networks))

    def domain(self, name: str) -> bool:
        """Whether the domain, or one above it, opted out."""
        return self.opt_outs.covering(name) is not None

    host = domain

    def any_name(self, names: Iterable[str | None]) -> bool:
        """Whether one of the names under which somebody would be met opted out: owner, aliases, target."""
        return bool(self.opt_outs.names) and any(name and self.domain(name) for name in names)

    def endpoint(self, endpoint: Endpoint) -> bool:
        """Whether the host of an endpoint, or a name that it is an alias of, opted out; its address is for `address`."""
        return self.any_name((endpoint.host, endpoint.base_domain, *(endpoint.aliases or ())))

    def consenting(self, names: Iterable[str], addresses: Iterable[str]) -> list[str]:
        """Those addresses of a host, known by several names, that neither their own entry nor one of a name opts out."""
        if self.any_name(map(_as_listed, names)):
            return []
        return [text for text in addresses if (parsed := _parse(text)) is None or not self._opted_out(parsed)]

    def address(self, text: str) -> Outcome | None:
        """`address_not_allowed`, `opted_out`, or None when the address may be contacted.

        An IPv6 address that carries an IPv4 address (mapped, NAT64, 6to4) is special-purpose as
        it stands; what it carries is held against the opt-outs as well.
        """
        address = _parse(text)
        if address is None or (address in self._special and address not in self._allowed):
            return Outcome.ADDRESS_NOT_ALLOWED
        return Outcome.OPTED_OUT if self._opted_out(address) else None

    def _opted_out(self, address: tuple[int, int]) -> bool:
        return address in self._networks or any(inner in self._networks for inner in _carried(address))


def _as_listed(name: str) -> str:
    """A name that somebody typed, as names are compared."""
    try:
        return a_label(name)
    except InvalidName:  # an address, or what only a resolver on this machine knows
        return name.lower()


def is_address(text: str) -> bool:
    """Whether it is an IP address and no name."""
    return _parse(text) is not None


def _parse(text: str) -> tuple[int, int] | None:
    """(IP version, number) of a plain address; `ipaddress` does the same in ten times the time."""
    try:
        if ":" in text:
            return 6, int.from_bytes(inet_pton(AF_INET6, text))
        return 4, int.from_bytes(inet_pton(AF_INET, text))
    except OSError:
        return None


def _carried(address: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """The IPv4 address inside an IPv4-mapped (::ffff/96), NAT64 (64:ff9b::/96) or 6to4 (2002::/16) address."""
    version, number = address
    if version == 6:
        if number >> 32 in (0xFFFF, 0x64FF9B << 64):
            yield 4, number & 0xFFFFFFFF
        if number >> 112 == 0x2002:
            yield 4, number >> 80 & 0xFFFFFFFF
