"""A list of hosts: rows of its lines, what is gathered of a host, and the address lookups behind them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from crawler.lists.hosts import HostLines
from crawler.model.rows import Domain, FoundBy, Host, LookupStatus, MailHost, Route, Target, Tlsa, TlsaStatus
from crawler.resolve.asked import Gathered, gathered, within_limits
from crawler.resolve.endpoints import endpoints_of
from crawler.resolve.hosts import resolve_hosts
from crawler.resolve.listed_hosts import resolve_listed_hosts
from crawler.settings.config import Config
from tests.kit.dns_server import Script, zone
from tests.kit.resolve_runs import run

CONFIG = Config(hosts=True, protocol=("imap", "imaps"), port={"imaps": 9_993})


def rows(*lines: str, excluded: str = "") -> list[Domain]:
    found: list[Any] = []
    targets = map(HostLines.of(CONFIG).target, lines)
    asyncio.run(resolve_listed_hosts(targets, CONFIG, found.append, excluded=lambda name: name == excluded))
    return found


def entry(
    port: int, *ways: str, protocol: str = "imap", form: str = "starttls", domains: int = 1, names: str = "d.example"
) -> dict[str, Any]:
    return {
        "protocol": protocol,
        "form": form,
        "port": port,
        "found_by": list(ways),
        "domains": domains,
        "reference_names": names.split(),
    }


def hosts(script: Script, *given: MailHost) -> tuple[list[Host], list[Tlsa], list[tuple[str, str]]]:
    found, server = run(
        script,
        lambda dns, config, emit: resolve_hosts(given, dns, config, emit),
        hosts=True,
        protocol=["imap", "imaps"],
    )
    return [r for r in found if isinstance(r, Host)], [r for r in found if isinstance(r, Tlsa)], server.asked()


def test_a_line_is_a_row_with_what_the_host_is_asked_and_null_where_nobody_was_asked() -> None:
    (row,) = rows("mail.a.example.org")
    assert (row.domain, row.input, row.route) == ("mail.a.example.org", "mail.a.example.org", Route.HOST)
    assert row.registrable_domain == "example.org"
    asked = [(s["protocol"], s["form"], s["host"], s["port"], s["found_by"]) for s in row.services or ()]
    assert asked == [
        ("imap", "starttls", "mail.a.example.org", 143, FoundBy.LISTED),
        ("imap", "implicit", "mail.a.example.org", 9_993, FoundBy.LISTED),
    ]
    assert [s["reference_names"] for s in row.services or ()] == [["mail.a.example.org"]] * 2
    unasked = (
        row.mx,
        row.mx_dropped,
        row.dnssec,
        row.rcode,
        row.resolved_at,
        row.mta_sts_record,
        row.tlsrpt,
        row.cnames,
    )
    assert unasked == (None,) * 8


def test_an_address_has_no_name_to_be_held_against_a_certificate_nor_a_registrable_domain() -> None:
    (row,) = rows("192.0.2.1:993")
    assert (row.domain, row.registrable_domain, row.public_suffix) == ("192.0.2.1", None, None)
    assert [(s["port"], s["reference_names"]) for s in row.services or ()] == [(993, [])]


def test_bad_lines_and_hosts_that_opted_out_are_rows_that_ask_nothing() -> None:
    bad, out = rows("no host", "mx.example.org", excluded="mx.example.org")
    assert (bad.domain, bad.route, bad.services) == (None, Route.INVALID, None)
    assert (out.route, out.services) == (Route.OPTED_OUT, None)


def test_a_host_of_several_lines_is_looked_up_once_and_asked_all_that_they_name() -> None:
    dropped = [0]
    given = [MailHost("a.example", [entry(143, "listed")]), MailHost("b.example", [entry(143, "listed")])]
    given += [MailHost("a.example", [entry(143, "srv"), entry(993, "listed")])]
    found = {host.host: host.asked for host in gathered(given, CONFIG, dropped)}
    assert dropped == [1]
    assert found["a.example"] == [entry(143, "listed", "srv", domains=2), entry(993, "listed")]
    assert found["b.example"] == [entry(143, "listed")]


def test_hosts_that_only_mx_records_name_are_gathered_without_entries() -> None:
    dropped = [0]
    assert list(gathered([MailHost("a.example")] * 3, CONFIG, dropped)) == [MailHost("a.example")]
    assert dropped == [2]


def test_names_of_the_list_cannot_have_all_ports_of_a_stranger_tried() -> None:
    """The protocols' own ports stay, then those that most names lead to."""
    config = Config.from_mapping({"protocol": ["imap"], "pacing": {"host_ports": 2}})
    together = Gathered(config)
    for port in range(2_000, 2_100):
        together.add(entry(port, "srv"))
    for _ in range(3):
        together.add(entry(2_050, "srv"))
    together.add(entry(143, "srv"))
    kept, dropped = within_limits(together.entries(), config)
    assert [e["port"] for e in kept] == [143, 2_050, 2_000]
    assert dropped == 98


