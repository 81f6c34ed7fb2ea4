"""RESOLVE in the pretend Internet: every name of a list has exactly one row, and the row is true."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from crawler.dns.client import DnsClient
from crawler.lab.servers.dns import OverTcp, OverUdp, Responder, answer
from crawler.lab.world.generated import generated_domains
from crawler.lab.world.world import World
from crawler.lists.reader import read_targets
from crawler.model.rows import Domain, Host, LookupStatus, MailHost, Target, Tlsa
from crawler.resolve.domains import resolve_domains
from crawler.resolve.hosts import resolve_hosts
from crawler.settings.config import Config

#: A list of real names, beside the repository in some places.
TOP_10K = Path(__file__).resolve().parents[3] / "shared" / "data" / "opendns-top-10k.txt"


def resolved(world: World, targets: list[Any]) -> list[Any]:
    """The rows of these targets, and of all their mail hosts, through the lab's name server."""
    rows: list[Any] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        responder = Responder(lambda name, rdtype: answer(world, name, rdtype))
        tcp = await loop.create_server(lambda: OverTcp(responder), "127.0.0.1", 0)
        address = tcp.sockets[0].getsockname()
        udp, _ = await loop.create_datagram_endpoint(lambda: OverUdp(responder), local_addr=address)
        # A patient client with little under way: what times out here is silent, not slow.
        quick = {"timeout": 2.0, "tries": 2, "in_flight": 150}
        config = Config.from_mapping({"resolver": [f"127.0.0.1:{address[1]}"], "dns": quick})
        try:
            async with DnsClient(config) as dns:
                opted_out = {name for name in names if world.domain(name).behaviour.asked_not_to}
                await resolve_domains(targets, dns, config, rows.append, excluded=opted_out.__contains__)
                hosts = {mx["host"]: None for row in rows for mx in row.mx or ()}
                await resolve_hosts(map(MailHost, hosts), dns, config, rows.append)
        finally:
            udp.close()
            tcp.close()

    names = [target.domain for target in targets]
    asyncio.run(main())
    return rows


def check(names: list[str], targets: list[Any]) -> None:
    world = World(3, names)
    rows = resolved(world, targets)
    domains = [row for row in rows if isinstance(row, Domain)]
    assert Counter(row.domain for row in domains) == Counter(names)
    for row in domains:
        assert row.domain is not None
        truth = world.domain(row.domain)
        assert (row.route, row.dns_error) == (truth.route, truth.behaviour.dns_error), row
        assert row.dnssec == truth.dnssec, row
        found = [(mx["preference"], mx["host"]) for mx in row.mx or ()]
        if truth.route.value in ("explicit", "implicit", "null_mx", "null_mx_invalid"):
            assert sorted(found) == sorted(truth.mail_hosts), row
        else:
            assert found == [], row
    for row in rows:
        if isinstance(row, Host):
            host = world.host(row.host)
            if host is not None:
                assert (row.ipv4_status, row.ipv6_status) == (host.ipv4_status, host.ipv6_status), row
                assert sorted(row.addresses or ()) == sorted(host.addresses), row
    hosts = [row.host for row in rows if isinstance(row, Host)]
    assert len(hosts) == len(set(hosts))
    assert Counter(hosts) == Counter(row.host for row in rows if isinstance(row, Tlsa))
    assert LookupStatus.TIMEOUT not in {row.ipv4_status for row in rows if isinstance(row, Host)}


def test_every_behaviour_of_the_lab_is_found_as_it_is() -> None:
    names = list(generated_domains(600))
    check(names, [Target(name, name) for name in names])


@pytest.mark.timeout(180)
def test_a_list_of_ten_thousand_real_names_is_resolved_whole() -> None:
    if not TOP_10K.exists():
        pytest.skip("the list is not there")
    targets = list(read_targets(TOP_10K))
    assert len(targets) == 10_000
    check([target.domain for target in targets if target.domain is not None], targets)
