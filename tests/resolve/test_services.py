"""Where a domain's mail clients go: SRV records, the protocol's other form, names by custom, and what keeps us from knowing."""

from __future__ import annotations

from typing import Any

import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from crawler.model.rows import Domain, Fallback, FoundBy, Route, SrvStatus, Target
from crawler.resolve.asked import mail_hosts_of
from crawler.resolve.domains import resolve_domains
from crawler.resolve.services import NO_NAME
from crawler.settings.config import Config
from tests.kit.dns_server import Query, Script, reply_to, zone
from tests.kit.resolve_runs import run

MX = "d.example. 60 IN MX 10 mx.d.example."
Service = tuple[str, str, str, int, FoundBy]


def resolved(script: Script, *opted_out: str, **values: Any) -> tuple[Domain, list[tuple[str, str]]]:
    def excluded(name: str) -> bool:
        return any(name == out or name.endswith(f".{out}") for out in opted_out)

    settings = {"protocol": ["mail"], "mta_sts": False, "tlsrpt": False, "ipv6": False} | values
    found, server = run(
        script,
        lambda dns, config, emit: resolve_domains(
            [Target("d.example", "d.example")], dns, config, emit, excluded=excluded
        ),
        **settings,
    )
    (row,) = found
    return row, server.asked()


def of(row: Domain, protocol: str) -> list[Service]:
    return [
        (s["protocol"], str(s["form"]), s["host"], s["port"], s["found_by"])
        for s in row.services or ()
        if s["protocol"] == protocol
    ]


def states(row: Domain, protocol: str) -> dict[str, tuple[SrvStatus, Fallback | None]]:
    return {str(s["form"]): (s["status"], s["fallback"]) for s in row.srv or () if s["protocol"] == protocol}


def test_hosts_that_srv_records_name_are_asked_on_the_ports_that_they_name() -> None:
    row, asked = resolved(
        zone(
            MX,
            "_imap._tcp.d.example. 60 IN SRV 0 1 2143 b.example.",
            "_imaps._tcp.d.example. 60 IN SRV 0 1 993 b.example.",
            "_imaps._tcp.d.example. 60 IN SRV 0 7 1993 a.example.",
        )
    )
    assert of(row, "imap") == [
        ("imap", "starttls", "b.example", 2_143, FoundBy.SRV),
        ("imap", "implicit", "a.example", 1_993, FoundBy.SRV),
        ("imap", "implicit", "b.example", 993, FoundBy.SRV),
    ]
    assert [(s["priority"], s["weight"]) for s in row.services or ()][:3] == [(0, 1), (0, 7), (0, 1)]
    labels = ("_imap", "_imaps", "_pop3", "_pop3s", "_submission", "_submissions")
    assert {(f"{label}._tcp.d.example", "SRV") for label in labels} <= set(asked)
    assert ("imap.d.example", "A") not in asked, "nothing is left to guess"


def test_a_form_on_which_srv_records_are_silent_is_asked_of_the_same_hosts_on_its_own_port() -> None:
    row, _ = resolved(zone(MX, "_imaps._tcp.d.example. 60 IN SRV 0 1 1993 a.example."))
    assert of(row, "imap") == [
        ("imap", "implicit", "a.example", 1_993, FoundBy.SRV),
        ("imap", "starttls", "a.example", 143, FoundBy.SRV_OTHER_FORM),
    ]


def test_a_service_that_is_decidedly_not_available_is_not_asked_and_not_guessed() -> None:
    row, asked = resolved(zone(MX, "_pop3._tcp.d.example. 60 IN SRV 0 0 0 .", "pop.d.example. 60 IN A 192.0.2.1"))
    assert of(row, "pop3") == []
    assert states(row, "pop3") == {"starttls": (SrvStatus.NOT_AVAILABLE, None), "implicit": (SrvStatus.ABSENT, None)}
    assert ("pop.d.example", "A") not in asked


