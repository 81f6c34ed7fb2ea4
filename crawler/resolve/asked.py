"""What one mail host is asked, gathered from all names that led to it.

This module is pure.  An entry has `protocol`, `form`, `port`, `found_by` (every way that led there), `domains` (how many
names of the list did; None where that was not counted) and `reference_names` (what the certificate may bear for any of them;
None where there are too many, or none was stated).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from crawler.model.rows import Domain, FoundBy, MailHost
from crawler.protocols.registry import service_of
from crawler.settings.config import Config

Entry = dict[str, Any]
Key = tuple[str, str, int]  #: protocol, form, port


def by_mx(config: Config) -> list[Entry]:
    """What is asked of a host that an MX record names, or the list: every protocol of the run at its port."""
    way = FoundBy.LISTED if config.hosts else FoundBy.MX
    return [
        {
            "protocol": asked.protocol.name,
            "form": str(asked.form),
            "port": config.port_of(asked.name),
            "found_by": [str(way)],
            "domains": None,
            "reference_names": None,
        }
        for asked in config.services()
    ]


def mail_hosts_of(domain: Domain, config: Config) -> list[MailHost]:
    """The hosts that one row of `domains` leads to, each with what it is asked, in the order in which they are named."""
    found: defaultdict[str, Gathered] = defaultdict(lambda: Gathered(config))
    if config.services() and not config.hosts:
        for mail_host in domain.mx or ():
            for entry in by_mx(config):
                found[mail_host["host"]].add(entry)
    for service in domain.services or ():
        found[service["host"]].add({**service, "domains": 1})
    return [MailHost(host, gathered.entries()) for host, gathered in found.items()]


class Gathered:
    """The entries of one host: each protocol, form and port once."""

    def __init__(self, config: Config) -> None:
        self._most = config.limits.reference_names
        self._entries: dict[Key, Entry] = {}

    def add(self, entry: Entry) -> None:
        """One more way that led to a port of the host; `found_by` may be one way or several."""
        ways = {entry["found_by"]} if isinstance(entry["found_by"], str) else set(entry["found_by"])
        known = self._entries.setdefault(
            (str(entry["protocol"]), str(entry["form"]), entry["port"]),
            {"found_by": set(), "domains": None, "names": set(), "has_all_names": True},
        )
        known["found_by"] |= ways
        if entry["domains"] is None:
            return
        known["domains"] = (known["domains"] or 0) + entry["domains"]
        names = known["names"].union(entry["reference_names"] or ())
        if entry["reference_names"] is None or len(names) > self._most:
            known["has_all_names"], names = False, set()
        known["names"] = names

    def entries(self) -> list[Entry]:
        """The entries, each with its ways in one order."""
        return [
            {"protocol": protocol, "form": form, "port": port}
            | {"found_by": sorted(map(str, known["found_by"])), "domains": known["domains"]}
            | {"reference_names": _names_of(known)}
            for (protocol, form, port), known in self._entries.items()
        ]


def _names_of(known: Entry) -> list[str] | None:
    """The names, unless they are too many, or none was stated."""
    return sorted(known["names"]) if known["domains"] is not None and known["has_all_names"] else None


def gathered(hosts: Iterable[MailHost], config: Config, dropped: list[int]) -> Iterator[MailHost]:
    """Each host once, with whatever any of its rows asks of it; `dropped[0]` counts the other rows."""
    found: dict[str, Gathered | None] = {}
    for host in hosts:
        name = host.host or ""
        if name in found:
            dropped[0] += 1
        if host.asked is None:
            found.setdefault(name, None)
            continue
        together = found.get(name) or Gathered(config)
        found[name] = together
        for entry in host.asked:
            together.add(entry)
    while found:
        name, known = found.popitem()
        yield MailHost(name, known.entries() if known is not None else None)


def within_limits(entries: list[Entry], config: Config) -> tuple[list[Entry], int]:
    """The entries that are asked, and how many were left out: of ports other than the protocols' own only so many.

    Ports that more names lead to come first.
    """
    own = {(asked.protocol.name, str(asked.form), config.port_of(asked.name)) for asked in config.all_services()}
    usual = [entry for entry in entries if _key(entry) in own]
    others = sorted(
        (entry for entry in entries if _key(entry) not in own), key=lambda e: (-(e["domains"] or 0), _key(e))
    )
    most = config.pacing.host_ports
    return usual + others[:most], max(0, len(others) - most)


def owner_ports(entries: Iterable[Entry], config: Config) -> list[int]:
    """Ports in the owner names of the TLSA records of these entries."""
    return sorted({config.owner_port(service_of(e["protocol"], e["form"]), e["port"]) for e in entries})


def _key(entry: Entry) -> Key:
    return str(entry["protocol"]), str(entry["form"]), entry["port"]
