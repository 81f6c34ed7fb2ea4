"""RESOLVE: where a domain's mail clients go, for each protocol in each form.

SRV records say it (RFC 6186, RFC 8314).  Where they name hosts for one form of a protocol and are silent on the other, the
same hosts are asked the other form on its standard port.  Where they are silent on the protocol, clients try names by
custom: those that `fallbacks` of the protocol lists, before the domain, then the first MX host.  The first that has an
address is asked, unless a wildcard gives it to every name.  A failed lookup on the way leaves open where a client would have gone, and nobody is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from crawler.dns.client import Answer, DnsClient
from crawler.dns.codec import SRV
from crawler.model.rows import Domain, Fallback, FoundBy, LookupStatus, SrvStatus
from crawler.model.vocabulary import FAILED
from crawler.protocols.protocol import Protocol
from crawler.protocols.registry import Service
from crawler.resolve.lookups import ask_addresses, dnssec_of
from crawler.resolve.srv import Named, Place, named_by
from crawler.settings.config import Config

NO_NAME = "no-such-name-asked-by-starttls-crawler"
"""A label that no domain has, before which only a wildcard has an address (RFC 4592)."""

Excluded = Callable[[str], bool]


async def find_services(row: Domain, domain: str, dns: DnsClient, config: Config, excluded: Excluded) -> None:
    """Fill in `services` and `srv`; `mx` of the row is known by now.

    An alias that is `excluded` is not followed.
    """
    asked = config.looked_up()
    questions = [dns.begin(f"{service.srv}._tcp.{domain}", SRV) for service in asked]
    found = [(service, await question) for service, question in zip(asked, questions, strict=True)]
    row.services, row.srv = [], []
    for protocol, forms in groupby(found, key=lambda one: one[0].protocol):
        search = _Search(domain, protocol, config, excluded)
        await search.look(list(forms), row, dns)
        row.services += search.services
        row.srv += search.states


class _Search:
    """The search for the hosts of one protocol."""

    def __init__(self, domain: str, protocol: Protocol, config: Config, excluded: Excluded) -> None:
        self._domain, self._protocol, self._config, self._excluded = domain, protocol, config, excluded
        self.services: list[dict[str, Any]] = []
        self.states: list[dict[str, Any]] = []

    async def look(self, forms: list[tuple[Service, Answer]], row: Domain, dns: DnsClient) -> None:
        named = [self._named(answer) for _, answer in forms]
        for (service, answer), here in zip(forms, named, strict=True):
            for place in here.places:
                self._add(service, place, FoundBy.SRV, self._reference_names(place.host, answer))
            self.states.append(
                {
                    "protocol": self._protocol.name,
                    "form": service.form,
                    "status": here.status,
                    "dnssec": dnssec_of([answer]),
                    "cnames": answer.cnames if answer.rcode is not None else None,
                    "dropped": here.dropped or None,
                    "fallback": None,
                }
            )
        if all(here.status is SrvStatus.ABSENT for here in named):
            await self._fall_back([service for service, _ in forms], row, dns)
            return
        for (service, _), here in zip(forms, named, strict=True):
            if here.status is SrvStatus.ABSENT:
                self._add_of_other_form(
                    service, [(a, n) for (_, a), n in zip(forms, named, strict=True) if n is not here]
                )

    def _named(self, answer: Answer) -> Named:
        if any(map(self._excluded, answer.cnames)):
            return Named(SrvStatus.OPTED_OUT, [])
        return named_by(answer, self._config.dns.max_srv)

    def _reference_names(self, host: str, answer: Answer) -> list[str]:
        """The domain that was asked about; the target too where DNSSEC vouches for it (RFC 6186 §6, RFC 7817 §3)."""
        return list(dict.fromkeys([self._domain, host])) if answer.secure else [self._domain]

    def _add_of_other_form(self, service: Service, others: list[tuple[Answer, Named]]) -> None:
        for answer, other in others:
            for host in dict.fromkeys(place.host for place in other.places):
                place = Place(0, 0, host, self._config.port_of(service.name))
                self._add(service, place, FoundBy.SRV_OTHER_FORM, self._reference_names(host, answer))

    async def _fall_back(self, forms: list[Service], row: Domain, dns: DnsClient) -> None:
        outcome, host, way = await self._by_custom(row, dns)
        for state in self.states:
            state["fallback"] = outcome
        for service in forms if host is not None else ():
            self._add(service, Place(0, 0, host or "", self._config.port_of(service.name)), way, [host or ""])

    async def _by_custom(self, row: Domain, dns: DnsClient) -> tuple[Fallback, str | None, FoundBy]:
        """How it ended, the host that was found, and the way."""
        for label in self._protocol.fallbacks:
            name = f"{label}.{self._domain}"
            if self._excluded(name):  # nobody asks about it
                return Fallback.OPTED_OUT, None, FoundBy.FALLBACK
            both = await ask_addresses(name, dns, self._config)
            if any(self._excluded(alias) for answer in both for alias in answer.cnames):
                return Fallback.OPTED_OUT, None, FoundBy.FALLBACK
            if any(answer.status is LookupStatus.OK for answer in both):
                if await self._is_of_wildcard(both, dns):
                    continue
                return Fallback.FOUND, name, FoundBy.FALLBACK
            if any(answer.status in FAILED for answer in both):
                return Fallback.LOOKUP_FAILED, None, FoundBy.FALLBACK
        if row.mx:
            return Fallback.FOUND, row.mx[0]["host"], FoundBy.MX
        return Fallback.NONE if row.mx is not None else Fallback.LOOKUP_FAILED, None, FoundBy.MX

    async def _is_of_wildcard(self, both: Sequence[Answer], dns: DnsClient) -> bool:
        """Whether the domain has these addresses for any name: then nobody made this one, and the host is a web server's mostly.

        Where that cannot be found out, the name counts.
        """
        any_name = await ask_addresses(f"{NO_NAME}.{self._domain}", dns, self._config)
        addresses = {address for answer in any_name for address in answer.records}
        return bool(addresses) and addresses.issuperset(address for answer in both for address in answer.records)

    def _add(self, service: Service, place: Place, way: FoundBy, reference_names: list[str]) -> None:
        is_of_srv = way is FoundBy.SRV
        self.services.append(
            {
                "protocol": self._protocol.name,
                "form": service.form,
                "host": place.host,
                "port": place.port,
                "found_by": way,
                "priority": place.priority if is_of_srv else None,
                "weight": place.weight if is_of_srv else None,
                "reference_names": reference_names,
            }
        )