def test_where_srv_records_are_silent_the_first_customary_name_with_an_address_is_asked_both_forms() -> None:
    row, _ = resolved(
        zone(MX, "mail.d.example. 60 IN A 192.0.2.1", "smtp.d.example. 60 IN A 192.0.2.2"), port={"imap": 2143}
    )
    assert of(row, "imap") == [
        ("imap", "starttls", "mail.d.example", 2_143, FoundBy.FALLBACK),
        ("imap", "implicit", "mail.d.example", 993, FoundBy.FALLBACK),
    ]
    assert {(s[2], s[4]) for s in of(row, "submission")} == {("smtp.d.example", FoundBy.FALLBACK)}
    assert set(states(row, "imap").values()) == {(SrvStatus.ABSENT, Fallback.FOUND)}


def test_without_a_customary_name_the_first_mx_host_is_asked() -> None:
    row, _ = resolved(zone("d.example. 60 IN MX 20 b.d.example.", "d.example. 60 IN MX 10 a.d.example."))
    assert {(s[2], s[4]) for s in of(row, "pop3")} == {("a.d.example", FoundBy.MX)}


def test_a_domain_without_any_of_these_has_no_service_and_that_is_known() -> None:
    row, _ = resolved(zone("d.example. 60 IN MX 0 ."))
    assert row.route is Route.NULL_MX and row.services == []
    assert {state["fallback"] for state in row.srv or ()} == {Fallback.NONE}


def with_wildcard(address: str, script: Script) -> Script:
    """Every name below the domain that the script does not have has this address."""

    def answer(query: Query, over_tcp: bool) -> Any:
        name = query.question[0].name.to_text(omit_final_dot=True).lower()
        (wire,) = script(query, over_tcp)
        is_unknown = dns.message.from_wire(wire).rcode() == dns.rcode.NXDOMAIN
        if not is_unknown or not name.endswith(".d.example") or name.startswith("_"):
            return [wire]
        is_address = query.question[0].rdtype == dns.rdatatype.A
        return [reply_to(query, f"{name}. 60 IN A {address}") if is_address else reply_to(query)]

    return answer


def test_a_name_that_only_a_wildcard_has_is_not_taken_for_a_mail_host() -> None:
    """Else half the web would be asked for mail."""
    row, asked = resolved(with_wildcard("192.0.2.80", zone(MX, "mail.d.example. 60 IN A 192.0.2.1")))
    assert {s[2] for s in of(row, "imap")} == {"mail.d.example"}
    assert {s[2] for s in of(row, "pop3")} == {"mail.d.example"}
    assert (f"{NO_NAME}.d.example", "A") in asked


def test_where_every_customary_name_is_of_the_wildcard_the_mx_host_is_asked() -> None:
    row, _ = resolved(with_wildcard("192.0.2.80", zone(MX)))
    assert {(s[2], s[4]) for s in of(row, "imap")} == {("mx.d.example", FoundBy.MX)}


def failing(name: str, script: Script) -> Script:
    def answer(query: Query, over_tcp: bool) -> Any:
        if query.question[0].name.to_text(omit_final_dot=True).lower() == name:
            return [reply_to(query, rcode=2)]
        return script(query, over_tcp)

    return answer


def test_a_failed_srv_lookup_leaves_the_protocol_open_and_nobody_is_guessed() -> None:
    row, asked = resolved(failing("_imap._tcp.d.example", zone(MX, "imap.d.example. 60 IN A 192.0.2.1")))
    assert of(row, "imap") == [] and ("imap.d.example", "A") not in asked
    assert states(row, "imap")["starttls"] == (SrvStatus.LOOKUP_FAILED, None)


def test_a_failed_lookup_of_a_customary_name_leaves_open_which_host_it_would_have_been() -> None:
    row, _ = resolved(failing("imap.d.example", zone(MX, "mail.d.example. 60 IN A 192.0.2.1")))
    assert of(row, "imap") == []
    assert set(states(row, "imap").values()) == {(SrvStatus.ABSENT, Fallback.LOOKUP_FAILED)}


