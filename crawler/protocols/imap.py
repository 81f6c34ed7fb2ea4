"""IMAP with STARTTLS (RFC 9051 §6.2.1, RFC 3501, RFC 2595 §3): greeting, CAPABILITY, STARTTLS; inside TLS CAPABILITY again.

Capabilities in the greeting are not relied on; a server need not send any unasked after the handshake.
"""

from __future__ import annotations

import re
from functools import partial

from crawler.model.rows import Form, Outcome, Probe, Stage, printable
from crawler.protocols.lines import LineReplies, LineReply
from crawler.protocols.protocol import Dialog, Ended, Implicit, Protocol, Turn

_OPENING = re.compile(rb"[*+] |a[1-3] ", re.IGNORECASE)
_LITERAL = re.compile(rb"\{(\d+)\+?\}\Z")
_NOT_NOW = re.compile(rb"a\d NO \[(UNAVAILABLE|INUSE|SERVERBUG|LIMIT)\]", re.IGNORECASE)  # RFC 5530
_PLAINTEXT = frozenset({"AUTH=PLAIN", "AUTH=LOGIN"})


def hear_greeting(probe: Probe, name: bytes) -> Dialog:
    """Hear OK, PREAUTH or BYE.  In the state that PREAUTH opens, no STARTTLS is allowed (RFC 9051 §7.1.4)."""
    greeting = yield Turn(Stage.GREETING)
    probe.greeting = greeting.text
    match greeting.lines[0].upper().split(b" ")[:2]:
        case [b"*", b"OK"]:
            return
        case [b"*", b"PREAUTH"]:
            if probe.form is not Form.IMPLICIT:
                raise Ended(Outcome.STARTTLS_IMPOSSIBLE)
        case [b"*", b"BYE"]:
            raise Ended(Outcome.REJECTED)
        case _:
            raise Ended(Outcome.PROTOCOL_ERROR)


def before_tls(probe: Probe, name: bytes) -> Dialog:
    """Ask for the capabilities, then for TLS, unless the capabilities were seen without it."""
    listed = yield _command(b"a1", b"CAPABILITY", Stage.CAPABILITIES)
    if _went_on(listed):
        probe.capabilities = capabilities(listed)
        words = {capability.upper() for capability in probe.capabilities}
        probe.starttls_offered = "STARTTLS" in words
        probe.plaintext_login = "LOGINDISABLED" not in words or not _PLAINTEXT.isdisjoint(words)
        if not probe.starttls_offered:
            raise Ended(Outcome.NOT_OFFERED)

    answer = yield _command(b"a2", b"STARTTLS", Stage.UPGRADE)
    if not _went_on(answer):
        for_good = not _NOT_NOW.match(answer.lines[-1])
        if for_good and probe.capabilities is None:  # a host that lists none has now said that it knows no STARTTLS
            probe.starttls_offered = False
            raise Ended(Outcome.NOT_OFFERED)
        raise Ended(Outcome.UPGRADE_REFUSED, for_good=for_good)


def after_tls(probe: Probe, name: bytes) -> Dialog:
    """Ask for the capabilities inside TLS."""
    listed = yield _command(b"a3", b"CAPABILITY", Stage.AFTER_TLS)
    if _went_on(listed):
        probe.capabilities_after_tls = capabilities(listed)


def capabilities(listed: LineReply) -> list[str]:
    """The words of the untagged CAPABILITY lines, each once."""
    lines = [line.split() for line in listed.lines if line.upper().startswith(b"* CAPABILITY")]
    return list(dict.fromkeys(printable(word) for line in lines for word in line[2:]))


def _command(tag: bytes, words: bytes, stage: Stage) -> Turn:
    """A command, whose answer ends with the line that bears its tag, or with BYE."""

    def is_whole(lines: list[bytes]) -> bool:
        return lines[-1][:3].lower() == tag + b" " or lines[-1][:5].upper() == b"* BYE"

    return Turn(stage, tag + b" " + words + b"\r\n", is_whole=is_whole)


def _went_on(answer: LineReply) -> bool:
    """Whether a command succeeded.  Raises `Ended` when the host took its leave instead of answering."""
    words = answer.lines[-1].upper().split(b" ")
    if words[0] == b"*":
        raise Ended(Outcome.REJECTED)
    return words[1] == b"OK"


PROTOCOL = Protocol(
    "imap",
    port=143,
    srv="_imap",
    family="mail",
    fallbacks=("imap", "mail"),
    implicit=Implicit("imaps", 993, "_imaps"),
    alpn="imap",
    replies=partial(LineReplies, opening=_OPENING, literal=_LITERAL),
    greeting=hear_greeting,
    before_tls=before_tls,
    after_tls=after_tls,
    goodbye=b"a4 LOGOUT\r\n",
)
