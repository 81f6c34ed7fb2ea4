"""RESOLVE of domains: routes, what protects them, and policies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from crawler.dns.codec import AAAA, A
from crawler.model.rows import (
    DnsError,
    Dnssec,
    Domain,
    MailHost,
    MtaStsRecord,
    Route,
    Target,
    Tlsa,
    TlsrptStatus,
)
from crawler.resolve.domains import resolve_domains
from crawler.resolve.hosts import resolve_hosts
from tests.kit.dns_server import Script, reply_to, zone
from tests.kit.resolve_runs import hosts, run


def domains(script: Script, *names: str, targets: Iterable[Target] | None = None, **values: Any) -> list[Domain]:
    """Rows of these names, in their order."""
    rows, _ = run(
        script,
        lambda dns, config, emit: resolve_domains(
            targets if targets is not None else [Target(name, name) for name in names], dns, config, emit
        ),
        **values,
    )
    return sorted(
        (row for row in rows if isinstance(row, Domain)), key=lambda row: (*names, row.domain).index(row.domain)
    )


def test_an_explicit_route_with_all_that_protects_it() -> None:
    script = zone(
        "a.test. 300 IN MX 10 MX.a.test.",
        '_mta-sts.a.test. 60 IN TXT "v=STSv1; id=20260101T000000;"',
        '_smtp._tls.a.test. 60 IN TXT "v=TLSRPTv1; rua=mailto:tls@a.test"',
        ad=True,
    )
    [row] = domains(script, targets=[Target("a.test", "A.test.", 7)])
    assert (row.domain, row.input, row.rank) == ("a.test", "A.test.", 7)
    assert (row.registrable_domain, row.public_suffix) == ("a.test", "test")
    assert (row.route, row.dns_error, row.rcode, row.ede, row.cnames) == (Route.EXPLICIT, None, "NOERROR", [], [])
    assert (row.mx, row.mx_dropped, row.dnssec) == ([{"host": "mx.a.test", "preference": 10}], 0, Dnssec.SECURE)
    assert (row.mta_sts_record, row.mta_sts_id) == (MtaStsRecord.VALID, "20260101T000000")
    assert (row.tlsrpt, row.tlsrpt_rua) == (TlsrptStatus.VALID, ["mailto:tls@a.test"])
    assert row.resolved_at is not None


def test_every_route_has_its_row() -> None:
    script = zone(
        "null.test. 60 IN MX 0 .",
        "badnull.test. 60 IN MX 0 .",
        "badnull.test. 60 IN MX 5 mx.test.",
        "v4.test. 60 IN A 192.0.2.1",
        "v6.test. 60 IN AAAA 2001:db8::1",
        "empty.test. 60 IN TXT nothing",
        "alias.test. 60 IN CNAME real.test.",
        "real.test. 60 IN MX 5 mx.test.",
        "literal.test. 60 IN MX 5 192.0.2.1.",
        "self.test. 60 IN MX 5 self.test.",
    )
    names = ["null.test", "badnull.test", "v4.test", "v6.test", "empty.test", "alias.test", "literal.test", "self.test"]
    rows = domains(script, *names, "gone.test")
    assert [row.route for row in rows] == [
        Route.NULL_MX,
        Route.NULL_MX_INVALID,
        Route.IMPLICIT,
        Route.IMPLICIT,
        Route.NO_MAIL_HOST,
        Route.EXPLICIT,
        Route.EXPLICIT,
        Route.EXPLICIT,
        Route.NXDOMAIN,
    ]
    mx = {row.domain: row.mx for row in rows}
    assert mx["null.test"] == mx["empty.test"] == mx["gone.test"] == []
    assert mx["badnull.test"] == mx["alias.test"] == [{"host": "mx.test", "preference": 5}]
    assert mx["v4.test"] == [{"host": "v4.test", "preference": 0}]
    assert mx["literal.test"] == [{"host": "192.0.2.1", "preference": 5}]
    assert mx["self.test"] == [{"host": "self.test", "preference": 5}]
    assert rows[5].cnames == ["real.test"]


@pytest.mark.parametrize(
    ("rcode", "ede", "error", "dnssec"),
    [
        (2, None, DnsError.SERVFAIL, Dnssec.UNKNOWN),
        (2, (9, "no DNSKEY"), DnsError.BOGUS, Dnssec.BOGUS),
        (5, None, DnsError.REFUSED, Dnssec.UNKNOWN),
    ],
)
def test_a_failed_mx_question_is_an_unknown_route_with_the_reason(
    rcode: int, ede: tuple[int, str] | None, error: DnsError, dnssec: Dnssec
) -> None:
    [row] = domains(lambda query, over_tcp: [reply_to(query, rcode=rcode, ede=ede)], "a.test")
    assert (row.route, row.dns_error, row.dnssec, row.mx, row.mx_dropped) == (Route.UNKNOWN, error, dnssec, None, None)
    assert row.rcode == ("SERVFAIL" if rcode == 2 else "REFUSED")
    assert row.ede == ([] if ede is None else ["9 no DNSKEY"])
    assert (row.mta_sts_record, row.tlsrpt) == (None, None)
    assert row.resolved_at is not None


def test_silence_and_nonsense_are_told_apart() -> None:
    [silent] = domains(lambda query, over_tcp: [], "a.test", dns={"timeout": 0.05, "tries": 1})
    assert (silent.route, silent.dns_error, silent.rcode) == (Route.UNKNOWN, DnsError.TIMEOUT, None)
    [broken] = domains(lambda query, over_tcp: [reply_to(query, tc=True)], "a.test", dns={"tries": 1})
    assert (broken.route, broken.dns_error, broken.rcode) == (Route.UNKNOWN, DnsError.MALFORMED, None)


def test_a_failure_of_the_address_questions_is_not_no_mail_host() -> None:
    def script(query: Any, over_tcp: bool) -> Iterable[bytes]:
        yield reply_to(query, rcode=5 if query.question[0].rdtype == 28 else 0)

    [row] = domains(script, "a.test")
    assert (row.route, row.dns_error, row.rcode) == (Route.UNKNOWN, DnsError.REFUSED, "NOERROR")


def test_failed_text_lookups_are_null_and_not_absent() -> None:
    def script(query: Any, over_tcp: bool) -> Iterable[bytes]:
        if query.question[0].rdtype == 15:
            yield reply_to(query, "a.test. 60 IN MX 1 mx.test.")
        else:
            yield reply_to(query, rcode=5)

    [row] = domains(script, "a.test")
    assert (row.route, row.mta_sts_record, row.tlsrpt) == (Route.EXPLICIT, None, None)


def test_a_text_that_cannot_be_read_may_be_the_record_or_a_second_one() -> None:
    """It vanished: beside another text there was no record, and beside a record there was but one."""
    script = zone(
        "a.test. 60 IN MX 1 mx.test.",
        '_mta-sts.a.test. 60 IN TXT "v=STSv1; id=1;"',
        r"_mta-sts.a.test. 60 IN TXT \# 3 0a4141",
        '_smtp._tls.a.test. 60 IN TXT "v=spf1"',
        r"_smtp._tls.a.test. 60 IN TXT \# 3 0a4141",
    )
    [row] = domains(script, "a.test")
    assert (row.route, row.mta_sts_record, row.tlsrpt) == (Route.EXPLICIT, None, None)


def test_switched_off_questions_are_not_asked() -> None:
    rows, server = run(
        zone("a.test. 60 IN TXT x"),
        lambda dns, config, emit: resolve_domains([Target("a.test")], dns, config, emit),
        mta_sts=False,
        tlsrpt=False,
        ipv6=False,
    )
    assert server.asked() == [("a.test", "MX"), ("a.test", "A")]
    [row] = rows
    assert (row.route, row.dns_error, row.mta_sts_record, row.tlsrpt) == (Route.UNKNOWN, None, None, None)


def test_lines_that_are_no_domain_keep_their_row() -> None:
    [row] = domains(zone(), targets=[Target(None, "not a name", 3, "character ' ' is not allowed")])
    assert (row.domain, row.input, row.rank, row.route) == (None, "not a name", 3, Route.INVALID)
    assert row.resolved_at is None


def test_a_domain_that_is_an_alias_of_one_that_opted_out_has_opted_out() -> None:
    (row,), server = run(
        zone("a.test. 60 IN CNAME mail.out.test.", "mail.out.test. 60 IN MX 10 mx.b.test."),
        lambda dns, config, emit: resolve_domains(
            [Target("a.test", "a.test")], dns, config, emit, excluded=lambda name: name.endswith("out.test")
        ),
    )
    assert (row.route, row.mx, row.mta_sts_record, row.cnames) == (Route.OPTED_OUT, None, None, ["mail.out.test"])
    assert {name for name, _ in server.asked()} == {"a.test"}, "nothing more is asked about it"


def test_aliases_of_both_families_are_kept_as_consent_is_asked_of_each() -> None:
    """Servers that choose aliases by load or place may lead the families through different ones."""
    chains = {
        A: ["mx.a.test. 60 IN CNAME mail.out.test.", "mail.out.test. 60 IN A 192.0.2.1"],
        AAAA: [
            "mx.a.test. 60 IN CNAME edge.b.test.",
            "edge.b.test. 60 IN CNAME node.b.test.",
            "node.b.test. 60 IN AAAA 2001:db8::1",
        ],
    }

    def answer(query: Any, over_tcp: bool) -> Iterable[bytes]:
        yield reply_to(query, *chains.get(query.question[0].rdtype, ()), ad=True)

    rows, _ = run(answer, lambda dns, config, emit: resolve_hosts([MailHost("mx.a.test")], dns, config, emit))
    host, tlsa = rows
    assert host.cnames == ["edge.b.test", "node.b.test", "mail.out.test"]
    assert tlsa.base_domain == "node.b.test", "the end of the longer chain, as ever"


def test_who_opted_out_is_not_asked_about() -> None:
    rows, server = run(
        zone(),
        lambda dns, config, emit: resolve_domains(
            [Target("out.test", "out.test", 1), Target("in.test", "in.test", 2)],
            dns,
            config,
            emit,
            excluded=lambda name: name == "out.test",
        ),
    )
    assert {row.domain: row.route for row in rows} == {"out.test": Route.OPTED_OUT, "in.test": Route.NXDOMAIN}
    assert {name for name, _ in server.asked()} == {"in.test"}


def test_a_bug_in_one_domain_does_not_lose_it_or_the_others(caplog: pytest.LogCaptureFixture) -> None:
    def excluded(name: str) -> bool:
        if name == "b.test":
            raise RuntimeError("our bug")
        return False

    rows, _ = run(
        zone(),
        lambda dns, config, emit: resolve_domains(
            map(Target, ["a.test", "b.test", "c.test"]), dns, config, emit, excluded=excluded
        ),
    )
    assert {row.domain: row.route for row in rows} == {
        "a.test": Route.NXDOMAIN,
        "b.test": Route.UNKNOWN,
        "c.test": Route.NXDOMAIN,
    }
    assert "our bug" in caplog.text


def test_a_record_of_several_strings_behind_an_alias_is_one_record() -> None:
    """RFC 8461 §3.1 and RFC 8460 §3: strings are joined without a space; CNAMEs are followed (§8.2 delegates so)."""
    script = zone(
        "a.test. 60 IN MX 1 mx.test.",
        "_mta-sts.a.test. 60 IN CNAME _mta-sts.provider.test.",
        '_mta-sts.provider.test. 60 IN TXT "v=STS" "v1; id=2026" "0101"',
        '_mta-sts.provider.test. 60 IN TXT "v=spf1 -all"',
        "_smtp._tls.a.test. 60 IN CNAME _smtp._tls.provider.test.",
        '_smtp._tls.provider.test. 60 IN TXT "v=TLSRPTv1; rua=mail" "to:tls@provider.test"',
    )
    [row] = domains(script, "a.test")
    assert (row.mta_sts_record, row.mta_sts_id) == (MtaStsRecord.VALID, "20260101")
    assert (row.tlsrpt, row.tlsrpt_rua) == (TlsrptStatus.VALID, ["mailto:tls@provider.test"])


_SETS = (
    "MX 0 .", "MX 1 .", "MX 5 mx.a.test.", "MX 5 mx.b.test.",
    "A 192.0.2.1", "A 192.0.2.2", "A 192.0.2.3", "AAAA 2001:db8::1", "AAAA 2001:db8::2",
)  # fmt: skip

_PROTECTION = (
    '_mta-sts.a.test. 60 IN TXT "v=STSv1; id=1"', '_mta-sts.a.test. 60 IN TXT "v=STSv1 ; id=2"',
    "_mta-sts.a.test. 60 IN TXT v", '_smtp._tls.a.test. 60 IN TXT "v=TLSRPTv1; rua=mailto:a@a.test"',
    "_smtp._tls.a.test. 60 IN TXT v", "_25._tcp.a.test. 60 IN TLSA 3 1 1 " + "ab" * 32,
    "_25._tcp.a.test. 60 IN TLSA 3 1 2 " + "cd" * 64, "_25._tcp.a.test. 60 IN TLSA 2 0 1 " + "ef" * 32,
)  # fmt: skip


@pytest.mark.parametrize("turn", range(1, 4))
def test_no_row_depends_on_the_order_of_an_answer(turn: int) -> None:
    """Each RRset in its order, turned and reversed, and with every record given twice."""
    records = [*(f"a.test. 60 IN {rdata}" for rdata in _SETS), *_PROTECTION]
    turned = {1: records[::-1], 2: records[3:] + records[:3], 3: records + records}[turn]

    def rows(records: list[str]) -> list[Any]:
        script = zone(*records, ad=True)
        few = {"max_mx": 1, "max_addresses": 2, "max_tlsa": 2}
        found = [*domains(script, "a.test", dns=few), *hosts(script, "a.test", dns=few)[0], *hosts(script, "a.test")[1]]
        for row in found:
            if not isinstance(row, Tlsa):
                row.resolved_at = None
        return found

    assert rows(turned) == rows(records)


def test_a_record_longer_than_we_read_is_not_known_and_other_texts_may_be_as_long_as_they_like() -> None:
    """What a sender with more patience makes of it was not measured."""
    long = " ".join(['"' + "x" * 250 + '"'] * 5)

    def state(sts: str, rpt: str) -> tuple[Any, Any, Any]:
        script = zone(
            "a.test. 60 IN MX 1 mx.test.", *(f"_mta-sts.a.test. 60 IN TXT {text}" for text in (sts, '"v=spf1" ' + long)),
            f"_smtp._tls.a.test. 60 IN TXT {rpt}",
        )  # fmt: skip
        [row] = domains(script, "a.test", dns={"text_bytes": 1_000})
        return row.mta_sts_record, row.tlsrpt, row.tlsrpt_rua

    assert state(f'"v=STSv1; id=1; x=" {long}', f'"v=TLSRPTv1; rua=mailto:" {long} "@a.test"') == (None, None, None)
    assert state('"v=STSv1; id=1"', long) == (MtaStsRecord.VALID, TlsrptStatus.ABSENT, None)
    assert state('"v = sts" ' + long, '"v=tlsrpt" ' + long)[:2] == (None, None), "plainly meant as one"
