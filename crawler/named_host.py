"""A mail host that the operator named, for `doctor`: resolved by the machine's own means, and greeted by it or not.

Whoever opted out is not contacted, even if named.  Special-purpose addresses are, as it is the
operator who gave the name.
"""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress

from crawler.config import Config, UsageError
from crawler.exclusions import Exclusions
from crawler.names import InvalidName, a_label

_CONNECT = 10.0  # seconds for each address


class Declined(Exception):
    """The host opted out, under one of its names or by all of its addresses."""


def greeting_of(config: Config, host: str, port: int) -> bytes:
    """The first bytes that the host sends.

    Raises `Declined`, `OSError` as the last of its addresses has it, and `ConfigError` if the opt-outs cannot be read.
    """
    exclusions = Exclusions(config)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
    addresses = exclusions.consenting({host, *(one[3] for one in found)}, [str(one[4][0]) for one in found])
    if not addresses:
        raise Declined(host)
    with _connected(addresses, port) as connection:
        connection.settimeout(config.timeouts.greeting)
        return connection.recv(512)


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
