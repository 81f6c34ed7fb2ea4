"""A TLS connection for one HTTP response, of which everything received is counted where it comes from the network.

It moves bytes and counts them; what they say is for others.  Limits on what HTTP makes of them would miss what
it passes over in silence: interim responses, chunk extensions, and below it session tickets and key updates.
"""

from __future__ import annotations

import ssl
from typing import Any, Self

import anyio
import anyio.abc
import anyio.lowlevel
import anyio.streams.tls
import httpcore

from crawler.tls.server_flight import ServerFlight

#: Bytes read in one turn of the event loop: two hundred interim responses, or some hundred chunks.
_READ = 4_096


class TooMuch(Exception):
    """The host sent more than is taken for one response."""


class TooHard(Exception):
    """The host asks for a key exchange that costs more processor time than it may."""


class PrimeLimit:
    """How large a prime of finite-field Diffie-Hellman may be, for the cipher suites that a context offers."""

    def __init__(self, trust: ssl.SSLContext, bits: int) -> None:
        self.bits = bits
        offered = trust.get_ciphers()
        self.suites = frozenset((suite["id"] & 0xFFFF).to_bytes(2) for suite in offered if suite["kea"] == "kx-dhe")


class HttpsStream(httpcore.AsyncNetworkStream):
    """One connection as `httpcore` uses it; `start` makes it."""

    def __init__(self, tls: anyio.streams.tls.TLSStream) -> None:
        self._tls = tls
        self.has_ended = False  #: whether the host ended the connection

    @classmethod
    async def start(
        cls, connection: anyio.abc.ByteStream, trust: ssl.SSLContext, host: str, *, most: int, prime: PrimeLimit
    ) -> Self:
        """Shake hands as a client of `host`, and take `most` bytes in all.

        Raises `ssl.SSLError`, `anyio.BrokenResourceError` or `anyio.EndOfStream` where the handshake fails, `ValueError`
        for a name that SNI cannot carry; then, and in every read, `TooMuch` and `TooHard`.
        """
        counted = _Counted(connection, most, prime)
        return cls(
            await anyio.streams.tls.TLSStream.wrap(
                counted, ssl_context=trust, hostname=host, standard_compatible=False, server_side=False
            )
        )

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore has it so
        """The next bytes, fewer than asked for; none at the end."""
        await anyio.lowlevel.checkpoint()  # what has come already must not be read in one turn
        try:
            return await self._tls.receive(min(max_bytes, _READ))
        except anyio.EndOfStream:
            self.has_ended = True
            return b""
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise httpcore.ReadError from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore has it so
        """Send all of it."""
        try:
            await self._tls.send(buffer)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise httpcore.WriteError from error

    async def aclose(self) -> None:
        """End the connection; TLS is not said goodbye to."""
        await self._tls.aclose()

    def was_closed(self) -> bool:
        """Whether the host closed TLS (close_notify) before the connection ended, when all was read."""
        try:
            return bool(self._tls.extra(anyio.streams.tls.TLSAttribute.ssl_object).read(1) == b"")
        except ssl.SSLError:
            return False

    def get_extra_info(self, info: str) -> Any:
        """Nothing that is needed here."""
        return None


class _Counted(anyio.abc.ByteStream):
    """The connection below TLS, up to its limit."""

    def __init__(self, connection: anyio.abc.ByteStream, most: int, prime: PrimeLimit) -> None:
        self._connection = connection
        self._left = most
        self._prime = prime
        self._flight = ServerFlight(prime.suites.__contains__)

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        data = await self._connection.receive(max_bytes)
        self._left -= len(data)
        if self._left < 0:
            raise TooMuch
        if not self._flight.done:
            self._flight.feed(data)
            if self._flight.prime_bits > self._prime.bits:
                raise TooHard
        return data

    async def send(self, item: bytes) -> None:
        await self._connection.send(item)

    async def send_eof(self) -> None:
        await self._connection.send_eof()

    async def aclose(self) -> None:
        await self._connection.aclose()
