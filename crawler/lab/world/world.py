"""The inhabitants of the lab: every name's route, hosts and addresses, and the truth about them.

This module does no I/O and has no state that answers could depend on.  Everything follows from the seed, the name, and
the choice of names that show the rare behaviours. So the truth can be computed anywhere, without the lab.
"""

from __future__ import annotations

import heapq
from bisect import bisect
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate, cycle, zip_longest
from typing import NamedTuple

from crawler.lab.behaviours import handshake, hostile, odd, plain, tls
from crawler.lab.behaviours.policy_list import LISTED, PROMISED, ListedBehaviour
from crawler.lab.behaviours.protection import MTA_STS, TLSA, StsBehaviour, TlsaBehaviour
from crawler.lab.behaviours.reporting import TLSRPT, TlsrptBehaviour
from crawler.lab.behaviours.routes import FLEET, FLEET_SIZE, PROVIDER, ROUTES
from crawler.lab.behaviours.services import SERVICES
from crawler.lab.behaviours.shares import DUAL_STACK, PROVIDERS, SIGNED
from crawler.lab.behaviours.vocabulary import HOSTS, HostBehaviour
from crawler.lab.world.names import LabDomain, LabHost
from crawler.model.names import MAX_NAME
from crawler.model.rows import LookupStatus, Route, TlsaStatus

_REGISTERED = (tls, plain, handshake, hostile, odd)  # importing them fills HOSTS
_LOST = frozenset(FLEET.format(n) for n in range(FLEET_SIZE + 1, 200))  # named by MX records, not existing
_OWN_LABELS = ("mx1", "mx2", "mx3")
_OPTED_OUT = "domain-opted-out"
_WRONGLY_SIGNED = "dnssec-failed.org"  # on purpose, as on the Internet: `doctor` asks for it
_IPV6 = "::1"
_NUMBER = {name: number for number, name in enumerate(HOSTS, 1)}  # second octet of a behaviour's addresses
_SLOTS_PER_SHARE = 8
_WITH_POLICY = frozenset({"own-host", "several-mx", "provider", "own-and-provider", "mx-is-self"})
_INSECURE_TLSA = 1 / 100  # hosts in unsigned zones with TLSA records nevertheless


class _Place(NamedTuple):
    """What a name of the list was chosen to show."""

    route: str
    host: str = ""
    tlsa: str = ""
    mta_sts: str = ""
    tlsrpt: str = ""
    listed: str = ""


