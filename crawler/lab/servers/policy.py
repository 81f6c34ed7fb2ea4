"""The lab's policy hosts: HTTPS on one address for each kind.

This module answers any request as the kind that lives at its address does.
"""

from __future__ import annotations

import asyncio
import re
from typing import cast

from crawler.lab.behaviours.protection import MTA_STS, StsBehaviour, policy_address
from crawler.lab.behaviours.vocabulary import Tls
from crawler.lab.servers.tls import ServerContexts, TlsServer
from crawler.lab.world.world import World
from crawler.model.errors import UsageError

_LONGEST_REQUEST = 16_384
_LIFETIME = 60.0  # seconds a connection may last
_HOST = re.compile(rb"\r\nHost: mta-sts\.([^:\r\n]+)", re.IGNORECASE)


class PolicyServers:
    """Everything that serves policies in the lab."""

    def __init__(self, world: World, contexts: ServerContexts, port: int) -> None:
        self.port = port
        self._world, self._contexts = world, contexts
        self._servers: list[asyncio.Server] = []

    async def listen(self) -> None:
        """Listen on the address of every kind that does.  Raises `UsageError`."""
        for kind in MTA_STS.values():
            if not kind.texts or not kind.listens or kind.address:
                continue
            await self.listen_at(policy_address(kind), kind)

    async def listen_at(self, address: str, kind: StsBehaviour) -> None:
        """Have policy hosts that behave so at an address.  Raises `UsageError`."""
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(
                lambda: _Connection(self._world, kind, self._tls(kind)), address, self.port
            )
        except OSError as error:
            raise UsageError(f"lab: HTTPS cannot listen on port {self.port} ({error.strerror})") from error
        self._servers.append(server)

    def close(self) -> None:
        """Listen no more."""
        for server in self._servers:
            server.close()

    def _tls(self, kind: StsBehaviour) -> TlsServer | None:
        return TlsServer(self._contexts[Tls(leaf=kind.leaf)]) if kind.speaks_tls else None


class _Connection(asyncio.Protocol):
    """One request and its answer."""

    def __init__(self, world: World, kind: StsBehaviour, tls: TlsServer | None) -> None:
        self._world, self._kind, self._tls = world, kind, tls
        self._request = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._end = asyncio.get_running_loop().call_later(_LIFETIME, self._transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()

    def data_received(self, data: bytes) -> None:
        if self._tls is None:
            self._transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            self._transport.close()
            return
        if not self._tls.established:
            out, failed = self._tls.feed(data)
            self._transport.write(out)
            data = b""
            if failed:
                self._transport.close()
        if self._tls.established:
            plain, done = self._tls.read(data)
            self._request += plain
            if b"\r\n\r\n" in self._request and not self._kind.stalls and not self._kind.hangs_up:
                self._transport.write(self._tls.write(self._answer()))
                if not self._kind.is_cut_off:
                    self._transport.write(self._tls.close())
            if done or len(self._request) > _LONGEST_REQUEST or (self._request and not self._kind.stalls):
                self._transport.close()

    def _answer(self) -> bytes:
        named = _HOST.search(self._request)
        domain = self._world.domain(named[1].decode("ascii", "replace").lower() if named else "")
        return self._kind.reply(tuple(host for _, host in domain.mail_hosts))
