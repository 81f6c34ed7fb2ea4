"""How many questions are under way at once, how fast, and how much is read in one turn."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

import anyio
import dns.flags
import dns.message
import dns.rcode
import pytest

from crawler.dns.client import Answer, DnsClient
from crawler.dns.codec import MX, SERVFAIL, A
from crawler.dns.question import BYTES_A_TURN, Question
from crawler.dns.tcp import Pipe
from crawler.dns.transport import Server as TransportServer
from crawler.model.errors import ConfigError
from crawler.model.rows import LookupStatus
from crawler.settings.config import Config, DnsSettings
from tests.kit.dns_client import MX_RECORD, failing, good
from tests.kit.dns_server import Query, client_of, reply_to, zone


def test_no_more_questions_are_under_way_than_allowed() -> None:
    held: list[Query] = []

    async def main() -> None:
        async with client_of(lambda query, over_tcp: held.append(query) or [], dns={"in_flight": 7}) as (client, _):
            waiting = [client.begin(f"d{n}.test", MX) for n in range(50)]
            await asyncio.sleep(0.03)
            assert len(held) == 7
            for waiter in waiting:
                waiter.cancel()

    asyncio.run(main())


def test_the_rate_to_a_server_is_kept() -> None:
    async def main() -> float:
        async with client_of(zone(), dns={"rate": 200.0}) as (client, _):
            start = time.monotonic()
            await asyncio.gather(*(client.ask(f"d{n}.test", MX) for n in range(100)))
            return time.monotonic() - start

    assert 0.3 < asyncio.run(main()) < 3  # a burst of 20, then 200 a second


def test_thousands_at_once_are_all_answered_and_none_is_lost() -> None:
    async def main() -> tuple[list[Answer], dict[str, int]]:
        async with client_of(zone(), dns={"timeout": 10.0, "in_flight": 256}) as (client, _):
            return await asyncio.gather(*(client.ask(f"d{n}.test", MX) for n in range(5_000))), client.counts()

    answers, counts = asyncio.run(main())
    assert [answer.name for answer in answers] == [f"d{n}.test" for n in range(5_000)]
    assert {answer.status for answer in answers} == {LookupStatus.NXDOMAIN}
    assert counts == {"sent": 5_000, "answered": 5_000, "lost": 0, "strays": 0}


def test_a_silent_server_is_given_less_at_once() -> None:
    async def main() -> tuple[float, float]:
        async with client_of(lambda query, over_tcp: [], dns={"timeout": 0.05, "tries": 2}) as (client, _):
            before = client._servers[0]._window
            await asyncio.gather(*(client.ask(f"d{n}.test", MX) for n in range(100)))
            client._servers[0]._judge(asyncio.get_running_loop().time())
            return before, client._servers[0]._window

    before, after = asyncio.run(main())
    assert after <= before / 2


def judged(*periods: tuple[int, int]) -> list[float]:
    """The window after each period of so many answers and losses; a question is lost after 0.5 s, two periods."""
    config = Config.from_mapping({"dns": {"timeout": 0.5}})
    server = TransportServer("127.0.0.1", 53, config.dns, 2_000, lambda q, w: None, lambda q: None)
    server._window = server._proven = 64
    windows = []
    for tick, (answered, lost) in enumerate(periods, 1):
        server.answered += answered
        server.lost += lost
        server._judge(tick / 4)
        windows.append(server._window)
    return windows


def test_slow_domains_among_many_answers_are_not_held_against_the_server() -> None:
    assert judged((100, 20)) == [64]
    assert judged((100, 0), (0, 0), (0, 20)) == [64, 64, 64], (
        "asked together, and lost when the others are long answered"
    )


def test_silence_is_held_against_the_server() -> None:
    assert judged((10, 20)) == [32]
    assert judged((100, 0), *[(0, 0)] * 5, (0, 20), (0, 20)) == [64] * 6 + [32, 16], "answers of long ago are no excuse"


def test_the_first_questions_are_judged_after_a_whole_period() -> None:
    async def main() -> float:
        async with client_of(zone(MX_RECORD)) as (client, _):
            return asyncio.get_running_loop().time() - client._servers[0]._period_start

    assert 0 <= asyncio.run(main()) < 5


def test_servfails_of_a_server_in_trouble_are_asked_again_later() -> None:
    """When most answers fail it may be our doing: the question rests before it is asked again."""
    healthy: list[bool] = []

    def script(query: Query, over_tcp: bool) -> Iterable[bytes]:
        yield good(query) if healthy else failing(SERVFAIL)(query)

    async def main() -> Answer:
        async with client_of(script) as (client, _):
            client._servers[0].failing = True
            waiter = client.begin("a.test", MX)
            await asyncio.sleep(0.05)
            assert not waiter.done()
            healthy.append(True)
            return await waiter

    assert asyncio.run(main()).status is LookupStatus.OK


def test_who_waits_when_the_client_closes_is_cancelled() -> None:
    async def main() -> list[bool]:
        async with client_of(lambda query, over_tcp: [], dns={"in_flight": 2}) as (client, _):
            waiting = [client.begin(f"d{n}.test", MX) for n in range(5)]
        return [waiter.cancelled() for waiter in waiting]

    assert asyncio.run(main()) == [True] * 5


@pytest.mark.parametrize(
    ("rate_of", "expected"),
    [(lambda window: 20 * window, 2_000), (lambda window: 2_000, 64)],
    ids=["waits for the world", "is busy itself"],
)
def test_the_window_widens_only_where_that_brings_more_answers(
    rate_of: Callable[[float], float], expected: float
) -> None:
    config = Config()
    server = TransportServer("127.0.0.1", 53, config.dns, 2_000, lambda q, w: None, lambda q: None)
    server._window = server._proven = 64
    server._waiting.append(Question("a.test", MX, b"", []))
    widest = 0.0
    for tick in range(1, 30):  # 7 seconds
        server.answered += int(rate_of(server._window) / 4)
        server._judge(tick / 4)
        widest = max(widest, server._window)
    assert server._window == expected
    assert widest <= max(128, expected)  # what the receive buffer of stock Linux holds


def test_a_resolver_that_cannot_be_addressed_is_a_usage_error() -> None:
    async def main() -> None:
        async with DnsClient(Config.from_mapping({"resolver": ["127.0.0.1", "255.255.255.255"]})):
            pass

    with pytest.raises(ConfigError, match=r"resolver: 255\.255\.255\.255 cannot be asked from here"):
        asyncio.run(main())


def test_a_resolver_that_was_gone_is_heard_again_on_every_socket() -> None:
    """libuv watches a socket no longer at which an ICMP error was reported; the scan went on at two names a second."""

    async def main() -> list[LookupStatus]:
        loop = asyncio.get_running_loop()

        class Echo(asyncio.DatagramProtocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, address: Any) -> None:
                self.transport.sendto(reply_to(dns.message.from_wire(data)), address)

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        config = Config(resolver=(f"127.0.0.1:{port}",), dns=DnsSettings(timeout=0.3, tries=1, sockets=8))
        async with DnsClient(config) as client:
            for number in range(32):  # refused: nobody listens yet
                await client.ask(f"gone{number}.test", MX) if number % 8 == 7 else client.begin(
                    f"gone{number}.test", MX
                )
            transport, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", port))
            try:
                return [(await client.ask(f"back{number}.test", MX)).status for number in range(32)]
            finally:
                transport.close()

    statuses = anyio.run(main, backend_options={"use_uvloop": True})
    assert statuses[8:] == [LookupStatus.NODATA] * 24


class Line:
    """Stands for the transport of a TCP connection."""

    def __init__(self) -> None:
        self.paused = False

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def write(self, data: bytes) -> None:
        pass

    def abort(self) -> None:
        pass


async def piped(*sizes: int, lost: bool = False) -> tuple[list[list[int]], list[bool], int]:
    """Sizes of the messages read in each turn, whether reading was paused behind it, and how many questions were lost."""
    turns: list[list[int]] = []
    losses = []
    pipe = Pipe("127.0.0.1", 9, 1.0, lambda wire, _: turns[-1].append(len(wire)), losses.append)
    pipe._connecting.cancel()
    line = Line()
    pipe.connection_made(line)  # type: ignore[arg-type]
    pipe.pending[1] = Question("a.test", A, b"", [])
    turns.append([])
    pipe.data_received(b"".join(size.to_bytes(2) + bytes(size) for size in sizes))
    if lost:
        pipe.connection_lost(None)
        assert pipe.closed and (losses == []) == bool(line.paused)
    paused = [line.paused]
    for _ in range(len(sizes)):
        turns.append([])
        await asyncio.sleep(0)
        paused.append(line.paused)
    return [turn for turn in turns if turn], paused, len(losses)


def test_large_answers_over_one_connection_have_a_turn_each() -> None:
    """Sixty of 64 KiB that came at once were one turn of the event loop, of twenty seconds."""
    turns, paused, losses = asyncio.run(piped(60_000, 60_000, 60_000))
    assert turns == [[60_000]] * 3 and paused[0] and not paused[-1] and losses == 0


def test_small_answers_share_a_turn() -> None:
    turns, paused, _ = asyncio.run(piped(*[500] * 100))
    assert turns == [[500] * 100] and not any(paused)


def test_what_came_before_a_connection_was_lost_is_read_first() -> None:
    turns, _, losses = asyncio.run(piped(60_000, 60_000, 60_000, lost=True))
    assert turns == [[60_000]] * 3 and losses == 1
    assert asyncio.run(piped(500, lost=True))[2] == 1


def test_datagrams_have_no_more_bytes_a_turn_than_that(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    monkeypatch.setattr(TransportServer, "received", lambda self, wire, pending: read.append(len(wire)))

    async def run() -> tuple[int, int]:
        server = TransportServer("127.0.0.1", 9, DnsSettings(), 10, lambda *_: None, lambda _: None)
        with socket.socket(type=socket.SOCK_DGRAM) as ours, socket.socket(type=socket.SOCK_DGRAM) as theirs:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            ours.bind(("127.0.0.1", 0))
            ours.setblocking(False)
            for _ in range(24):
                theirs.sendto(bytes(4_000), ours.getsockname())
            server._readable(ours, {})
            first = len(read)
            for _ in range(3):
                server._readable(ours, {})
        return first, len(read)

    first, both = asyncio.run(run())
    assert both == 24 and BYTES_A_TURN // 4_000 < first <= BYTES_A_TURN // 4_000 + 2
