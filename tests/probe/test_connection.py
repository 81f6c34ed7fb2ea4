"""The network edge against real sockets on loopback.

Where a deadline is under test it is short and every other is a minute, so a wrong one is seen as a wait, however busy
the machine is.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import time
from dataclasses import replace
from itertools import count

import anyio
import pytest

from crawler.model.rows import Outcome, Probe, Stage
from crawler.probe.connection import OUTCOMES, outcome_of, run_conversation
from crawler.probe.conversation import Conversation
from crawler.settings.config import Timeouts
from tests.kit.probed_host import LOOP, QUICK, conversation, host, probe

PATIENT = Timeouts(connect=60, greeting=60, reply=60, handshake=60, quit=60, target=60)


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"], autouse=True)
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs on both event loops."""
    monkeypatch.setitem(LOOP, "use_uvloop", request.param)


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
