"""The network edge against real sockets on loopback.

Where a deadline is under test it is short and every other is a minute, so a wrong one is seen as a wait, however busy
the machine is.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count

import anyio
import pytest

from crawler.lab.behaviours.raw_flights import signed_dhe_flight
from crawler.model.rows import Outcome, Probe, Stage
from crawler.probe.connection import OUTCOMES, outcome_of, run_conversation
from crawler.probe.conversation import Conversation, Identity
from crawler.protocols.registry import protocol
from crawler.settings.config import Limits, Timeouts
from crawler.tls.handshake import TlsClient
from tests.kit.conversations import CONTEXTS

QUICK = Timeouts(connect=1.0, greeting=0.3, reply=0.3, handshake=0.3, quit=0.2, target=2.0)
PATIENT = Timeouts(connect=60, greeting=60, reply=60, handshake=60, quit=60, target=60)
LONG = 20.0
"""Seconds; far more than any right conversation takes here, and far less than a deadline of `PATIENT`."""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def conversation() -> Conversation:
    return Conversation(
        Probe(protocol="smtp", host="mx.example"),
        protocol("smtp"),
        Identity(b"probe.example", b"mx.example"),
        Limits(),
        lambda name: TlsClient(CONTEXTS.modern, name),
        time.monotonic,
    )


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"], autouse=True)
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs on both event loops."""
    monkeypatch.setattr("tests.probe.test_connection.LOOP", {"use_uvloop": request.param})


LOOP: dict[str, bool] = {}


def probe(serve: Serve, timeouts: Timeouts = QUICK) -> Probe:
    """The row of one conversation with `serve`; `TimeoutError` if it takes `LONG`."""

    async def run() -> Probe:
        async with host(serve) as port:
            talk = conversation()
            with anyio.fail_after(LONG):
                await run_conversation(talk, "127.0.0.1", port, timeouts=timeouts, guard=lambda _: None)
            return talk.probe

    return anyio.run(run, backend_options=LOOP)


@asynccontextmanager
async def host(serve: Serve) -> AsyncIterator[int]:
    """A server on loopback for a moment; yields its port, leaves no connection behind."""
    serving: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())  # type: ignore[arg-type]
        try:
            await serve(reader, writer)
            writer.close()
        except (ConnectionError, asyncio.CancelledError):
            writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await asyncio.sleep(0.01)


def test_silence_is_a_timeout_in_the_greeting() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    began = time.monotonic()
    row = probe(serve, replace(PATIENT, greeting=0.3))
    assert (row.stage, row.outcome) == (Stage.GREETING, Outcome.TIMEOUT)
    assert time.monotonic() - began > 0.25 and row.source_address == "127.0.0.1"


def test_a_dripping_host_does_not_stretch_the_deadline_of_a_step() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in b"220-" + b"x" * 4_000:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.05)

    row = probe(serve, replace(PATIENT, greeting=0.3))
    assert (row.stage, row.outcome) == (Stage.GREETING, Outcome.TIMEOUT)


def test_the_deadline_of_the_target_holds_over_all_steps() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1.2)
        writer.write(b"220 mx\r\n")
        await reader.readline()
        await asyncio.sleep(1.2)  # by now the target's time is over, though no step took all of it
        writer.write(b"250 mx\r\n")
        await reader.read()

    row = probe(serve, replace(PATIENT, target=2.0, quit=0))
    assert (row.stage, row.outcome) == (Stage.CAPABILITIES, Outcome.TIMEOUT)


def test_a_reset_is_not_a_close() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    assert probe(serve).outcome is Outcome.RESET


def test_a_connection_that_was_reset_before_we_saw_it_stand_had_stood() -> None:
    """So that the stage does not depend on how busy we are."""

    def busy() -> None:
        time.sleep(0.03)  # meanwhile the reset arrives

    def reset_the_first(listening: socket.socket) -> None:
        accepted, _ = listening.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()

    async def run(listening: socket.socket) -> Probe:
        talk = conversation()
        port = listening.getsockname()[1]
        task = asyncio.create_task(run_conversation(talk, "127.0.0.1", port, timeouts=QUICK, guard=lambda _: None))
        resetting = asyncio.get_running_loop().run_in_executor(None, reset_the_first, listening)
        for _ in range(5):
            busy()
            await asyncio.sleep(0)
        await resetting
        await task
        return talk.probe

    with socket.create_server(("127.0.0.1", 0)) as listening:
        row = anyio.run(run, listening, backend_options=LOOP)
    assert (row.stage, row.outcome) == (Stage.GREETING, Outcome.RESET)


