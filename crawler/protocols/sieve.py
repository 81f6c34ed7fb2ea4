"""ManageSieve with STARTTLS (RFC 5804): the host opens with its capabilities; it sends them again after the handshake, unasked."""

from __future__ import annotations

import re
from functools import partial

from crawler.model.rows import Outcome, Probe, Stage, printable
from crawler.protocols.lines import LineReplies, LineReply
from crawler.protocols.protocol import Dialog, Ended, Protocol, Turn

_OPENING = re.compile(rb'"|\{\d|OK(?![A-Z])|NO(?![A-Z])|BYE(?![A-Z])', re.IGNORECASE)
_LITERAL = re.compile(rb"\{(\d+)\+?\}\Z")
_STATUS = re.compile(rb"(OK|NO|BYE)(?: |\Z)", re.IGNORECASE)
_NOT_NOW = re.compile(rb"NO \(TRYLATER", re.IGNORECASE)
_NAME = re.compile(r'"([^"]*)"|\{\d+\+?\}\\x0d\n(\S+)')
_PLAINTEXT = re.compile(r"\b(PLAIN|LOGIN)\b", re.IGNORECASE)


def is_whole(lines: list[bytes]) -> bool:
    """A response ends with OK, NO or BYE (RFC 5804 §1.3)."""
    return _STATUS.match(lines[-1]) is not None


def hear_greeting(probe: Probe, name: bytes) -> Dialog:
    """Hear the capabilities, with which the host opens (§1.7)."""
    greeting = yield Turn(Stage.GREETING, is_whole=is_whole)
    probe.greeting = greeting.text
    expect(greeting, Outcome.REJECTED)
    probe.capabilities = capabilities(greeting)


def before_tls(probe: Probe, name: bytes) -> Dialog:
    """Ask for TLS if it is among the capabilities."""
    names = {name_of(capability) for capability in probe.capabilities or ()}
    probe.starttls_offered = "STARTTLS" in names
    mechanisms = [capability for capability in probe.capabilities or () if name_of(capability) == "SASL"]
    probe.plaintext_login = any(_PLAINTEXT.search(capability) for capability in mechanisms)
    if not probe.starttls_offered:
        raise Ended(Outcome.NOT_OFFERED)
    answer = yield Turn(Stage.UPGRADE, b"STARTTLS\r\n", is_whole=is_whole)
    expect(answer, Outcome.UPGRADE_REFUSED)


def after_tls(probe: Probe, name: bytes) -> Dialog:
    """Hear the capabilities again, for which nobody asks (§2.2)."""
    listed = yield Turn(Stage.AFTER_TLS, is_whole=is_whole)
    expect(listed, Outcome.REJECTED)
    probe.capabilities_after_tls = capabilities(listed)


def capabilities(listed: LineReply) -> list[str]:
    """Capability lines as sent, the status left out."""
    return [printable(line.strip()) for line in listed.lines[:-1]]


def name_of(capability: str) -> str:
    """The name of a capability, which may be quoted or a literal."""
    found = _NAME.match(capability)
    return (found[1] or found[2] or "").upper() if found else ""


def expect(reply: LineReply, refusal: Outcome) -> None:
    """Go on after OK; NO is a refusal, for good unless its response code says otherwise, and BYE ends everything."""
    status = reply.lines[-1].upper()
    if not status.startswith(b"OK"):
        outcome = Outcome.REJECTED if status.startswith(b"BYE") else refusal
        raise Ended(outcome, for_good=not _NOT_NOW.match(status))


PROTOCOL = Protocol(
    "sieve",
    port=4190,
    srv="_sieve",
    alpn="managesieve",
    replies=partial(LineReplies, opening=_OPENING, literal=_LITERAL),
    greeting=hear_greeting,
    before_tls=before_tls,
    after_tls=after_tls,
    goodbye=b"LOGOUT\r\n",
)
