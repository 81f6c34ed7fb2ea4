"""The configuration of Unbound that ships loses nothing to a world that is slow."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dns.message
import pytest

from crawler.dns.client import DnsClient
from crawler.dns.codec import A
from crawler.settings.config import Config
from tests.kit.dns_server import reply_to
from tests.real import servers
from tests.real.zones import UNBOUND_CONF

pytestmark = pytest.mark.real

DELAY = 0.3


class Slow(asyncio.DatagramProtocol):
    """Answers late; `a8.NAME` is an alias of `a7.NAME`, and so on down to an address."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        query = dns.message.from_wire(data)
        name = query.question[0].name.to_text()
        left, _, rest = name.partition(".")
        aliases = int(left[1:]) if left[0] == "a" and left[1:].isdigit() else 0
        record = f"{name} 60 IN CNAME a{aliases - 1}.{rest}" if aliases else f"{name} 60 IN A 192.0.2.1"
        asyncio.get_running_loop().call_later(DELAY, self.transport.sendto, reply_to(query, record), address)


@contextmanager
def unbound(directory: Path, upstream: int) -> Iterator[int]:
    """Unbound with the configuration that ships, which asks one server for everything; yields its port."""
    port = servers.free_port()
    lines = [
        f'include: "{UNBOUND_CONF}"',
        "server:",
        f"  port: {port}",
        *('  username: ""', '  chroot: ""', f'  directory: "{directory}"', '  pidfile: ""'),
        *("  use-syslog: no", "  do-daemonize: no", "  do-not-query-localhost: no", "  do-ip6: no"),
        *('  domain-insecure: "test"', '  local-zone: "test" nodefault'),
        *("forward-zone:", '  name: "."', f"  forward-addr: 127.0.0.1@{upstream}"),
        *("remote-control:", "  control-enable: no"),
    ]
    configuration = directory / "unbound.conf"
    configuration.write_text("\n".join(lines) + "\n")
    command = [servers.program("unbound"), "-d", "-p", "-c", str(configuration)]
    with servers.daemon(command, directory / "unbound.log", lambda: servers.accepts("127.0.0.1", port)):
        yield port


@pytest.mark.parametrize(
    ("aliases", "names"),
    [pytest.param(8, 50, id="answers that take more than 1.9 s"), pytest.param(0, 1_500, id="1,500 waiting at once")],
)
def test_no_answer_is_lost_however_long_it_takes_and_however_many_wait(
    tmp_path: Path, aliases: int, names: int
) -> None:
    """Unbound's own defaults, against DNSBomb (CVE-2024-33655), drop all of the first and most of the second."""

    async def main() -> Counter[str]:
        loop = asyncio.get_running_loop()
        slow, _ = await loop.create_datagram_endpoint(Slow, local_addr=("127.0.0.1", 0))
        slow.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**22)
        with unbound(tmp_path, slow.get_extra_info("sockname")[1]) as port:
            config = Config.from_mapping(
                {"resolver": [f"127.0.0.1:{port}"], "dns": {"tries": 1, "timeout": 8.0, "in_flight": 2_000}}
            )
            async with DnsClient(config) as client:
                client._servers[0]._window = client._servers[0]._proven = 2_000
                answers = await asyncio.gather(*(client.ask(f"a{aliases}.n{n}.test", A) for n in range(names)))
        slow.close()
        return Counter(answer.status.value for answer in answers)

    assert asyncio.run(main()) == {"ok": names}
