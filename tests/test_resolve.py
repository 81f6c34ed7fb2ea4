"""RESOLVE against a scripted resolver on loopback: every target gives its rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from crawler.config import Config
from crawler.dns.client import DnsClient
from crawler.records import (
    Dnssec,
    Domain,
    Host,
    MailHost,
    MtaStsRecord,
    Route,
    Target,
    Tlsa,
    TlsrptStatus,
)
from crawler.resolve import resolve_domains, resolve_hosts
from tests.dns_server import Script, Server, serving, settings, zone

DIGEST = "ab" * 32


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


def hosts(script: Script, *names: str, **values: Any) -> tuple[list[Host], list[Tlsa], Server]:
    rows, server = run(
        script, lambda dns, config, emit: resolve_hosts(map(MailHost, names), dns, config, emit), **values
    )
    return [row for row in rows if isinstance(row, Host)], [row for row in rows if isinstance(row, Tlsa)], server


def run(script: Script, stage: Callable[[DnsClient, Config, Any], Any], **values: Any) -> tuple[list[Any], Server]:
    rows: list[Any] = []

    async def main() -> Server:
        async with serving(script) as server:
            config = settings(server, **values)
            async with DnsClient(config) as client:
                await stage(client, config, rows.append)
            return server

    return rows, asyncio.run(main())


def test_an_explicit_route_with_all_that_protects_it() -> None:
    script = zone(
        "a.test. 300 IN MX 10 MX.a.test.",
        '_mta-sts.a.test. 60 IN TXT "v=STSv1; id=20260101T000000;"',
        '_smtp._tls.a.test. 60 IN TXT "v=TLSRPTv1; rua=mailto:tls@a.test"',
        ad=True,
    )
    [row] = domains(script, targets=[Target("a.test", "A.test.", 7)])
    assert (row.domain, row.listed, row.rank) == ("a.test", "A.test.", 7)
    assert (row.registrable_domain, row.public_suffix) == ("a.test", "test")
    assert (row.route, row.dns_error, row.rcode, row.ede, row.cnames) == (Route.EXPLICIT, None, "NOERROR", [], [])
    assert (row.mx, row.mx_dropped, row.dnssec) == ([{"host": "mx.a.test", "preference": 10}], 0, Dnssec.SECURE)
    assert (row.mta_sts_record, row.mta_sts_id) == (MtaStsRecord.VALID, "20260101T000000")
    assert (row.tlsrpt, row.tlsrpt_rua) == (TlsrptStatus.VALID, ["mailto:tls@a.test"])
    assert row.resolved_at is not None