def test_a_close_is_not_a_timeout() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass

    row = probe(serve, PATIENT)
    assert (row.stage, row.outcome) == (Stage.GREETING, Outcome.CLOSED)


def test_we_take_our_leave_and_do_not_wait_long_for_an_answer() -> None:
    heard = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx\r\n")
        await reader.readline()
        writer.write(b"250 mx\r\n")
        heard.extend(await reader.readline())
        await reader.read()

    row = probe(serve, replace(PATIENT, quit=0.2))
    assert row.outcome is Outcome.NOT_OFFERED and bytes(heard) == b"QUIT\r\n"


def test_an_endless_stream_is_cut_off() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"220-" + b"x" * 500 + b"\r\n")
            await writer.drain()

    assert probe(serve, PATIENT).outcome is Outcome.LIMIT_EXCEEDED


def test_a_refused_connection_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    talk = conversation()
    anyio.run(
        lambda: run_conversation(talk, "127.0.0.1", port, timeouts=QUICK, guard=lambda _: None), backend_options=LOOP
    )
    assert (talk.probe.stage, talk.probe.outcome) == (Stage.CONNECT, Outcome.CONNECTION_REFUSED)
    assert talk.probe.conclusive is False


def test_no_packet_is_sent_to_a_guarded_address(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = count()

    async def run() -> Probe:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "create_connection", lambda *_, **__: next(tried))
        talk = conversation()
        await run_conversation(talk, "10.0.0.1", 25, timeouts=QUICK, guard=lambda _: Outcome.ADDRESS_NOT_ALLOWED)
        return talk.probe

    assert anyio.run(run, backend_options=LOOP).outcome is Outcome.ADDRESS_NOT_ALLOWED
    assert next(tried) == 0


def test_cancelling_closes_the_connection() -> None:
    async def run() -> bool:
        gone = anyio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.read()
            finally:
                gone.set()

        async with host(serve) as port:
            with anyio.move_on_after(0.1) as scope:
                await run_conversation(conversation(), "127.0.0.1", port, timeouts=Timeouts(), guard=lambda _: None)
            with anyio.fail_after(2):
                await gone.wait()
        return scope.cancelled_caught

    assert anyio.run(run, backend_options=LOOP)


def test_our_own_bug_does_not_pass_for_a_finding(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx\r\n")
        await reader.read()

    monkeypatch.setattr(Conversation, "receive", lambda *_: 1 // 0)
    row = probe(serve)
    assert row.outcome is Outcome.INTERNAL_ERROR and row.conclusive is False
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(("number", "wanted"), OUTCOMES.items())
def test_every_listed_error_of_the_kernel_has_its_outcome(number: int, wanted: Outcome) -> None:
    assert outcome_of(OSError(number, "as the kernel says")) is wanted


def test_the_deepest_known_cause_decides() -> None:
    error = OSError("All connection attempts failed")
    error.__cause__ = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
    assert outcome_of(error) is Outcome.CONNECTION_REFUSED


def test_running_out_of_descriptors_is_our_fault() -> None:
    assert outcome_of(OSError(errno.EMFILE, "too many open files")) is Outcome.INTERNAL_ERROR


# --- heavy work ------------------------------------------------------------------------------------


def heavy_host(bits: int, then: Serve) -> Serve:
    """Offers STARTTLS, and answers the ClientHello with a good flight of DHE over so many bits."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx\r\n")
        await reader.readline()
        writer.write(b"250-mx\r\n250 STARTTLS\r\n")
        await reader.readline()
        writer.write(b"220 go\r\n")
        writer.write(signed_dhe_flight(await reader.read(65_536), bits))
        await then(reader, writer)

    return serve


class Workshop:
    """Stands for the thread: holds the work up until it is told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.threads: list[str] = []
        genuine = Conversation.receive

        def receive(talk: Conversation, data: bytes) -> bytes:
            if threading.current_thread() is not threading.main_thread():
                self.threads.append(threading.current_thread().name)
                self.begun.set()
                assert self.go_on.wait(10)
            return genuine(talk, data)

        monkeypatch.setattr(Conversation, "receive", receive)


async def until(event: threading.Event) -> None:
    with anyio.fail_after(5):
        while not event.is_set():  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0.01)


def test_a_heavy_handshake_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """While its mathematics are done another conversation is held from beginning to end."""
    shop = Workshop(monkeypatch)

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"554 no\r\n")
        await reader.read()

    async def run() -> tuple[Probe, Probe]:
        slow, quick = conversation(), conversation()
        async with host(heavy_host(3_072, listen)) as heavy, host(refuse) as light:
            task = asyncio.create_task(run_conversation(slow, "127.0.0.1", heavy, timeouts=QUICK, guard=lambda _: None))
            await until(shop.begun)
            await run_conversation(quick, "127.0.0.1", light, timeouts=QUICK, guard=lambda _: None)
            assert not slow.ended
            shop.go_on.set()
            await task
        return slow.probe, quick.probe

    slow, quick = anyio.run(run, backend_options=LOOP)
    assert quick.outcome is Outcome.REJECTED
    assert (slow.stage, slow.outcome) == (Stage.HANDSHAKE, Outcome.TIMEOUT) and slow.tls_reason is None
    assert set(shop.threads) == {"heavy-handshake_0"}


