"""Policy hosts on loopback that answer as they are told, and a scene to fetch from them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from crawler.dns.client import DnsClient
from crawler.model.names import suffixes
from crawler.model.rows import Domain, MtaStsFetch, Policy
from crawler.politeness.exclusions import Exclusions
from crawler.resolve.policy_fetch import PolicyFetcher
from tests.kit.chains import Subject, pem
from tests.kit.dns_server import Script, serving, settings, zone

POLICY = b"version: STSv1\nmode: enforce\nmx: *.a.example\nmax_age: 86400\n"


HOST = "mta-sts.a.example"


ROOT = Subject("Root")


ANCHOR = ROOT.root()


ZONE = zone(f"{HOST}. 60 IN A 127.0.0.1")


def response(body: bytes = POLICY, status: str = "200 OK", **headers: str) -> bytes:
    """An HTTP response as a plain web server writes it."""
    lines = {"Content_Type": "text/plain", "Content_Length": str(len(body)), **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items() if value)
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


Answer = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Web:
    """A policy host: its certificate and what it answers."""

    answer: Answer = field(default_factory=response)
    certificate: Callable[[Subject], x509.Certificate] = lambda subject: ROOT.issue(subject, ca=False, names=[HOST])
    speaks_tls: bool = True
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    now: int = 0
    most: int = 0
    addresses: tuple[str, ...] = ("127.0.0.1",)
    beside: Callable[[int], AbstractContextManager[None]] | None = None  #: what else stands on its port

    def context(self, folder: Path) -> ssl.SSLContext | None:
        if not self.speaks_tls:
            return None
        subject = Subject(HOST)
        key = subject.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "host.pem").write_text(pem(self.certificate(subject)) + key.decode())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "host.pem")
        return context

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n") if self.speaks_tls else await reader.read(1))
            if isinstance(self.answer, bytes):
                writer.write(self.answer)
                await writer.drain()
            else:
                await self.answer(writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            pass  # the client has seen enough, or the test has
        finally:
            self.now -= 1
            writer.close() if isinstance(self.answer, bytes) else writer.transport.abort()


async def stall(writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.sleep(3_600)


def sending(head: bytes, more: bytes = b"", times: int = 1) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    """Send the head, then more over and over."""

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        for _ in range(times):
            writer.write(more)
            await writer.drain()

    return send


class Scene:
    """A resolver, a web server and a fetcher."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fetch(
        self,
        web: Web | None = None,
        script: Script = ZONE,
        *domains: str,
        https: dict[str, Any] | None = None,
        cnames: dict[str, list[str]] | None = None,
        **values: Any,
    ) -> list[tuple[Domain, list[Policy]]]:
        """Fetch the policies of the domains (`a.example`) at once; `cnames` are aliases that led to their MX."""
        self.web = web or Web()
        self.cnames = cnames or {}
        return anyio.run(self._fetch, script, domains or ("a.example",), https or {}, values)

    def one(self, web: Web | None = None, script: Script = ZONE, **values: Any) -> Domain:
        """The row of `a.example`, of which no policy text may be kept unless it came."""
        ((row, policies),) = self.fetch(web, script, **values)
        assert [policy.sha256 for policy in policies] == ([row.policy_sha256] if row.policy_sha256 else [])
        assert (row.mta_sts_fetch is MtaStsFetch.OK) is (row.mta_sts_problem is None)
        assert (row.mta_sts_fetch is MtaStsFetch.OK) is (row.mta_sts_mode is not None)
        return row

    async def _fetch(
        self, script: Script, domains: tuple[str, ...], https: dict[str, Any], values: dict[str, Any]
    ) -> Any:
        (self.folder / "ca.pem").write_text(pem(ANCHOR))
        tls = self.web.context(self.folder)
        values = {"allow_network": ["127.0.0.1/32"], "dns": {"timeout": 1.0}, **values}
        async with AsyncExitStack() as open_:
            port = 0
            for address in self.web.addresses:  # all on one port
                server = await asyncio.start_server(self.web.serve, address, port, ssl=tls)
                open_.callback(server.close)
                port = server.sockets[0].getsockname()[1]
            if self.web.beside is not None:
                open_.enter_context(self.web.beside(port))
            resolver = await open_.enter_async_context(serving(script))
            config = settings(resolver, https={"port": port, "timeout": 5, **https}, **values)
            dns = await open_.enter_async_context(DnsClient(config))
            self.exclusions = Exclusions(config)
            fetcher = self.fetcher = PolicyFetcher(config, dns, self.exclusions, self.folder / "ca.pem")
            made = [
                (Domain(domain=one, registrable_domain=suffixes(one)[0], cnames=self.cnames.get(one)), [])
                for one in domains
            ]
            async with anyio.create_task_group() as tasks:
                for row, policies in made:
                    tasks.start_soon(fetcher.fetch, row, policies.append)
            assert not fetcher._pace.places, "nothing is remembered of addresses that are done with"
        return made
