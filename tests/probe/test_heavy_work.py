"""Long work that a host demands in a handshake is done beside the event loop, and holds up no other host."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading

import anyio
import pytest

from crawler.lab.behaviours.raw_flights import signed_dhe_flight
from crawler.model.rows import Outcome, Probe, Stage
from crawler.probe.connection import run_conversation
from crawler.probe.conversation import Conversation
from crawler.settings.config import Timeouts
from tests.kit.probed_host import LONG, LOOP, QUICK, Serve, conversation, host, probe


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"], autouse=True)
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs on both event loops."""
    monkeypatch.setitem(LOOP, "use_uvloop", request.param)


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