class World:
    """All names there are; every text is a name of some kind.

    `names` is the list that will be scanned: among them, few of each behaviour are placed, so that
    even a short list shows all.  It is read once and not kept.
    """

    def __init__(self, seed: int = 1, names: Iterable[str] = (), *, ipv6: bool = True) -> None:
        self.seed, self.ipv6 = seed, ipv6
        self._routes = _Choice({r.name: r.share for r in ROUTES.values() if ipv6 or not r.needs_ipv6})
        self._hosts = _Choice({h.name: h.share for h in HOSTS.values() if h.share})
        self._providers = _Choice({provider.name: provider.share for provider in PROVIDERS})
        self._tlsa = _Choice({tlsa.name: tlsa.share for tlsa in TLSA.values()})
        self._mta_sts = _Choice({mta_sts.name: mta_sts.share for mta_sts in MTA_STS.values()})
        self._listed = _Choice({listed.name: listed.share for listed in LISTED.values()})
        self._tlsrpt = _Choice({tlsrpt.name: tlsrpt.share for tlsrpt in TLSRPT.values()})
        self._services = _Choice({services.name: services.share for services in SERVICES.values()})
        self._shared = {name: p.behaviour for p in PROVIDERS for name in p.hosts}
        self._shared |= {FLEET.format(n): "tls13-x25519" for n in range(1, FLEET_SIZE + 1)}
        self._chosen = self._choose(names)
        self.domain = lru_cache(65_536)(self._domain)
        self.host = lru_cache(65_536)(self._host)

    def _choose(self, names: Iterable[str]) -> dict[str, _Place]:
        """One name for every behaviour: those of the list that come first in an order of their own."""
        wanted = [_Place(route) for route in self._routes.names]
        promises = cycle(PROMISED)  # whatever a host does, somebody promised better
        wanted += [_Place("own-host", host, listed=next(promises)) for host in self._hosts.names]
        kinds = zip_longest(TLSA, MTA_STS, TLSRPT, LISTED, fillvalue="")
        wanted += [_Place("own-host", "tls13-x25519", *kind) for kind in kinds]
        # Two names may be the same line twice, hence some to spare.
        first = heapq.nsmallest(2 * len(wanted), names, key=lambda name: self._draw("chosen", name))
        return dict(zip(dict.fromkeys(first), wanted, strict=False))

    def _draw(self, what: str, name: str) -> int:
        """A number of 64 bits that depends on seed, purpose and name alone."""
        return int.from_bytes(blake2b(f"{self.seed} {what} {name}".encode(), digest_size=8).digest(), "big")

    def _domain(self, name: str) -> LabDomain:
        """What a name is when a list has it."""
        if self._has_owner(name):  # a mail host of another domain: it has addresses and no MX
            host = self._own_host(name, name.partition(".")[2])
            itself = ((0, name),) if host.status is LookupStatus.OK else ()
            return LabDomain(name, _AS_DOMAIN[host.status], itself, host.cnames, host.secure, "")
        route, own = self._route_of(name)
        if any(self._route_of(above)[0] == _OPTED_OUT for above in _above(name)):
            route, own = _OPTED_OUT, ""
        behaviour = ROUTES[route]
        has_room = len(name) + len("mail.") <= MAX_NAME
        exchanges: list[tuple[int, str]] = []
        for preference, exchange in behaviour.mx:
            if exchange == PROVIDER:
                provider = PROVIDERS[self._providers.index(self._draw("provider", name))]
                exchanges += [(preference + n, host) for n, host in enumerate(provider.hosts)]
            else:
                # A name without room for another label is its own mail host.
                exchanges.append((preference, exchange.format(domain=name) if has_room else name))
        if behaviour.route is Route.IMPLICIT:
            exchanges = [(0, name)]
        cnames = (behaviour.alias.format(domain=name),) if behaviour.alias and has_room else ()
        mx = tuple(dict.fromkeys(exchanges))
        own = behaviour.host or own
        promises = self._mta_sts_of(name, route), self._tlsrpt_of(name, route), self._listed_of(name, route)
        is_served = any(exchange != "." for _, exchange in mx)
        services = SERVICES[self._services.pick(self._draw("services", name)) if has_room and is_served else "no-srv"]
        return LabDomain(name, behaviour, mx, cnames, self._is_signed(name), own, *promises, services)

    def _host(self, name: str) -> LabHost | None:
        """What a name is when it is asked for its address; None if it is no mail host."""
        if name in self._shared:
            behaviour = HOSTS[self._shared[name]]
            addresses, secure = self._addresses(name, behaviour), self._is_signed(name)
            return LabHost(name, behaviour, addresses, LookupStatus.OK, (), secure, self._tlsa_of(name, name, secure))
        if name in _LOST:
            return LabHost(name, HOSTS["refused"], (), LookupStatus.NXDOMAIN, (), self._is_signed(name))
        if self._has_owner(name):
            return self._own_host(name, name.partition(".")[2])
        domain = self.domain(name)
        is_host = domain.behaviour.is_host or any(exchange == name for _, exchange in domain.mx)
        return self._own_host(name) if is_host else None

    def _own_host(self, name: str, owner: str = "") -> LabHost:
        """The mail host that a domain runs for itself."""
        domain = self.domain(owner or name)
        route = domain.behaviour
        behaviour = HOSTS[domain.own_behaviour or self._hosts.pick(self._draw("host", name))]
        addresses = self._addresses(name, behaviour) if route.host_status is LookupStatus.OK else ()
        cnames = (route.host_alias.format(host=name),) if route.host_alias else ()
        secure = self._is_signed(name)
        tlsa = self._tlsa_of(name, owner or name, secure)
        return LabHost(name, behaviour, addresses, route.host_status, cnames, secure, tlsa)

    def _route_of(self, name: str) -> tuple[str, str]:
        if name == _WRONGLY_SIGNED:
            return "bogus", ""
        if (place := self._chosen.get(name)) is not None:
            return place.route, place.host
        return self._routes.pick(self._draw("route", name)), ""

    def _tlsa_of(self, name: str, owner: str, secure: bool) -> TlsaBehaviour:
        if (place := self._chosen.get(owner)) is not None and place.tlsa:
            return TLSA[place.tlsa]
        number = self._draw("tlsa", name)
        if secure:
            return TLSA[self._tlsa.pick(number)]
        return TLSA["tlsa-insecure" if number / 2**64 < _INSECURE_TLSA else "no-tlsa"]

    def _mta_sts_of(self, name: str, route: str) -> StsBehaviour:
        if (place := self._chosen.get(name)) is not None and place.mta_sts:
            return MTA_STS[place.mta_sts]
        if route not in _WITH_POLICY or len(name) > MAX_NAME - len("_mta-sts."):
            return MTA_STS["no-mta-sts"]
        return MTA_STS[self._mta_sts.pick(self._draw("mta-sts", name))]

    def _tlsrpt_of(self, name: str, route: str) -> TlsrptBehaviour:
        if (place := self._chosen.get(name)) is not None and place.tlsrpt:
            return TLSRPT[place.tlsrpt]
        if route not in _WITH_POLICY or len(name) > MAX_NAME - len("_smtp._tls."):
            return TLSRPT["no-tlsrpt"]
        return TLSRPT[self._tlsrpt.pick(self._draw("tlsrpt", name))]

    def _listed_of(self, name: str, route: str) -> ListedBehaviour:
        if (place := self._chosen.get(name)) is not None and place.listed:
            return LISTED[place.listed]
        drawn = self._listed.pick(self._draw("policy-list", name)) if route in _WITH_POLICY else "unlisted"
        return LISTED[drawn]

    def opt_outs(self, name: str) -> list[str]:
        """The entries of the opt-out file that concern a name of the list."""
        return [above for above in (name, *_above(name)) if self._route_of(above)[0] == _OPTED_OUT]

    def behaviour_at(self, host: LabHost, address: str) -> HostBehaviour:
        """How a host behaves at one of its addresses."""
        return HOSTS["ipv6"] if address == _IPV6 else host.behaviour

    def _has_owner(self, name: str) -> bool:
        label, _, owner = name.partition(".")
        if label not in _OWN_LABELS or not owner or name in self._shared:
            return False
        return any(exchange == name for _, exchange in self.domain(owner).mx)

    def _is_signed(self, name: str) -> bool:
        parts = name.split(".")
        zone = ".".join(parts[1:]) if parts[0] in _OWN_LABELS or parts[0] == "mail" else name
        if (place := self._chosen.get(zone)) is not None and place.tlsa:
            return TLSA[place.tlsa].status is not TlsaStatus.INSECURE
        return self._draw("signed", zone) % 1_000 < 1_000 * SIGNED

    def _addresses(self, name: str, behaviour: HostBehaviour) -> tuple[str, ...]:
        fixed = behaviour.server.address
        if fixed:
            return (fixed,)
        number = self._draw("address", name)
        slot = number % slots(behaviour)
        own = f"127.{_NUMBER[behaviour.name]}.{slot % 256}.{1 + slot // 256}"
        dual = self.ipv6 and behaviour.name == "tls13-x25519" and (number >> 32) % 1_000 < 1_000 * DUAL_STACK
        return (own, _IPV6) if dual else (own,)


