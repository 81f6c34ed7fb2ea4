"""The mail servers: one listening socket for each address, one behaviour for each address.

This module plays what `behaviours/vocabulary.py` describes and decides nothing.  Only exact loopback
addresses are bound, never a wildcard, so nothing can be reached from outside, and a host that shall
refuse connections is one that is not bound.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from crawler.lab.behaviours.raw_flights import dhe_flight, offers_dhe, signed_dhe_flight
from crawler.lab.behaviours.vocabulary import (
    INSIDE_TLS,
    PLAIN,
    UNKNOWN_COMMAND,
    Act,
    Flood,
    Pause,
    Pieces,
    Port,
    Server,
    Step,
    Tls,
)
from crawler.lab.servers.sockets import bound_socket
from crawler.lab.servers.tls import ServerContexts, TlsServer
from crawler.model.errors import UsageError

_LIFETIME = 180.0  # seconds a connection may last, so that forgotten ones do not pile up
_LONGEST_COMMAND = 65_536
_BACKLOG = 512
_SEGMENT_GAP = 0.001  # between segments of a handshake
_RST_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class _Records:
    """TLS records of the handshake, to be sent as they are; in segments of `size` bytes if not 0."""

    data: bytes
    size: int


class MailServers:
    """Everything that listens for mail in the lab."""

    def __init__(self, contexts: ServerContexts, port: int) -> None:
        self.port = port
        self.accepted = 0  #: connections so far
        self.open: set[Conversation] = set()  #: connections right now
        self._contexts = contexts
        self._sockets: dict[str, socket.socket] = {}
        self._away: dict[str, Server] | None = None  # who listened before all of them went
        self._behaviours: dict[str, Server] = {}
        self._servers: list[asyncio.Server] = []
        self._starting: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Addresses on which something listens."""
        return len(self._sockets)

    def listen(self, address: str, server: Server) -> None:
        """Make an address behave so; one that already listens is left alone.

        Raises `UsageError` when the address is taken or the process may have no more descriptors.
        """
        if self._away is not None:
            self._away.setdefault(address, server)
            return
        if address in self._sockets or server.port in (Port.REFUSED, Port.ELSEWHERE):
            return
        try:
            self._sockets[address] = bound = bound_socket(address, self.port, dropped=server.port is Port.DROPPED)
        except OSError as error:
            raise UsageError(
                f"lab: cannot listen on {address} port {self.port} ({error.strerror}) after {len(self._sockets)} others;"
                " free the port, raise the limit of open files (ulimit -n), or take a shorter list"
            ) from error
        self._behaviours[address] = server
        if server.port is Port.OPEN:
            task = asyncio.get_running_loop().create_task(self._serve(bound, server))
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    async def _serve(self, bound: socket.socket, server: Server) -> None:
        loop = asyncio.get_running_loop()
        made = await loop.create_server(
            lambda: Conversation(self, self._contexts, server), sock=bound, backlog=_BACKLOG
        )
        self._servers.append(made)

    def go_away(self) -> None:
        """Stop listening everywhere, as in an outage: connections are refused, those that stand are reset."""
        self.close()
        self._away = self._behaviours
        self._sockets, self._servers, self._behaviours = {}, [], {}

    def come_back(self) -> None:
        """Listen again where it was listened before."""
        away, self._away = self._away or {}, None
        for address, server in away.items():
            self.listen(address, server)

    async def settled(self) -> None:
        """Wait until all that listens also accepts."""
        await asyncio.gather(*self._starting)

    def close(self) -> None:
        """Stop listening and drop every connection."""
        for task in self._starting:
            task.cancel()
        for server in self._servers:
            server.close()
        for bound in self._sockets.values():
            bound.close()
        for conversation in list(self.open):
            conversation.abort()


