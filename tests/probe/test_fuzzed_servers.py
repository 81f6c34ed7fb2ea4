"""Servers that say anything: no exception, no growth, and a row that does not contradict itself.

`FUZZ_EXAMPLES=20000 pytest tests/probe/test_fuzzed_servers.py` looks longer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from crawler.model.rows import Outcome, Probe, Stage, is_conclusive
from crawler.probe.conversation import Conversation, Identity
from crawler.protocols.registry import protocol
from crawler.settings.config import Limits
from crawler.tls.handshake import TlsClient
from tests.kit.conversations import CONTEXTS, LEAF, ROOT, _drain

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))
LIMITS = Limits(line_bytes=256, reply_lines=12, reply_bytes=1_024, replies=8, plaintext_bytes=64, kept_text=512)
fuzz = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])

#: What may come of bytes and endings alone; anything else would be a claim out of thin air.
POSSIBLE = {
    Outcome.OK, Outcome.NOT_OFFERED, Outcome.TIMEOUT, Outcome.CLOSED, Outcome.RESET, Outcome.REJECTED,
    Outcome.UPGRADE_REFUSED, Outcome.PROTOCOL_ERROR, Outcome.WRONG_PROTOCOL, Outcome.LIMIT_EXCEEDED,
    Outcome.TLS_ALERT, Outcome.TLS_ERROR, Outcome.TLS_UNSUPPORTED_BY_US,
}  # fmt: skip
ENDINGS = [Outcome.CLOSED, Outcome.RESET, Outcome.TIMEOUT]
COMMANDS = {b"EHLO probe.example", b"HELO probe.example", b"STARTTLS", b"QUIT"}


def conversation(limits: Limits = LIMITS) -> Conversation:
    return Conversation(
        Probe(protocol="smtp", host="mx.example"),
        protocol("smtp"),
        Identity(b"probe.example", b"mx.example"),
        limits,
        lambda name: TlsClient(CONTEXTS.modern, name),
        time.monotonic,
    )


def check_row(talk: Conversation) -> None:
    """What must hold of every complete row."""
    row = talk.probe
    assert talk.ended and row.stage is not None and row.outcome in POSSIBLE
    assert row.conclusive == is_conclusive(
        row.stage, row.outcome, for_good=(talk.reply_code or 0) >= 500, inside_tls=row.tls_version is not None
    )
    assert (row.outcome is Outcome.OK) == (row.stage is Stage.DONE)
    # TLS: no handshake, no facts; answered inside TLS only with a handshake; a denial only if conclusive.
    facts = (row.tls_version, row.tls_cipher, row.forward_secret, row.post_quantum)
    assert all(fact is None for fact in facts) or all(fact is not None for fact in facts)
    assert row.negotiated is not True or row.tls_version is not None
    assert row.negotiated is not False or row.conclusive
    assert row.outcome is not Outcome.OK or (row.negotiated and row.capabilities_after_tls is not None)
    assert row.tls_version is None or row.stage in (Stage.AFTER_TLS, Stage.DONE)
    assert (row.tls_alert is not None) == (row.outcome is Outcome.TLS_ALERT)
    # Capabilities: offered is a statement about them.
    assert (row.starttls_offered is None) == (row.capabilities is None)
    assert row.starttls_offered or row.starttls_code is None
    assert row.outcome is not Outcome.NOT_OFFERED or row.starttls_offered is False
    assert row.stage not in (Stage.CONNECT, Stage.GREETING) or row.hello_reply is None
    # Nothing kept is larger than what we take; one byte may become four characters.
    for text in (row.greeting, row.hello_reply, *(row.capabilities or ()), *(row.capabilities_after_tls or ())):
        assert text is None or len(text) <= 4 * LIMITS.reply_bytes
    assert row.last_reply is None or len(row.last_reply) <= 4 * LIMITS.kept_text
    assert row.plaintext_after_upgrade is None or len(row.plaintext_after_upgrade) <= LIMITS.plaintext_bytes


def hear(talk: Conversation, pieces: list[bytes], ending: Outcome, answer: Callable[[bytes], None]) -> None:
    """Let the conversation hear the pieces and then the ending; `answer` gets what it says."""
    for piece in pieces:
        answer(talk.receive(piece))
        if not talk.ended and piece:
            assert len(talk._buffer) <= LIMITS.reply_bytes
    talk.end(ending)
    before = {name: getattr(talk.probe, name) for name in Probe.__slots__}
    assert talk.receive(b"220 too late\r\n") == b""
    talk.end(Outcome.RESET)
    assert before == {name: getattr(talk.probe, name) for name in Probe.__slots__}, "an ended row changed"
    check_row(talk)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces, none empty, as TCP would have it."""
    if not data:
        return []
    at = sorted({place % len(data) for place in places} | {0})
    return [data[begin:end] for begin, end in zip(at, [*at[1:], len(data)], strict=True) if begin < end]