def network(behaviour: HostBehaviour) -> str:
    """The network in which all hosts that behave so have their addresses."""
    return f"127.{_NUMBER[behaviour.name]}.0.0/16"


def slots(behaviour: HostBehaviour) -> int:
    """How many addresses the hosts of one behaviour share out; the rest of them meet at one address."""
    return min(max(64, int(behaviour.share * _SLOTS_PER_SHARE)), 4_096)


#: What a domain is whose name is a mail host of another domain.
_AS_DOMAIN = {
    LookupStatus.OK: ROUTES["implicit-mx"],
    LookupStatus.NODATA: ROUTES["no-mail-host"],
    LookupStatus.NXDOMAIN: ROUTES["nxdomain"],
    LookupStatus.SERVFAIL: ROUTES["servfail"],
}


def _above(name: str) -> list[str]:
    """The names above a name, top-level domains apart."""
    labels = name.split(".")
    return [".".join(labels[n:]) for n in range(1, len(labels) - 1)]


class _Choice:
    """Names drawn by weight."""

    def __init__(self, weights: dict[str, float]) -> None:
        self.names = list(weights)
        self._bounds = list(accumulate(weights.values()))

    def index(self, number: int) -> int:
        """Position of the name that a number of 64 bits falls on."""
        return bisect(self._bounds, number / 2**64 * self._bounds[-1], hi=len(self.names) - 1)

    def pick(self, number: int) -> str:
        """The name that a number of 64 bits falls on."""
        return self.names[self.index(number)]
