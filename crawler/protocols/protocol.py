"""What a protocol's one file says: names, ports, how replies are cut out of the stream, and the conversation.

A conversation is a generator.  It does no I/O and has no clock.  It yields a `Turn` (the words to say, and the stage
they belong to) and is sent the reply. It writes each fact into the `Probe` row at once, so that the fact survives a
later failure. It returns when its goal is reached, and raises `Ended` when it is not.

A new protocol is a new file in this room that ends with `PROTOCOL = Protocol(…)`; `registry` finds it by its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, NamedTuple
from typing import Protocol as Interface

from crawler.model.rows import Outcome, Probe, Stage


class Reply(Interface):
    """One whole reply of the host.  Each reader of replies has a class of its own, with what its protocol says in one."""

    @property
    def raw(self) -> bytes:
        """The reply as received."""

    @property
    def code(self) -> int | None:
        """Reply code of three digits; None where the protocol has none."""


class Turn(NamedTuple):
    """What to say next (nothing, to listen first) and which stage the answer belongs to."""

    stage: Stage
    say: bytes = b""
    if_closed: Outcome = Outcome.CLOSED  #: what a FIN instead of an answer means
    is_whole: Callable[[list[bytes]], bool] | None = None  #: whether so many lines are the whole answer; None: one is


Dialog = Generator[Turn, Any, None]  #: `Any` is the class of reply that the protocol's own reader makes


class Ended(Exception):
    """The conversation is over before its goal; `outcome` says how.

    `for_good` says of a refusal that the host means it to last (5yz in SMTP), so that another try is of no use.
    """

    def __init__(self, outcome: Outcome, *, for_good: bool = False) -> None:
        super().__init__(outcome)
        self.outcome, self.for_good = outcome, for_good


class ReplyLimits(Interface):
    """How large a reply may be; a part of the settings `limits`."""

    @property
    def reply_bytes(self) -> int:
        """Bytes of a whole reply."""

    @property
    def reply_lines(self) -> int:
        """Lines of a whole reply."""

    @property
    def line_bytes(self) -> int:
        """Bytes of one line."""


class Replies(Interface):
    """Cuts replies out of a byte stream, remembering where it stopped looking."""

    stray: bytearray  #: what was read over between replies

    def expect(self, turn: Turn) -> None:
        """Heed what the turn says about the form of its answer."""

    def cut(self, buffer: bytearray) -> Reply | None:
        """Remove one whole reply from the front of the buffer, or return None until more has come.

        Raises `Ended` with `protocol_error`, `wrong_protocol` or `limit_exceeded`.
        """


class Implicit(NamedTuple):
    """The form of a protocol whose connections begin with TLS (RFC 8314 for mail)."""

    name: str  #: on the command line, e.g. `imaps`
    port: int
    srv: str = ""  #: label of its SRV records, e.g. `_imaps`


@dataclass(frozen=True, slots=True)
class Protocol:
    """How one protocol comes to TLS, and what is said inside it.

    Each conversation is given the row and our name.  `greeting` hears a host that speaks first; it is None where the
    client does.  `before_tls` follows it up to the go-ahead for TLS.  `after_tls` is said inside TLS: after an upgrade
    alone, in the implicit form behind `greeting`.
    """

    name: str
    port: int  #: standard port of the plain form (IANA service names registry)
    replies: Callable[[ReplyLimits], Replies]
    before_tls: Callable[[Probe, bytes], Dialog]
    after_tls: Callable[[Probe, bytes], Dialog]
    goodbye: bytes  #: said last, inside TLS or not
    greeting: Callable[[Probe, bytes], Dialog] | None = None
    implicit: Implicit | None = None
    alpn: str = ""  #: protocol name for ALPN (IANA registry, RFC 7301); empty: it has none
    srv: str = ""  #: label of the SRV records of the plain form, e.g. `_imap` (RFC 6186)
    family: str = ""  #: word on the command line for all protocols whose hosts a domain names by SRV records
    fallbacks: tuple[str, ...] = ()  #: labels before the domain that by custom lead to a host, the likeliest first
    by_mx: bool = False  #: whether a domain's MX records say which hosts speak it (RFC 5321, 5)

    def plain(self, probe: Probe, name: bytes) -> Dialog:
        """The conversation from the connection to the go-ahead."""
        if self.greeting is not None:
            yield from self.greeting(probe, name)
        yield from self.before_tls(probe, name)

    def inside(self, probe: Probe, name: bytes) -> Dialog:
        """The conversation inside TLS when TLS was there first."""
        if self.greeting is not None:
            yield from self.greeting(probe, name)
        yield from self.after_tls(probe, name)


#: SASL mechanisms that send the password as it is (RFC 4616).
PLAINTEXT_MECHANISMS = frozenset({"PLAIN", "LOGIN"})

#: Openings of protocols that are not ours, seen where a greeting should be.
FOREIGN = re.compile(
    rb"[2-5][0-9][0-9][ -]|SSH-|HTTP/|<[!a-z]|\* (OK|BYE|PREAUTH)|\+OK|-ERR|RFB |\x15\x03|\x16\x03|@RSYNCD",
    re.IGNORECASE,
)
FOREIGN_BYTES = 10  #: as many as it takes to tell


def stray(data: bytes | bytearray) -> Ended:
    """What bytes outside the grammar mean: another protocol that we recognise, or an error."""
    return Ended(Outcome.WRONG_PROTOCOL if FOREIGN.match(data) else Outcome.PROTOCOL_ERROR)
