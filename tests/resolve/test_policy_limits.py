"""What one policy host may cost: bytes, time and work, in every state of HTTP."""

from __future__ import annotations

import asyncio
import hashlib

import anyio
import pytest

from crawler.lab.behaviours.raw_flights import dhe_flight
from crawler.model.rows import MtaStsFetch
from crawler.resolve import https_stream
from tests.kit.policy_hosts import Answer, Scene, Web, response, sending, stall


def test_a_policy_of_ten_megabytes_is_not_read_to_its_end(scene: Scene) -> None:
    sent = sending(response(b"", Content_Length="10000000"), b"x" * 10_000, times=1_000)
    row = scene.one(Web(sent))
    assert row.mta_sts_fetch is MtaStsFetch.TOO_LARGE and row.policy_sha256 is None


def test_an_endless_policy_in_chunks_is_not_read_to_its_end(scene: Scene) -> None:
    head = response(b"", Content_Length="", Transfer_Encoding="chunked")
    assert (
        scene.one(Web(sending(head, b"400\r\n" + b"x" * 1024 + b"\r\n", times=100_000))).mta_sts_fetch
        is MtaStsFetch.TOO_LARGE
    )


def test_a_policy_of_nuls_is_kept_and_called_no_policy(scene: Scene) -> None:
    row = scene.one(Web(response(bytes(1_000))))
    assert row.mta_sts_fetch is MtaStsFetch.SYNTAX and row.policy_sha256 == hashlib.sha256(bytes(1_000)).hexdigest()


@pytest.mark.parametrize(
    "answer",
    [
        stall,
        sending(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 50\r\n\r\nversion"),
    ],
    ids=["no answer", "half an answer"],
)
def test_a_host_that_stalls_costs_its_time_and_no_more(scene: Scene, answer: Answer) -> None:
    async def half(writer: asyncio.StreamWriter) -> None:
        assert callable(answer)
        await answer(writer)
        await asyncio.sleep(3_600)

    row = scene.one(Web(half), https={"timeout": 0.3})
    assert row.mta_sts_fetch is MtaStsFetch.TIMEOUT


IN_CHUNKS = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        sending(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1_000, times=10**6),
        sending(b"", b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 50_000 + b"\r\n\r\n", times=10**6),
        sending(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 1_000, times=10**6),
        sending(IN_CHUNKS, b"1;" + b"x" * 50_000 + b"\r\na\r\n", times=10**6),
        sending(IN_CHUNKS, b"1\r\na\r\n" * 1_000, times=10**6),
        sending(IN_CHUNKS + b"0\r\n", b"x: y\r\n" * 1_000, times=10**6),
        sending(IN_CHUNKS, b"400\r\n" + b"x" * 1_024 + b"\r\n", times=10**6),
    ],
    ids=["interim", "large interim", "headers", "chunk extensions", "small chunks", "trailers", "chunks"],
)
def test_no_part_of_a_response_goes_on_for_ever(scene: Scene, answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interim responses and chunk extensions, which HTTP passes over in silence, were read by the hundred megabytes."""
    received = []
    genuine = https_stream._Counted.receive

    async def receive(self: https_stream._Counted, max_bytes: int = 65_536) -> bytes:
        data = await genuine(self, max_bytes)
        received.append(len(data))
        return data

    monkeypatch.setattr(https_stream._Counted, "receive", receive)
    row = scene.one(Web(answer))
    assert row.mta_sts_fetch in (MtaStsFetch.TOO_LARGE, MtaStsFetch.HTTP) and row.policy_sha256 is None
    assert row.mta_sts_fetch is MtaStsFetch.TOO_LARGE or "Too much" in (row.mta_sts_problem or ""), "HTTP's own limit"
    assert sum(received) <= 65_536 + 65_536


@pytest.mark.parametrize("pause", [0.0, 0.02], ids=["as it comes", "in large pieces"])
def test_a_policy_that_is_too_large_is_told_in_the_same_words_however_its_bytes_come(
    scene: Scene, pause: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = https_stream._Counted.receive

    async def receive(self: https_stream._Counted, max_bytes: int = 65_536) -> bytes:
        await anyio.sleep(pause)  # in which the system's buffer fills
        return await genuine(self, max_bytes)

    monkeypatch.setattr(https_stream._Counted, "receive", receive)
    row = scene.one(Web(response(b"#" * 1_000_000)))
    assert (row.mta_sts_fetch, row.mta_sts_problem) == (
        MtaStsFetch.TOO_LARGE,
        "more than 65536 bytes, or 131072 bytes in all",
    )


@pytest.mark.parametrize("size", [0, 40_000])
def test_what_may_be_received_in_all_is_the_policy_and_an_allowance(scene: Scene, size: int) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * size + b"\r\n\r\n"
    row = scene.one(Web(interim + response()), https={"overhead_bytes": 16_384, "policy_bytes": 1_000})
    assert row.mta_sts_fetch is (MtaStsFetch.TOO_LARGE if size else MtaStsFetch.OK)
    assert "17384 bytes in all" in (row.mta_sts_problem or "") or not size


def test_a_handshake_that_goes_on_for_ever_is_cut_off_too(scene: Scene) -> None:
    """Below TLS nothing of HTTP is seen: a chain of certificates that never ends."""
    hello = b"\x16\x03\x03\0\x2a" + dhe_flight(2_048)[5:47]
    begin, more = b"\x0b\0\xff\xff" + bytes(16_380), b"\x16\x03\x03\x40\0" + bytes(16_384)
    web = Web(sending(hello + b"\x16\x03\x03\x40\0" + begin, more, times=10**6), speaks_tls=False)
    row = scene.one(web, https={"overhead_bytes": 16_384, "policy_bytes": 1_000})
    assert row.mta_sts_fetch is MtaStsFetch.TOO_LARGE


@pytest.mark.parametrize(("bits", "fetch"), [(4_104, None), (2_048, MtaStsFetch.TLS)])
def test_a_prime_that_costs_too_much_is_not_worked_with(scene: Scene, bits: int, fetch: MtaStsFetch | None) -> None:
    """Who has a domain has a good certificate for its policy host; whether it has a policy is then not known."""
    row = scene.one(Web(dhe_flight(bits), speaks_tls=False))
    assert row.mta_sts_fetch is fetch and ("Diffie-Hellman" in (row.mta_sts_problem or "")) is (fetch is None)
