"""Where a domain of the lab has its mail go, and what its DNS does.

This module does no I/O.  A route is one entry; the truth (`route`, `dns_error`) stands beside it.
Shares are weights among the names of a list; `behaviours/shares.py` says what they rest on.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import dns.edns
import dns.rcode

from crawler.model.rows import DnsError, Dnssec, LookupStatus, Route

PROVIDER = "{provider}"  #: stands for all mail hosts of a provider that many domains share
FLEET = "mx{}.fleet.example"  #: hosts of the domains that have very many; those from `FLEET_SIZE` on do not exist
FLEET_SIZE = 40

ASKED_NOT_TO = "asked-not-to.example"
"""A domain of the opt-out file that mail and policy hosts of others are aliases into."""


class Serving(Enum):
    """How the DNS servers of a name behave."""

    ANSWER = "answer"
    SILENT = "silent"  #: no answer ever
    MALFORMED = "malformed"  #: an answer that breaks off in the middle of a record


@dataclass(frozen=True, slots=True)
class RouteBehaviour:
    """One way in which a domain's mail is routed, with the truth about it."""

    name: str
    about: str
    share: float
    route: Route
    dns_error: DnsError | None = None
    mx: tuple[tuple[int, str], ...] = ()  #: preference and exchange; `{domain}` and `PROVIDER` are filled in
    mx_kept: int | None = None  #: how many of them a scan takes, if not all
    is_host: bool = False  #: the domain has an address of its own
    host: str = ""  #: behaviour of its own hosts; empty: drawn by share
    host_status: LookupStatus = LookupStatus.OK  #: what becomes of the address lookups of its own hosts
    host_alias: str = ""  #: its own hosts are CNAMEs for this name
    alias: str = ""  #: the domain is a CNAME for this name, which has the records
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR
    serving: Serving = Serving.ANSWER
    ede: tuple[dns.edns.EDECode, str] | None = None
    asked_not_to: bool = False  #: stands in the opt-out file
    needs_ipv6: bool = False

    @property
    def dnssec(self) -> Dnssec | None:
        """DNSSEC state when it does not depend on whether the name is signed."""
        if self.asked_not_to:
            return None
        if self.dns_error is DnsError.BOGUS:
            return Dnssec.BOGUS
        return Dnssec.UNKNOWN if self.dns_error is not None else None


ROUTES: dict[str, RouteBehaviour] = {}
"""Every route by name."""


def _route(name: str, about: str, share: float, route: Route, dns_error: DnsError | None = None, **more: Any) -> None:
    ROUTES[name] = RouteBehaviour(name, about, share, route, dns_error, **more)


_OWN = ((10, "mx1.{domain}"),)

_route("own-host", "one mail host of its own", 300, Route.EXPLICIT, mx=_OWN)
_route(
    "several-mx",
    "three mail hosts of its own, two of them equally preferred",
    60,
    Route.EXPLICIT,
    mx=((10, "mx1.{domain}"), (10, "mx2.{domain}"), (20, "mx3.{domain}")),
)
_route("provider", "the hosts of a provider, shared with many domains", 440, Route.EXPLICIT, mx=((10, PROVIDER),))
_route(
    "own-and-provider",
    "its own host first, a provider's as backup",
    25,
    Route.EXPLICIT,
    mx=((10, "mx1.{domain}"), (50, PROVIDER)),
)
_route("null-mx", "null MX: takes no mail (RFC 7505)", 15, Route.NULL_MX, mx=((0, "."),))
_route(
    "null-mx-invalid",
    "null MX beside another MX, which RFC 7505 §3 forbids",
    1,
    Route.NULL_MX_INVALID,
    mx=((0, "."), (10, "mx1.{domain}")),
)
_route(
    "null-mx-preference",
    "null MX with a preference other than 0",
    1,
    Route.NULL_MX_INVALID,
    mx=((10, "."),),
)
for _name, _turned in (("null-mx-several", 1), ("null-mx-several-turned", -1)):
    _route(
        _name,
        "two null MX, one of them with a preference, in this order or the other",
        0.5,
        Route.NULL_MX_INVALID,
        mx=((0, "."), (1, "."))[::_turned],
    )
