"""RESOLVE where the list names the hosts themselves: each line to its row, and nobody is asked.

Whether a host exists is found out when its addresses are looked up, as for every mail host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import anyio

from crawler.model.names import suffixes
from crawler.model.rows import Domain, FoundBy, Route, Target
from crawler.politeness.exclusions import is_address
from crawler.protocols.registry import service
from crawler.resolve.lookups import Emit
from crawler.settings.config import Config

_ROWS_IN_ONE_GO = 500  # before the event loop gets its turn


async def resolve_listed_hosts(
    targets: Iterable[Target], config: Config, emit: Emit, *, excluded: Callable[[str], bool] = lambda name: False
) -> None:
    """Emit one `Domain` for each host of the list, with what it is asked; one that is `excluded` is asked nothing."""
    for number, target in enumerate(targets):
        if number % _ROWS_IN_ONE_GO == 0:
            await anyio.lowlevel.checkpoint()
        emit(_row(target, config, excluded))


def _row(target: Target, config: Config, excluded: Callable[[str], bool]) -> Domain:
    row = Domain(domain=target.domain, input=target.input, rank=target.rank)
    if target.domain is None or target.problem is not None:
        row.domain, row.route = None, Route.INVALID
        return row
    row.registrable_domain, row.public_suffix = suffixes(target.domain)
    if excluded(target.domain):
        row.route = Route.OPTED_OUT
        return row
    row.route = Route.HOST
    row.services = [_asked(target.domain, name, target.port, config) for name in target.services or ()]
    return row


def _asked(host: str, name: str, port: int | None, config: Config) -> dict[str, Any]:
    asked = service(name)
    return {
        "protocol": asked.protocol.name,
        "form": asked.form,
        "host": host,
        "port": port or config.port_of(name),
        "found_by": FoundBy.LISTED,
        "priority": None,
        "weight": None,
        "reference_names": [] if is_address(host) else [host],
    }
