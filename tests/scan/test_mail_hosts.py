"""Hosts that names of a list lead to for their services: cut, gathered, and within the budgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crawler.dataset.run import RunDirectory
from crawler.dataset.steps import DOMAINS, HOSTS, PROBES
from crawler.executors.given_up import rows_of
from crawler.model.rows import Domain, Endpoint, Host, LookupStatus, MailHost, Route, Target, TlsaStatus
from crawler.resolve.asked import gathered
from crawler.scan.mail_hosts import mail_hosts
from crawler.scan.plan import cut_endpoints, cut_hosts, cut_targets
from crawler.settings.config import Config
from tests.kit.plans import begun_run, cut, put

CONFIG = Config.from_mapping({"protocol": ["smtp", "mail"], "shards": {"hosts": 5}})


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return begun_run(tmp_path)


def nothing(rows: int) -> None:
    pass


def service(host: str, port: int, *names: str, found_by: str = "srv") -> dict[str, Any]:
    return {
        "protocol": "imap", "form": "implicit", "host": host, "port": port, "found_by": found_by,
        "priority": 0, "weight": 0, "reference_names": list(names),
    }  # fmt: skip


def domain(name: str, mx: list[str], *services: dict[str, Any]) -> Domain:
    hosts = [{"host": host, "preference": 10} for host in mx]
    return Domain(domain=name, route=Route.EXPLICIT, mx=hosts, services=list(services), srv=[])


def gathered_from(run: RunDirectory, *rows: Domain) -> dict[str, list[dict[str, Any]]]:
    """What each host is asked, as the step HOSTS has it."""
    for number, row in enumerate(rows):  # each in a part of its own, so that nothing meets before the shard
        put(run, "domains", f"domains-{number:04d}", Domain, [row])
    cut_hosts(run, CONFIG, 1, nothing)
    found = (list(gathered(shard, CONFIG, [0])) for shard in cut(run, HOSTS).values())
    hosts = [host for shard in found for host in shard]
    assert len(hosts) == len({host.host for host in hosts}), "what is asked of one host meets in one shard"
    return {host.host or "": host.asked or [] for host in hosts}


def test_what_names_of_several_parts_lead_to_meets_in_the_shard_of_the_host(run: RunDirectory) -> None:
    asked = gathered_from(
        run,
        domain("a.example", ["mx.example"], service("mx.example", 993, "a.example")),
        domain("b.example", ["mx.example"], service("mx.example", 993, "b.example", found_by="srv_other_form")),
        domain("c.example", ["other.example"], service("mx.example", 1_993, "c.example")),
    )
    assert set(asked) == {"mx.example", "other.example"}
    by_port = {(entry["protocol"], entry["port"]): entry for entry in asked["mx.example"]}
    assert set(by_port) == {("smtp", 25), ("imap", 993), ("imap", 1_993)}
    assert (by_port["smtp", 25]["found_by"], by_port["smtp", 25]["domains"]) == (["mx"], None)
    shared = by_port["imap", 993]
    assert (shared["found_by"], shared["domains"]) == (["srv", "srv_other_form"], 2)
    assert shared["reference_names"] == ["a.example", "b.example"]


def test_endpoints_of_services_count_towards_the_budgets_and_each_domain_is_divided_among_its_hosts(
    run: RunDirectory,
) -> None:
    rows = (
        domain("a.example", ["mx.p.example"], service("imap.p.example", 993, "a.example")),
        domain("b.example", [], service("imap.p.example", 1_993, "b.example")),
    )
    asked = gathered_from(run, *rows)
    hosts = [Host(host=name, addresses=["192.0.2.1"], asked=entries) for name, entries in asked.items()]
    put(run, "hosts", "hosts-0000", Host, hosts)
    run.shard_path(HOSTS, 0).touch()
    cut_endpoints(run, CONFIG, 1, nothing)
    endpoints: list[Endpoint] = [row for shard in cut(run, PROBES).values() for row in shard]
    assert {(e.protocol, e.host, e.port) for e in endpoints} == {
        ("smtp", "mx.p.example", 25), ("imap", "imap.p.example", 993), ("imap", "imap.p.example", 1_993),
    }  # fmt: skip
    assert {e.host: e.weight for e in endpoints} == {"mx.p.example": 0.5, "imap.p.example": 1.5}
    assert {e.provider_endpoints for e in endpoints} == {3} and {e.provider_weight for e in endpoints} == {2.0}
    assert sum(e.share or 0.0 for e in endpoints) == pytest.approx(2.0), "two domains in all"


def test_hosts_are_gathered_a_few_at_a_time_and_come_to_the_same(run: RunDirectory) -> None:
    rows = [domain(f"d{n}.example", [], service(f"h{n % 7}.example", 993, f"d{n}.example")) for n in range(40)]
    put(run, "domains", "domains-0000", Domain, rows)
    part = run.path / "domains" / "domains-0000.parquet"
    alone = Config.from_mapping({"protocol": ["mail"]})
    few, all_at_once = (list(mail_hosts(part, alone, held)) for held in (3, 1_000))
    assert len(all_at_once) == 7 and len(few) > 7
    assert sorted(map(repr, gathered(few, alone, [0]))) == sorted(map(repr, gathered(all_at_once, alone, [0])))


def test_a_host_that_was_given_up_has_the_rows_that_its_services_owe() -> None:
    given = MailHost("mx.example", [{**service("", 1_993), "found_by": ["srv"], "domains": 1}])
    host, *tlsa = rows_of([given], CONFIG)
    assert (host.ipv4_status, [entry["port"] for entry in host.asked]) == (LookupStatus.GAVE_UP, [1_993])
    assert [(row.port, row.status) for row in tlsa] == [(1_993, TlsaStatus.NOT_ASKED)]


def test_a_host_of_a_list_with_two_ports_is_two_rows_in_one_shard_and_a_repeated_line_is_one(
    run: RunDirectory, tmp_path: Path
) -> None:
    (tmp_path / "l").write_text("a.example:25\na.example:993\nA.example.:993\n")
    cut_targets(run, tmp_path / "l", 3, Config(hosts=True), 1, nothing)
    (rows,) = cut(run, DOMAINS).values()
    assert [(row.domain, row.port, row.services) for row in rows] == [
        ("a.example", 25, ["smtp"]), ("a.example", 993, ["imaps"]), ("a.example", 993, ["imaps"]),
    ]  # fmt: skip
    assert DOMAINS.key is not None and len({DOMAINS.key(row) for row in rows}) == 2
    assert isinstance(rows[0], Target)
