"""RESOLVE of some names against a DNS server that follows a script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from crawler.dns.client import DnsClient
from crawler.model.rows import (
    Host,
    MailHost,
    Tlsa,
)
from crawler.resolve.hosts import resolve_hosts
from crawler.settings.config import Config
from tests.kit.dns_server import Script, Server, serving, settings


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
