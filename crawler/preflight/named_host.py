"""A mail host that the operator named, for `doctor`: resolved as a scan would resolve it, and greeted by it or not.

Whoever opted out is not contacted, even if named.  Special-purpose addresses are, as it is the
operator who gave the name.
"""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress

import anyio

from crawler.dns.client import DnsClient
from crawler.model.errors import UsageError
from crawler.model.names import InvalidName, a_label
from crawler.model.rows import LookupStatus
from crawler.politeness.exclusions import Exclusions, is_address
from crawler.resolve.lookups import ask_addresses
from crawler.settings.config import Config

_CONNECT = 10.0  # seconds for each address


class Declined(Exception):
    """The host opted out, under one of its names or by all of its addresses."""


def greeting_of(config: Config, exclusions: Exclusions, host: str, port: int) -> bytes:
    """The first bytes that the host sends.

    Raises `Declined`, and `OSError` as the last of its addresses has it.
    """
    # First by what is known before anybody is asked about it; `host` may be an address.
    if not exclusions.consenting([host], [host]):
        raise Declined(host)
    names, addresses = [host], [host]
    if not is_address(host):
        names, addresses = anyio.run(_resolved, config, host)
        if not addresses:
            raise OSError("no address of it was found")
        addresses = exclusions.consenting(names, addresses)
    if not addresses:
        raise Declined(host)
    with _connected(addresses, port) as connection:
        connection.settimeout(config.timeouts.greeting)
        return connection.recv(512)


async def _resolved(config: Config, host: str) -> tuple[list[str], list[str]]:
    """Every name on the way to the addresses of a host, and these."""
    try:
        name = a_label(host)
    except InvalidName as error:
        raise OSError(f"it is no host name: {error}") from None
    async with DnsClient(config) as dns:
        answers = await ask_addresses(name, dns, config)
    found = [str(address) for answer in answers if answer.status is LookupStatus.OK for address in answer.records]
    return [name, *(alias for answer in answers for alias in answer.cnames)], found


def _connected(addresses: list[str], port: int) -> socket.socket:
    for address in addresses[:-1]:
        with suppress(OSError):
            return socket.create_connection((address, port), timeout=_CONNECT)
    return socket.create_connection((addresses[-1], port), timeout=_CONNECT)


def check_name(option: str, name: str, *, or_address: bool = False) -> None:
    """Raises `UsageError` for what is no domain name, and no address where one may stand."""
    if or_address:
        with suppress(ValueError):
            ipaddress.ip_address(name)
            return
    try:
        if name != ".":
            a_label(name)
    except InvalidName as error:
        raise UsageError(
            f"{option}: {name[:300]!r} is no domain name ({error}); give one such as example.com"
        ) from None
