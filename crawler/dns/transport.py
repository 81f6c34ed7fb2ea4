"""One resolver seen from below: its sockets, what is under way, and how much it is given at once.

These are the only DNS sockets.  A datagram or TCP message counts as an answer only from
the server's own address (the sockets are connected), with the random ID and the very question that
were sent; anything else is a stray.  Time-outs cost no timer each: what is under way on a socket is
a dictionary in order of sending, and one tick looks at the heads.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from crawler.dns.codec import FORMERR, NOTIMP, message_of
from crawler.dns.question import BYTES_A_TURN, Pending, Question
from crawler.dns.tcp import Pipe
from crawler.settings.config import DnsSettings
from crawler.settings.declared_limits import limit

#: The largest datagram taken; a longer one is cut by the system and asked for again over TCP.
DATAGRAM = limit(
    4_096,
    "bytes read of a datagram",
    protects="our memory",
    cut="a longer one is asked for once more over TCP",
)
#: Receive buffer wanted of the system, so that a burst is not lost while Python is busy.
RECEIVE_BUFFER = 4 * 2**20
#: Datagrams read before the event loop has its turn again.
BURST = 64
#: Questions at once that a server is given before anything is known of it, and at least, however badly it does.
#: Twice the first still fits the receive buffer of stock Linux (212,992 bytes hold some 190 small datagrams).
FIRST_WINDOW, LEAST_WINDOW = 64, 8
#: A wider window is kept if it brings so much more answers a second; else it is tried again after a while.
GAIN, WIDER, PAUSE = 1.1, 1.5, 10.0
#: Seconds over which a server is judged, and answers needed for it.
PERIOD, ENOUGH = 0.25, 20


@dataclass(slots=True, eq=False)
class Server:
    """A resolver and everything under way to it.

    The window is how many questions are under way at once.  It is widened as long as that brings
    more answers a second: a resolver that waits for the world answers more, one that is busy itself
    would only drop what does not fit its receive buffer.  It is halved when silence outweighs the
    answers: a slow domain times out among many answers and changes nothing, but a resolver that we
    overload falls silent.  A question is known to be lost a whole time-out after it was asked, so
    losses are held against the best period since then: at the end of a batch only slow ones are left.
    """

    host: str
    port: int
    settings: DnsSettings
    limit: int  #: the most questions at once
    on_answer: Callable[[Question, bytes], None]
    on_loss: Callable[[Question], None]
    sent: int = 0
    answered: int = 0
    lost: int = 0
    strays: int = 0
    failed: int = 0  #: SERVFAIL answers, counted by the client
    failing: bool = False  #: most of the last period's answers were SERVFAIL
    _window: float = 0.0
    _proven: float = 0.0  #: the window to go back to if a wider one brings nothing
    _rate: float = 0.0  #: answers a second with that window
    _widened: bool = False
    _next_widening: float = 0.0
    _under_way: int = 0
    _allowance: float = 0.0
    _refilled: float = 0.0
    _period_start: float = 0.0
    _before: tuple[int, int, int] = (0, 0, 0)
    _answers: deque[int] = field(default_factory=deque)  #: of the periods that reach back to what is lost now
    _next_socket: int = 0
    _sockets: list[tuple[socket.socket, Pending]] = field(default_factory=list)
    _waiting: deque[Question] = field(default_factory=deque)
    _pipe: Pipe | None = None

    def open(self) -> None:
        """Connect the UDP sockets; each has a random source port of its own."""
        loop = asyncio.get_running_loop()
        self._window = self._proven = min(FIRST_WINDOW, self.limit)
        self._period_start = loop.time()
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        for _ in range(self.settings.sockets):
            made = socket.socket(family, socket.SOCK_DGRAM)
            self._sockets.append((made, {}))
            made.setblocking(False)
            _enlarge(made)
            made.connect((self.host, self.port))
            loop.add_reader(made, self._readable, *self._sockets[-1])

    def close(self) -> None:
        """Close everything; questions under way are forgotten."""
        loop = asyncio.get_running_loop()
        forgotten = list(self._waiting)
        for made, pending in self._sockets:
            loop.remove_reader(made)
            made.close()
            forgotten += pending.values()
        if self._pipe is not None:
            forgotten += self._pipe.pending.values()
            self._pipe.abandon()
        for question in forgotten:
            question.forget()

    def submit(self, question: Question) -> None:
        """Send the question now, or when the window and the rate allow it."""
        if self._waiting or not self._may_send():
            self._waiting.append(question)
        else:
            self._send(question)

    def tick(self, now: float) -> None:
        """Give up what is overdue, judge the server once a period, send what waits."""
        for made, pending in self._sockets:
            if self._expire(pending, now):
                self._listen_again(made, pending)
        if self._pipe is not None:
            if self._pipe.is_silent(now):
                self._replace(self._pipe, now)
            elif not self._pipe.is_behind(now):
                self._expire(self._pipe.pending, now)
        if now >= self._period_start + PERIOD:
            self._judge(now)
        self._pump()

    def _judge(self, now: float) -> None:
        answered, lost, failed = (
            new - old for new, old in zip((self.answered, self.lost, self.failed), self._before, strict=True)
        )
        rate = answered / (now - self._period_start)
        self._before = (self.answered, self.lost, self.failed)
        self._period_start = now
        self.failing = answered >= ENOUGH and failed * 2 > answered
        self._answers.append(answered)
        if len(self._answers) > 2 + self.settings.timeout / PERIOD:
            self._answers.popleft()
        if self.failing or (lost >= LEAST_WINDOW and lost > max(self._answers)):
            self._window = self._proven = max(self._window / 2, min(LEAST_WINDOW, self.limit))
            self._widened = False
        elif answered < ENOUGH or not self._waiting:
            pass  # the window is not what holds it back
        elif self._widened and rate < self._rate * GAIN:
            self._window = self._proven
            self._widened = False
            self._next_widening = now + PAUSE
        elif self._window < self.limit and (self._widened or now >= self._next_widening):
            self._proven, self._rate = self._window, rate
            self._window = min(self.limit, self._window * (2 if self._window == FIRST_WINDOW else WIDER))
            self._widened = True

    def _may_send(self) -> bool:
        if self._under_way >= self._window:
            return False
        if not self.settings.rate:
            return True
        now = asyncio.get_running_loop().time()
        burst = max(1.0, self.settings.rate / 10)
        self._allowance = min(burst, self._allowance + (now - self._refilled) * self.settings.rate)
        self._refilled = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    def _pump(self) -> None:
        while self._waiting and self._may_send() and self._send(self._waiting.popleft()):
            pass

    def _send(self, question: Question) -> bool:
        """Put the question on the wire; False if the system has no room, and then it waits again."""
        if question.over_tcp:
            made, pending = None, self._open_pipe().pending
        else:
            self._next_socket = (self._next_socket + 1) % len(self._sockets)
            made, pending = self._sockets[self._next_socket]
        message_id = next(_RANDOM_IDS)
        while message_id in pending:
            message_id = next(_RANDOM_IDS)
        payload = self.settings.udp_payload if question.edns else None
        wire = message_of(message_id, question.section, payload=payload, checking_disabled=question.checking_disabled)
        question.deadline = asyncio.get_running_loop().time() + self.settings.timeout
        if made is None:
            self._open_pipe().send(wire)
        else:
            try:
                made.send(wire)
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self._waiting.appendleft(question)
                    return False
                # Another error tells of an earlier datagram (RFC 1122 §4.1.3.3); this one will time out.
        question.sent += 1
        pending[message_id] = question
        self._under_way += 1
        self.sent += 1
        return True

    def _readable(self, made: socket.socket, pending: Pending) -> None:
        size = 0
        for _ in range(BURST):
            if size > BYTES_A_TURN:
                break  # the rest is still there in the next turn
            try:
                wire = made.recv(DATAGRAM)
            except BlockingIOError:
                break
            except OSError:  # an ICMP error for an earlier datagram, whose question will time out
                continue
            size += len(wire)
            self.received(wire, pending)
        if self._waiting:
            self._pump()

    def received(self, wire: bytes, pending: Pending) -> None:
        """Match one message with what is under way on the socket it came from."""
        message_id = int.from_bytes(wire[:2], "big")
        question = pending.get(message_id)
        if question is None or not (
            len(wire) >= 12 and wire[2] & 0x80 and (wire.startswith(question.section, 12) or _is_refusal(wire))
        ):
            self.strays += 1
            return
        del pending[message_id]
        self._under_way -= 1
        self.answered += 1
        self.on_answer(question, wire)

    def _received_over_tcp(self, wire: bytes, pending: Pending) -> None:
        self.received(wire, pending)
        self._pump()

    def _listen_again(self, made: socket.socket, pending: Pending) -> None:
        """libuv stops watching a socket at which an ICMP error was reported: the server was gone for a moment."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(made)
        loop.add_reader(made, self._readable, made, pending)

    def _expire(self, pending: Pending, now: float) -> bool:
        """Give up the questions that are overdue; whether there were any."""
        found = False
        while pending:
            message_id, question = next(iter(pending.items()))
            if question.deadline > now:
                break
            del pending[message_id]
            self.lose(question)
            found = True
        return found

    def _replace(self, pipe: Pipe, now: float) -> None:
        """Give up a connection; the questions on it that are not overdue go over another, in the same try."""
        pending = pipe.pending
        pipe.abandon()
        self._expire(pending, now)
        for question in pending.values():
            self._under_way -= 1
            question.sent -= 1
            self.submit(question)

    def lose(self, question: Question) -> None:
        """No answer will be waited for any longer."""
        self._under_way -= 1
        self.lost += 1
        self.on_loss(question)

    def _open_pipe(self) -> Pipe:
        if self._pipe is None or self._pipe.closed:
            self._pipe = Pipe(self.host, self.port, self.settings.timeout, self._received_over_tcp, self.lose)
        return self._pipe


_NO_ROOM = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ENOMEM}


def _is_refusal(wire: bytes) -> bool:
    """A server that does not take EDNS may send back a bare header (RFC 6891 §7)."""
    return wire[4:6] == b"\0\0" and wire[3] & 15 in (FORMERR, NOTIMP)


def _enlarge(made: socket.socket) -> None:
    force = getattr(socket, "SO_RCVBUFFORCE", 33)  # beyond net.core.rmem_max, for root
    try:
        made.setsockopt(socket.SOL_SOCKET, force, RECEIVE_BUFFER)
    except OSError:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def _random_ids() -> Iterator[int]:
    """Message IDs that nobody can foretell (RFC 5452 §9.2)."""
    while True:
        yield from memoryview(os.urandom(8_192)).cast("H")


_RANDOM_IDS = _random_ids()
