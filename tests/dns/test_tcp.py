"""Truncated and large answers, and connections that are shared, closed or silent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import pytest

from crawler.dns.client import Answer, DnsClient
from crawler.dns.codec import MX
from crawler.dns.transport import Server as TransportServer
from crawler.model.rows import LookupStatus
from crawler.settings.config import Config
from tests.kit.dns_client import ask, large
from tests.kit.dns_server import Query, client_of, reply_to


def test_a_truncated_answer_is_asked_for_over_tcp_within_the_same_try() -> None:
    answer, server = ask(large, dns={"tries": 1})
    assert (answer.status, len(answer.records)) == (LookupStatus.OK, 1_000)
    assert [over_tcp for _, over_tcp in server.queries] == [False, True]


def test_nearly_64_kib_of_records_are_taken() -> None:
    answer, _ = ask(lambda query, over_tcp: large(query, over_tcp, 2_500), dns={"timeout": 2.0})
    assert len(answer.records) == 2_500


def test_many_questions_share_one_tcp_connection() -> None:
    def script(query: Query, over_tcp: bool) -> Iterable[bytes]:
        yield (
            reply_to(query, f"{query.question[0].name} 300 IN MX 1 mx.test.") if over_tcp else reply_to(query, tc=True)
        )

    async def main() -> tuple[list[Answer], int]:
        async with client_of(script, dns={"timeout": 2.0}) as (client, server):
            answers = await asyncio.gather(*(client.ask(f"d{n}.test", MX) for n in range(200)))
            return answers, server.connections

    answers, connections = asyncio.run(main())
    assert {answer.status for answer in answers} == {LookupStatus.OK}
    assert connections == 1


def test_truncated_for_ever_is_malformed() -> None:
    answer, server = ask(lambda query, over_tcp: [reply_to(query, tc=True)], dns={"tries": 2})
    assert (answer.status, len(server.queries)) == (LookupStatus.MALFORMED, 4)


def test_answers_that_wait_to_be_read_are_not_overdue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of answers of 64 KiB to a hostile domain's questions took longer to read than others' answers were waited for."""
    genuine = TransportServer.received
    padding = (b"\xc0\x0c\0\x10\0\1\0\0\0\0\1\0\xff" + b"x" * 255) * 200

    def received(self: TransportServer, wire: bytes, pending: Any) -> None:
        time.sleep(0.05 if len(wire) > len(padding) else 0)
        genuine(self, wire, pending)

    replies: list[bytes] = []

    def script(query: Query, over_tcp: bool) -> Iterable[bytes]:
        """Over TCP all answers at once, when all are asked for."""
        if not over_tcp:
            yield reply_to(query, tc=True)
            return
        small = reply_to(query, f"{query.question[0].name} 300 IN MX 1 mx.test.")
        replies.append(small[:10] + (int.from_bytes(small[10:12]) + 200).to_bytes(2) + small[12:] + padding)
        if len(replies) == 30:
            yield from replies

    async def main() -> list[LookupStatus]:
        async with client_of(script, dns={"timeout": 1.0, "tries": 1}) as (client, _):
            answers = await asyncio.gather(*(client.ask(f"d{number}.test", MX) for number in range(30)))
            return [answer.status for answer in answers]

    monkeypatch.setattr(TransportServer, "received", received)
    assert asyncio.run(main()) == [LookupStatus.OK] * 30


def test_a_datagram_longer_than_we_read_is_asked_for_over_tcp() -> None:
    def script(query: Query, over_tcp: bool) -> Iterable[bytes]:
        yield reply_to(query, *(f"a.test. 300 IN MX {n} mx{n}.a.test." for n in range(600)))

    answer, server = ask(script)
    assert (len(answer.records), [over_tcp for _, over_tcp in server.queries]) == (600, [False, True])


def test_truncation_without_tcp_ends_in_a_timeout() -> None:
    async def main() -> Answer:
        loop = asyncio.get_running_loop()

        class Datagrams(asyncio.DatagramProtocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, address: Any) -> None:
                self.transport.sendto(reply_to(dns.message.from_wire(data), tc=True), address)

        transport, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=("127.0.0.1", 0))
        port = transport.get_extra_info("sockname")[1]
        config = Config.from_mapping({"resolver": [f"127.0.0.1:{port}"], "dns": {"timeout": 0.1, "tries": 2}})
        try:
            async with DnsClient(config) as client:
                return await client.ask("a.test", MX)
        finally:
            transport.close()

    assert asyncio.run(main()).status is LookupStatus.TIMEOUT


def test_a_connection_that_is_closed_in_the_middle_is_made_anew() -> None:
    def script(query: Query, over_tcp: bool) -> Iterable[bytes]:
        if over_tcp and not broken:
            broken.append(True)
            raise ConnectionResetError  # closes the connection without an answer
        yield from large(query, over_tcp)

    broken: list[bool] = []
    answer, server = ask(script, dns={"timeout": 1.0})
    assert (len(answer.records), server.connections) == (1_000, 2)


def test_a_connection_that_falls_silent_is_given_up_and_its_other_questions_lose_nothing() -> None:
    """Without FIN or RST, as after a firewall has forgotten it; it was used for ever."""
    heard: list[str] = []

    def script(query: Query, over_tcp: bool) -> Iterable[bytes]:
        name = query.question[0].name.to_text()
        heard.extend([name] * over_tcp)
        if not over_tcp:
            yield reply_to(query, tc=True)
        elif name == "a.test." or len(heard) > 3:
            yield reply_to(query, f"{name} 300 IN MX 1 mx.test.")

    async def main() -> tuple[list[LookupStatus], int]:
        async with client_of(script, dns={"timeout": 1.0, "tries": 1}) as (client, server):
            answers = [await client.ask("a.test", MX)]
            second = client.begin("b.test", MX)
            await asyncio.sleep(0.2)
            third = client.begin("c.test", MX)
            answers += [await second, await third, await client.ask("d.test", MX)]
            return [answer.status for answer in answers], server.connections

    statuses, connections = asyncio.run(main())
    assert statuses == [LookupStatus.OK, LookupStatus.TIMEOUT, LookupStatus.OK, LookupStatus.OK]
    assert (heard, connections) == (["a.test.", "b.test.", "c.test.", "c.test.", "d.test."], 2)


def test_a_connection_on_which_others_are_answered_is_kept_when_one_question_is_not() -> None:
    def script(query: Query, over_tcp: bool) -> Iterable[bytes]:
        name = query.question[0].name.to_text()
        if not over_tcp:
            yield reply_to(query, tc=True)
        elif name != "slow.test.":
            yield reply_to(query, f"{name} 300 IN MX 1 mx.test.")

    async def main() -> tuple[list[LookupStatus], int]:
        async with client_of(script, dns={"timeout": 1.0, "tries": 1}) as (client, server):
            slow = client.begin("slow.test", MX)
            await asyncio.sleep(0.2)
            answers = [await client.ask("a.test", MX), await slow, await client.ask("b.test", MX)]
            return [answer.status for answer in answers], server.connections

    assert asyncio.run(main()) == ([LookupStatus.OK, LookupStatus.TIMEOUT, LookupStatus.OK], 1)
