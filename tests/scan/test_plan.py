"""Work is cut so that what belongs together meets in one shard, the same way each time."""

from __future__ import annotations

import gzip
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crawler.dataset.run import RunDirectory
from crawler.dataset.steps import DOMAINS, HOSTS, PROBES
from crawler.dataset.stored_manifest import Manifest
from crawler.executors.network_shares import divided_networks, network_share_of
from crawler.model.rows import Domain, Endpoint, Host, MailHost, Route, Target, Tlsa, TlsaStatus
from crawler.politeness.pacing import network_of
from crawler.scan.plan import MAX_SHARDS, _Spread, cut_endpoints, cut_hosts, cut_targets, shard_count
from crawler.settings.config import Config
from tests.kit.plans import SIGNATURE, begun_run, cut, put


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return begun_run(tmp_path)


def config(**shards: int) -> Config:
    return Config.from_mapping({"ehlo_name": "probe.example", "shards": shards})


def nothing(rows: int) -> None:
    pass


def write_list(path: Path, names: list[str]) -> Path:
    path.write_bytes(gzip.compress("\n".join(names).encode()))
    return path


def test_duplicates_of_a_name_meet_in_one_shard_in_the_order_of_the_list(run: RunDirectory, tmp_path: Path) -> None:
    names = [f"name{n % 300}.example" for n in range(900)] + ["NAME7.EXAMPLE.", "not a name", "not a name"]
    cut_targets(run, write_list(tmp_path / "l", names), len(names), config(domains=100), 1, nothing)
    shards = cut(run, DOMAINS)
    assert len(shards) == 10
    assert sum(map(len, shards.values())) == len(names)
    homes = defaultdict(set)
    for shard, rows in shards.items():
        for row in rows:
            homes[row.domain or row.input].add(shard)
    assert len(homes) == 301 and all(len(home) == 1 for home in homes.values())
    seven = [row.input for row in shards[homes["name7.example"].pop()] if row.domain == "name7.example"]
    assert seven == ["name7.example"] * 3 + ["NAME7.EXAMPLE."]


def test_a_list_is_cut_the_same_way_again(run: RunDirectory, tmp_path: Path) -> None:
    path = write_list(tmp_path / "l", [f"name{n}.example" for n in range(500)])
    cut_targets(run, path, 500, config(domains=50), 2, nothing)
    first = cut(run, DOMAINS)
    again = RunDirectory(tmp_path / "run=again")
    again.path.mkdir()
    again.make_directories(SIGNATURE)
    again.write_manifest(Manifest.of({"run": "again", "config_sha256": "00"}))
    cut_targets(again, path, 500, config(domains=50), 2, nothing)
    assert cut(again, DOMAINS) == first


def test_the_limit_takes_the_first_names(run: RunDirectory, tmp_path: Path) -> None:
    path = write_list(tmp_path / "l", [f"name{n}.example" for n in range(500)])
    limited = Config.from_mapping({"limit": 3})
    cut_targets(run, path, 500, limited, 1, nothing)
    (rows,) = cut(run, DOMAINS).values()
    assert rows == [Target(f"name{n}.example", f"name{n}.example") for n in range(3)]


