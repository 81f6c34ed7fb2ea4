"""All settings of one run.

A `Config` is built from defaults, then a TOML file, then flags; it is stored whole in the run's manifest.  The
limits, time-outs and rates stand in `groups`, and can be imported from here.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crawler.model.errors import ConfigError
from crawler.protocols.registry import Service, families, family, service, services
from crawler.settings.declared import build, check_form, check_ranges, setting
from crawler.settings.declared_limits import limit, read_bounded
from crawler.settings.groups import DnsSettings, Https, Limits, Pacing, Timeouts
from crawler.settings.run_groups import Lists, Sharding
from crawler.settings.watch_group import Watch

__all__ = [
    "Config",
    "DnsSettings",
    "Https",
    "Limits",
    "Lists",
    "Pacing",
    "Sharding",
    "Timeouts",
    "Watch",
    "server_address",
]

_MOST_TOML = limit(
    1 << 20,
    "bytes of a TOML file given by `--config`; all settings with comments are some 20 KB",
    protects="our memory",
    cut="a refusal, exit code 2",
)


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of one run."""

    resolver: tuple[str, ...] = setting(
        ("127.0.0.1:53",), "validating resolver, HOST[:PORT], by default the one on this machine"
    )
    trust_ad: bool = setting(False, "trust the AD bit of a resolver that is not on loopback")
    ehlo_name: str = setting(
        "", "who we say we are: the full name of this machine, which resolves to the source address"
    )
    protocol: tuple[str, ...] = setting(
        ("smtp",),
        "protocols to probe, by the name of the form: `imap` upgrades, `imaps` begins with TLS; `mail` is IMAP, POP3 and "
        "submission in both forms, at the hosts that SRV records name",
    )
    hosts: bool = setting(False, "the list is one of hosts, which are asked themselves; no MX is looked up")
    port: dict[str, int] = setting(dict, "port of a protocol where it is not the standard one")
    allow_network: tuple[str, ...] = setting((), "special-purpose networks that may be contacted")
    exclude: str = setting("", "file of opt-outs: names and networks that asked not to be probed")
    ca_file: str = setting("", "trust anchors, PEM; empty: certifi's")
    vantage: str = setting("", "name of the place measured from")
    source_address: tuple[str, ...] = setting((), "our address to connect from, one per family at most")
    tlsa: bool = setting(True, "ask for TLSA records")
    mta_sts: bool = setting(True, "ask for MTA-STS")
    tlsrpt: bool = setting(True, "ask for TLSRPT")
    ipv4: bool = setting(True, "ask for and probe IPv4 addresses")
    ipv6: bool = setting(True, "ask for and probe IPv6 addresses")
    post_quantum: bool = setting(True, "offer post-quantum hybrid groups; the hello grows to about 1,600 bytes")
    limit: int = setting(0, "the first N names of the list; 0: all", low=0, high=1_000_000_000_000)
    workers: int = setting(
        0,
        "processes; 0: one per core; never more than pacing.per_provider, which they divide among them",
        low=0,
        high=1_024,
    )
    max_runtime: float = setting(
        0.0, "seconds after which the run stops by itself, to be resumed; 0: none", low=0, high=1e9
    )
    contact: str = setting("", "URL or mail address in the User-Agent of HTTPS fetches")
    dns: DnsSettings = setting(DnsSettings, "how questions are asked")
    timeouts: Timeouts = setting(Timeouts, "how long each step may take")
    limits: Limits = setting(Limits, "what a hostile server may make us take")
    pacing: Pacing = setting(Pacing, "how many at once and how often")
    https: Https = setting(Https, "how MTA-STS policies are fetched")
    lists: Lists = setting(Lists, "what reading a list may cost")
    shards: Sharding = setting(Sharding, "how work is cut")
    watch: Watch = setting(Watch, "when a scan doubts its own network, and when its result")

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
            _service(name, "port")
            if not 1 <= number <= 65_535:
                raise ConfigError(f"port: {name}={number} is outside 1-65535")
        for name in self.protocol:
            if not family(name):
                _service(name, "protocol")
        if len(set(self.protocol)) < len(self.protocol):
            raise ConfigError("protocol: names one twice; name each once")
        if not self.protocol:
            raise ConfigError("protocol: is empty, so nothing would be probed; name one, e.g. smtp")
        for server in self.resolver:
            server_address(server)
        if not self.resolver:
            raise ConfigError("resolver: is empty, so nothing could be asked; name one, e.g. 127.0.0.1:53")
        if not (self.ipv4 or self.ipv6):
            raise ConfigError("ipv4, ipv6: both are off, so nothing could be probed; leave one on")

    def services(self) -> list[Service]:
        """What every host is asked that an MX record or the list names: protocols in one of their forms each."""
        named = [service(name) for name in self.protocol if not family(name)]
        return list(dict.fromkeys([*named, *(self._of_families() if self.hosts else ())]))

    def looked_up(self) -> list[Service]:
        """What is asked of hosts that each domain names for it, by SRV records or by custom."""
        return [] if self.hosts else self._of_families()

    def all_services(self) -> list[Service]:
        """Both, each once."""
        return list(dict.fromkeys([*self.services(), *self.looked_up()]))

    def _of_families(self) -> list[Service]:
        return [service(name) for word in self.protocol for name in family(word)]

    def port_of(self, name: str) -> int:
        """TCP port on which this run speaks a protocol, by its name on the command line."""
        return self.port.get(name) or service(name).port

    def owner_port(self, asked: Service, port: int) -> int:
        """Port in the owner name of the TLSA records: the standard one where this run speaks the protocol on another."""
        return asked.port if port == self.port_of(asked.name) else port

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
                values = tomllib.loads(read_bounded(path, _MOST_TOML, "a file of settings").decode())
            except OSError as error:
                raise ConfigError(f"{path}: cannot be read ({error.strerror}); check --config") from error
            except UnicodeDecodeError as error:
                raise ConfigError(f"{path}: is not UTF-8 text; --config takes a TOML file") from error
            except (ValueError, RecursionError) as error:  # a number of 5,000 digits is no TOMLDecodeError
                words = " ".join(str(error).split())[:200]
                raise ConfigError(f"{path}: is not TOML ({words}); check --config") from error
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


def _service(name: str, where: str) -> Service:
    try:
        return service(name)
    except KeyError:
        raise ConfigError(
            f"{where}: unknown protocol {name!r}; choose from {', '.join([*services(), *families()])}"
        ) from None


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
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65_535):
        raise ConfigError(f"resolver: {text!r} has no port between 1 and 65535")
    return host, int(port)
