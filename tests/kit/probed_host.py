"""A host of a test on loopback, and one probe of it on either event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio

from crawler.model.rows import Probe
from crawler.probe.connection import run_conversation
from crawler.probe.conversation import Conversation, Identity
from crawler.protocols.registry import protocol
from crawler.settings.config import Limits, Timeouts
from crawler.tls.handshake import TlsClient
from tests.kit.conversations import CONTEXTS

QUICK = Timeouts(connect=1.0, greeting=0.3, reply=0.3, handshake=0.3, quit=0.2, target=2.0)
LONG = 20.0
"""Seconds; far more than any right conversation takes here, and far less than a patient deadline."""

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


#: Options of the event loop; a fixture of the tests sets them.
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
