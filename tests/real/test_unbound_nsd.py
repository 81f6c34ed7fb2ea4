"""RESOLVE through Debian's Unbound, as the project configures it, and zones that NSD serves and ldns signed."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crawler.dns.client import Answer, DnsClient
from crawler.dns.codec import MX, TXT, A
from crawler.model.rows import (
    DnsError,
    Dnssec,
    Domain,
    Host,
    LookupStatus,
    MailHost,
    MtaStsRecord,
    Route,
    Target,
    Tlsa,
    TlsaStatus,
    TlsrptStatus,
)
from crawler.resolve.domains import resolve_domains
from crawler.resolve.hosts import resolve_hosts
from crawler.settings.config import Config
from tests.real import servers, zones
from tests.real.zones import Zone

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

DIGEST = "ab" * 32
LONG = "cd" * 64


def host(name: str, tlsa: str = "") -> list[str]:
    lines = [f"{name} IN A 192.0.2.1", f"{name} IN AAAA 2001:db8::1"]
    return [*lines, f"_25._tcp.{name} IN {tlsa}"] if tlsa else lines


ZONES = [
    Zone("example", []),
    Zone(
        "secure.example",
        [
            "@ IN MX 10 mx.secure.example.",
            '_mta-sts IN TXT "v=STSv1; id=2026;"',
            '_smtp._tls IN TXT "v=TLSRPTv1; rua=mailto:tls@secure.example"',
            "null IN MX 0 .",
            "implicit IN AAAA 2001:db8::25",
            "nothing IN TXT x",
            "alias IN CNAME target",
            "target IN MX 10 mx.secure.example.",
            "out IN CNAME mail.insecure.example.",
            *(f"many IN MX {n} mx{n}.a-rather-long-name-so-that-it-takes-tcp.example." for n in range(120)),
            *host("mx", f"TLSA 3 1 1 {DIGEST}"),
            *host("ta", f"TLSA 2 0 2 {LONG}"),
            *host("mixed", f"TLSA 3 1 1 {DIGEST}"),
            "_25._tcp.mixed IN TLSA 3 1 1 abcd",
            f"_25._tcp.mixed IN TLSA 1 1 1 {DIGEST}",
            *host("short", "TLSA 3 1 1 abcd"),
            *host("pkix", f"TLSA 1 0 1 {DIGEST}"),
            *host("unknown", f"TLSA 3 1 9 {DIGEST}"),
            *host("none"),
            "cname IN CNAME mx",
            "own IN CNAME none",
            f"_25._tcp.own IN TLSA 3 1 1 {DIGEST}",
            "away IN CNAME mx.insecure.example.",
            f"_25._tcp.away IN TLSA 3 1 1 {DIGEST}",
            *host("tlsacname", "CNAME _dane.secure.example."),
            f"_dane IN TLSA 3 1 1 {DIGEST}",
            *host("tlsabogus", "CNAME tlsa.expired.example."),
            *host("tlsafail", "CNAME tlsa.servfail.example."),
            *host("tlsainsecure", "CNAME tlsa.insecure.example."),
        ],
    ),
    Zone(
        "insecure.example",
        [
            "@ IN MX 10 mx.insecure.example.",
            "mail IN MX 10 mx.insecure.example.",
            *host("mx", f"TLSA 3 1 1 {DIGEST}"),
            f"tlsa IN TLSA 3 1 1 {DIGEST}",
        ],
        signed=False,
    ),
    Zone(
        "expired.example",
        ["@ IN MX 10 mx.expired.example.", *host("mx", f"TLSA 3 1 1 {DIGEST}"), f"tlsa IN TLSA 3 1 1 {DIGEST}"],
        expired=True,
    ),
    Zone("wrongds.example", ["@ IN MX 10 mx.wrongds.example.", *host("mx")], wrong_ds=True),
    Zone("servfail.example", [], signed=False, missing=True),
]

DOMAINS = [
    "secure",
    "null.secure",
    "implicit.secure",
    "nothing.secure",
    "alias.secure",
    "out.secure",
    "many.secure",
    "gone.secure",
    "insecure",
    "gone.insecure",
    "expired",
    "wrongds",
    "servfail",
]
HOSTS = [
    "mx.secure",
    "ta.secure",
    "mixed.secure",
    "short.secure",
    "pkix.secure",
    "unknown.secure",
    "none.secure",
    "cname.secure",
    "own.secure",
    "away.secure",
    "tlsacname.secure",
    "tlsabogus.secure",
    "tlsafail.secure",
    "tlsainsecure.secure",
    "nothing.secure",
    "gone.secure",
    "mx.insecure",
    "mx.expired",
    "mx.wrongds",
    "mx.servfail",
]


@dataclass
class Found:
    """What RESOLVE says of every name, through one resolver."""

    domains: dict[str, Domain]
    hosts: dict[str, Host]
    tlsa: dict[str, Tlsa]
    answers: dict[str, Answer]


@pytest.fixture(scope="module", params=[[], ["ede: no"]], ids=["as shipped", "without extended errors"])
def found(request: pytest.FixtureRequest) -> Iterator[Found]:
    servers.require("nsd", "unbound", "ldns-signzone", "ldns-keygen")
    with (
        tempfile.TemporaryDirectory() as directory,
        zones.resolvers(Path(directory), ZONES, request.param) as [port],
    ):
        yield asyncio.run(resolve(port))


async def resolve(port: int) -> Found:
    config = Config.from_mapping({"resolver": [f"127.0.0.1:{port}"], "dns": {"timeout": 5.0}})
    rows: list[Any] = []
    async with DnsClient(config) as dns:
        await resolve_domains([Target(f"{name}.example") for name in DOMAINS], dns, config, rows.append)
        await resolve_hosts([MailHost(f"{name}.example") for name in HOSTS], dns, config, rows.append)
        answers = {
            "fails at once": await dns.ask("mx.expired.example", A),
            "unsigned": await dns.ask("mx.insecure.example", MX),
            "text": await dns.ask("_mta-sts.secure.example", TXT),
        }
        assert dns.counts()["lost"] == 0

    def by_name(kind: type, key: str) -> dict[str, Any]:
        made = {getattr(row, key).removesuffix(".example"): row for row in rows if isinstance(row, kind)}
        assert len(made) == sum(isinstance(row, kind) for row in rows)
        return made

    return Found(by_name(Domain, "domain"), by_name(Host, "host"), by_name(Tlsa, "host"), answers)


def test_every_name_has_its_row(found: Found) -> None:
    assert set(found.domains) == set(DOMAINS)
    assert set(found.hosts) == set(found.tlsa) == set(HOSTS)


@pytest.mark.parametrize(
    ("name", "route", "dnssec"),
    [
        ("secure", Route.EXPLICIT, Dnssec.SECURE),
        ("null.secure", Route.NULL_MX, Dnssec.SECURE),
        ("implicit.secure", Route.IMPLICIT, Dnssec.SECURE),
        ("nothing.secure", Route.NO_MAIL_HOST, Dnssec.SECURE),
        ("alias.secure", Route.EXPLICIT, Dnssec.SECURE),
        ("out.secure", Route.EXPLICIT, Dnssec.INSECURE),
        ("many.secure", Route.EXPLICIT, Dnssec.SECURE),
        ("gone.secure", Route.NXDOMAIN, Dnssec.SECURE),
        ("insecure", Route.EXPLICIT, Dnssec.INSECURE),
        ("gone.insecure", Route.NXDOMAIN, Dnssec.INSECURE),
        ("expired", Route.UNKNOWN, Dnssec.BOGUS),
        ("wrongds", Route.UNKNOWN, Dnssec.BOGUS),
        ("servfail", Route.UNKNOWN, Dnssec.UNKNOWN),
    ],
)
def test_the_route_of_a_domain_and_its_dnssec_state(found: Found, name: str, route: Route, dnssec: Dnssec) -> None:
    row = found.domains[name]
    assert (row.route, row.dnssec) == (route, dnssec)


@pytest.mark.parametrize(
    ("name", "error"),
    [("expired", DnsError.BOGUS), ("wrongds", DnsError.BOGUS), ("servfail", DnsError.SERVFAIL)],
)
def test_bogus_is_told_from_servfail_with_and_without_extended_errors(found: Found, name: str, error: DnsError) -> None:
    row = found.domains[name]
    assert (row.dns_error, row.rcode, row.mx) == (error, "SERVFAIL", None)


def test_an_answer_too_large_for_a_datagram_comes_whole(found: Found) -> None:
    row = found.domains["many.secure"]
    assert row.mx is not None
    assert (len(row.mx), row.mx_dropped) == (100, 20)


def test_the_records_that_protect_mail_are_found(found: Found) -> None:
    row = found.domains["secure"]
    assert (row.mta_sts_record, row.mta_sts_id) == (MtaStsRecord.VALID, "2026")
    assert (row.tlsrpt, row.tlsrpt_rua) == (TlsrptStatus.VALID, ["mailto:tls@secure.example"])
    assert found.domains["insecure"].mta_sts_record is MtaStsRecord.ABSENT
    assert found.domains["expired"].mta_sts_record is None
    assert found.answers["text"].secure is True


def test_aliases_are_noted(found: Found) -> None:
    assert found.domains["alias.secure"].cnames == ["target.secure.example"]
    assert found.hosts["cname.secure"].cnames == ["mx.secure.example"]


@pytest.mark.parametrize(
    ("name", "status", "base", "usable"),
    [
        ("mx.secure", TlsaStatus.USABLE, "mx.secure", [True]),
        ("ta.secure", TlsaStatus.USABLE, "ta.secure", [True]),
        ("mixed.secure", TlsaStatus.USABLE, "mixed.secure", [False, True, False]),
        ("short.secure", TlsaStatus.UNUSABLE, "short.secure", [False]),
        ("pkix.secure", TlsaStatus.UNUSABLE, "pkix.secure", [False]),
        ("unknown.secure", TlsaStatus.UNUSABLE, "unknown.secure", [False]),
        ("none.secure", TlsaStatus.ABSENT, "none.secure", None),
        ("cname.secure", TlsaStatus.USABLE, "mx.secure", [True]),
        ("own.secure", TlsaStatus.USABLE, "own.secure", [True]),
        ("away.secure", TlsaStatus.USABLE, "away.secure", [True]),
        ("tlsacname.secure", TlsaStatus.USABLE, "tlsacname.secure", [True]),
        ("tlsabogus.secure", TlsaStatus.BOGUS, "tlsabogus.secure", None),
        ("tlsafail.secure", TlsaStatus.LOOKUP_FAILED, "tlsafail.secure", None),
        ("tlsainsecure.secure", TlsaStatus.INSECURE, "tlsainsecure.secure", [True]),
        ("nothing.secure", TlsaStatus.NOT_ASKED, None, None),
        ("gone.secure", TlsaStatus.NOT_ASKED, None, None),
        ("mx.insecure", TlsaStatus.INSECURE, "mx.insecure", None),
        ("mx.expired", TlsaStatus.NOT_ASKED, None, None),
        ("mx.servfail", TlsaStatus.NOT_ASKED, None, None),
    ],
)
def test_tlsa_of_every_kind(
    found: Found, name: str, status: TlsaStatus, base: str | None, usable: list[bool] | None
) -> None:
    row = found.tlsa[name]
    assert (row.status, row.base_domain) == (status, None if base is None else f"{base}.example")
    assert (None if row.records is None else [record["usable"] for record in row.records]) == usable


@pytest.mark.parametrize(
    ("name", "status", "dnssec"),
    [
        ("mx.secure", LookupStatus.OK, Dnssec.SECURE),
        ("away.secure", LookupStatus.OK, Dnssec.INSECURE),
        ("nothing.secure", LookupStatus.NODATA, Dnssec.SECURE),
        ("gone.secure", LookupStatus.NXDOMAIN, Dnssec.SECURE),
        ("mx.insecure", LookupStatus.OK, Dnssec.INSECURE),
        ("mx.expired", LookupStatus.BOGUS, Dnssec.BOGUS),
        ("mx.wrongds", LookupStatus.BOGUS, Dnssec.BOGUS),
        ("mx.servfail", LookupStatus.SERVFAIL, Dnssec.UNKNOWN),
    ],
)
def test_addresses_of_a_host_and_their_dnssec_state(
    found: Found, name: str, status: LookupStatus, dnssec: Dnssec
) -> None:
    row = found.hosts[name]
    assert (row.ipv4_status, row.ipv6_status, row.dnssec) == (status, status, dnssec)
    assert (row.addresses == ["192.0.2.1", "2001:db8::1"]) == (status is LookupStatus.OK)


def test_a_bogus_answer_gives_no_data_away(found: Found) -> None:
    assert (found.answers["fails at once"].records, found.answers["fails at once"].secure) == ([], None)
    assert found.answers["unsigned"].secure is False
