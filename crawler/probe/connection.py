"""The only sockets of PROBE, and the only table from exceptions to outcomes.

This module moves bytes between a connection and a `Conversation`, and ends the
conversation when the peer, the kernel or a deadline does.  What bytes mean is not known here.

Connections are asyncio transports (uvloop's, where it is installed) to addresses, never to names. `anyio.connect_tcp`
costs more than twice as much, for happy eyeballs, which a measurement must not have.  There is one timer a connection,
moved when a step is taken instead of set anew.

Long work that a host demands (Diffie-Hellman over a large prime) is done in one thread beside the event loop, one
connection after another. Such hosts wait for each other, and no other host waits for them.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import cast

import anyio

from crawler.model.rows import Outcome, Stage
from crawler.probe.conversation import Conversation
from crawler.settings.config import Timeouts

log = logging.getLogger(__name__)

#: Where heavy work is done; OpenSSL lets go of the interpreter meanwhile.
_WORKSHOP = ThreadPoolExecutor(1, "heavy-handshake")

Guard = Callable[[str], Outcome | None]

#: How the kernel ends a connection; what is not listed is our own fault (descriptors, buffers …).
OUTCOMES: dict[int, Outcome] = {
    errno.ECONNREFUSED: Outcome.CONNECTION_REFUSED,
    errno.ECONNRESET: Outcome.RESET,
    errno.ECONNABORTED: Outcome.RESET,
    errno.EPIPE: Outcome.RESET,
    errno.ETIMEDOUT: Outcome.TIMEOUT,
    errno.EHOSTUNREACH: Outcome.UNREACHABLE,
    errno.ENETUNREACH: Outcome.UNREACHABLE,
    errno.EHOSTDOWN: Outcome.UNREACHABLE,
    errno.ENONET: Outcome.UNREACHABLE,  # ICMP host isolated
    errno.EOPNOTSUPP: Outcome.UNREACHABLE,  # ICMP source route failed
    errno.ENETDOWN: Outcome.UNREACHABLE,
    errno.ENOPROTOOPT: Outcome.UNREACHABLE,  # ICMP parameter problem
    errno.EPROTO: Outcome.UNREACHABLE,
    errno.EACCES: Outcome.UNREACHABLE,  # ICMP administratively prohibited, or our own firewall
    errno.EPERM: Outcome.UNREACHABLE,
    errno.EAFNOSUPPORT: Outcome.UNREACHABLE,  # a kernel without IPv6
}


def outcome_of(error: BaseException) -> Outcome:
    """The outcome that an exception of the network means; the deepest known cause decides."""
    if error.__cause__ is not None and (deeper := outcome_of(error.__cause__)) is not Outcome.INTERNAL_ERROR:
        return deeper
    if isinstance(error, OSError) and error.errno is not None:
        return OUTCOMES.get(error.errno, Outcome.INTERNAL_ERROR)
    return Outcome.TIMEOUT if isinstance(error, TimeoutError) else Outcome.INTERNAL_ERROR


def _is_without_a_way(address: str, error: BaseException) -> bool:
    """Whether a connection failed since we have no address of the family, as where IPv6 is switched off.

    The kernel uses the same word when it has no free port, which would be a fault of ours.
    """
    if not isinstance(error, OSError) or error.errno != errno.EADDRNOTAVAIL:
        return False
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))  # looks up a route and a source address; a datagram socket sends nothing by it
        except OSError as again:
            return again.errno == errno.EADDRNOTAVAIL
    return False


async def run_conversation(
    conversation: Conversation, address: str, port: int, *, timeouts: Timeouts, guard: Guard, source: str | None = None
) -> None:
    """Hold the conversation with one endpoint; returns when the connection is gone.

    The guard is asked about the very address connected to.  Never raises for anything that a host
    or the network does; cancellation closes the connection at once.
    """
    if (verdict := guard(address)) is not None:
        conversation.end(verdict)
        return
    loop = asyncio.get_running_loop()
    wire = _Wire(conversation, timeouts, loop)
    try:
        with anyio.fail_after(min(timeouts.connect, timeouts.target)) as scope:
            await loop.create_connection(lambda: wire, address, port, local_addr=(source, 0) if source else None)
            # From here the wire watches its own deadlines; the scope only makes sure that nothing outlives them.
            scope.deadline = loop.time() + timeouts.target + timeouts.quit + 1
            await wire.gone
    except (OSError, TimeoutError) as error:
        outcome = outcome_of(error)
        if outcome is Outcome.INTERNAL_ERROR and source is None and _is_without_a_way(address, error):
            outcome = Outcome.UNREACHABLE
        if outcome is Outcome.INTERNAL_ERROR:
            log.error("connection to %s port %s failed on our side: %s", address, port, error)
        if outcome is Outcome.RESET and not wire.connected:
            # A SYN that is answered by a reset is refused; ours was accepted, and reset before we had a look.
            conversation.connected()
        wire.end(outcome)
    finally:
        wire.abandon()
        if (working := wire.at_rest) is not None:
            with anyio.CancelScope(shield=True):  # for one handshake at most: what only waits for its turn is dropped
                await working


class _Wire(asyncio.Protocol):
    """One connection: feeds the conversation, sends what it says, watches the deadlines."""

    __slots__ = (
        "_conversation",
        "_deadline",
        "_fate",
        "_last",
        "_loop",
        "_lost",
        "_paused",
        "_shortest",
        "_timeouts",
        "_timer",
        "_transport",
        "_turns",
        "_unread",
        "_work",
        "at_rest",
        "gone",
    )

    def __init__(self, conversation: Conversation, timeouts: Timeouts, loop: asyncio.AbstractEventLoop) -> None:
        self.gone: asyncio.Future[None] = loop.create_future()
        self._conversation, self._timeouts, self._loop = conversation, timeouts, loop
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._last = loop.time() + timeouts.target
        self._shortest = min(timeouts.greeting, timeouts.reply, timeouts.handshake)
        self._deadline = 0.0
        self._turns = 0
        self._work: Future[bytes] | None = None  # under way beside the event loop; nobody else touches the conversation
        self._fate: Outcome | None = None  # what ended it meanwhile
        self._lost = False  # the connection is
        self._paused = 0.0, 0.0  # when that work began, and the deadline then
        self._unread = b""  # what came meanwhile
        self.at_rest: asyncio.Future[None] | None = None  #: done when that work is; None: there is none

    @property
    def connected(self) -> bool:
        """Whether the connection ever stood."""
        return self._transport is not None

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        self._conversation.probe.source_address = transport.get_extra_info("sockname")[0]
        self._act(self._conversation.connected)
        self._watch()

    def data_received(self, data: bytes) -> None:
        if self._work is not None:
            self._unread += data  # no more than was on its way when reading was paused
        elif self._conversation.ended:  # the answer to our goodbye; nobody reads it
            self._leave()
        elif self._conversation.stage is Stage.HANDSHAKE and self._conversation.is_heavy(data):
            self._begin_work(data)
        else:
            self._act(self._conversation.receive, data)

    def eof_received(self) -> None:
        self.end(Outcome.CLOSED)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self.end(Outcome.CLOSED if exc is None else outcome_of(exc))
        if self._timer is not None:
            self._timer.cancel()
        if self._work is None:
            self._announce_end()

    # --- heavy work ---

    def _begin_work(self, data: bytes) -> None:
        """Let the conversation receive this beside the event loop; whatever happens meanwhile is dealt with after it."""
        assert self._transport is not None
        self._transport.pause_reading()
        self._paused = self._loop.time(), self._deadline
        self._deadline = self._last
        self.at_rest = self._loop.create_future()
        self._work = _WORKSHOP.submit(self._conversation.receive, data)
        self._work.add_done_callback(self._call_back)

    def _call_back(self, work: Future[bytes]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._end_work, work)
        except RuntimeError:
            pass  # the loop is closed, and everything with it

    def _end_work(self, work: Future[bytes]) -> None:
        fate, data, self._work, self._unread = self._fate, self._unread, None, b""
        began, deadline = self._paused
        self._deadline = min(deadline + self._loop.time() - began, self._last)  # our time is not the host's
        if work.cancelled():
            pass
        elif self._lost or self._transport is None or self._transport.is_closing():
            if (error := work.exception()) is not None:
                log.error("probing %s failed", self._conversation.probe.host, exc_info=error)
                self.end(Outcome.INTERNAL_ERROR)
        else:
            if self._timer is not None:
                self._timer.cancel()
            self._watch()  # the deadline may be nearer than the next look at it
            self._act(work.result)
        if fate is not None:
            self.end(fate)
        if self.at_rest is not None and not self.at_rest.done():
            self.at_rest.set_result(None)
        self.at_rest = None
        if self._lost:
            self._announce_end()
        elif self._transport is not None and not self._transport.is_closing():
            if data:
                self.data_received(data)
            if self._work is None:
                self._transport.resume_reading()

    def _announce_end(self) -> None:
        if not self.gone.done():
            self.gone.set_result(None)

    # --- ours ---

    def end(self, outcome: Outcome) -> None:
        """Ended from outside; the first of several counts."""
        if self._work is None:
            self._conversation.end(outcome)
        else:
            self._fate = self._fate or outcome

    def _act(self, step: Callable[..., bytes], *data: bytes) -> None:
        conversation, transport = self._conversation, self._transport
        assert transport is not None
        try:
            out = step(*data)
        except Exception:  # our bug, and it must not pass for a finding
            log.exception("probing %s failed", conversation.probe.host)
            conversation.end(Outcome.INTERNAL_ERROR)
            self._leave()
            return
        if out:
            transport.write(out)
        if conversation.ended:
            if out:
                self._await_parting()
            else:
                self._leave()
        elif conversation.turns != self._turns:
            self._turns = conversation.turns
            self._deadline = min(self._loop.time() + self._patience(), self._last)

    def _patience(self) -> float:
        stage = self._conversation.stage
        if stage is Stage.GREETING:
            return self._timeouts.greeting
        return self._timeouts.handshake if stage is Stage.HANDSHAKE else self._timeouts.reply

    def _watch(self) -> None:
        if not self._conversation.ended:
            # No step is shorter than the shortest, so none can fall due before this looks.
            self._timer = self._loop.call_at(min(self._deadline, self._loop.time() + self._shortest), self._check)

    def _check(self) -> None:
        # Steps taken since have moved the deadline; only the last one set counts.
        if self._loop.time() + 0.001 < self._deadline:
            self._watch()
        else:
            self.end(Outcome.TIMEOUT)
            self.abandon()

    def _await_parting(self) -> None:
        """The goodbye is said; give the host a moment to answer it (RFC 5321 §4.1.1.10)."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._timeouts.quit, self.abandon)

    def _leave(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abandon(self) -> None:
        """Drop the connection at once, unsent bytes included."""
        if self._timer is not None:
            self._timer.cancel()
        if self._work is not None:
            self._work.cancel()  # if it has not begun
        if self._transport is not None:
            self._transport.abort()