@st.composite
def mutated(draw: st.DrawFn, data: bytes, most: int = 6) -> bytes:
    """Bytes with a few places changed, dropped, doubled, cut off, or with strange bytes put in."""
    for _ in range(draw(st.integers(0, most))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        size = draw(st.sampled_from([1, 1, 2, 5, 40, 300]))
        match draw(st.sampled_from(["flip", "drop", "double", "cut", "insert", "grow"])):
            case "flip":
                data = data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]
            case "drop":
                data = data[:at] + data[at + size :]
            case "double":
                data = data[: at + size] + data[at:]
            case "cut":
                data = data[:at]
            case "insert":
                data = data[:at] + draw(STRANGE) + data[at:]
            case "grow":
                data = data[:at] + data[at : at + 1] * draw(st.integers(1, 3_000)) + data[at:]
    return data


ODD_WORDS = [b"\r\n", b"\n", b"\r", b"\0", b"-", b" ", b"220 ", b"250-", b"421 busy\r\n", b"554 no\r\n", b"9" * 30]
ODD_WORDS += [
    b"\x16\x03\x01\x00\x02",
    b"\x15\x03\x03\x00\x02\x02\x28",
    b"SSH-2.0-x\r\n",
    b"250 STARTTLS\r\n",
    b"\xff\xfe",
]
STRANGE = st.sampled_from(ODD_WORDS) | st.binary(max_size=12)

GREETINGS = [b"220 mx ESMTP\r\n", b"220-wait\r\n220 mx\r\n", b"554 no\r\n", b"421 later\r\n", b"220 mx\n", b""]
HELLOS = [
    b"250-mx\r\n250-SIZE 1\r\n250 STARTTLS\r\n",
    b"250 mx\r\n",
    b"250\r\n",
    b"502 what\r\n",
    b"250-mx\n250 starttls\n",
]
HELLOS += [b"250-mx\r\n250 XXXXXXXA\r\n", b"502 what\r\n250 mx\r\n", b"250-STARTTLS\r\n250-HELP\r\n"]
ANSWERS = [b"220 go\r\n", b"454 no\r\n", b"220 go\r\n250-mx\r\n250 injected\r\n", b"354 what\r\n", b"500 no\r\n", b""]


@st.composite
def plain_servers(draw: st.DrawFn) -> list[bytes]:
    said = b"".join(draw(st.sampled_from(choice)) for choice in (GREETINGS, HELLOS, ANSWERS))
    data = draw(mutated(said) | st.binary(max_size=3_000))
    return cut(data, draw(st.lists(st.integers(0, 4_000), max_size=12)))


@given(plain_servers(), st.sampled_from(ENDINGS))
@fuzz
def test_whatever_is_said_before_tls_ends_in_a_consistent_row(pieces: list[bytes], ending: Outcome) -> None:
    talk = conversation()
    said = [talk.connected()]
    hear(talk, pieces, ending, said.append)
    before_hello, hello, _ = b"".join(said).partition(b"\x16\x03")
    commands = before_hello.split(b"\r\n")[:-1]
    assert set(commands) <= COMMANDS and len(commands) <= 4, "we say nothing else, and not twice"
    # What answers to questions not yet asked saves us from asking them.
    assert b"STARTTLS" not in commands or talk.probe.starttls_offered
    assert not hello or (talk.probe.starttls_code or 0) // 100 == 2, "no hello without the go-ahead"


@given(plain_servers(), st.sampled_from(ENDINGS), st.lists(st.integers(0, 4_000), max_size=12))
@fuzz
def test_the_row_does_not_depend_on_how_the_bytes_were_cut(pieces: list[bytes], ending: Outcome, at: list[int]) -> None:
    data = b"".join(pieces)
    rows = []
    for way in (pieces, cut(data, at), [data[n : n + 1] for n in range(len(data))]):
        talk = conversation()
        talk.connected()
        hear(talk, way, ending, lambda _: None)
        rows.append(
            (talk.probe.stage, talk.probe.outcome, talk.probe.greeting, talk.probe.capabilities, talk.reply_code)
        )
    # Behind the go-ahead what is plaintext and what is TLS depends on the moment of the upgrade, and should.
    if Stage.HANDSHAKE not in {row[0] for row in rows}:
        assert rows[0] == rows[1] == rows[2]


# --- the TLS driver -----------------------------------------------------------------------------


def server_context(version: int) -> SSL.Context:
    context = LEAF.context()
    context.set_max_proto_version(version)
    return context


