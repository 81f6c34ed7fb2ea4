"""The DNS client against resolvers on loopback that answer, fail and lie."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, TypeVar

import anyio
import dns.flags
import dns.message
import dns.rcode
import pytest

from crawler.dns.client import Answer, DnsClient
from crawler.dns.codec import AAAA, MX, NXDOMAIN, REFUSED, SERVFAIL, TLSA, TXT, A, Response, question_of
from crawler.dns.question import BYTES_A_TURN, Question
from crawler.dns.tcp import Pipe
from crawler.dns.transport import Server as TransportServer
from crawler.model.errors import ConfigError
from crawler.model.rows import LookupStatus
from crawler.settings.config import Config, DnsSettings
from tests.kit.dns_server import Query, Script, Server, client_of, reply_to, serving, settings, zone

Result = TypeVar("Result")

MX_RECORD = "a.test. 300 IN MX 10 mx.a.test."


def ask(script: Script, name: str = "a.test", rdtype: int = MX, **values: Any) -> tuple[Answer, Server]:
    """One question to one server."""

    async def main() -> tuple[Answer, Server]:
        async with client_of(script, **values) as (client, server):
            return await client.ask(name, rdtype), server

    return asyncio.run(main())


def script_of(*replies: Callable[[Query], bytes]) -> Script:
    """Answer the first query with the first reply, and so on; the last one for ever."""
    left = list(replies)

    def answer(query: Query, over_tcp: bool) -> Iterable[bytes]:
        yield (left.pop(0) if len(left) > 1 else left[0])(query)

    return answer


def good(query: Query) -> bytes:
    return reply_to(query, MX_RECORD)


def failing(rcode: int, **values: Any) -> Callable[[Query], bytes]:
    return lambda query: reply_to(query, rcode=rcode, **values)


def without_cd(answer: Callable[[Query], bytes], otherwise: Callable[[Query], bytes] = good) -> Script:
    """One answer to a plain question, another when checking is disabled."""

    def script(query: Query, over_tcp: bool) -> Iterable[bytes]:
        yield otherwise(query) if query.flags & dns.flags.CD else answer(query)

    return script


# --- what an answer means -----------------------------------------------------------------------


def test_an_answer_with_records() -> None:
    answer, server = ask(zone(MX_RECORD, ad=True))
    assert answer == Answer("a.test", MX, LookupStatus.OK, "NOERROR", True, [(10, "mx.a.test")], [], 300, [], 0)
    query, over_tcp = server.queries[0]
    assert (query.payload, query.ednsflags & dns.flags.DO, over_tcp) == (1232, dns.flags.DO, False)


def test_every_type_arrives_in_its_form() -> None:
    script = zone(
        "h.test. 300 IN A 192.0.2.1",
        "h.test. 300 IN AAAA 2001:db8::1",
        'h.test. 300 IN TXT "v=one" "two"',
        "h.test. 300 IN TLSA 3 1 0 00ff",
    )
    assert ask(script, "h.test", A)[0].records == ["192.0.2.1"]
    assert ask(script, "h.test", AAAA)[0].records == ["2001:db8::1"]
    assert ask(script, "h.test", TXT)[0].records == [b"v=onetwo"]
    assert ask(script, "h.test", TLSA)[0].records == [(3, 1, 0, b"\0\xff")]


def test_nodata_and_cnames_on_the_way() -> None:
    answer, _ = ask(zone("a.test. 60 IN CNAME b.test.", "b.test. 60 IN A 192.0.2.1"))
    assert (answer.status, answer.cnames, answer.secure) == (LookupStatus.NODATA, ["b.test"], False)


def test_nxdomain_is_an_answer_and_is_not_asked_again() -> None:
    answer, server = ask(failing_script(NXDOMAIN))
    assert (answer.status, answer.rcode, len(server.queries)) == (LookupStatus.NXDOMAIN, "NXDOMAIN", 1)


def failing_script(rcode: int, **values: Any) -> Script:
    return script_of(failing(rcode, **values))


def test_servfail_with_and_without_checking_is_servfail() -> None:
    answer, server = ask(failing_script(SERVFAIL, ede=(22, "no reachable authority")))
    assert (answer.status, answer.rcode, answer.secure) == (LookupStatus.SERVFAIL, "SERVFAIL", None)
    assert answer.ede == ["22 no reachable authority"]
    assert [bool(query.flags & dns.flags.CD) for query, _ in server.queries] == [False, True]


@pytest.mark.parametrize("code", range(6, 13))
def test_servfail_with_an_extended_error_of_validation_is_bogus_at_once(code: int) -> None:
    answer, server = ask(failing_script(SERVFAIL, ede=(code, "")))
    assert (answer.status, answer.rcode, answer.ede) == (LookupStatus.BOGUS, "SERVFAIL", [str(code)])
    assert len(server.queries) == 1


def test_servfail_that_only_checking_causes_is_bogus() -> None:
    answer, server = ask(without_cd(failing(SERVFAIL)))
    assert (answer.status, answer.records, answer.secure) == (LookupStatus.BOGUS, [], None)
    assert [bool(query.flags & dns.flags.CD) for query, _ in server.queries] == [False, True, False]


def test_a_servfail_that_passes_is_not_called_bogus() -> None:
    answer, _ = ask(script_of(failing(SERVFAIL), good, good))
    assert (answer.status, answer.records) == (LookupStatus.OK, [(10, "mx.a.test")])


def test_silence_after_a_servfail_leaves_servfail() -> None:
    def script(query: Query, over_tcp: bool) -> Iterator[bytes]:
        if not query.flags & dns.flags.CD:
            yield failing(SERVFAIL)(query)

    answer, _ = ask(script)
    assert answer.status is LookupStatus.SERVFAIL


def test_refused_by_the_only_server_is_refused() -> None:
    answer, server = ask(failing_script(REFUSED))
    assert (answer.status, answer.rcode, len(server.queries)) == (LookupStatus.REFUSED, "REFUSED", 1)


def test_silence_is_a_timeout_after_all_tries() -> None:
    answer, server = ask(lambda query, over_tcp: [], dns={"tries": 3, "timeout": 0.05})
    assert (answer.status, answer.rcode, answer.secure) == (LookupStatus.TIMEOUT, None, None)
    assert len(server.queries) == 3
    assert len({query.id for query, _ in server.queries}) > 1


def test_nobody_listening_is_a_timeout() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        config = Config.from_mapping(
            {"resolver": [f"127.0.0.1:{taken.getsockname()[1]}"], "dns": {"timeout": 0.05, "tries": 2}}
        )
    assert with_client(config, lambda client: client.ask("a.test", MX)).status is LookupStatus.TIMEOUT


def with_client(config: Config, use: Callable[[DnsClient], Awaitable[Result]]) -> Result:
    async def main() -> Result:
        async with DnsClient(config) as client:
            return await use(client)

    return asyncio.run(main())


def test_a_server_that_does_not_take_edns_is_asked_without() -> None:
    def script(query: Query, over_tcp: bool) -> Iterator[bytes]:
        if query.edns >= 0:
            yield query.id.to_bytes(2, "big") + b"\x81\x81" + bytes(8)  # FORMERR, a bare header
        else:
            yield good(query)

    answer, server = ask(script)
    assert (answer.status, [query.edns for query, _ in server.queries]) == (LookupStatus.OK, [0, -1])


def test_a_name_that_cannot_be_asked_is_malformed_and_not_sent() -> None:
    answer, server = ask(good_script, "a..test")
    assert (answer.status, answer.rcode, server.queries) == (LookupStatus.MALFORMED, None, [])


def good_script(query: Query, over_tcp: bool) -> Iterable[bytes]:
    yield good(query)


def test_a_name_with_escapes_is_asked_and_its_odd_answer_understood() -> None:
    name = r"a\.b\000.test"
    answer, _ = ask(lambda query, over_tcp: [reply_to(query, rf"{name}. 60 IN MX 1 x\.y.test.")], name)
    assert (answer.status, answer.records) == (LookupStatus.OK, [(1, r"x\.y.test")])


# --- whom to believe ----------------------------------------------------------------------------


def test_the_ad_bit_of_a_resolver_on_loopback_is_trusted() -> None:
    assert ask(zone(MX_RECORD, ad=True))[0].secure is True
    assert ask(zone(MX_RECORD, ad=False))[0].secure is False
    assert ask(zone("b.test. 60 IN A 192.0.2.1", ad=True))[0].secure is True  # NXDOMAIN too


@pytest.mark.parametrize(("trust_ad", "secure"), [(False, None), (True, True)])
def test_the_ad_bit_of_another_resolver_is_trusted_only_when_told(trust_ad: bool, secure: bool | None) -> None:
    config = Config.from_mapping({"resolver": ["192.0.2.53", "127.0.0.1"], "trust_ad": trust_ad})
    client = DnsClient(config)
    question = Question("a.test", MX, question_of("a.test", MX), [])
    answer = client._answer(question, Response(0, False, True, [(1, "x")], [], 1), LookupStatus.OK)
    assert answer.secure is secure


# --- resolvers that lie -------------------------------------------------------------------------


def wrong_id(query: Query) -> bytes:
    wire = reply_to(query, "a.test. 300 IN MX 1 evil.test.")
    return (query.id ^ 1).to_bytes(2, "big") + wire[2:]


def wrong_question(query: Query) -> bytes:
    other = dns.message.make_query("b.test", "MX", id=query.id)
    return reply_to(other, "a.test. 300 IN MX 1 evil.test.")


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


# --- truncation and TCP -------------------------------------------------------------------------


def large(query: Query, over_tcp: bool, count: int = 1_000) -> Iterable[bytes]:
    if over_tcp:
        yield reply_to(query, *(f"a.test. 300 IN MX {n} mx{n}.a.test." for n in range(count)))
    else:
        yield reply_to(query, tc=True)


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


# --- bytes that are no answer -------------------------------------------------------------------


def test_an_answer_that_nobody_can_read_is_malformed_after_all_tries() -> None:
    def script(query: Query, over_tcp: bool) -> Iterable[bytes]:
        wire = bytearray(reply_to(query))
        wire[6:8] = b"\0\5"  # five answers, of which there is none
        yield bytes(wire)

    answer, server = ask(script, dns={"tries": 3})
    assert (answer.status, answer.rcode, len(server.queries)) == (LookupStatus.MALFORMED, None, 3)


def test_an_rrset_of_which_nothing_can_be_read_is_malformed() -> None:
    answer, _ = ask(lambda query, over_tcp: [reply_to(query, r"a.test. 300 IN A \# 3 010203")], rdtype=A)
    assert (answer.status, answer.malformed, answer.rcode) == (LookupStatus.MALFORMED, 1, "NOERROR")


# --- several servers ----------------------------------------------------------------------------


def ask_two(first: Script, second: Script, **values: Any) -> tuple[list[Answer], Server, Server]:
    """The same question twice, so that each server is the first to be asked once."""

    async def main() -> tuple[list[Answer], Server, Server]:
        async with serving(first) as one, serving(second) as two, DnsClient(settings(one, two, **values)) as client:
            return [await client.ask("a.test", MX) for _ in range(2)], one, two

    return asyncio.run(main())


@pytest.mark.parametrize(
    "bad",
    [lambda query, over_tcp: [], failing_script(REFUSED), failing_script(SERVFAIL), script_of(wrong_question)],
    ids=["silent", "refusing", "failing", "lying"],
)
def test_another_server_is_asked_when_one_does_badly(bad: Script) -> None:
    answers, *_ = ask_two(bad, good_script)
    assert [answer.status for answer in answers] == [LookupStatus.OK, LookupStatus.OK]


def test_questions_are_shared_out_between_servers() -> None:
    _, one, two = ask_two(good_script, good_script)
    assert (len(one.queries), len(two.queries)) == (1, 1)


# --- the cache ----------------------------------------------------------------------------------


def test_a_host_asked_for_many_times_at_once_is_asked_once() -> None:
    async def main() -> tuple[list[Answer], int]:
        async with client_of(zone("h.test. 300 IN A 192.0.2.1")) as (client, server):
            answers = await asyncio.gather(*(client.ask("h.test", A) for _ in range(50)))
            answers.append(await client.ask("h.test", A))
            return answers, len(server.queries)

    answers, asked = asyncio.run(main())
    assert (len(answers), asked) == (51, 1)
    assert {answer.records[0] for answer in answers} == {"192.0.2.1"}


def test_one_who_stops_waiting_does_not_take_the_answer_from_the_others() -> None:
    async def main() -> Answer:
        async with client_of(zone("h.test. 300 IN A 192.0.2.1")) as (client, _):
            first, second = client.begin("h.test", A), client.begin("h.test", A)
            first.cancel()
            return await second

    assert asyncio.run(main()).status is LookupStatus.OK


def test_failures_are_not_kept() -> None:
    async def main() -> list[LookupStatus]:
        script = script_of(failing(REFUSED), lambda query: reply_to(query, "h.test. 300 IN A 192.0.2.1"))
        async with client_of(script) as (client, _):
            return [(await client.ask("h.test", A)).status for _ in range(2)]

    assert asyncio.run(main()) == [LookupStatus.REFUSED, LookupStatus.OK]


def test_the_cache_holds_so_many_answers_and_forgets_the_oldest() -> None:
    async def main() -> list[str]:
        async with client_of(zone(), dns={"cache_size": 2}) as (client, server):
            for name in ("a.test", "b.test", "c.test", "c.test", "b.test", "a.test"):
                await client.ask(name, A)
            return [name for name, _ in server.asked()]

    assert asyncio.run(main()) == ["a.test", "b.test", "c.test", "a.test"]


def test_large_answers_take_the_place_of_many_in_the_cache() -> None:
    """An answer may have 64 KiB; twenty thousand of them would be a gigabyte, and several as text."""
    many = {"huge": 1_000, "fleeting": 200, "large": 500}

    def script(query: Query, over_tcp: bool) -> Iterable[bytes]:
        name = query.question[0].name.to_text(omit_final_dot=True)
        count, ttl = many.get(name, 1), 0 if name == "fleeting" else 300
        records = (f"{name}. {ttl} IN A 10.0.{n // 256}.{n % 256}" for n in range(count))
        yield reply_to(query, *records) if over_tcp or count == 1 else reply_to(query, tc=True)

    async def main(*names: str) -> list[str]:
        async with client_of(script, dns={"cache_size": 20, "timeout": 1.0}) as (client, server):
            for name in names:
                await client.ask(name, A)
            return [
                query.question[0].name.to_text(omit_final_dot=True)
                for query, over_tcp in server.queries
                if not over_tcp
            ]

    assert asyncio.run(main("a", "huge", "huge", "a")) == ["a", "huge", "huge"], "too large to be kept"
    assert asyncio.run(main("a", *["fleeting"] * 4, "a")) == ["a", *["fleeting"] * 4], "each took the other's place"
    names = ["a", "b", "c", "d", "e", "f", "large", "large", "d", "a"]
    assert asyncio.run(main(*names)) == ["a", "b", "c", "d", "e", "f", "large", "a"], "the oldest made room"


@pytest.mark.parametrize(("ttl", "longest"), [(0, 3_600.0), (300, 0.0)])
def test_an_answer_is_kept_for_its_ttl_and_no_longer_than_told(ttl: int, longest: float) -> None:
    async def main() -> int:
        async with client_of(zone(f"h.test. {ttl} IN A 192.0.2.1"), dns={"cache_ttl": longest}) as (client, server):
            await client.ask("h.test", A)
            await client.ask("h.test", A)
            return len(server.queries)

    assert asyncio.run(main()) == 2


# --- how much at once ---------------------------------------------------------------------------


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


# --- no turn of the event loop for all that comes ---------------------------------------------------


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
