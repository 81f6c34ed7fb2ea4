"""Whatever bytes a host sends, in whatever pieces, every protocol comes to a complete row, and to the same one."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crawler.model.rows import Form, Outcome, Probe
from crawler.probe.conversation import Conversation, Identity
from crawler.protocols.registry import Service, services
from crawler.settings.config import Limits
from crawler.tls.handshake import TlsClient
from tests.kit.conversations import CONTEXTS

PLAIN = [service for service in services().values() if service.form is Form.STARTTLS]

WORDS = [
    b"220 mx\r\n", b"250-mx\r\n", b"250 STARTTLS\r\n", b"+OK\r\n", b"-ERR\r\n", b"STLS\r\n", b".\r\n", b"* OK x\r\n",
    b"* CAPABILITY IMAP4rev1 STARTTLS\r\n", b"a1 OK\r\n", b"a2 OK\r\n", b"* BYE\r\n", b"* PREAUTH\r\n", b'"STARTTLS"\r\n',
    b"OK\r\n", b"NO\r\n", b"{5}\r\n", b"{99999999999}\r\n", b"\x00", b"\n", b"\r\n", b"\xff" * 20, b"x" * 5_000,
]  # fmt: skip


def row_of(service: Service, pieces: list[bytes]) -> Probe:
    """The row after all pieces and a FIN."""
    ticks = itertools.count()
    talk = Conversation(
        Probe(protocol=service.protocol.name, form=service.form, host="mx.example"),
        service.protocol,
        Identity(b"probe.example", b"mx.example"),
        Limits(),
        lambda name: TlsClient(CONTEXTS.modern, name, alpn=service.protocol.alpn),
        lambda: next(ticks) / 1000,
    )
    talk.connected()
    for piece in pieces:
        talk.receive(piece)
    talk.end(Outcome.CLOSED)
    return talk.probe


@pytest.mark.parametrize("service", services().values(), ids=lambda service: service.name)
@settings(max_examples=150, deadline=None)
@given(pieces=st.lists(st.sampled_from(WORDS) | st.binary(min_size=1, max_size=40), max_size=8))
@example(pieces=[b"* OK\r\n", b"* OK {4294967296}\r\n"])
@example(pieces=[b"+OK\r\n", b"+OK\r\n", b"STLS\r\n"])
def test_any_bytes_come_to_one_complete_row_however_they_are_cut(service: Service, pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    as_sent = row_of(service, pieces)
    assert as_sent.outcome is not None and as_sent.stage is not None and as_sent.outcome is not Outcome.INTERNAL_ERROR
    assert as_sent.negotiated is not False or as_sent.conclusive
    if service.form is Form.IMPLICIT or as_sent.tls_bytes is not None:
        return  # from the go-ahead on, when it came decides what is plaintext behind it
    bytewise = row_of(service, [bytes([byte]) for byte in data])
    whole = row_of(service, [data] if data else [])
    for other in (bytewise, whole):
        if other.tls_bytes is None:
            facts = (
                "stage",
                "outcome",
                "conclusive",
                "capabilities",
                "starttls_offered",
                "plaintext_login",
                "greeting",
            )
            assert [getattr(other, fact) for fact in facts] == [getattr(as_sent, fact) for fact in facts]