@pytest.mark.parametrize(
    "records",
    [
        ["_imap._tcp.d.example. 60 IN CNAME _imap._tcp.out.example.", "_imap._tcp.out.example. 60 IN SRV 0 1 143 a.example."],
        ["imap.d.example. 60 IN CNAME x.out.example.", "x.out.example. 60 IN A 192.0.2.1"],
    ],
)  # fmt: skip
def test_an_alias_into_a_domain_that_opted_out_is_not_followed(records: list[str]) -> None:
    row, _ = resolved(zone(MX, *records), "out.example")
    assert of(row, "imap") == []
    assert "opted_out" in {str(word) for state in states(row, "imap").values() for word in state}


def test_nobody_asks_about_a_customary_name_that_opted_out() -> None:
    row, asked = resolved(zone(MX, "imap.d.example. 60 IN A 192.0.2.1"), "imap.d.example")
    assert of(row, "imap") == [] and ("imap.d.example", "A") not in asked
    assert set(states(row, "imap").values()) == {(SrvStatus.ABSENT, Fallback.OPTED_OUT)}


def test_srv_records_beyond_the_cap_are_left_out_and_counted() -> None:
    records = [f"_imap._tcp.d.example. 60 IN SRV {n} 0 143 h{n}.example." for n in range(20)]
    row, _ = resolved(zone(MX, *records), dns={"max_srv": 3})
    assert [s[2] for s in of(row, "imap") if s[4] == FoundBy.SRV] == ["h0.example", "h1.example", "h2.example"]
    assert [state["dropped"] for state in row.srv or () if state["status"] == SrvStatus.NAMED] == [17]


@pytest.mark.parametrize(("secure", "names"), [(False, ["d.example"]), (True, ["d.example", "a.example"])])
def test_the_certificate_must_name_the_domain_or_a_target_that_dnssec_vouches_for(
    secure: bool, names: list[str]
) -> None:
    """RFC 6186 §6, RFC 7817 §3, RFC 9525 §6.1."""
    row, _ = resolved(zone(MX, "_imaps._tcp.d.example. 60 IN SRV 0 1 993 a.example.", ad=secure), trust_ad=True)
    assert [s["reference_names"] for s in row.services or () if s["protocol"] == "imap"] == [names] * 2


def test_a_name_by_custom_and_an_mx_host_are_held_against_the_certificate_as_they_are_dialled() -> None:
    row, _ = resolved(zone(MX, "imap.d.example. 60 IN A 192.0.2.1", ad=True))
    assert {tuple(s["reference_names"]) for s in row.services or () if s["protocol"] == "imap"} == {("imap.d.example",)}
    assert {tuple(s["reference_names"]) for s in row.services or () if s["protocol"] == "pop3"} == {("mx.d.example",)}


def test_smtp_beside_the_family_is_asked_of_mx_hosts_and_nothing_else_is() -> None:
    row, _ = resolved(zone(MX, "_imaps._tcp.d.example. 60 IN SRV 0 1 993 mx.d.example."), protocol=["smtp", "mail"])
    config = Config(protocol=("smtp", "mail"))
    (host,) = mail_hosts_of(row, config)
    asked = {(e["protocol"], e["form"], e["port"]): e["found_by"] for e in host.asked or ()}
    assert asked["smtp", "starttls", 25] == ["mx"] and asked["imap", "implicit", 993] == ["srv"]
    alone = mail_hosts_of(Domain(mx=row.mx), Config())
    assert [entry["protocol"] for host in alone for entry in host.asked or ()] == ["smtp"]


def test_a_domain_that_does_not_exist_is_asked_about_no_service() -> None:
    row, asked = resolved(zone("other.example. 60 IN A 192.0.2.1"))
    assert row.route is Route.NXDOMAIN and row.services is row.srv is None
    assert [kind for _, kind in asked] == ["MX"]
