"""RESOLVE of mail hosts: addresses and TLSA records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from crawler.model.rows import (
    Dnssec,
    Host,
    LookupStatus,
    MailHost,
    Tlsa,
    TlsaStatus,
)
from crawler.resolve.hosts import resolve_hosts
from tests.kit.dns_server import reply_to, zone
from tests.kit.resolve_runs import hosts, run

DIGEST = "ab" * 32


def test_a_host_with_both_families_and_a_usable_tlsa() -> None:
    script = zone(
        "mx.test. 300 IN A 192.0.2.2",
        "mx.test. 300 IN A 192.0.2.1",
        "mx.test. 60 IN AAAA 2001:db8::1",
        f"_25._tcp.mx.test. 60 IN TLSA 3 1 1 {DIGEST}",
        ad=True,
    )
    [host], [tlsa], _ = hosts(script, "mx.test")
    assert host.addresses == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
    assert (host.ipv4_status, host.ipv6_status, host.ttl, host.cnames) == (LookupStatus.OK, LookupStatus.OK, 60, [])
    assert host.dnssec is Dnssec.SECURE and host.resolved_at is not None
    assert (tlsa.host, tlsa.port, tlsa.base_domain, tlsa.status) == ("mx.test", 25, "mx.test", TlsaStatus.USABLE)
    assert tlsa.records == [{"usage": 3, "selector": 1, "matching": 1, "data": bytes.fromhex(DIGEST), "usable": True}]


def test_an_address_record_that_cannot_be_read_is_counted_as_left_out() -> None:
    script = zone("mx.test. 300 IN A 192.0.2.1", r"mx.test. 300 IN A \# 3 000102")
    [host], _, _ = hosts(script, "mx.test", ipv6=False)
    assert (host.addresses, host.addresses_dropped, host.ipv4_status) == (["192.0.2.1"], 1, LookupStatus.OK)


def test_a_malformed_tlsa_record_does_not_hide_its_neighbours() -> None:
    script = zone(
        "mx.test. 300 IN A 192.0.2.1",
        r"_25._tcp.mx.test. 60 IN TLSA \# 2 0301",
        r"_25._tcp.mx.test. 60 IN TLSA \# 5 0301010000",
        f"_25._tcp.mx.test. 60 IN TLSA 3 1 1 {DIGEST}",
        ad=True,
    )
    _, [tlsa], _ = hosts(script, "mx.test")
    assert tlsa.records is not None
    assert (tlsa.status, [record["usable"] for record in tlsa.records]) == (TlsaStatus.USABLE, [False, True])


@pytest.mark.parametrize("rdata", [r"\# 2 0301", r"\# 5 0301010000", rf"1 1 1 {DIGEST}"])
def test_a_tlsa_set_of_which_nothing_can_be_used_is_unusable_and_not_absent(rdata: str) -> None:
    script = zone("mx.test. 300 IN A 192.0.2.1", f"_25._tcp.mx.test. 60 IN TLSA {rdata}", ad=True)
    _, [tlsa], _ = hosts(script, "mx.test")
    assert tlsa.status is TlsaStatus.UNUSABLE


def test_of_a_tlsa_set_of_five_hundred_records_a_part_is_kept_and_the_rest_counted() -> None:
    """By those kept a chain can be found to match; hundreds of full keys would stop the event loop."""
    records = [f"_25._tcp.mx.test. 60 IN TLSA 3 1 1 {n:064x}" for n in range(500)]
    script = zone("mx.test. 300 IN A 192.0.2.1", *records, ad=True)
    _, [tlsa], _ = hosts(script, "mx.test")
    assert (tlsa.status, tlsa.records_dropped) == (TlsaStatus.USABLE, 468)
    assert [record["data"][-1] for record in tlsa.records or ()] == list(range(32))
    _, [tlsa], _ = hosts(script, "mx.test", dns={"max_tlsa": 500})
    assert (tlsa.status, tlsa.records_dropped, len(tlsa.records or ())) == (TlsaStatus.USABLE, 0, 500)
    insecure = zone("mx.test. 300 IN A 192.0.2.1", ad=True)

    def mixed(query: Any, over_tcp: bool) -> Iterable[bytes]:
        yield from (zone(*records) if query.question[0].rdtype == 52 else insecure)(query, over_tcp)

    _, [tlsa], _ = hosts(mixed, "mx.test")
    assert (tlsa.status, tlsa.records_dropped) == (TlsaStatus.INSECURE, 468)


def test_of_a_tlsa_record_of_sixty_thousand_bytes_nothing_is_kept_and_that_is_counted() -> None:
    """Each address of the host would have a copy of it."""
    large = f"_25._tcp.mx.test. 60 IN TLSA 3 0 0 {'00' * 60_000}"
    good = f"_25._tcp.mx.test. 60 IN TLSA 3 1 1 {DIGEST}"
    for rrset, status in (([large], TlsaStatus.LOOKUP_FAILED), ([large, good], TlsaStatus.USABLE)):
        _, [tlsa], _ = hosts(zone("mx.test. 300 IN A 192.0.2.1", *rrset, ad=True), "mx.test")
        assert (tlsa.status, tlsa.records_dropped) == (status, 1)
        assert [record["data"].hex() for record in tlsa.records or ()] == [DIGEST] * (len(rrset) - 1)


def test_what_is_left_out_of_a_tlsa_set_first_is_what_no_client_heeds() -> None:
    junk = [f"_25._tcp.mx.test. 60 IN TLSA 0 0 1 {n:064x}" for n in range(40)]
    good = f"_25._tcp.mx.test. 60 IN TLSA 3 1 1 {DIGEST}"
    _, [tlsa], _ = hosts(zone("mx.test. 300 IN A 192.0.2.1", *junk, good, ad=True), "mx.test")
    assert (tlsa.status, tlsa.records_dropped) == (TlsaStatus.USABLE, 9)
    assert bytes.fromhex(DIGEST) in [record["data"] for record in tlsa.records or ()]
    _, [tlsa], _ = hosts(zone("mx.test. 300 IN A 192.0.2.1", *junk, ad=True), "mx.test")
    assert (tlsa.status, tlsa.records_dropped) == (TlsaStatus.LOOKUP_FAILED, 8), "one left out might have been usable"


def test_tlsa_is_not_asked_where_the_addresses_are_insecure() -> None:
    script = zone("mx.test. 300 IN A 192.0.2.1", f"_25._tcp.mx.test. 60 IN TLSA 3 1 1 {DIGEST}")
    [host], [tlsa], server = hosts(script, "mx.test")
    assert (host.dnssec, tlsa.status, tlsa.records) == (Dnssec.INSECURE, TlsaStatus.INSECURE, None)
    assert tlsa.records_dropped is None
    assert {kind for _, kind in server.asked()} == {"A", "AAAA"}


def test_an_alias_is_asked_at_its_end_first_and_then_at_its_own_name() -> None:
    alias = ["mx.test. 60 IN CNAME real.test.", "real.test. 60 IN A 192.0.2.1"]
    at_end = zone(*alias, f"_25._tcp.real.test. 60 IN TLSA 3 1 1 {DIGEST}", ad=True)
    [host], [tlsa], server = hosts(at_end, "mx.test")
    assert host.cnames == ["real.test"]
    assert (tlsa.base_domain, tlsa.status) == ("real.test", TlsaStatus.USABLE)
    assert ("_25._tcp.mx.test", "TLSA") not in server.asked()
    at_start = zone(*alias, f"_25._tcp.mx.test. 60 IN TLSA 3 1 1 {DIGEST}", ad=True)
    _, [tlsa], _ = hosts(at_start, "mx.test")
    assert (tlsa.base_domain, tlsa.status) == ("mx.test", TlsaStatus.USABLE)
    _, [tlsa], _ = hosts(zone(*alias, ad=True), "mx.test")
    assert (tlsa.base_domain, tlsa.status) == ("real.test", TlsaStatus.ABSENT)


def test_a_secure_alias_into_an_insecure_zone_keeps_its_own_tlsa() -> None:
    def script(query: Any, over_tcp: bool) -> Iterable[bytes]:
        name, kind = query.question[0].name.to_text(), query.question[0].rdtype
        if name == "mx.test." and kind == 5:
            yield reply_to(query, "mx.test. 60 IN CNAME real.insecure.", ad=True)
        elif name == "mx.test.":
            address = ["real.insecure. 60 IN A 192.0.2.1"] if kind == 1 else []
            yield reply_to(query, "mx.test. 60 IN CNAME real.insecure.", *address)
        elif name == "_25._tcp.mx.test.":
            yield reply_to(query, f"_25._tcp.mx.test. 60 IN TLSA 3 1 1 {DIGEST}", ad=True)
        else:
            yield reply_to(query, rcode=3)

    [host], [tlsa], _ = hosts(script, "mx.test")
    assert (host.dnssec, tlsa.base_domain, tlsa.status) == (Dnssec.INSECURE, "mx.test", TlsaStatus.USABLE)


@pytest.mark.parametrize(
    ("rcode", "ede", "status"),
    [
        (0, None, TlsaStatus.INSECURE),
        (2, (6, ""), TlsaStatus.BOGUS),
        (2, None, TlsaStatus.LOOKUP_FAILED),
        (5, None, TlsaStatus.LOOKUP_FAILED),
    ],
)
def test_whether_an_alias_is_secure_that_cannot_be_asked_is_not_answered_with_insecure(
    rcode: int, ede: tuple[int, str] | None, status: TlsaStatus
) -> None:
    """RFC 7672 §2.2.2: errors for *any* query in the process delay delivery."""

    def script(query: Any, over_tcp: bool) -> Iterable[bytes]:
        name, kind = query.question[0].name.to_text(), query.question[0].rdtype
        if name == "mx.test." and kind == 5:
            yield reply_to(query, *(["mx.test. 60 IN CNAME real.insecure."] if not rcode else []), rcode=rcode, ede=ede)
        else:
            address = ["real.insecure. 60 IN A 192.0.2.1"] if kind == 1 else []
            yield reply_to(query, "mx.test. 60 IN CNAME real.insecure.", *address)

    _, [tlsa], _ = hosts(script, "mx.test")
    assert (tlsa.base_domain, tlsa.status, tlsa.records) == ("mx.test", status, None)


def test_a_failure_at_the_second_base_domain_is_not_told_with_the_records_of_the_first() -> None:
    alias = ["mx.test. 60 IN CNAME real.test.", "real.test. 60 IN A 192.0.2.1"]
    secure, at_end = zone(*alias, ad=True), zone(f"_25._tcp.real.test. 60 IN TLSA 3 1 1 {DIGEST}")

    def script(query: Any, over_tcp: bool) -> Iterable[bytes]:
        name = query.question[0].name.to_text()
        if name == "_25._tcp.mx.test.":
            yield reply_to(query, rcode=2)
        else:
            yield from (at_end if name == "_25._tcp.real.test." else secure)(query, over_tcp)

    _, [tlsa], _ = hosts(script, "mx.test")
    assert (tlsa.base_domain, tlsa.status) == ("mx.test", TlsaStatus.LOOKUP_FAILED)
    assert (tlsa.records, tlsa.records_dropped) == (None, None)


@pytest.mark.parametrize(
    ("rcode", "ede", "status"),
    [
        (3, None, TlsaStatus.ABSENT),
        (0, None, TlsaStatus.ABSENT),
        (2, (6, ""), TlsaStatus.BOGUS),
        (2, None, TlsaStatus.LOOKUP_FAILED),
        (5, None, TlsaStatus.LOOKUP_FAILED),
    ],
)
def test_a_tlsa_question_that_fails_is_not_an_absent_set(
    rcode: int, ede: tuple[int, str] | None, status: TlsaStatus
) -> None:
    def script(query: Any, over_tcp: bool) -> Iterable[bytes]:
        if query.question[0].rdtype == 52:
            yield reply_to(query, rcode=rcode, ede=ede, ad=True)
        else:
            yield from addresses(query, over_tcp)

    addresses = zone("mx.test. 300 IN A 192.0.2.1", ad=True)
    _, [tlsa], _ = hosts(script, "mx.test")
    assert (tlsa.status, tlsa.base_domain) == (status, "mx.test")


def test_insecure_tlsa_under_secure_addresses_is_recorded_as_insecure() -> None:
    def script(query: Any, over_tcp: bool) -> Iterable[bytes]:
        yield from (insecure if query.question[0].rdtype == 52 else secure)(query, over_tcp)

    records = ["mx.test. 300 IN A 192.0.2.1", f"_25._tcp.mx.test. 60 IN TLSA 3 1 1 {DIGEST}"]
    secure, insecure = zone(*records, ad=True), zone(*records)
    _, [tlsa], _ = hosts(script, "mx.test")
    assert tlsa.status is TlsaStatus.INSECURE and tlsa.records is not None


def test_each_family_that_is_switched_off_is_not_asked() -> None:
    script = zone("mx.test. 300 IN A 192.0.2.1", "mx.test. 300 IN AAAA 2001:db8::1", ad=True)
    [host], _, _ = hosts(script, "mx.test", ipv4=False)
    assert (host.ipv4_status, host.addresses) == (LookupStatus.NOT_ASKED, ["2001:db8::1"])
    [host], _, _ = hosts(script, "mx.test", ipv6=False)
    assert (host.ipv6_status, host.addresses) == (LookupStatus.NOT_ASKED, ["192.0.2.1"])
    assert host.dnssec is Dnssec.SECURE


def test_tlsa_switched_off_or_pointless_is_not_asked() -> None:
    script = zone("mx.test. 300 IN A 192.0.2.1", "empty.test. 60 IN TXT x", ad=True)
    for name, values in (("mx.test", {"tlsa": False}), ("empty.test", {}), ("gone.test", {})):
        _, [tlsa], server = hosts(script, name, **values)
        assert (tlsa.status, tlsa.base_domain) == (TlsaStatus.NOT_ASKED, None)
        assert "TLSA" not in {kind for _, kind in server.asked()}


@pytest.mark.parametrize(
    ("rcode", "ede", "status", "dnssec"),
    [
        (3, None, LookupStatus.NXDOMAIN, Dnssec.INSECURE),
        (2, None, LookupStatus.SERVFAIL, Dnssec.UNKNOWN),
        (2, (7, ""), LookupStatus.BOGUS, Dnssec.BOGUS),
        (5, None, LookupStatus.REFUSED, Dnssec.UNKNOWN),
    ],
)
def test_a_host_without_addresses_says_why(
    rcode: int, ede: tuple[int, str] | None, status: LookupStatus, dnssec: Dnssec
) -> None:
    [host], [tlsa], _ = hosts(lambda query, over_tcp: [reply_to(query, rcode=rcode, ede=ede)], "mx.test")
    assert (host.ipv4_status, host.ipv6_status, host.dnssec) == (status, status, dnssec)
    assert (host.addresses, tlsa.status) == ([], TlsaStatus.NOT_ASKED)


def test_addresses_beyond_the_cap_are_left_out() -> None:
    script = zone(*(f"mx.test. 60 IN A 192.0.2.{n}" for n in range(100, 150)))
    [host], _, _ = hosts(script, "mx.test", dns={"max_addresses": 10})
    assert (host.addresses, host.addresses_dropped) == ([f"192.0.2.{n}" for n in range(100, 110)], 40)
    [host], _, _ = hosts(script, "mx.test", dns={"max_addresses": 50})
    assert (len(host.addresses or ()), host.addresses_dropped) == (50, 0)
    [host], _, _ = hosts(lambda query, over_tcp: [reply_to(query, rcode=5)], "mx.test")
    assert (host.addresses, host.addresses_dropped) == ([], 0)


def test_a_bug_in_one_host_does_not_lose_the_others(caplog: pytest.LogCaptureFixture) -> None:
    rows, _ = run(
        zone(), lambda dns, config, emit: resolve_hosts([MailHost(None), MailHost("a.test")], dns, config, emit)
    )
    assert [type(row) for row in rows].count(Host) == [type(row) for row in rows].count(Tlsa) == 2
    assert "our bug" in caplog.text
