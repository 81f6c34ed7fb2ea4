"""Many questions at once to a few resolvers: retries, what an answer means, and a cache.

This module never raises for what a server does; every question ends in one `Answer`.
Recursion and validation are the resolver's job, and its AD bit is trusted only on loopback or when
the operator says so (RFC 6840 §5.8).
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self

from crawler.dns import codec, lenient
from crawler.dns.codec import AAAA, TLSA, A, Response, Undecodable
from crawler.dns.question import Question
from crawler.dns.transport import DATAGRAM, Server
from crawler.model.errors import ConfigError
from crawler.model.rows import LookupStatus
from crawler.model.vocabulary import ANSWERED
from crawler.settings.config import Config, server_address
from crawler.settings.declared_limits import limit

#: Types kept in the cache: they belong to hosts, which many domains share.  MX and TXT belong to
#: one domain and are asked once.
KEPT_TYPES = frozenset({A, AAAA, TLSA})
#: Bytes of a message that count as one answer in the cache; most have less, hostile ones up to 64 KiB.
USUAL_BYTES = limit(
    512,
    "bytes of an answer that count as one in the cache (`dns.cache_size`)",
    protects="our memory",
    cut="nothing is cut: a larger answer counts several times",
)
#: Extended errors that say validation failed (RFC 8914 §4.7-4.13).
BOGUS_ERRORS = frozenset(range(6, 13))
_CONCLUSIVE_RCODES = frozenset({codec.NOERROR, codec.NXDOMAIN})


@dataclass(slots=True)
class Answer:
    """How the question for one name and type ended, and what was learnt.  Shared: not to be changed.

    Records: MX is (preference, exchange), A and AAAA the address as text, TXT the joined strings,
    TLSA (usage, selector, matching, data), SRV (priority, weight, port, target).  Names are lower case without the trailing dot; the
    root is ".".
    """

    name: str
    rdtype: int
    status: LookupStatus
    rcode: str | None = None  #: None: no answer came that could be read
    secure: bool | None = None  #: the AD bit; None: the resolver is not trusted, or nothing was learnt
    records: list[Any] = field(default_factory=list)
    cnames: list[str] = field(default_factory=list)  #: targets followed, in order
    ttl: int | None = None  #: seconds, the smallest of the records and CNAMEs
    ede: list[str] = field(default_factory=list)  #: extended errors, `code text`
    malformed: int = 0  #: records that could not be read, beside those that could


class DnsClient:
    """Asks the resolvers of the configuration; an async context manager.

    Entering it raises `ConfigError` if a resolver cannot even be addressed from this machine.
    """

    def __init__(self, config: Config) -> None:
        self._settings = config.dns
        self._addresses = [server_address(text) for text in config.resolver]
        self._trusted = config.trust_ad or all(ip_address(host).is_loopback for host, _ in self._addresses)
        self._servers: list[Server] = []
        self._turn = 0
        self._kept: OrderedDict[tuple[str, int], tuple[float, Answer, int]] = OrderedDict()
        self._weight = 0
        self._asked: dict[tuple[str, int], Question] = {}
        self._resting: deque[tuple[float, Question]] = deque()
        interval = min(self._settings.timeout / 8, 0.25)
        self._interval = min(interval, 0.05) if self._settings.rate else interval

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        limit = max(1, self._settings.in_flight // len(self._addresses))
        for host, port in self._addresses:
            server = Server(host, port, self._settings, limit, self._on_answer, self._on_loss)
            self._servers.append(server)
            try:
                server.open()
            except OSError as error:
                self._close()
                raise ConfigError(f"resolver: {host} cannot be asked from here ({error.strerror})") from error
        self._timer = self._loop.call_later(self._interval, self._tick)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._close()

    def _close(self) -> None:
        for server in self._servers:
            server.close()
        for _, question in self._resting:
            question.forget()

    async def ask(self, name: str, rdtype: int) -> Answer:
        """The answer for a name (lower case, no trailing dot) and type, from the cache or a resolver."""
        return await self.begin(name, rdtype)

    def begin(self, name: str, rdtype: int) -> asyncio.Future[Answer]:
        """Ask without waiting; a question that is under way already is not asked twice."""
        waiter: asyncio.Future[Answer] = self._loop.create_future()
        key = (name, rdtype)
        if rdtype in KEPT_TYPES:
            if (kept := self._kept.get(key)) is not None and kept[0] > self._loop.time():
                waiter.set_result(kept[1])
                return waiter
            if (asked := self._asked.get(key)) is not None:
                asked.waiters.append(waiter)
                return waiter
        try:
            section = codec.question_of(name, rdtype)
        except Undecodable:
            try:
                section = lenient.question_of(name, rdtype)
            except Undecodable:
                waiter.set_result(Answer(name, rdtype, LookupStatus.MALFORMED))
                return waiter
        if self._settings.use_0x20:
            section = _mixed_case(section)
        self._turn = (self._turn + 1) % len(self._servers)
        question = Question(name, rdtype, section, [waiter], server=self._turn)
        if rdtype in KEPT_TYPES:
            self._asked[key] = question
        self._servers[self._turn].submit(question)
        return waiter

    def counts(self) -> dict[str, int]:
        """Questions sent, answers matched, questions lost and stray messages so far."""
        return {what: sum(getattr(s, what) for s in self._servers) for what in ("sent", "answered", "lost", "strays")}

    def _tick(self) -> None:
        now = self._loop.time()
        while self._resting and self._resting[0][0] <= now:
            self._again(self._resting.popleft()[1])
        for server in self._servers:
            server.tick(now)
        self._timer = self._loop.call_later(self._interval, self._tick)

    # --- what a message, or none, means for its question ---

    def _on_loss(self, question: Question) -> None:
        if question.checking_disabled:  # it had failed, and why stays unknown
            self._finish(question, question.failure)
        else:
            question.failure = question.failure or Answer(question.name, question.rdtype, LookupStatus.TIMEOUT)
            self._retry(question)

    def _on_answer(self, question: Question, wire: bytes) -> None:
        rcode = wire[3] & 15
        if question.edns and rcode in (codec.FORMERR, codec.NOTIMP):
            question.edns = False
            question.failure = self._answer(
                question, Response(rcode, False, False, [], [], None), LookupStatus.SERVFAIL
            )
            self._retry(question, elsewhere=False)
            return
        if wire[2] & 2 or (len(wire) >= DATAGRAM and not question.over_tcp):
            self._on_truncation(question)
            return
        try:
            reply = codec.read(wire, question.section, question.name, question.rdtype)
        except Undecodable:
            try:
                reply = lenient.read(wire, question.name, question.rdtype)
            except Undecodable:
                question.failure = Answer(question.name, question.rdtype, LookupStatus.MALFORMED)
                self._retry(question)
                return
        if reply.rcode in _CONCLUSIVE_RCODES:
            self._on_success(question, reply, len(wire))
        elif reply.rcode == codec.REFUSED:
            question.failure = self._answer(question, reply, LookupStatus.REFUSED)
            self._ask_next_server(question)
        else:
            self._on_failure(question, reply)

    def _on_truncation(self, question: Question) -> None:
        if question.over_tcp:  # a lie: there is no limit to be truncated at
            question.failure = Answer(question.name, question.rdtype, LookupStatus.MALFORMED)
            self._retry(question)
        else:
            question.over_tcp = True
            question.sent -= 1  # the same try, by another way
            self._again(question)

    def _on_success(self, question: Question, reply: Response, size: int) -> None:
        if question.checking_disabled:
            # Validation failed, or a passing trouble is over: one more question without CD tells.
            question.checking_disabled = False
            question.suspect = True
            question.failure.status = LookupStatus.BOGUS
            self._retry(question, elsewhere=False)
            return
        if reply.rcode == codec.NXDOMAIN:
            status = LookupStatus.NXDOMAIN
        elif reply.records:
            status = LookupStatus.OK
        else:
            status = LookupStatus.MALFORMED if reply.malformed else LookupStatus.NODATA
        self._finish(question, self._answer(question, reply, status), size)

    def _on_failure(self, question: Question, reply: Response) -> None:
        """SERVFAIL, or a code that no question of ours deserves: bogus, broken, or too much for the server?"""
        server = self._servers[question.server]
        server.failed += 1
        if question.checking_disabled:
            self._finish(question, question.failure)
        elif question.suspect or not BOGUS_ERRORS.isdisjoint(code for code, _ in reply.ede):
            self._finish(question, self._answer(question, reply, LookupStatus.BOGUS))
        else:
            question.failure = self._answer(question, reply, LookupStatus.SERVFAIL)
            if question.sent >= self._settings.tries:
                self._finish(question, question.failure)
            elif question.sent < len(self._servers):
                self._retry(question)
            elif server.failing:  # most answers fail, so it may be us: not now
                self._resting.append((self._loop.time() + self._settings.timeout, question))
            else:
                question.checking_disabled = True
                self._again(question)

    def _ask_next_server(self, question: Question) -> None:
        if question.sent < len(self._servers):
            self._retry(question)
        else:
            self._finish(question, question.failure)

    def _retry(self, question: Question, *, elsewhere: bool = True) -> None:
        """Send it again, to the next server unless told otherwise; give up after the last try."""
        if question.sent >= self._settings.tries:
            self._finish(question, question.failure)
            return
        if elsewhere:
            question.server = (question.server + 1) % len(self._servers)
            question.over_tcp = False
        self._again(question)

    def _again(self, question: Question) -> None:
        self._servers[question.server].submit(question)

    def _answer(self, question: Question, reply: Response, status: LookupStatus) -> Answer:
        learnt = status in ANSWERED or reply.malformed > 0
        return Answer(
            question.name,
            question.rdtype,
            status,
            codec.rcode_text(reply.rcode),
            reply.authentic if learnt and self._trusted else None,
            reply.records,
            reply.cnames,
            reply.ttl,
            [f"{code} {text}" if text else str(code) for code, text in reply.ede] if reply.ede else [],
            reply.malformed,
        )

    def _finish(self, question: Question, answer: Answer, size: int = 0) -> None:
        """Hand the answer to all who wait; `size` in bytes is that of its message, if there was one."""
        if question.rdtype in KEPT_TYPES:
            key = (question.name, question.rdtype)
            del self._asked[key]
            if answer.status in ANSWERED:
                self._keep(key, answer, 1 + size // USUAL_BYTES)
        for waiter in question.waiters:
            if not waiter.done():
                waiter.set_result(answer)

    def _keep(self, key: tuple[str, int], answer: Answer, weight: int) -> None:
        if (before := self._kept.pop(key, None)) is not None:
            self._weight -= before[2]
        if weight > self._settings.cache_size:
            return
        longest = self._settings.cache_ttl
        seconds = longest if answer.ttl is None else min(answer.ttl, longest)
        self._kept[key] = (self._loop.time() + seconds, answer, weight)
        self._weight += weight
        while self._weight > self._settings.cache_size:
            self._weight -= self._kept.popitem(last=False)[1][2]


def _mixed_case(section: bytes) -> bytes:
    """Random letter case (draft-vixie-dnsext-dns0x20), which an answer must repeat."""
    coins = os.urandom(len(section))
    name = section[:-4]
    mixed = bytes(
        byte ^ 0x20 if 97 <= byte <= 122 and coin & 1 else byte for byte, coin in zip(name, coins, strict=False)
    )
    return mixed + section[-4:]
