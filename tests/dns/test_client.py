"""The stub resolver: what an answer means, whom it believes, and what it keeps."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, TypeVar

import dns.flags
import dns.message
import dns.rcode
import pytest

from crawler.dns.client import Answer, DnsClient
from crawler.dns.codec import AAAA, MX, NXDOMAIN, REFUSED, SERVFAIL, TLSA, TXT, A, Response, question_of
from crawler.dns.question import Question
from crawler.model.rows import LookupStatus
from crawler.settings.config import Config
from tests.kit.dns_client import MX_RECORD, ask, failing, good, good_script, script_of, wrong_question
from tests.kit.dns_server import Query, Script, Server, client_of, reply_to, serving, settings, zone

Result = TypeVar("Result")


def without_cd(answer: Callable[[Query], bytes], otherwise: Callable[[Query], bytes] = good) -> Script:
    """One answer to a plain question, another when checking is disabled."""

    def script(query: Query, over_tcp: bool) -> Iterable[bytes]:
        yield otherwise(query) if query.flags & dns.flags.CD else answer(query)

    return script


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


def test_a_name_with_escapes_is_asked_and_its_odd_answer_understood() -> None:
    name = r"a\.b\000.test"
    answer, _ = ask(lambda query, over_tcp: [reply_to(query, rf"{name}. 60 IN MX 1 x\.y.test.")], name)
    assert (answer.status, answer.records) == (LookupStatus.OK, [(1, r"x\.y.test")])


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
