"""The size of a Diffie-Hellman prime is read before the library works with it, however a flight is cut."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crawler.lab.behaviours.raw_flights import (
    DHE_RSA_AES128_GCM_SHA256,
    dhe_flight,
    ecdhe_flight,
    flight,
    signed_dhe_flight,
)
from crawler.model.rows import Outcome
from crawler.settings.config import Limits
from crawler.tls.handshake import Offer, TlsClient, TlsContexts, TlsFailure
from crawler.tls.refusals import DHE_TOO_LARGE
from crawler.tls.server_flight import ServerFlight
from tests.kit.conversations import play

CONTEXTS = TlsContexts()


def read(pieces: Iterable[bytes]) -> ServerFlight:
    found = ServerFlight(lambda suite: suite == DHE_RSA_AES128_GCM_SHA256.to_bytes(2))
    for piece in pieces:
        found.feed(piece)
    return found


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = [0, *sorted(place % len(data) for place in at), len(data)]
    return [data[begin:end] for begin, end in pairwise(places)]


def in_records(data: bytes, size: int) -> bytes:
    """The same messages in records of another size, with an alert and a change_cipher_spec between them."""
    messages = b""
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at + 3 : at + 5])
        messages += data[at + 5 : at + 5 + length]
        at += 5 + length
    between = b"\x15\x03\x03\0\2\1\x70", b"\x14\x03\x03\0\1\1", b"\x16\x03\x03\0\0"
    made = b""
    for number, begin in enumerate(range(0, len(messages), size)):
        piece = messages[begin : begin + size]
        made += b"\x16\x03\x03" + len(piece).to_bytes(2) + piece + between[number % 3]
    return made


@given(
    st.integers(256, 12_000), st.integers(1, 3_000), st.lists(st.integers(0, 1 << 20), max_size=8), st.integers(0, 300)
)
@example(9_600, 1, [], 0)
def test_the_prime_is_the_same_however_records_and_segments_cut_it(
    bits: int, size: int, at: list[int], zeros: int
) -> None:
    """Zeros before it, as a careless server writes them, are none of its bits."""
    prime = bytes(zeros) + (1 << (bits - 1) | 1).to_bytes((bits + 7) // 8)
    body = b"".join(len(number).to_bytes(2) + number for number in (prime, b"\2", prime))
    data = in_records(flight(DHE_RSA_AES128_GCM_SHA256, body), size)
    found = read(cut(data, at))
    assert (found.prime_bits, found.done) == (bits, True)


@given(st.binary(max_size=400), st.lists(st.integers(0, 1 << 20), max_size=4), st.booleans())
def test_any_bytes_are_read_without_a_fault(noise: bytes, at: list[int], begun: bool) -> None:
    data = dhe_flight(1_024)[: 60 if begun else 0] + noise
    if data:
        whole, pieces = read([data]), read(cut(data, at))
        assert (whole.prime_bits, whole.done) == (pieces.prime_bits, pieces.done)


@pytest.mark.parametrize("data", [ecdhe_flight(29), b"\x16\x03\x03\0\x04\x02\0\0\0", b"SSH-2.0-x\r\n"])
def test_what_has_no_prime_is_not_watched_any_longer(data: bytes) -> None:
    assert (read([data]).prime_bits, read([data]).done) == (0, True)


def test_a_message_that_claims_megabytes_is_waited_for_and_not_kept() -> None:
    hello = dhe_flight(1_024)[5 : 5 + 42]
    found = read([b"\x16\x03\x03\0\x2a" + hello])
    begin = b"\x16\x03\x03\x40\0" + b"\x0b\xff\xff\xff" + bytes(16_380)
    for _ in range(8):
        found.feed(begin)
        begin = b"\x16\x03\x03\x40\0" + bytes(16_384)
    assert len(found._message) < 100 and not found.done


def failure(data: bytes, dh_bits: int, monkeypatch: Any = None) -> TlsFailure:
    client = TlsClient(CONTEXTS[Offer.CLASSICAL], b"mx.example", dh_bits)
    client.start()
    if monkeypatch is not None:
        monkeypatch.setattr(client._connection, "bio_write", lambda _: pytest.fail("the library got it"))
    with pytest.raises(TlsFailure) as raised:
        client.feed(data)
    return raised.value


@pytest.mark.parametrize("bits", [8_200, 10_000, 16_000])
def test_a_prime_beyond_the_limit_never_reaches_the_library(bits: int, monkeypatch: Any) -> None:
    """One handshake over 10,000 bits cost 0.6 s of processor time, in one turn of the loop."""
    found = failure(dhe_flight(bits), 8_192, monkeypatch)
    assert (found.outcome, found.reason) == (Outcome.LIMIT_EXCEEDED, DHE_TOO_LARGE)


def test_a_prime_of_the_limit_itself_is_taken() -> None:
    client = TlsClient(CONTEXTS[Offer.CLASSICAL], b"mx.example", 2_048)
    assert client.feed(signed_dhe_flight(client.start(), 2_048)), "our half of the exchange"
    assert failure(dhe_flight(2_056), 2_048).reason == DHE_TOO_LARGE


def test_a_conversation_ends_at_such_a_prime_without_a_finding() -> None:
    flown = "".join(f"\\x{byte:02x}" for byte in dhe_flight(1_600))
    offer = "S: 220 mx\nC: EHLO probe.example\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\n"
    probe = play(f"{offer}S- {flown}\n", limits=Limits(dh_bits=1_024)).probe
    assert (probe.outcome, probe.tls_reason) == (Outcome.LIMIT_EXCEEDED, DHE_TOO_LARGE)
    assert probe.conclusive is False and probe.negotiated is None


def test_a_large_prime_is_worked_with_only_where_it_can_be_afforded() -> None:
    """A hundred hosts with DHE over 8,192 bits had forty seconds of processor time."""
    asked: list[float] = []

    def client(affordable: bool) -> TlsClient:
        def afford(seconds: float) -> bool:
            asked.append(round(seconds, 3))
            return affordable

        return TlsClient(CONTEXTS[Offer.CLASSICAL], b"mx.example", 8_192, afford)

    willing, unwilling = client(True), client(False)
    flight = signed_dhe_flight(willing.start(), 3_072)
    assert not willing.feed(flight[:-10]) and willing.feed(flight[-10:]), "our half of the exchange"
    assert set(asked) == {0.021}
    with pytest.raises(TlsFailure) as raised:
        unwilling.feed(signed_dhe_flight(unwilling.start(), 3_072))
    assert (raised.value.outcome, raised.value.reason) == (Outcome.LIMIT_EXCEEDED, DHE_TOO_LARGE)
    asked.clear()
    usual = client(False)
    assert usual.feed(signed_dhe_flight(usual.start(), 2_048)), "nobody is asked about a prime of usual size"
    assert asked == []