class Conversation(asyncio.Protocol):
    """One connection: plays the steps of its behaviour, one after another."""

    __slots__ = (
        "_buffer", "_contexts", "_doomed", "_paused", "_pending", "_server", "_servers", "_shaking", "_steps", "_tls",
        "_transport",
    )  # fmt: skip

    def __init__(self, servers: MailServers, contexts: ServerContexts, server: Server) -> None:
        self._servers, self._contexts, self._server = servers, contexts, server
        self._steps: deque[Step | _Records] = deque()
        self._buffer = bytearray()
        self._tls: TlsServer | None = None
        self._shaking = False  # START_TLS was played and the handshake is not over
        self._paused = False  # the client does not take what we send
        self._pending: asyncio.TimerHandle | None = None  # the next step waits for its time

    # --- asyncio's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._servers.accepted += 1
        self._servers.open.add(self)
        self._doomed = asyncio.get_running_loop().call_later(_LIFETIME, self.abort)
        self._play(self._server.greeting)

    def connection_lost(self, exc: Exception | None) -> None:
        self._servers.open.discard(self)
        self._steps.clear()
        self._doomed.cancel()
        if self._pending is not None:
            self._pending.cancel()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._go_on()

    def data_received(self, data: bytes) -> None:
        if self._shaking:
            self._shake(data)
            return
        if self._tls is not None:
            data, done = self._tls.read(data)
            if done and not data:
                self._transport.close()
                return
        self._buffer += data
        if len(self._buffer) > _LONGEST_COMMAND:
            self.abort()
            return
        self._obey()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._transport.abort()

    # --- commands and steps ---

    @property
    def _busy(self) -> bool:
        return bool(self._steps) or self._pending is not None

    def _obey(self) -> None:
        """Answer the commands that have come, one at a time."""
        while not self._busy and (end := self._buffer.find(b"\n")) >= 0:
            verb = bytes(self._buffer[:end]).split(maxsplit=1)[:1]
            del self._buffer[: end + 1]
            command = verb[0].decode("ascii", "replace").upper() if verb else ""
            own, standard = (self._server.plain, PLAIN) if self._tls is None else (self._server.inside, INSIDE_TLS)
            self._play(own.get(command) or standard.get(command, UNKNOWN_COMMAND))

    def _play(self, steps: Iterable[Step | _Records]) -> None:
        self._steps.extend(steps)
        self._go_on()

    def _go_on(self) -> None:
        while self._steps and not self._paused and self._pending is None and not self._transport.is_closing():
            self._take(self._steps.popleft())

    def _wait(self, seconds: float) -> None:
        self._pending = asyncio.get_running_loop().call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._pending = None
        self._go_on()
        self._obey()

    def _take(self, step: Step | _Records) -> None:
        match step:
            case bytes():
                self._say(step)
            case Pause():
                self._wait(step.seconds)
            case Pieces():
                self._say(step.data[: step.size])
                if rest := step.data[step.size :]:
                    self._steps.appendleft(Pieces(rest, step.size, step.gap))
                    self._wait(step.gap)
            case _Records():
                size = step.size or len(step.data)
                self._transport.write(step.data[:size])
                if rest := step.data[size:]:
                    self._steps.appendleft(_Records(rest, size))
                    self._wait(_SEGMENT_GAP)
            case Flood():
                burst = step.chunk * max(1, min(step.total, 65_536) // len(step.chunk))
                self._say(burst)
                if step.total > len(burst):
                    self._steps.appendleft(Flood(step.chunk, step.total - len(burst)))
            case Act.CLOSE:
                self._steps.clear()
                self._transport.close()
            case Act.RESET:
                self._steps.clear()
                self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
                self._transport.abort()
            case Act.SILENCE:
                self._wait(2 * _LIFETIME)
            case Act.START_TLS:
                self._buffer.clear()
                self._shaking = True
            case Act.RENEGOTIATE:
                if self._tls is not None:
                    self._transport.write(self._tls.hello_request())
            case Act.DROP_TLS:
                self._tls = None

    def _say(self, data: bytes) -> None:
        self._transport.write(data if self._tls is None else self._tls.write(data))

    # --- the handshake ---

    def _shake(self, data: bytes) -> None:
        tls = self._server.tls
        if not isinstance(tls, Tls):
            if not self._busy and not self._buffer:
                self._buffer += data  # the ClientHello is never looked at, only waited for
                self._play(tls)
            return
        if self._tls is None:
            self._buffer += data
            size = int.from_bytes(self._buffer[3:5], "big")
            if len(self._buffer) < 5 + size:
                return  # wait for the whole ClientHello record
            data = bytes(self._buffer)
            self._buffer.clear()
            if 0 < tls.largest_hello < size:
                self._play(tls.on_large_hello)
                return
            if any(first <= size <= last for first, last in tls.deaf_to):
                self._play((Act.SILENCE,))
                return
            if tls.dhe_bits and offers_dhe(data):
                signed = signed_dhe_flight(data, tls.dhe_bits) if tls.dhe_is_signed else dhe_flight(tls.dhe_bits)
                self._play((signed,))
                return
            self._tls = TlsServer(self._contexts[tls])
        out, failed = self._tls.feed(data)
        if out:
            self._play((_Records(out, tls.segment),))
        if failed:
            self._play((Act.CLOSE,))
        elif self._tls.established:
            self._shaking = False
            self._play(self._server.after_handshake)
            if self._tls is not None:
                plain, _ = self._tls.read()  # commands that came with the Finished
                self._buffer += plain
                self._obey()
