"""Mail hosts that try to keep us, or to make us take more than we want; and the limits they run into.

It holds entries only.  Every field of `config.Limits` that a host can exceed has its entry.
"""

from __future__ import annotations

from crawler.lab.behaviours.raw_flights import dhe_flight
from crawler.lab.behaviours.vocabulary import (
    CAPABILITIES,
    EHLO,
    GO_AHEAD,
    GREETING,
    Act,
    Flood,
    Leaf,
    Pause,
    Pieces,
    Tls,
    ended,
    host,
    secured,
)
from crawler.model.rows import Outcome, Stage

_MEGABYTE = 1 << 20

host(
    "tarpit",
    "greets one byte every half second",
    share=2,
    truth=ended(Stage.GREETING, Outcome.TIMEOUT),
    greeting=(Pieces(b"220 mx.lab.example ESMTP, and there is all the time in the world\r\n", size=1, gap=0.5),),
)
host(
    "tarpit-lines",
    "greets one line every half second, for ever",
    share=0.5,
    truth=ended(Stage.GREETING, Outcome.TIMEOUT),
    greeting=(Pieces(b"220-still here\r\n" * 200, size=16, gap=0.5),),
)
host(
    "endless-greeting",
    "a greeting without a last line",
    share=0.5,
    truth=ended(Stage.GREETING, Outcome.LIMIT_EXCEEDED),
    greeting=(Flood(b"220-and another line of welcome\r\n"),),
)
host(
    "endless-line",
    "a greeting without a line end",
    share=0.5,
    truth=ended(Stage.GREETING, Outcome.LIMIT_EXCEEDED),
    greeting=(b"220 mx.lab.example ", Flood(b"welcome " * 64)),
)
host(
    "huge-ehlo",
    "a reply to EHLO of ten megabytes",
    share=0.5,
    truth=ended(Stage.CAPABILITIES, Outcome.LIMIT_EXCEEDED),
    plain={"EHLO": (Flood(b"250-X-PADDING " + b"x" * 400 + b"\r\n", total=10 * _MEGABYTE), b"250 SIZE\r\n")},
)
host(
    "many-lines",
    "a reply to EHLO of a thousand short lines",
    share=0.5,
    truth=ended(Stage.CAPABILITIES, Outcome.LIMIT_EXCEEDED),
    plain={"EHLO": (CAPABILITIES + b"250-X\r\n" * 1_000 + b"250 STARTTLS\r\n",)},
)
host(
    "long-line",
    "one keyword of eight thousand bytes in the reply to EHLO",
    share=0.5,
    truth=ended(Stage.CAPABILITIES, Outcome.LIMIT_EXCEEDED),
    plain={"EHLO": (CAPABILITIES + b"250-" + b"X" * 8_000 + b"\r\n250 STARTTLS\r\n",)},
)
host(
    "endless-starttls",
    "a reply to STARTTLS without a last line",
    share=0.5,
    truth=ended(Stage.UPGRADE, Outcome.LIMIT_EXCEEDED),
    plain={"STARTTLS": (Flood(b"220-ready, steady\r\n"),)},
)
host(
    "huge-chain",
    "a certificate message of half a megabyte",
    share=0.5,
    truth=ended(Stage.HANDSHAKE, Outcome.LIMIT_EXCEEDED),
    tls=Tls(leaf=Leaf(chain=("intermediate",) * 1_000)),
)
host(
    "tls-drip",
    "sends its part of the handshake one byte every half second",
    share=0.5,
    truth=ended(Stage.HANDSHAKE, Outcome.TIMEOUT),
    tls=(Pieces(b"\x16\x03\x03\x0f\xff\x02" + bytes(200), size=1, gap=0.5),),
)
host(
    "endless-inside",
    "a reply inside TLS without a last line",
    share=0.5,
    truth=ended(Stage.AFTER_TLS, Outcome.LIMIT_EXCEEDED),
    inside={"EHLO": (Flood(b"250-and another keyword\r\n"),)},
)
host(
    "slow-everywhere",
    "takes its time with every answer, and never gives the last",
    share=0.5,
    truth=ended(Stage.AFTER_TLS, Outcome.TIMEOUT),
    greeting=(Pause(1.0), GREETING),
    plain={"EHLO": (Pause(0.5), EHLO), "STARTTLS": (Pause(0.5), GO_AHEAD, Act.START_TLS)},
    inside={"EHLO": (Act.SILENCE,)},
)
host(
    "huge-dhe",
    "TLS 1.2 with DHE over 9,600 bits, each handshake a second of the client's processor time",
    share=0.5,
    truth=ended(Stage.HANDSHAKE, Outcome.LIMIT_EXCEEDED),
    tls=(dhe_flight(9_600),),
)
host(
    "huge-dhe-and-ecdhe",
    "DHE over 9,600 bits where DHE is offered, ECDHE where it is not",
    share=0.5,
    truth=secured("TLSv1.2", "x25519"),
    tls=Tls(versions=("TLSv1.2", "TLSv1.2"), dhe_bits=9_600),
)