def test_a_plan_that_is_stopped_leaves_nothing(run: RunDirectory, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(rows: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        cut_targets(run, write_list(tmp_path / "l", [f"n{n}.example" for n in range(5000)]), 5000, config(), 1, stop)
    assert run.shards(DOMAINS) == [] and not list(run.work.glob(".tmp*")) and not (run.work / "targets").exists()


def test_every_mail_host_is_planned_whatever_parts_name_it(run: RunDirectory) -> None:
    def domain(n: int, *hosts: str) -> Domain:
        mx = [{"host": host, "preference": 10} for host in hosts]
        return Domain(domain=f"d{n}.example", route=Route.EXPLICIT, mx=mx)

    put(run, "domains", "domains-0000", Domain, [domain(n, f"mx{n}.example", "shared.example") for n in range(50)])
    put(run, "domains", "domains-0001", Domain, [domain(99, "shared.example"), Domain(route=Route.NULL_MX)])
    cut_hosts(run, config(hosts=10), 1, nothing)
    shards = cut(run, HOSTS)
    assert len(shards) > 2
    hosts = [row for rows in shards.values() for row in rows]
    assert {row.host for row in hosts} == {"shared.example", *(f"mx{n}.example" for n in range(50))}
    assert sum(MailHost("shared.example") in rows for rows in shards.values()) == 1


def test_no_mail_host_is_a_plan_without_shards(run: RunDirectory) -> None:
    cut_hosts(run, config(), 2, nothing)
    cut_endpoints(run, config(), 2, nothing)
    assert (run.work / "hosts").is_dir() and run.shards(HOSTS) == [] and run.shards(PROBES) == []


def test_endpoints_are_hosts_times_addresses_with_their_tlsa_records(run: RunDirectory) -> None:
    records = [{"usage": 3, "selector": 1, "matching": 1, "data": b"x" * 32, "usable": True}]
    hosts = [
        Host(host="a.example", addresses=["192.0.2.1", "2001:db8::1"]),
        Host(host="b.example", addresses=["192.0.2.1"]),
        Host(host="c.example", addresses=[]),
        Host(host="d.example", addresses=None),
    ]
    tlsa = [
        Tlsa(host="a.example", port=25, base_domain="real.example", status=TlsaStatus.USABLE, records=records),
        Tlsa(host="b.example", port=25, base_domain="b.example", status=TlsaStatus.ABSENT),
    ]
    put(run, "hosts", "hosts-0000", Host, hosts)
    put(run, "tlsa", "hosts-0000", Tlsa, tlsa)
    put(run, "hosts", "hosts-0001", Host, [Host(host="e.example", addresses=["198.51.100.1"])])
    mx = [{"host": host, "preference": 10} for host in ("a.example", "b.example")]
    own = [{"host": "e.example", "preference": 0}]
    put(
        run,
        "domains",
        "domains-0000",
        Domain,
        [Domain(domain="one.example", mx=mx), Domain(domain="e.example", mx=own)],
    )
    (run.work / "hosts").mkdir()
    for shard in (0, 1):
        put(run, "_work/hosts", f"{shard:04d}", MailHost, [])
    settings = Config.from_mapping({"port": {"smtp": 2525}})
    cut_endpoints(run, settings, 1, nothing)
    (endpoints,) = cut(run, PROBES).values()
    assert all(0 <= row.chance < 1 and row.over_budget is False for row in endpoints)
    assert [row.weight for row in endpoints] == [0.5, 0.5, 0.5, 1.0]
    real = ("real.example", TlsaStatus.USABLE, records)
    assert [(row.provider_weight, row.provider_endpoints) for row in endpoints] == [
        (0.5, 2),
        (0.5, 2),
        (0.5, 1),
        (1.0, 1),
    ]
    assert [row.network_weight for row in endpoints] == [0.5, 0.5, 0.5, 1.0], "the two of a.example are in two networks"
    assert [row.share for row in endpoints] == [0.25, 0.25, 0.5, 1.0], "one domain each, divided among its endpoints"
    assert run.manifest().host_lookups_in_domains == {"not_asked": 2.0}
    bare: Any = dict.fromkeys(
        (
            "weight",
            "chance",
            "over_budget",
            "network_weight",
            "share",
            "provider_weight",
            "provider_endpoints",
            "form",
            "found_by",
        )
    )
    assert [replace(row, **bare) for row in endpoints] == [
        Endpoint("smtp", "a.example", "192.0.2.1", 2525, *real),
        Endpoint("smtp", "a.example", "2001:db8::1", 2525, *real),
        Endpoint("smtp", "b.example", "192.0.2.1", 2525, "b.example", TlsaStatus.ABSENT),
        Endpoint("smtp", "e.example", "198.51.100.1", 2525, None, TlsaStatus.NOT_ASKED),
    ]


def test_an_endpoint_beyond_a_budget_is_planned_and_marked(run: RunDirectory) -> None:
    """It gets a row that says so, and the domain's neighbours lose nothing."""
    addresses = [f"2001:db8:{net:x}::1" for net in range(40)]
    hosts = [Host(host=f"mx{n}.flood.example", addresses=addresses) for n in range(50)]
    hosts += [Host(host="mx.honest.example", addresses=addresses)]
    flood = [{"host": host.host, "preference": 10} for host in hosts[:-1]]
    honest = [{"host": "mx.honest.example", "preference": 10}]
    domains = [Domain(domain="flood.example", mx=flood), Domain(domain="honest.example", mx=honest), Domain()]
    put(run, "domains", "domains-0000", Domain, domains)
    put(run, "hosts", "hosts-0000", Host, hosts)
    records = [{"usage": 3, "selector": 1, "matching": 1, "data": bytes(32), "usable": True}]
    put(run, "tlsa", "hosts-0000", Tlsa, [Tlsa(host.host, 25, host.host, TlsaStatus.USABLE, records) for host in hosts])
    (run.work / "hosts").mkdir()
    put(run, "_work/hosts", "0000", MailHost, [])
    cut_endpoints(run, config(), 1, nothing)
    endpoints = [row for rows in cut(run, PROBES).values() for row in rows]
    assert len(endpoints) == 51 * 40
    assert all(row.tlsa == (None if row.over_budget else records) for row in endpoints)
    assert all((row.network_weight is None) is row.over_budget for row in endpoints)
    kept = [row.host for row in endpoints if not row.over_budget]
    assert kept.count("mx.honest.example") == 40
    assert 50 <= len(kept) - 40 <= 128 + 50


def test_addresses_of_one_network_meet_in_one_shard(run: RunDirectory) -> None:
    addresses = [f"192.0.{net}.{n}" for net in range(40) for n in range(3)]
    addresses += [f"2001:db8:{net:x}:{n}::1" for net in range(40) for n in range(3)]
    put(run, "hosts", "hosts-0000", Host, [Host(host=f"{i}.example", addresses=[a]) for i, a in enumerate(addresses)])
    (run.work / "hosts").mkdir()
    put(run, "_work/hosts", "0000", MailHost, [])
    cut_endpoints(run, config(endpoints=20), 1, nothing)
    homes = defaultdict(set)
    for shard, rows in cut(run, PROBES).items():
        for row in rows:
            homes[network_of(row.address)].add(shard)
    assert len(homes) == 80 and all(len(home) == 1 for home in homes.values())
    assert len({shard for home in homes.values() for shard in home}) > 5


GIANT = [f"2001:db8:1::{n:x}" for n in range(3_000)]
"""More endpoints in one /48 than all others together."""


def plan_giant(run: RunDirectory, *, workers: int, per_network: int = 8) -> dict[int, list[Endpoint]]:
    others = [f"192.0.{net}.{n}" for net in range(100) for n in range(10)]
    hosts = [Host(host=f"{i}.example", addresses=[a, a]) for i, a in enumerate(GIANT + others)]
    hosts += [Host(host=f"again{i}.example", addresses=[a]) for i, a in enumerate(GIANT[:200])]
    put(run, "hosts", "hosts-0000", Host, hosts)
    (run.work / "hosts").mkdir()
    put(run, "_work/hosts", "0000", MailHost, [])
    settings = {"shards": {"endpoints": 500}, "pacing": {"per_network": per_network}}
    cut_endpoints(run, Config.from_mapping(settings), workers, nothing)
    return cut(run, PROBES)


@pytest.mark.parametrize(
    ("workers", "per_network", "shares"), [(2, 8, [4, 4]), (3, 8, [2, 3, 3]), (1, 8, [8]), (4, 1, [1])]
)
def test_a_giant_network_is_cut_into_lots_that_share_its_limit(
    run: RunDirectory, workers: int, per_network: int, shares: list[int]
) -> None:
    shards = plan_giant(run, workers=workers, per_network=per_network)
    assert max(map(len, shards.values())) < 750, "no shard is much larger than asked for, so memory does not grow"
    assert sorted((row.host, row.address) for rows in shards.values() for row in rows) == sorted(
        {(row.host, row.address) for rows in shards.values() for row in rows}
    )
    assert sum(map(len, shards.values())) == 4_200
    homes = defaultdict(set)
    for shard, rows in shards.items():
        lot = network_share_of(run.shard_path(PROBES, shard))
        for row in rows:
            assert (lot is not None) is (":" in row.address), "the others are not affected"
            homes[row.address].add(shard)
    assert all(len(home) == 1 for home in homes.values()), "the names of an address stay together"
    lots = divided_networks(run)
    assert sorted(lot["per_network"] for lot in lots) == shares
    assert sum(lot["endpoints"] for lot in lots) == 3_200
    assert min(lot["endpoints"] for lot in lots) > 3_200 / len(lots) / 2, "about equal"


def test_the_shards_of_a_giant_network_divide_its_time_and_the_weight_of_its_hosts(run: RunDirectory) -> None:
    """Each shard had the whole time of the network, and a host with addresses in all of them counted in each."""
    put(run, "hosts", "hosts-0000", Host, [Host(host="mx.a.example", addresses=GIANT)])
    put(
        run,
        "domains",
        "domains-0000",
        Domain,
        [Domain(domain="a.example", mx=[{"host": "mx.a.example", "preference": 0}])],
    )
    (run.work / "hosts").mkdir()
    put(run, "_work/hosts", "0000", MailHost, [])
    settings = {"shards": {"endpoints": 500}, "pacing": {"domain_endpoints": 10_000, "network_endpoints": 10_000}}
    cut_endpoints(run, Config.from_mapping(settings), 2, nothing)
    shards = cut(run, PROBES)
    lots = [network_share_of(run.shard_path(PROBES, shard)) for shard in shards]
    assert len(shards) > 4 and {lot.shards for lot in lots if lot} == {len(shards)} and None not in lots
    assert abs(sum(row.network_weight for rows in shards.values() for row in rows) - 1.0) < 1e-4


def test_without_a_giant_network_nothing_is_divided(run: RunDirectory) -> None:
    put(run, "hosts", "hosts-0000", Host, [Host(host=f"{n}.example", addresses=[f"192.0.{n}.1"]) for n in range(250)])
    (run.work / "hosts").mkdir()
    put(run, "_work/hosts", "0000", MailHost, [])
    cut_endpoints(run, config(endpoints=20), 2, nothing)
    assert divided_networks(run) == []


def test_shards_are_never_more_files_than_may_be_open_at_once() -> None:
    for heavy in (0, 1, 300):
        loads = [150] * 60_000 + [60_000] * heavy
        spread = _Spread(loads, 500, 2, 8)
        assert spread.shards <= MAX_SHARDS


@pytest.mark.parametrize(
    ("count", "size", "workers", "shards"),
    [
        (0, 100, 4, 1),
        (1, 20_000, 8, 1),
        (1_000, 20_000, 2, 2),
        (10_000, 20_000, 2, 4),
        (10_000, 20_000, 64, 20),
        (1_000_000, 20_000, 2, 50),
        (10**9, 20_000, 2, 2_000),
    ],
)
def test_shards_are_of_the_size_asked_but_keep_every_process_busy(
    count: int, size: int, workers: int, shards: int
) -> None:
    assert shard_count(count, size, workers) == shards


def test_what_is_no_address_is_planned_too_for_the_guard_to_say_so(run: RunDirectory) -> None:
    """The network of sharding and that of pacing are one function, whatever text comes as an address."""
    odd = ["fe80::1%eth0", "not:an:address", "1.2.3", ""]
    put(run, "hosts", "hosts-0000", Host, [Host(host=f"{n}.example", addresses=[a]) for n, a in enumerate(odd)])
    (run.work / "hosts").mkdir()
    put(run, "_work/hosts", "0000", MailHost, [])
    cut_endpoints(run, config(), 1, nothing)
    assert {row.address for rows in cut(run, PROBES).values() for row in rows} == set(odd)
