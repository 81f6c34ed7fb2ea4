"""The scenes of `bench.probe`, each run in a process of its own; the last line says what it took."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pyarrow as pa
import uvloop

from bench.measure import Stopwatch
from bench.nginx import addresses
from crawler.dataset.parts import PartWriter
from crawler.executors.lean_process import calm_garbage_collector
from crawler.model.names import suffixes
from crawler.model.rows import Certificate, Endpoint, Outcome, Probe
from crawler.probe.prober import Prober
from crawler.settings.config import Config, Pacing, Timeouts
from crawler.tls.handshake import TlsClient, TlsContexts

IN_FLIGHT = 200


class _Shake(asyncio.Protocol):
    """A bare handshake: no SMTP, no verdicts, no rows."""

    def __init__(self, tls: TlsClient, done: asyncio.Future[None]) -> None:
        self._tls, self._done = tls, done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        transport.write(self._tls.start())  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        out = self._tls.feed(data)
        if out:
            self._transport.write(out)
        if self._tls.established:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._done.set_result(None)


async def handshake(port: int, hosts: int, classical: bool) -> None:
    """As many connections to one address, a few hundred at once."""
    contexts = TlsContexts()
    context = contexts.classical if classical else contexts.modern
    loop = asyncio.get_running_loop()
    left = iter(range(hosts))

    async def take() -> None:
        for _ in left:
            done = loop.create_future()
            tls = TlsClient(context, b"mx0.bench.example")
            await loop.create_connection(lambda tls=tls, done=done: _Shake(tls, done), "127.0.0.1", port)
            await done

    watch = Stopwatch()
    async with anyio.create_task_group() as tasks:
        for _ in range(IN_FLIGHT):
            tasks.start_soon(take)
    watch.report(hosts)


async def stage(port: int, hosts: int, classical: bool) -> None:
    """`Prober.probe_endpoints` with verdicts, rows and Parquet."""
    config = Config(
        ehlo_name="probe.bench.example",
        allow_network=("127.0.0.0/8",),
        pacing=Pacing(in_flight=IN_FLIGHT, per_network=250, per_provider=10_000, attempts=1),
        post_quantum=not classical,
    )
    prober = Prober(config)
    endpoints = [
        Endpoint("smtp", f"mx{number % 400}.bench.example", address, port)
        for number, address in enumerate(addresses(hosts))
    ]
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as directory:
        watch = Stopwatch()
        await _probe(prober, endpoints, Path(directory), outcomes)
        watch.report(hosts, **outcomes)
    if outcomes != {Outcome.OK: hosts}:
        raise SystemExit(f"bench: not every endpoint was probed well: {dict(outcomes)}")


async def _probe(prober: Prober, endpoints: list[Endpoint], directory: Path, outcomes: Counter[str]) -> None:
    probes = PartWriter(directory / "probes.parquet", Probe, {})
    certificates = PartWriter(directory / "certificates.parquet", Certificate, {})

    def emit(row: Any) -> None:
        if isinstance(row, Probe):
            outcomes[row.outcome or ""] += 1
            probes.append(row)
        else:
            certificates.append(row)

    await prober.probe_endpoints(endpoints, emit)
    probes.close()
    certificates.close()


class _SlowHost(asyncio.Protocol):
    """Greets after a second, or never; has no STARTTLS, for waiting is the matter here."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        silent = int(transport.get_extra_info("sockname")[0].rpartition(".")[2]) % 10 < 3
        if not silent:
            asyncio.get_running_loop().call_later(1.0, transport.write, b"220 mx\r\n")  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._transport.write(b"221 bye\r\n" if data.startswith(b"QUIT") else b"250 mx\r\n")


async def slow(hosts: int = 5_000, deadline: float = 10.0) -> None:
    """Every host greets after a second, three in ten never; the longest deadline is `deadline` seconds."""
    loop = asyncio.get_running_loop()
    port = 0
    servers = []
    for address in addresses(hosts):
        server = await loop.create_server(_SlowHost, address, port)
        port = port or server.sockets[0].getsockname()[1]
        servers.append(server)
    config = Config(
        ehlo_name="probe.bench.example",
        allow_network=("127.0.0.0/8",),
        timeouts=Timeouts(greeting=deadline),
        pacing=Pacing(in_flight=10_000, per_network=250, per_provider=10_000, attempts=1),
    )
    endpoints = [
        Endpoint("smtp", f"mx{number}.bench.example", address, port) for number, address in enumerate(addresses(hosts))
    ]
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as directory:
        watch = Stopwatch()
        await _probe(Prober(config), endpoints, Path(directory), outcomes)
        watch.report(hosts, **outcomes, deadline=deadline)
    for server in servers:
        server.close()


def main() -> None:
    """`python -m bench.probe_scenes SCENE [PORT HOSTS GROUPS]`."""
    what, *rest = sys.argv[1:]
    pa.array([""])  # pyarrow imports pandas, if there is one, when it sees its first list: that is start-up
    suffixes("bench.example")  # reads the Public Suffix List
    calm_garbage_collector()
    if what == "slow":
        uvloop.run(slow())
        return
    port, hosts, groups = int(rest[0]), int(rest[1]), rest[2]
    uvloop.run({"handshake": handshake, "stage": stage}[what](port, hosts, groups == "classical"))


if __name__ == "__main__":
    main()
