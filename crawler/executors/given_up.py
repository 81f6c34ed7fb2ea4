"""The rows of inputs that were given up: measuring them ended our process, so all of it is unknown, and the row says why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from crawler.model.names import suffixes
from crawler.model.rows import (
    DnsError,
    Domain,
    Endpoint,
    LookupStatus,
    MailHost,
    Outcome,
    Route,
    Target,
)
from crawler.probe.shard_rows import unprobed
from crawler.resolve.hosts import unasked
from crawler.settings.config import Config


def rows_of(inputs: Iterable[Target | MailHost | Endpoint], config: Config) -> Iterator[Any]:
    """The rows that a step owes for its inputs, made without asking or contacting anybody."""
    for item in inputs:
        if isinstance(item, Target):
            yield _domain(item)
        elif isinstance(item, MailHost):
            status = LookupStatus.GAVE_UP
            row, tlsa = unasked(item, config)
            row.ipv4_status = row.ipv6_status = status
            yield row
            yield from tlsa
        else:
            yield unprobed(item, Outcome.GAVE_UP)


def _domain(target: Target) -> Domain:
    row = Domain(domain=target.domain, input=target.input, rank=target.rank)
    if target.domain is None or target.problem is not None:
        row.domain, row.route = None, Route.INVALID
    else:
        row.registrable_domain, row.public_suffix = suffixes(target.domain)
        row.route, row.dns_error = Route.UNKNOWN, DnsError.GAVE_UP
    return row
