"""POP3 with STLS (RFC 1939, RFC 2449, RFC 2595 §4): greeting, CAPA, STLS; inside TLS CAPA again.

Some hosts upgrade though they do not list STLS, or know no CAPA.  So STLS is said in any case, and the answer decides.
"""

from __future__ import annotations

import re
from functools import partial

from crawler.model.rows import Outcome, Probe, Stage, printable
from crawler.protocols.lines import LineReplies, LineReply
from crawler.protocols.protocol import PLAINTEXT_MECHANISMS, Dialog, Ended, Implicit, Protocol, Turn

_OPENING = re.compile(rb"\+OK(?![A-Za-z])|-ERR(?![A-Za-z])", re.IGNORECASE)
_NOT_NOW = re.compile(rb"-ERR \[(SYS/TEMP|IN-USE|LOGIN-DELAY)", re.IGNORECASE)  # RFC 2449 §8, RFC 3206


def hear_greeting(probe: Probe, name: bytes) -> Dialog:
    """Hear what the host opens with."""
    greeting = yield Turn(Stage.GREETING)
    probe.greeting = greeting.text
    expect(greeting, Outcome.REJECTED)


def before_tls(probe: Probe, name: bytes) -> Dialog:
    """Ask for the capabilities, then for TLS."""
    listed = yield Turn(Stage.CAPABILITIES, b"CAPA\r\n", is_whole=is_whole_list)
    if is_ok(listed):
        probe.capabilities = capabilities(listed)
        words = [capability.upper().split(" ") for capability in probe.capabilities]
        probe.starttls_offered = ["STLS"] in words
        probe.plaintext_login = any(
            word[0] == "USER" or (word[0] == "SASL" and PLAINTEXT_MECHANISMS.intersection(word)) for word in words
        )

    answer = yield Turn(Stage.UPGRADE, b"STLS\r\n")
    if not is_ok(answer) and not probe.starttls_offered and not _NOT_NOW.match(answer.raw):
        probe.starttls_offered = False
        raise Ended(Outcome.NOT_OFFERED)
    expect(answer, Outcome.UPGRADE_REFUSED)


def after_tls(probe: Probe, name: bytes) -> Dialog:
    """Ask for the capabilities inside TLS."""
    listed = yield Turn(Stage.AFTER_TLS, b"CAPA\r\n", is_whole=is_whole_list)
    if is_ok(listed):
        probe.capabilities_after_tls = capabilities(listed)


def is_ok(reply: LineReply) -> bool:
    """Whether a reply is positive."""
    return reply.lines[0][:3].upper() == b"+OK"


def is_whole_list(lines: list[bytes]) -> bool:
    """A refusal has one line; a list ends with a dot."""
    return lines[0][:3].upper() != b"+OK" or lines[-1] == b"."


def capabilities(listed: LineReply) -> list[str]:
    """Capabilities with their parameters (RFC 2449 §5)."""
    return [printable(line.removeprefix(b".").strip()) for line in listed.lines[1:-1]]


def expect(reply: LineReply, refusal: Outcome) -> None:
    """Go on after +OK; -ERR is a refusal, for good unless its response code says otherwise."""
    if not is_ok(reply):
        raise Ended(refusal, for_good=not _NOT_NOW.match(reply.raw))


PROTOCOL = Protocol(
    "pop3",
    port=110,
    srv="_pop3",
    family="mail",
    fallbacks=("pop", "mail"),
    implicit=Implicit("pop3s", 995, "_pop3s"),
    alpn="pop3",
    replies=partial(LineReplies, opening=_OPENING),
    greeting=hear_greeting,
    before_tls=before_tls,
    after_tls=after_tls,
    goodbye=b"QUIT\r\n",
)
