"""Messages of DNS put together byte by byte, and how both readers take them."""

from __future__ import annotations

import struct

from hypothesis import strategies as st

from crawler.dns import codec
from crawler.dns.codec import MX, Response

NAME = "example.test"


def header(*counts: int, flags: int = 0x8180) -> bytes:
    return struct.pack("!HHHHHH", 7, flags, *counts)


def question(name: str = NAME, rdtype: int = MX) -> bytes:
    return codec.question_of(name, rdtype)


def record(owner: bytes, kind: int, rdata: bytes, ttl: int = 300, rdclass: int = 1) -> bytes:
    return owner + struct.pack("!HHIH", kind, rdclass, ttl, len(rdata)) + rdata


def read(wire: bytes, name: str = NAME, rdtype: int = MX) -> Response:
    return codec.read(wire, question(name, rdtype), name, rdtype)


OWNER = b"\xc0\x0c"


labels = st.text("abcXYZ019-_", min_size=1, max_size=5)


names = st.lists(labels, min_size=1, max_size=4).map(".".join)


owners = st.one_of(st.just(NAME), names)
