"""What resolving domains and resolving mail hosts have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import anyio

from crawler.dns.client import Answer, DnsClient
from crawler.dns.codec import AAAA, A
from crawler.model.rows import Certificate, Dnssec, Domain, Host, LookupStatus, Policy, Probe, Tlsa
from crawler.settings.config import Config

Item = TypeVar("Item")
Row = Domain | Host | Tlsa | Probe | Certificate | Policy
Emit = Callable[[Row], None]
FetchPolicy = Callable[[Domain, Emit], Awaitable[None]]

#: Answers that say that there is nothing.


async def for_each(items: Iterable[Item], work: Callable[[Item], Awaitable[None]], at_once: int) -> None:
    """Do the work for every item; a fixed set of takers costs less than a task for each."""
    source = iter(items)

    async def take() -> None:
        for item in source:
            await work(item)

    async with anyio.create_task_group() as takers:
        for _ in range(at_once):
            takers.start_soon(take)


async def ask_addresses(name: str, dns: DnsClient, config: Config) -> tuple[Answer, Answer]:
    """The A and AAAA answers; `not_asked` for a family that is switched off."""
    ipv4 = dns.begin(name, A) if config.ipv4 else None
    ipv6 = dns.begin(name, AAAA) if config.ipv6 else None
    return (
        await ipv4 if ipv4 is not None else Answer(name, A, LookupStatus.NOT_ASKED),
        await ipv6 if ipv6 is not None else Answer(name, AAAA, LookupStatus.NOT_ASKED),
    )


def dnssec_of(answers: Iterable[Answer]) -> Dnssec:
    """The state of answers together: the worst of those asked (RFC 4033 §5)."""
    asked = [answer for answer in answers if answer.status is not LookupStatus.NOT_ASKED]
    if any(answer.status is LookupStatus.BOGUS for answer in asked):
        return Dnssec.BOGUS
    if any(answer.secure is False for answer in asked):
        return Dnssec.INSECURE
    return Dnssec.SECURE if asked and all(answer.secure for answer in asked) else Dnssec.UNKNOWN
