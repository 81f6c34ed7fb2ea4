"""One question, or several, asked of a server that follows a script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import dns.flags
import dns.message
import dns.rcode

from crawler.dns.client import Answer
from crawler.dns.codec import MX
from tests.kit.dns_server import Query, Script, Server, client_of, reply_to

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


def good_script(query: Query, over_tcp: bool) -> Iterable[bytes]:
    yield good(query)


def wrong_question(query: Query) -> bytes:
    other = dns.message.make_query("b.test", "MX", id=query.id)
    return reply_to(other, "a.test. 300 IN MX 1 evil.test.")


def large(query: Query, over_tcp: bool, count: int = 1_000) -> Iterable[bytes]:
    if over_tcp:
        yield reply_to(query, *(f"a.test. 300 IN MX {n} mx{n}.a.test." for n in range(count)))
    else:
        yield reply_to(query, tc=True)