_route("implicit-mx", "no MX, an A record: its own mail host (RFC 5321 §5.1)", 40, Route.IMPLICIT, is_host=True)
_route(
    "implicit-mx-ipv6",
    "no MX, an AAAA record only",
    3,
    Route.IMPLICIT,
    is_host=True,
    host="ipv6",
    needs_ipv6=True,
)
_route("no-mail-host", "neither MX nor address", 35, Route.NO_MAIL_HOST)
_route("nxdomain", "the name does not exist", 40, Route.NXDOMAIN, rcode=dns.rcode.NXDOMAIN)
_route("alias", "a CNAME for a name that has the MX", 10, Route.EXPLICIT, alias="mail.{domain}", mx=_OWN)
_route(
    "mx-is-alias",
    "MX to a CNAME (RFC 2181 §10.3 forbids it, and it is common)",
    10,
    Route.EXPLICIT,
    mx=_OWN,
    host_alias="edge.{host}",
)
_route(
    "mx-is-alias-of-opted-out",
    "MX to a CNAME for a name whose owner asked not to be probed",
    1,
    Route.EXPLICIT,
    mx=_OWN,
    host="alias-opted-out",
    host_alias=f"mail.{ASKED_NOT_TO}",
)
_route("mx-is-self", "MX to the domain itself", 15, Route.EXPLICIT, mx=((10, "{domain}"),), is_host=True)
_route(
    "fleet",
    "forty MX records: the answer does not fit into a datagram",
    1,
    Route.EXPLICIT,
    mx=tuple((n, FLEET.format(n)) for n in range(1, 41)),
)
_route(
    "crowd",
    "a hundred and twenty MX records, more than a scan takes",
    0.1,
    Route.EXPLICIT,
    mx=tuple((n, FLEET.format(n)) for n in range(1, 121)),
    mx_kept=100,
)
_route("mx-private", "MX to an address in private space", 2, Route.EXPLICIT, mx=_OWN, host="private-address")
_route(
    "mx-missing",
    "MX to a name that does not exist",
    5,
    Route.EXPLICIT,
    mx=_OWN,
    host_status=LookupStatus.NXDOMAIN,
)
_route(
    "mx-without-address",
    "MX to a name without address",
    2,
    Route.EXPLICIT,
    mx=_OWN,
    host_status=LookupStatus.NODATA,
)
_route(
    "mx-servfail",
    "MX to a name whose DNS fails",
    2,
    Route.EXPLICIT,
    mx=_OWN,
    host_status=LookupStatus.SERVFAIL,
)
_route(
    "servfail",
    "the domain's name servers cannot be reached: SERVFAIL",
    8,
    Route.UNKNOWN,
    DnsError.SERVFAIL,
    rcode=dns.rcode.SERVFAIL,
    ede=(dns.edns.EDECode.NO_REACHABLE_AUTHORITY, "all servers failed"),
)
_route(
    "bogus",
    "DNSSEC validation fails: SERVFAIL with an extended error",
    2,
    Route.UNKNOWN,
    DnsError.BOGUS,
    rcode=dns.rcode.SERVFAIL,
    ede=(dns.edns.EDECode.DNSSEC_BOGUS, "signature expired"),
)
_route("dns-refused", "the resolver refuses to ask", 1, Route.UNKNOWN, DnsError.REFUSED, rcode=dns.rcode.REFUSED)
_route("dns-timeout", "no answer ever", 2, Route.UNKNOWN, DnsError.TIMEOUT, serving=Serving.SILENT)
_route("dns-malformed", "an answer that breaks off", 0.5, Route.UNKNOWN, DnsError.MALFORMED, serving=Serving.MALFORMED)
_route("domain-opted-out", "the domain asked not to be measured", 1, Route.OPTED_OUT, mx=_OWN, asked_not_to=True)
