"""Resolvers that lie, answer late, or send what is no answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable

import dns.flags
import dns.message
import dns.rcode
import pytest

from crawler.dns.client import Answer, DnsClient
from crawler.dns.codec import MX
from crawler.model.rows import LookupStatus
from tests.kit.dns_client import ask, good, good_script, script_of, wrong_question
from tests.kit.dns_server import Query, client_of, reply_to, serving, settings


def wrong_id(query: Query) -> bytes:
    wire = reply_to(query, "a.test. 300 IN MX 1 evil.test.")
    return (query.id ^ 1).to_bytes(2, "big") + wire[2:]


def wrong_type(query: Query) -> bytes:
    return reply_to(dns.message.make_query("a.test", "A", id=query.id), "a.test. 300 IN A 192.0.2.66")


def not_a_response(query: Query) -> bytes:
    return query.to_wire()


def no_question(query: Query) -> bytes:
    return query.id.to_bytes(2, "big") + b"\x81\x80" + bytes(8)


LIES = [wrong_id, wrong_question, wrong_type, not_a_response, no_question, lambda query: b"\0"]


@pytest.mark.parametrize("lie", LIES, ids=range(len(LIES)))
def test_a_lie_is_passed_over_and_the_true_answer_behind_it_taken(lie: Callable[[Query], bytes]) -> None:
    def script(query: Query, over_tcp: bool) -> Iterable[bytes]:
        yield lie(query)
        yield good(query)

    async def main() -> tuple[Answer, dict[str, int]]:
        async with client_of(script, dns={"timeout": 5.0}) as (client, _):
            return await client.ask("a.test", MX), client.counts()

    answer, counts = asyncio.run(main())
    assert answer.records == [(10, "mx.a.test")]
    assert counts == {"sent": 1, "answered": 1, "lost": 0, "strays": 1}


def test_nothing_but_lies_is_a_timeout() -> None:
    answer, _ = ask(script_of(wrong_question), dns={"timeout": 0.05, "tries": 2})
    assert answer.status is LookupStatus.TIMEOUT


def test_an_answer_from_another_port_is_not_heard() -> None:
    """Somebody else on the machine answers first, with the right ID and question."""

    async def main() -> Answer:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:

            def script(query: Query, over_tcp: bool) -> Iterable[bytes]:
                for made, pending in client._servers[0]._sockets:
                    if pending:
                        forger.sendto(reply_to(query, "a.test. 300 IN MX 1 evil.test."), made.getsockname())
                yield good(query)

            async with serving(script) as server, DnsClient(settings(server)) as client:
                return await client.ask("a.test", MX)

    assert asyncio.run(main()).records == [(10, "mx.a.test")]


def test_an_answer_that_comes_twice_is_taken_once() -> None:
    def script(query: Query, over_tcp: bool) -> Iterable[bytes]:
        yield good(query)
        yield reply_to(query, "a.test. 300 IN MX 1 evil.test.")

    async def main() -> tuple[list[Answer], dict[str, int]]:
        async with client_of(script, dns={"sockets": 1}) as (client, _):
            answers = [await client.ask("a.test", MX) for _ in range(20)]
            await asyncio.sleep(0.02)
            return answers, client.counts()

    answers, counts = asyncio.run(main())
    assert {answer.records[0] for answer in answers} == {(10, "mx.a.test")}
    assert (counts["answered"], counts["strays"]) == (20, 20)


def test_an_answer_that_comes_late_is_not_taken_for_the_next_question() -> None:
    late: list[bytes] = []

    def script(query: Query, over_tcp: bool) -> Iterable[bytes]:
        if not late:
            late.append(reply_to(query, "a.test. 300 IN MX 1 late.test."))
        else:
            yield late[0]
            yield good(query)

    answer, server = ask(script, dns={"timeout": 0.05, "sockets": 1})
    assert (answer.records, len(server.queries)) == ([(10, "mx.a.test")], 2)


def test_random_ids_and_source_ports_are_used() -> None:
    async def main() -> set[int]:
        async with client_of(good_script, dns={"sockets": 4}) as (client, server):
            for _ in range(100):
                await client.ask("a.test", MX)
            ports = {made.getsockname()[1] for made, _ in client._servers[0]._sockets}
            assert len(ports) == 4
            return {query.id for query, _ in server.queries}

    assert len(asyncio.run(main())) > 90


def test_letter_case_is_random_when_wanted_and_must_come_back() -> None:
    name = "abcdefghijklmnopqrstuvwxyz.test"

    def script(query: Query, over_tcp: bool) -> Iterable[bytes]:
        lowered = dns.message.make_query(name, "MX", id=query.id)
        yield reply_to(lowered, f"{name}. 300 IN MX 1 evil.test.")
        yield reply_to(query, f"{name}. 300 IN MX 1 good.test.")

    answer, server = ask(script, name, dns={"use_0x20": True})
    sent = server.asked()[0][0]
    assert sent != name and sent.lower() == name
    assert answer.records == [(1, "good.test")]
