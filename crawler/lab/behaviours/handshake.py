"""Mail hosts that break off in the handshake, or when it is done.

It holds entries only.  In TLS 1.3 the client finishes before the server has accepted, so
a handshake that is over for us is no proof: hosts that part then have their entries too.
"""

from __future__ import annotations

from crawler.lab.behaviours.raw_flights import dhe_flight
from crawler.lab.behaviours.vocabulary import GO_AHEAD, Act, Leaf, Step, Tls, ended, host
from crawler.model.rows import Outcome, Stage

# --- handshake ----------------------------------------------------------------------------------


def _handshake(name: str, about: str, share: float, outcome: Outcome, *steps: Step, final: bool = False) -> None:
    host(name, about, share=share, truth=ended(Stage.HANDSHAKE, outcome, conclusive=final), tls=steps)


host(
    "tls-garbage",
    "answers the ClientHello in plaintext",
    share=3,
    truth=ended(Stage.HANDSHAKE, Outcome.TLS_ERROR, conclusive=True, injected=True),
    tls=(b"500 5.5.1 What?\r\n",),
)
_handshake(
    "tls-alert",
    "a fatal alert, handshake_failure",
    3,
    Outcome.TLS_ALERT,
    b"\x15\x03\x03\x00\x02\x02\x28",
    Act.CLOSE,
    final=True,
)
_handshake(
    "tls-alert-version",
    "a fatal alert, protocol_version",
    1,
    Outcome.TLS_ALERT,
    b"\x15\x03\x01\x00\x02\x02\x46",
    Act.CLOSE,
    final=True,
)
_handshake(
    "ssl3-only",
    "a ServerHello of SSL 3.0, which our library cannot speak",
    1,
    Outcome.TLS_UNSUPPORTED_BY_US,
    b"\x16\x03\x00\x00\x2a\x02\x00\x00\x26\x03\x00" + bytes(range(32)) + b"\x00\x00\x05\x00",
)
_handshake(
    "weak-dhe",
    "TLS 1.2 with DHE over 512 bits, which our library does not take",
    0.5,
    Outcome.TLS_UNSUPPORTED_BY_US,
    dhe_flight(512),
)
_handshake(
    "tls-close-notify",
    "a close_notify in answer to the ClientHello",
    0.5,
    Outcome.CLOSED,
    b"\x15\x03\x01\x00\x02\x01\x00",
    Act.CLOSE,
)
_handshake("tls-silence", "never answers the ClientHello", 1, Outcome.TIMEOUT, Act.SILENCE)
_handshake("tls-close", "closes on the ClientHello", 2, Outcome.CLOSED, Act.CLOSE)
_handshake("tls-reset", "resets on the ClientHello", 2, Outcome.RESET, Act.RESET)
_handshake(
    "tls-half",
    "falls silent in the middle of its ServerHello",
    0.5,
    Outcome.TIMEOUT,
    b"\x16\x03\x03\x00\x7a\x02",
    Act.SILENCE,
)

# --- after TLS ----------------------------------------------------------------------------------


def _after(name: str, about: str, share: float, outcome: Outcome, *steps: Step, final: bool = False) -> None:
    host(name, about, share=share, truth=ended(Stage.AFTER_TLS, outcome, conclusive=final), inside={"EHLO": steps})


host(
    "close-after-finished",
    "TLS 1.3, and closes when the client's Finished has come",
    share=1,
    truth=ended(Stage.AFTER_TLS, Outcome.CLOSED),
    after_handshake=(Act.CLOSE,),
)
host(
    "reset-after-finished",
    "TLS 1.3, and resets when the client's Finished has come",
    share=1,
    truth=ended(Stage.AFTER_TLS, Outcome.RESET),
    after_handshake=(Act.RESET,),
)
host(
    "demands-certificate",
    "TLS 1.3, and an alert when the client turns out to have no certificate",
    share=1,
    truth=ended(Stage.AFTER_TLS, Outcome.TLS_ALERT, conclusive=True),
    tls=Tls(demands_certificate=True),
)
_after("inside-silence", "never answers inside TLS", 1, Outcome.TIMEOUT, Act.SILENCE)
_after(
    "inside-garbage", "answers inside TLS in no grammar", 0.5, Outcome.PROTOCOL_ERROR, b"hello yourself\r\n", final=True
)
host(
    "inside-554",
    "refuses us inside TLS: the protocol was answered there all the same",
    share=1,
    truth=ended(Stage.AFTER_TLS, Outcome.REJECTED, conclusive=True, negotiated=True),
    inside={"EHLO": (b"554 5.7.1 Go away\r\n",)},
)
host(
    "plaintext-after-handshake",
    "forgets TLS after the handshake and goes on in plaintext",
    share=0.5,
    truth=ended(Stage.AFTER_TLS, Outcome.TLS_ERROR, conclusive=True),
    after_handshake=(Act.DROP_TLS, b"250-mx.lab.example\r\n250 SIZE\r\n"),
)
host(
    "self-signed-then-close",
    "a self-signed certificate, then a close: verdicts on the certificate survive the failure",
    share=0.5,
    truth=ended(Stage.AFTER_TLS, Outcome.CLOSED, chain_trusted=False, certificates=1),
    tls=Tls(leaf=Leaf(issuer="itself", chain=())),
    inside={"EHLO": (Act.CLOSE,)},
)
host(
    "injected-then-silence",
    "plaintext behind the go-ahead, and no TLS after it",
    share=0.5,
    truth=ended(Stage.HANDSHAKE, Outcome.TIMEOUT, injected=True),
    plain={"STARTTLS": (GO_AHEAD + b"250 AUTH PLAIN\r\n", Act.START_TLS)},
    tls=(Act.SILENCE,),
)