def test_a_light_handshake_is_done_where_it_comes() -> None:
    with pytest.MonkeyPatch.context() as patch:
        shop = Workshop(patch)
        shop.go_on.set()

        async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)

        row = probe(heavy_host(2_048, leave))
    assert (row.stage, row.outcome) == (Stage.HANDSHAKE, Outcome.CLOSED) and shop.threads == []


@pytest.mark.parametrize("ending", ["reset", "silence", "fin", "cancelled"])
def test_what_happens_during_heavy_work_is_dealt_with_when_it_is_done(
    ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody touches the row meanwhile, and nobody touches it when the conversation is over."""
    shop = Workshop(monkeypatch)

    async def then(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await until(shop.begun)
        if ending == "reset":
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        elif ending != "fin":
            await reader.read()

    async def run() -> Probe:
        talk = conversation()
        async with host(heavy_host(3_072, then)) as port:
            task = asyncio.create_task(run_conversation(talk, "127.0.0.1", port, timeouts=QUICK, guard=lambda _: None))
            await until(shop.begun)
            if ending == "cancelled":
                task.cancel()
            await asyncio.sleep(0.5)  # longer than any deadline of these
            assert not talk.ended and not task.done()
            shop.go_on.set()
            await asyncio.wait([task], timeout=5)
            assert task.done()
        return talk.probe

    row = anyio.run(run, backend_options=LOOP)
    wanted = {"reset": Outcome.RESET, "silence": Outcome.TIMEOUT, "fin": Outcome.CLOSED, "cancelled": None}[ending]
    assert row.outcome is wanted or (ending == "cancelled" and row.outcome is Outcome.CLOSED)
    assert row.outcome is None or row.stage is Stage.HANDSHAKE


def test_heavy_work_that_waits_for_its_turn_is_dropped_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred such hosts queue up among themselves; each has its time, and no work is done for one that is gone."""
    shop = Workshop(monkeypatch)

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    short = Timeouts(connect=0.5, greeting=0.3, reply=0.3, handshake=0.3, quit=0.2, target=0.6)

    async def run() -> list[Probe]:
        talks = [conversation() for _ in range(5)]
        async with host(heavy_host(3_072, listen)) as port:
            tasks = [
                asyncio.create_task(run_conversation(talk, "127.0.0.1", port, timeouts=short, guard=lambda _: None))
                for talk in talks
            ]
            under_way = set(tasks)
            with anyio.fail_after(LONG):
                while len(under_way) > 1:
                    _, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            assert not shop.go_on.is_set() and shop.begun.is_set()  # that one is being worked on
            shop.go_on.set()
            await asyncio.wait(tasks, timeout=5)
        return [talk.probe for talk in talks]

    rows = anyio.run(run, backend_options=LOOP)
    assert {(row.stage, row.outcome) for row in rows} == {(Stage.HANDSHAKE, Outcome.TIMEOUT)}
    assert len(shop.threads) == 1


def test_our_own_bug_in_heavy_work_does_not_pass_for_a_finding(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    genuine = Conversation.receive

    def receive(talk: Conversation, data: bytes) -> bytes:
        if threading.current_thread() is threading.main_thread():
            return genuine(talk, data)
        raise ZeroDivisionError

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    monkeypatch.setattr(Conversation, "receive", receive)
    row = probe(heavy_host(3_072, listen))
    assert row.outcome is Outcome.INTERNAL_ERROR and "ZeroDivisionError" in caplog.text