def test_an_address_of_the_list_is_its_own_address_and_nobody_is_asked() -> None:
    (row,), tlsa, asked = hosts(zone(), MailHost("2001:db8::1", [entry(143, "listed")]))
    assert (row.addresses, row.ipv4_status, row.ipv6_status) == (["2001:db8::1"], *["not_asked"] * 2)
    assert [(t.port, t.status) for t in tlsa] == [(143, TlsaStatus.NOT_ASKED)] and asked == []


def test_tlsa_records_are_asked_at_the_ports_that_the_host_is_asked_on() -> None:
    script = zone("a.example. 60 IN A 192.0.2.1", f"_2993._tcp.a.example. 60 IN TLSA 3 1 1 {'ab' * 32}", ad=True)
    given = MailHost("a.example", [entry(2_993, "srv", form="implicit"), entry(143, "listed")])
    (row,), tlsa, _ = hosts(script, given)
    assert {(t.port, t.status) for t in tlsa} == {(143, TlsaStatus.ABSENT), (2_993, TlsaStatus.USABLE)}
    made = list(endpoints_of(row, {t.port or 0: t for t in tlsa}, CONFIG))
    assert [(e.protocol, e.form, e.port, e.found_by, e.tlsa_status) for e in made] == [
        ("imap", "starttls", 143, ["listed"], TlsaStatus.ABSENT),
        ("imap", "implicit", 2_993, ["srv"], TlsaStatus.USABLE),
    ]


@pytest.mark.parametrize("target", ["192.0.2.1"])
def test_an_mx_record_that_names_an_address_leads_nowhere_as_before(target: str) -> None:
    found, server = run(zone(), lambda dns, config, emit: resolve_hosts([MailHost(target)], dns, config, emit))
    (row,) = [r for r in found if isinstance(r, Host)]
    assert (row.addresses, row.ipv4_status) == ([], LookupStatus.NXDOMAIN) and server.asked()


def test_a_target_that_was_given_no_services_is_asked_nothing() -> None:
    found: list[Any] = []
    asyncio.run(resolve_listed_hosts([Target("a.example", "a.example")], CONFIG, found.append))
    assert found[0].services == []


def test_names_to_hold_against_a_certificate_are_gathered_until_they_are_too_many() -> None:
    config = Config.from_mapping({"limits": {"reference_names": 3}})
    together = Gathered(config)
    for names in ("c.example a.example", "b.example", "a.example"):
        together.add(entry(143, "srv", names=names))
    assert together.entries()[0]["reference_names"] == ["a.example", "b.example", "c.example"]
    together.add(entry(143, "srv", names="d.example"))
    together.add(entry(143, "srv", names="a.example"))
    (kept,) = together.entries()
    assert (kept["reference_names"], kept["domains"]) == (None, 5), "which they are is not known any more"
    again = Gathered(config)
    again.add(entry(143, "srv"))
    again.add(kept)
    assert again.entries()[0]["reference_names"] is None, "nor by what is gathered of it later"
