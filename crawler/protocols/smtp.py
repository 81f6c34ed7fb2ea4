"""SMTP with STARTTLS (RFC 5321, RFC 3207): greeting, EHLO or HELO, STARTTLS; inside TLS EHLO again.

Between servers there is no implicit form.  Submission and LMTP say the same and build on this.
"""

from __future__ import annotations

import re

from crawler.model.rows import Outcome, Probe, Stage, printable
from crawler.protocols.protocol import PLAINTEXT_MECHANISMS, Dialog, Ended, Protocol, Turn
from crawler.protocols.three_digit import ThreeDigitReplies, ThreeDigitReply

#: STARTTLS overwritten letter by letter, as firewalls do that watch SMTP (`250-XXXXXXXA`).
_MASKED = re.compile(r"X{7}[A-Z]\Z")


def hear_greeting(probe: Probe, name: bytes) -> Dialog:
    """Hear what the host opens with; `name` is said later."""
    greeting = yield Turn(Stage.GREETING)
    probe.greeting, probe.greeting_code = text(greeting), greeting.code
    expect(greeting)


def before_tls(probe: Probe, name: bytes) -> Dialog:
    """Say EHLO (HELO if that is refused for good), ask for STARTTLS if offered.

    EHLO is said whatever the greeting's text, and with our own name.
    """
    hello = yield Turn(Stage.CAPABILITIES, b"EHLO " + name + b"\r\n")
    probe.hello_reply = text(hello)
    if hello.code // 100 == 5:
        # A host that refuses EHLO and hangs up on HELO has refused us, not vanished.
        hello = yield Turn(Stage.CAPABILITIES, b"HELO " + name + b"\r\n", if_closed=Outcome.REJECTED)
        probe.hello_reply += "\n" + text(hello)
        expect(hello)
        probe.hello_command, probe.capabilities, probe.starttls_offered = "helo", [], False
        raise Ended(Outcome.NOT_OFFERED)
    expect(hello)
    probe.hello_command, probe.capabilities = "ehlo", capabilities(hello)
    yield from upgrade(probe)


def upgrade(probe: Probe) -> Dialog:
    """Ask for STARTTLS if the capabilities have it."""
    offered, login = False, False
    for capability in probe.capabilities or ():
        keyword, _, parameters = capability.upper().partition(" ")
        if keyword == "STARTTLS":
            offered = True
        elif keyword == "AUTH" and not login:
            login = not PLAINTEXT_MECHANISMS.isdisjoint(parameters.split(" "))
    probe.starttls_offered, probe.plaintext_login = offered, login
    if not offered:
        keywords = (capability.upper().partition(" ")[0] for capability in probe.capabilities or ())
        probe.starttls_masked = next(filter(_MASKED.match, keywords), None)
        raise Ended(Outcome.NOT_OFFERED)

    answer = yield Turn(Stage.UPGRADE, b"STARTTLS\r\n")
    probe.starttls_code = answer.code
    expect(answer, Outcome.UPGRADE_REFUSED)


def after_tls(probe: Probe, name: bytes) -> Dialog:
    """Say EHLO inside TLS."""
    hello = yield Turn(Stage.AFTER_TLS, b"EHLO " + name + b"\r\n")
    expect(hello)
    probe.capabilities_after_tls = capabilities(hello)


def capabilities(hello: ThreeDigitReply) -> list[str]:
    """Keywords with parameters; line 0 is the host's name, not a keyword (RFC 5321 §4.1.1.1)."""
    return [printable(line.strip()) for line in hello.lines[1:]]


def expect(reply: ThreeDigitReply, refusal: Outcome = Outcome.REJECTED) -> None:
    """Go on with any 2yz, as Postfix and Exim do whichever was due; 4yz and 5yz are a refusal, 3yz is not SMTP here."""
    if reply.code // 100 != 2:
        raise Ended(refusal if reply.code >= 400 else Outcome.PROTOCOL_ERROR, for_good=reply.code >= 500)


def text(reply: ThreeDigitReply) -> str:
    """A reply as stored: lines joined by LF, every byte that is not printable ASCII escaped."""
    return printable(reply.raw.replace(b"\r\n", b"\n").rstrip(b"\r\n"))


PROTOCOL = Protocol(
    "smtp",
    port=25,
    replies=ThreeDigitReplies,
    greeting=hear_greeting,
    before_tls=before_tls,
    after_tls=after_tls,
    goodbye=b"QUIT\r\n",
    by_mx=True,
)
