"""Answers too large for a datagram: one TCP connection to one server.

This module carries messages; what they mean is not its business.
RFC 7766 (DNS over TCP), RFC 1035 §4.2.2 (length before each message).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from crawler.dns.question import BYTES_A_TURN, Pending, Question


class Pipe(asyncio.Protocol):
    """One TCP connection to a server, questions pipelined (RFC 7766 §6.2.1.1), answers in any order."""

    def __init__(
        self,
        host: str,
        port: int,
        timeout: float,
        received: Callable[[bytes, Pending], None],
        lose: Callable[[Question], None],
    ) -> None:
        self.pending: Pending = {}
        self.closed = False
        self._heard = 0.0  # when a message came last
        self._behind = -timeout  # when messages had come last that were still to be read
        self._timeout = timeout
        self._received = received
        self._lose = lose
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self._buffer = bytearray()
        self._resumption: asyncio.Handle | None = None  # of messages that wait for the next turn
        self._connecting = asyncio.get_running_loop().create_task(self._connect(host, port))

    async def _connect(self, host: str, port: int) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await asyncio.get_running_loop().create_connection(lambda: self, host, port)
        except (OSError, TimeoutError):
            self.connection_lost(None)

    def send(self, wire: bytes) -> None:
        """Write one message with its length (RFC 1035 §4.2.2), once connected."""
        framed = len(wire).to_bytes(2, "big") + wire
        if self._transport is None:
            self._unsent.append(framed)
        else:
            self._transport.write(framed)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._resumption is None:
            self._read_messages()

    def _read_messages(self) -> None:
        """Read whole messages, and leave to the next turn what is more than one turn may have."""
        was_paused, self._resumption = self._resumption is not None, None
        size = 0
        while len(self._buffer) >= 2:
            end = 2 + int.from_bytes(self._buffer[:2], "big")
            if len(self._buffer) < end:
                break
            if size and size + end > BYTES_A_TURN:
                self._pause()
                return
            size += end
            wire = bytes(self._buffer[2:end])
            del self._buffer[:end]
            self._heard = asyncio.get_running_loop().time()
            self._received(wire, self.pending)
        if self._buffer:
            self._behind = asyncio.get_running_loop().time()  # another message has begun, and more may be on their way
        if self.closed:
            self._lose_pending()
        elif was_paused and self._transport is not None:
            self._transport.resume_reading()

    def is_behind(self, now: float) -> bool:
        """Whether messages wait to be read, or waited a moment ago: a question that seems overdue may be answered among them.

        Large answers to one domain's questions, by the hundred, would cost others theirs.
        """
        return now - self._behind < self._timeout

    def _pause(self) -> None:
        self._behind = asyncio.get_running_loop().time()
        if self._transport is not None and not self.closed:
            self._transport.pause_reading()
        self._resumption = asyncio.get_running_loop().call_soon(self._read_messages)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._resumption is None:  # else what came before is read first
            self._lose_pending()

    def _lose_pending(self) -> None:
        pending, self.pending = self.pending, {}
        for question in pending.values():
            self._lose(question)

    def is_silent(self, now: float) -> bool:
        """Whether a question is overdue, and no message at all has come since it was sent.

        The other end may be gone without having said so, as when a firewall has forgotten the connection.
        """
        question = next(iter(self.pending.values()), None)
        return question is not None and question.deadline <= now and self._heard < question.deadline - self._timeout

    def abandon(self) -> None:
        """Close without telling anybody."""
        self.closed = True
        self.pending = {}
        self._buffer.clear()
        self._connecting.cancel()
        if self._transport is not None:
            self._transport.abort()