SERVERS = [server_context(version) for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION)]
INSIDE = [b"250-mx\r\n250 HELP\r\n", b"421 no\r\n", b"hello\r\n", b"250-" + b"x" * 4_000, b"250-mx\r\n" * 400, b""]


@st.composite
def spoiled(draw: st.DrawFn) -> Callable[[bytes], Iterator[bytes]]:
    """A way to spoil one flight: bytes changed, records dropped, doubled or swapped, another cut into pieces."""
    records = draw(st.sampled_from(["as sent", "as sent", "drop", "double", "swap", "flood"]))
    which = draw(st.integers(0, 5))
    seeds = draw(st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 255)), max_size=3))
    cut_off = draw(st.none() | st.integers(0, 3_000))
    places = draw(st.lists(st.integers(0, 5_000), max_size=6))
    extra = draw(st.just(b"") | STRANGE)

    def spoil(flight: bytes) -> Iterator[bytes]:
        parts = split_records(flight)
        if parts:
            at = which % len(parts)
            match records:
                case "drop":
                    del parts[at]
                case "double":
                    parts.insert(at, parts[at])
                case "swap":
                    parts[at], parts[-1] = parts[-1], parts[at]
                case "flood":
                    parts[at:at] = [parts[at]] * 200
        data = bytearray(b"".join(parts) + extra)
        for place, value in seeds:
            if data:
                data[place % len(data)] = value
        yield from cut(bytes(data[:cut_off]), places)

    return spoil


def split_records(flight: bytes) -> list[bytes]:
    """TLS records of a flight (RFC 8446 §5.1)."""
    parts = []
    while len(flight) >= 5:
        size = 5 + int.from_bytes(flight[3:5])
        parts.append(flight[:size])
        flight = flight[size:]
    return parts


def shake(context: SSL.Context, spoil: Callable[[bytes], Iterator[bytes]], number: int, inside: bytes) -> Conversation:
    """A whole conversation in which the flight of that number is spoiled, ended by a deadline if by nothing else."""
    talk = conversation()
    talk.connected()
    server = SSL.Connection(context)
    server.set_accept_state()
    for line in (b"220 mx\r\n", b"250-mx\r\n250 STARTTLS\r\n"):
        talk.receive(line)
    server.bio_write(talk.receive(b"220 go\r\n"))
    said = False
    for flight in range(5):
        try:
            server.do_handshake()
            if inside and not said:
                server.send(inside)
                said = True
        except SSL.Error:  # it does not understand us, or wants more
            pass
        sent = _drain(server)
        for piece in spoil(sent) if flight == number else [sent]:
            if not piece:
                continue
            if out := talk.receive(piece):
                server.bio_write(out)
            assert talk.ended or len(talk._buffer) <= max(LIMITS.reply_bytes, LIMITS.plaintext_bytes + len(piece))
    talk.end(Outcome.TIMEOUT)
    return talk


@given(st.sampled_from(SERVERS), spoiled(), st.integers(0, 3), st.sampled_from(INSIDE))
@fuzz
def test_a_spoiled_handshake_ends_in_a_consistent_row_and_harms_nobody_else(
    context: SSL.Context, spoil: Callable[[bytes], Iterator[bytes]], number: int, inside: bytes
) -> None:
    check_row(shake(context, spoil, number, inside))
    # OpenSSL's queue of errors is one a thread: what one host left there must not fail the next.
    healthy = shake(context, lambda flight: iter([flight]), 9, INSIDE[0])
    assert (healthy.probe.stage, healthy.probe.outcome) == (Stage.DONE, Outcome.OK)
    check_row(healthy)


@given(st.binary(min_size=1, max_size=600), st.lists(st.integers(0, 600), max_size=6), st.sampled_from(ENDINGS))
@fuzz
def test_anything_may_come_instead_of_a_handshake(data: bytes, places: list[int], ending: Outcome) -> None:
    talk = conversation()
    talk.connected()
    for line in (b"220 mx\r\n", b"250-mx\r\n250 STARTTLS\r\n", b"220 go\r\n"):
        talk.receive(line)
    for piece in cut(data, places):
        talk.receive(piece)
    talk.end(ending)
    check_row(talk)
    assert talk.probe.stage is Stage.HANDSHAKE and talk.probe.tls_version is None


def test_a_chain_of_many_certificates_is_cut_off_where_our_limit_is() -> None:
    leaf = ROOT.issue("mx.example")
    leaf.chain = [ROOT.issue(f"{'x' * 60}-{number}.example").certificate for number in range(500)]
    talk = shake(leaf.context(), lambda flight: iter([flight]), 9, b"")
    assert (talk.probe.stage, talk.probe.outcome, talk.chain) == (Stage.HANDSHAKE, Outcome.LIMIT_EXCEEDED, [])
