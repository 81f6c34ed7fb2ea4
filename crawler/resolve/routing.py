"""Where a domain's mail goes: MX and address answers to mail hosts.

This module is pure; the answers are given.  RFC 5321 §5.1 (MX, implicit MX), RFC 7505 (null MX).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from crawler.model.rows import DnsError, LookupStatus, Route
from crawler.model.vocabulary import ABSENT, FAILED


@dataclass(slots=True)
class Routing:
    """A route with its mail hosts; `mx` is None where they are not known."""

    route: Route
    mx: list[dict[str, Any]] | None = field(default_factory=list)
    mx_dropped: int | None = 0
    mx_unreadable: int | None = 0
    error: DnsError | None = None


def by_mx(records: Iterable[tuple[int, str]], max_mx: int, unreadable: int = 0) -> Routing:
    """The route that MX records (preference, exchange) give; at least one is needed.

    Beside them stood so many `unreadable` ones, which may name a host, so that a null MX alone does not say that there
    is none.  A host named twice counts with its best preference.  The kind of exchange (an alias, an address in dotted
    form, the domain itself) does not matter here: looking it up shows where it leads.
    """
    best: dict[str, int] = {}
    nulls: set[int] = set()
    for preference, exchange in records:
        host = exchange.lower()
        if host == ".":
            nulls.add(preference)
        elif preference < best.get(host, 65_536):
            best[host] = preference
    if nulls and not best and unreadable:
        return unknown(LookupStatus.MALFORMED)
    if nulls == {0} and not best:
        return Routing(Route.NULL_MX)
    # RFC 7505 §3: a null MX stands alone, with preference 0.  Hosts named beside it do get mail.
    route = Route.NULL_MX_INVALID if nulls else Route.EXPLICIT
    ordered = sorted((preference, host) for host, preference in best.items())
    return Routing(
        route,
        [{"host": host, "preference": preference} for preference, host in ordered[:max_mx]],
        max(0, len(ordered) - max_mx),
        unreadable,
    )


def without_mx(domain: str, addresses: Sequence[LookupStatus]) -> Routing:
    """The route of a domain that has no MX, by how its A and AAAA questions ended.

    One address of either family makes the domain its own mail host; that there is none can only be
    said when both questions were answered.
    """
    if LookupStatus.OK in addresses:
        return Routing(Route.IMPLICIT, [{"host": domain, "preference": 0}])
    if ABSENT.issuperset(addresses):
        return Routing(Route.NO_MAIL_HOST)
    return unknown(next((status for status in addresses if status in FAILED), None))


def without_answer(status: LookupStatus) -> Routing:
    """The route of a domain whose MX question had no answer, or the answer that there is no such name."""
    if status is LookupStatus.NXDOMAIN:
        return Routing(Route.NXDOMAIN)
    return unknown(status)


def unknown(status: LookupStatus | None) -> Routing:
    """DNS failed; with None, nothing failed but not everything was asked."""
    return Routing(Route.UNKNOWN, None, None, None, DnsError(status) if status is not None else None)
