"""Every limit, timeout, port and rate, each with the precedent it rests on.

Rule of this room: numbers that shape a measurement live here and nowhere else.  A `Config` is
built from defaults, then a TOML file, then flags; it is stored whole in the run's manifest.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crawler.settings import ConfigError, UsageError, build, check_form, check_ranges, setting

__all__ = [
    "STANDARD_PORTS",
    "Config",
    "ConfigError",
    "DnsSettings",
    "Https",
    "Limits",
    "Pacing",
    "Sharding",
    "Timeouts",
    "UsageError",
    "server_address",
]

#: Standard ports; `--port NAME=PORT` says otherwise. IANA service names registry.
STANDARD_PORTS = {"smtp": 25}


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """How questions are asked."""

    timeout: float = setting(
        3.0,
        "seconds before a question is asked again (Unbound's own upper bound for a healthy server is about 1.5 s)",
        low=0.05,
        high=60,
    )
    tries: int = setting(4, "times a question is sent in all, alternating between resolvers", low=1, high=10)
    in_flight: int = setting(2_000, "questions under way at once in one process", low=1, high=60_000)
    sockets: int = setting(
        8, "UDP sockets shared by all questions; each has its own random source port", low=1, high=256
    )
    rate: float = setting(0.0, "questions a second to one resolver, per process; 0 is no limit", low=0, high=1e7)
    udp_payload: int = setting(1_232, "EDNS UDP size (DNS Flag Day 2020)", low=512, high=4096)
    cache_size: int = setting(
        20_000,
        "answers for host and policy names kept in one process; a large one counts once for each 512 bytes",
        low=0,
        high=10_000_000,
    )
    cache_ttl: float = setting(
        3_600.0, "seconds an answer is kept at most, and without a TTL of its own", low=0, high=86_400
    )
    use_0x20: bool = setting(False, "random letter case in questions (draft-vixie-dnsext-dns0x20); off on loopback")
    max_mx: int = setting(100, "MX records kept of one domain, by preference; the rest is counted", low=1, high=10_000)
    max_addresses: int = setting(32, "addresses of one family kept of one host", low=1, high=1_000)
    max_tlsa: int = setting(
        32,
        "TLSA records kept of one host; those left out of a larger set might match where none of these does. RFC 7671 "
        "§8.1 needs two of a key while it changes, and a datagram of 1,232 bytes holds 25 digests",
        low=1,
        high=1_000,
    )
    domains_in_flight: int = setting(500, "domains or hosts being resolved at once in one process", low=1, high=60_000)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each step may take, in seconds."""

    connect: float = setting(30.0, "TCP connection (Postfix smtp_connect_timeout is 30 s)", low=0.05, high=600)
    greeting: float = setting(
        60.0,
        "greeting; postscreen waits 6 s, tarpits 15 s and more, RFC 5321 §4.5.3.2 allows 5 min",
        low=0.05,
        high=600,
    )
    reply: float = setting(30.0, "any later reply", low=0.05, high=600)
    handshake: float = setting(30.0, "TLS handshake", low=0.05, high=600)
    quit: float = setting(2.0, "the reply to QUIT, which changes no finding", low=0.0, high=60)
    target: float = setting(
        120.0,
        "one attempt in all; step limits alone added up to ten minutes elsewhere (zgrab2 #526)",
        low=0.1,
        high=3_600,
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """What a hostile server may make us take; beyond it the outcome is `limit_exceeded`."""

    line_bytes: int = setting(
        4_096, "one reply line with its end; RFC 5321 §4.5.3.1.5 allows 512", low=64, high=1_000_000
    )
    reply_lines: int = setting(256, "lines of one reply; large real EHLO replies have about 30", low=1, high=100_000)
    reply_bytes: int = setting(32_768, "one reply", low=512, high=10_000_000)
    replies: int = setting(16, "replies of one conversation", low=4, high=1_000)
    handshake_bytes: int = setting(
        131_072,
        "bytes received during the handshake (OpenSSL's own cap for a chain is 100 KiB); inside TLS as many again and a reply",
        low=4_096,
        high=10_000_000,
    )
    certificates: int = setting(32, "certificates kept of one received chain", low=1, high=1_000)
    plaintext_bytes: int = setting(1_024, "plaintext kept from behind the go-ahead", low=0, high=1_000_000)
    kept_text: int = setting(4_096, "characters kept of a reply's text", low=64, high=1_000_000)


@dataclass(frozen=True, slots=True)
class Pacing:
    """How many at once and how often; the targets' interest, not ours.

    To one address there is never more than one connection at a time: big providers allow about two
    a minute (Internet.nl #400).
    """

    in_flight: int = setting(2_000, "connections open at once in one process", low=1, high=60_000)
    per_network: int = setting(8, "connections at once to one /24 or /48, all processes together", low=1, high=10_000)
    per_provider: int = setting(
        32,
        "connections at once to the hosts of one provider (registrable domain of the mail host), all processes together",
        low=1,
        high=100_000,
    )
    address_pause: float = setting(
        1.0, "seconds between two connections to one address, of names that share it", low=0.0, high=600
    )
    breaker_refusals: int = setting(
        10, "refusals in a row after which a provider is left alone for a while; 0: never", low=0, high=10_000
    )
    breaker_pause: float = setting(60.0, "seconds it is left alone, doubled each time", low=0.0, high=3_600)
    breaker_trips: int = setting(4, "times it is left alone before its endpoints are `not_run`", low=1, high=100)
    names_per_address: int = setting(
        16, "host names probed at one address; the rest is `sampled_out`, inferred from one of them", low=1, high=1e6
    )
    rate: float = setting(0.0, "new connections a second, all processes together; 0 is no limit", low=0, high=1e6)
    attempts: int = setting(2, "tries of an endpoint whose first outcome was transient", low=1, high=5)
    retry_delay: float = setting(
        300.0, "seconds between tries; greylisting and 421 pass in minutes", low=0.0, high=86_400
    )


@dataclass(frozen=True, slots=True)
class Https:
    """How MTA-STS policies are fetched (RFC 8461 §3.3)."""

    port: int = setting(443, "port of policy hosts; RFC 8461 knows no other than 443, a lab may", low=1, high=65_535)
    timeout: float = setting(60.0, "one fetch in all; RFC 8461 §3.3 suggests a minute", low=0.05, high=600)
    connect_timeout: float = setting(15.0, "TCP connection to one address", low=0.05, high=600)
    policy_bytes: int = setting(65_536, "a policy; RFC 8461 §3.3 suggests 64 KiB", low=64, high=10_000_000)
    addresses: int = setting(4, "addresses of a policy host tried until one takes the connection", low=1, high=32)
    in_flight: int = setting(250, "fetches under way at once in one process", low=1, high=10_000)
    waiting: int = setting(
        2_000, "domains of one shard that wait for their policy while others are resolved", low=1, high=100_000
    )
    per_address: int = setting(4, "fetches at once from one address, which may serve many domains", low=1, high=1_000)
    rate: float = setting(0.0, "new fetches a second, all processes together; 0 is no limit", low=0, high=1e6)
    failures: int = setting(
        5, "time-outs in a row after which an address is asked no more; a dead provider would hold up the run",
        low=1, high=1_000_000,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sharding:
    """How work is cut; the units that appear whole or not at all."""

    domains: int = setting(20_000, "names of the list in one RESOLVE shard, about", low=1, high=10_000_000)
    hosts: int = setting(20_000, "mail hosts in one shard, about", low=1, high=10_000_000)
    endpoints: int = setting(8_000, "endpoints in one PROBE shard, about", low=1, high=10_000_000)


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of one run."""

    resolver: tuple[str, ...] = setting(("127.0.0.1:53",), "validating resolver, HOST[:PORT]")
    trust_ad: bool = setting(False, "trust the AD bit of a resolver that is not on loopback")
    ehlo_name: str = setting("", "who we say we are: a name of ours that resolves to the source address")
    protocol: tuple[str, ...] = setting(("smtp",), "protocols to probe")
    port: dict[str, int] = setting(dict, "port of a protocol where it is not the standard one")
    allow_network: tuple[str, ...] = setting((), "special-purpose networks that may be contacted")
    exclude: str = setting("", "file of opt-outs")
    ca_file: str = setting("", "trust anchors, PEM; empty: certifi's")
    vantage: str = setting("", "name of the place measured from")
    source_address: tuple[str, ...] = setting((), "our address to connect from, one per family at most")
    tlsa: bool = setting(True, "ask for TLSA records")
    mta_sts: bool = setting(True, "ask for MTA-STS")
    tlsrpt: bool = setting(True, "ask for TLSRPT")
    ipv4: bool = setting(True, "ask for and probe IPv4 addresses")
    ipv6: bool = setting(True, "ask for and probe IPv6 addresses")
    post_quantum: bool = setting(True, "offer post-quantum hybrid groups; the hello grows to about 1,600 bytes")
    limit: int = setting(0, "the first N names of the list; 0: all", low=0)
    workers: int = setting(
        0,
        "processes; 0: one per core; never more than pacing.per_provider, which they divide among them",
        low=0,
        high=1_024,
    )
    max_runtime: float = setting(0.0, "seconds after which the run stops by itself, to be resumed; 0: none", low=0)
    contact: str = setting("", "URL or mail address in the User-Agent of HTTPS fetches")
    dns: DnsSettings = setting(DnsSettings, "how questions are asked")
    timeouts: Timeouts = setting(Timeouts, "how long each step may take")
    limits: Limits = setting(Limits, "what a hostile server may make us take")
    pacing: Pacing = setting(Pacing, "how many at once and how often")
    https: Https = setting(Https, "how MTA-STS policies are fetched")
    shards: Sharding = setting(Sharding, "how work is cut")

    def __post_init__(self) -> None:
        check_ranges(self)
        for network in self.allow_network:
            check_form(ipaddress.ip_network, network, "allow_network", "a network such as 127.0.0.0/8")
        sources: dict[int, str] = {}
        for address in self.source_address:
            check_form(ipaddress.ip_address, address, "source_address", "an IP address of this machine")
            version = ipaddress.ip_address(address).version
            if (other := sources.setdefault(version, address)) != address:
                raise ConfigError(f"source_address: {other} and {address} are both IPv{version}; one of each family")
        for name, number in self.port.items():
            if name not in STANDARD_PORTS:
                raise ConfigError(f"port: unknown protocol {name!r}; choose from {', '.join(sorted(STANDARD_PORTS))}")
            if not 1 <= number <= 65_535:
                raise ConfigError(f"port: {name}={number} is outside 1-65535")
        for name in self.protocol:
            if name not in STANDARD_PORTS:
                raise ConfigError(
                    f"protocol: unknown protocol {name!r}; choose from {', '.join(sorted(STANDARD_PORTS))}"
                )
        if not self.protocol:
            raise ConfigError("protocol: is empty, so nothing would be probed; name one, e.g. smtp")
        for server in self.resolver:
            server_address(server)
        if not self.resolver:
            raise ConfigError("resolver: is empty, so nothing could be asked; name one, e.g. 127.0.0.1:53")
        if not (self.ipv4 or self.ipv6):
            raise ConfigError("ipv4, ipv6: both are off, so nothing could be probed; leave one on")

    def port_of(self, protocol: str) -> int:
        """TCP port on which this run speaks the protocol."""
        return self.port.get(protocol, STANDARD_PORTS[protocol])

    def allowed_networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """The special-purpose networks that may be contacted, parsed."""
        return tuple(ipaddress.ip_network(network) for network in self.allow_network)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the manifest; `from_mapping` takes them back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_mapping(cls, values: dict[str, Any], *, where: str = "settings") -> Config:
        """Build a `Config` from plain values, such as a parsed TOML file.

        Raises `ConfigError` for unknown names, wrong types and values out of range.
        """
        made: Config = build(cls, values, where)
        return made

    @classmethod
    def load(cls, path: Path | None, flags: dict[str, Any]) -> Config:
        """Defaults, then the TOML file, then flags (nested: `{'dns': {'timeout': 1}}`).

        Relative paths in the file (`ca_file`, `exclude`) are relative to the file.
        Raises `ConfigError`.
        """
        values: dict[str, Any] = {}
        where = "command line"
        if path is not None:
            where = str(path)
            try:
                values = tomllib.loads(path.read_text("utf-8"))
            except OSError as error:
                raise ConfigError(f"{path}: cannot be read ({error.strerror}); check --config") from error
            except UnicodeDecodeError as error:
                raise ConfigError(f"{path}: is not UTF-8 text; --config takes a TOML file") from error
            except tomllib.TOMLDecodeError as error:
                raise ConfigError(f"{path}: is not TOML ({error}); check --config") from error
            for name in ("ca_file", "exclude"):
                if isinstance(values.get(name), str) and values[name]:
                    values[name] = str(path.parent.resolve() / values[name])
        cls.from_mapping(flags, where="command line")  # by themselves, so that the blame is not the file's
        for name, value in flags.items():
            if isinstance(value, dict):
                values[name] = {**values.get(name, {}), **value}
            else:
                values[name] = value
        return cls.from_mapping(values, where=where)


def server_address(text: str) -> tuple[str, int]:
    """Split `HOST[:PORT]` of a resolver, e.g. `127.0.0.1`, `127.0.0.1:5353`, `[::1]:5353`, `::1`.

    Raises `ConfigError`.
    """
    host, port = text, "53"
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or "53"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if host == "localhost":
        host = "127.0.0.1"
    try:
        ipaddress.ip_address(host)
    except ValueError as error:
        raise ConfigError(f"resolver: {text!r} is not ADDRESS[:PORT], e.g. 127.0.0.1:53 or [::1]:53") from error
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65_535):
        raise ConfigError(f"resolver: {text!r} has no port between 1 and 65535")
    return host, int(port)
