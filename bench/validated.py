"""A relay before NSD that calls every answer validated (AD), as a resolver says of a signed zone.

So that TLSA is asked for: the crawler asks only where the addresses are secure.  It is no part of
what is measured.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvloop

AD = 0x20


class _Back(asyncio.DatagramProtocol):
    """Answers for one client socket."""

    def __init__(self, front: Any, client: Any) -> None:
        self._front, self._client = front, client

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._front.sendto(data[:3] + bytes([data[3] | AD]) + data[4:], self._client)


class _Front(asyncio.DatagramProtocol):
    """Questions of all clients, each sent on from a socket of its own, so that their numbers do not clash."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._behind: dict[Any, Any] = {}
        self._early: dict[Any, list[bytes]] = {}

    def connection_made(self, transport: Any) -> None:
        self._transport = _with_room(transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if (behind := self._behind.get(addr)) is not None:
            behind.sendto(data)
        elif addr in self._early:
            self._early[addr].append(data)
        else:
            self._early[addr] = [data]
            self._opening = asyncio.ensure_future(self._open(addr))

    async def _open(self, client: Any) -> None:
        behind, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Back(self._transport, client), remote_addr=("127.0.0.1", self._port)
        )
        self._behind[client] = _with_room(behind)
        for data in self._early.pop(client):
            behind.sendto(data)


def _with_room(transport: Any) -> Any:
    """With room for a burst of datagrams; the kernel grants what its limit allows."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    return transport


async def serve(port: int) -> None:
    """Relay to the server at `port` for ever; says at which port it listens."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Front(port), local_addr=("127.0.0.1", 0)
    )
    sys.stdout.write(f"{transport.get_extra_info('sockname')[1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


@contextmanager
def running(port: int) -> Iterator[int]:
    """The relay in a process of its own; yields its port."""
    command = [sys.executable, "-m", "bench.validated", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
