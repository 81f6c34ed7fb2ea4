"""What must hold before anything is contacted; `scan` insists on it and `doctor` explains it.

It asks a few questions, each with a short time limit, none of them to a target.
"""

from __future__ import annotations

import ipaddress
import resource
import socket
from dataclasses import asdict, dataclass
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode

from crawler.model.errors import ConfigError, UsageError
from crawler.model.names import InvalidName, a_label
from crawler.settings.config import Config, server_address

_TRIES = 3
_PATIENCE = 2.0
_SPARE_DESCRIPTORS = 256
"""Files, pipes, sockets for MTA-STS and DNS over TCP."""


class Unready(UsageError):
    """This machine cannot measure as asked."""


@dataclass(frozen=True, slots=True)
class Resolver:
    """What one question told about a resolver."""

    address: str
    trusted: bool  #: its AD bit is believed: it is on loopback, or the operator said so
    answers: bool
    validates: bool | None  #: AD on the answer for the root; None if that did not tell
    problem: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def ask_resolvers(config: Config) -> list[Resolver]:
    """Ask every resolver for the root's name servers.  Raises `Unready` if none answers."""
    found = [ask_resolver(text, config) for text in config.resolver]
    if not any(resolver.answers for resolver in found):
        raise Unready(
            f"resolver {found[0].address} {found[0].problem}; start a validating resolver there, or name one by --resolver"
        )
    return found


def ask_resolver(text: str, config: Config) -> Resolver:
    """One question to one resolver; never raises for what it does."""
    host, port = server_address(text)
    trusted = config.trust_ad or ipaddress.ip_address(host).is_loopback
    query = dns.message.make_query(".", "NS", want_dnssec=True)
    query.flags |= dns.flags.AD
    problem = "does not answer"
    for _ in range(_TRIES):
        try:
            reply = _asked(query, host, port)
        except dns.exception.Timeout:
            continue
        except OSError as error:
            problem = f"cannot be reached ({error.strerror or error})"
            break
        except dns.exception.DNSException:
            problem = "answers, but not with DNS"
            break
        if reply.rcode() == dns.rcode.REFUSED:
            problem = "refuses to answer us"
            break
        known = reply.rcode() == dns.rcode.NOERROR and bool(reply.answer)
        return Resolver(text, trusted, True, bool(reply.flags & dns.flags.AD) if known else None)
    return Resolver(text, trusted, False, None, problem)


def _asked(query: dns.message.Message, host: str, port: int) -> dns.message.Message:
    """Over a connected socket, which hears at once that nobody listens."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as connected:
        connected.setblocking(False)
        connected.connect((host, port))
        reply: dns.message.Message = dns.query.udp(
            query, host, timeout=_PATIENCE, port=port, ignore_trailing=True, sock=connected
        )
    return reply


def check_identity(config: Config) -> None:
    """We say who we are: a full name of ours in EHLO (RFC 5321 §4.1.1.1).  Raises `ConfigError`."""
    wanted = "give the full name of this machine, which resolves to its address, by --ehlo-name"
    if not config.ehlo_name:
        raise ConfigError(f"--ehlo-name is missing; {wanted}")
    try:
        name = a_label(config.ehlo_name)
    except InvalidName as error:
        raise ConfigError(f"--ehlo-name: {config.ehlo_name!r} is no host name ({error}); {wanted}") from None
    if "." not in name or name.rpartition(".")[2] in ("localhost", "localdomain", "local"):
        raise ConfigError(f"--ehlo-name: {config.ehlo_name!r} means something else to every host; {wanted}")


def check_source_addresses(config: Config) -> None:
    """Addresses to connect from are this machine's.  Raises `ConfigError`."""
    for address in config.source_address:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((address, 0))
            except OSError as error:
                raise ConfigError(f"--source-address: {address} cannot be used ({error.strerror})") from None


def descriptors_needed(config: Config) -> int:
    """Open files that one process may need at once."""
    return config.pacing.in_flight + config.dns.sockets + _SPARE_DESCRIPTORS


def raise_descriptor_limit(config: Config) -> None:
    """Raise this process's limit of open files to what is needed; workers inherit it.  Raises `Unready`."""
    needed = descriptors_needed(config)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise Unready(
                f"{config.pacing.in_flight} connections at once need {needed} open files and the limit is {hard}; "
                "raise it (ulimit -n) or lower pacing.in_flight by --config"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
