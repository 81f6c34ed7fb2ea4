"""A relay that keeps every connection waiting before it leads to a server: distance, for servers on loopback.

It is no part of what is measured.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import uvloop

from bench.nginx import free_ports


@contextmanager
def running(addresses: Sequence[str], port: int, seconds: float) -> Iterator[int]:
    """Relay to `port` of each address after so many seconds; yields the port, the same at each of them."""
    (near,) = free_ports(1)
    command = [sys.executable, "-m", "bench.slow_relay", str(near), str(port), str(seconds), *addresses]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "listening\n":
            raise SystemExit("bench: the relay did not start")
        yield near
    finally:
        process.terminate()
        process.wait(10)


async def _relay(near: int, far: int, seconds: float, addresses: Sequence[str]) -> None:
    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while block := await source.read(1 << 16):
                sink.write(block)
        except OSError:
            pass  # either side may hang up
        finally:
            sink.close()

    async def lead(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        server, to_server = await asyncio.open_connection(to_client.get_extra_info("sockname")[0], far)
        await asyncio.gather(pump(client, to_server), pump(server, to_client))

    servers = [await asyncio.start_server(lead, address, near, backlog=1_024) for address in addresses]
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    uvloop.run(_relay(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]))
