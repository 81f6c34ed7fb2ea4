"""Zones for Debian's NSD and Unbound on loopback: signed ones, unsigned ones, broken ones.

Rule of this file: nobody outside the machine is asked; what is not in these zones fails.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.real import servers

UNBOUND_CONF = Path(__file__).resolve().parents[2] / "docs" / "unbound.conf"


@dataclass
class Zone:
    """One zone: its records, and what is wrong with it."""

    name: str
    records: Iterable[str]
    signed: bool = True
    expired: bool = False  #: its signatures are
    wrong_ds: bool = False  #: the parent's DS fits no key
    missing: bool = False  #: the server should have it and does not, so it says SERVFAIL
    ds: list[str] = field(default_factory=list)


def _text(zone: Zone, children: dict[str, Zone]) -> str:
    lines = [
        f"$ORIGIN {zone.name}.",
        "$TTL 300",
        f"@ IN SOA ns.{zone.name}. hostmaster.{zone.name}. 1 3600 900 604800 60",
        f"@ IN NS ns.{zone.name}.",
        "ns IN A 127.0.0.1",
        *zone.records,
    ]
    for child in children.values():
        if child.name.partition(".")[2] == zone.name:
            lines += [f"{child.name}. IN NS ns.{child.name}.", f"ns.{child.name}. IN A 127.0.0.1", *child.ds]
    return "\n".join(lines) + "\n"


def write(directory: Path, zones: Iterable[Zone]) -> Path:
    """Write and sign the zones, children first; return the file with the top zone's trust anchor."""
    by_name = {zone.name: zone for zone in zones}
    for zone in sorted(by_name.values(), key=lambda zone: -zone.name.count(".")):
        if zone.missing:
            continue
        path = directory / f"{zone.name}.zone"
        path.write_text(_text(zone, by_name))
        if not zone.signed:
            continue
        keys = [_key(directory, zone.name, *flags) for flags in (["-k"], [])]
        dates = ["-i", "20200101", "-e", "20200201"] if zone.expired else []
        _run(directory, "ldns-signzone", *dates, "-f", path.name, path.name, *keys)
        ds = (directory / f"{keys[0]}.ds").read_text().strip()
        if zone.wrong_ds:
            ds = ds[:-8] + ("00000000" if not ds.endswith("00000000") else "11111111")
        zone.ds = [ds]
        anchor = directory / f"{keys[0]}.key"
    return anchor  # of the zone with the fewest labels, signed last


def _key(directory: Path, zone: str, *flags: str) -> str:
    return _run(directory, "ldns-keygen", "-a", "ECDSAP256SHA256", *flags, zone).strip()


def _run(directory: Path, program: str, *arguments: str) -> str:
    command = [servers.program(program), *arguments]
    return subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True).stdout


@contextmanager
def nsd(directory: Path, zones: Iterable[Zone]) -> Iterator[int]:
    """NSD that serves the zones written there; yields its port."""
    port = servers.free_port()
    lines = [
        "server:",
        f"  ip-address: 127.0.0.1@{port}",
        '  username: ""',
        '  chroot: ""',
        f'  zonesdir: "{directory}"',
        f'  zonelistfile: "{directory}/zone.list"',
        f'  xfrdfile: "{directory}/xfrd.state"',
        f'  xfrdir: "{directory}"',
        '  database: ""',
        '  pidfile: ""',
        "  server-count: 1",
        "  rrl-ratelimit: 0",
        "remote-control:",
        "  control-enable: no",
    ]
    for zone in zones:
        lines += ["zone:", f"  name: {zone.name}.", f"  zonefile: {zone.name}.zone"]
    configuration = directory / "nsd.conf"
    configuration.write_text("\n".join(lines) + "\n")
    command = [servers.program("nsd"), "-d", "-c", str(configuration)]
    with servers.daemon(command, directory / "nsd.log", lambda: servers.accepts("127.0.0.1", port)):
        yield port


@contextmanager
def unbound(
    directory: Path, zones: Iterable[Zone], anchor: Path, nsd_port: int, *extra: str, port: int = 0
) -> Iterator[int]:
    """Unbound with the configuration that ships, which finds these zones at NSD and no others; yields its port."""
    port, closed = port or servers.free_port(), servers.free_port()
    lines = [
        f'include: "{UNBOUND_CONF}"',
        "server:",
        f"  port: {port}",
        '  username: ""',
        '  chroot: ""',
        f'  directory: "{directory}"',
        '  pidfile: ""',
        "  use-syslog: no",
        "  do-daemonize: no",
        f'  trust-anchor-file: "{anchor}"',
        "  do-not-query-localhost: no",
        "  do-ip6: no",
        *(f"  {line}" for line in extra),
    ]
    for name, server in {".": closed, **{f"{zone.name}.": nsd_port for zone in zones}}.items():
        lines += ["stub-zone:", f'  name: "{name}"', f"  stub-addr: 127.0.0.1@{server}"]
    lines += ["remote-control:", "  control-enable: no"]
    configuration = directory / f"unbound-{port}.conf"
    configuration.write_text("\n".join(lines) + "\n")
    command = [servers.program("unbound"), "-d", "-p", "-c", str(configuration)]
    with servers.daemon(command, directory / f"unbound-{port}.log", lambda: servers.accepts("127.0.0.1", port)):
        yield port


@contextmanager
def resolvers(directory: Path, zones: list[Zone], *configurations: list[str]) -> Iterator[list[int]]:
    """NSD, and an Unbound for each list of extra lines; yields the ports of the latter."""
    anchor = write(directory, zones)
    with ExitStack() as stack:
        authority = stack.enter_context(nsd(directory, zones))
        yield [stack.enter_context(unbound(directory, zones, anchor, authority, *extra)) for extra in configurations]
