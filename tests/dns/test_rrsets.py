"""An answer is a set: neither order nor repetition changes what it says."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.dns import lenient
from crawler.dns.codec import AAAA, CNAME, MX, OPT, TLSA, TXT, A, Response, Undecodable
from tests.kit.dns_wire import NAME, OWNER, header, question, read, record


def both(rdtype: int, *records: bytes) -> list[Response | None]:
    """What each reader makes of an answer section; None: not decodable."""
    wire = header(1, len(records), 0, 0) + question(NAME, rdtype) + b"".join(records)
    replies: list[Response | None] = []
    for reader in (lambda: read(wire, NAME, rdtype), lambda: lenient.read(wire, NAME, rdtype)):
        try:
            replies.append(reader())
        except Undecodable:
            replies.append(None)
    return replies


def test_a_record_given_twice_is_one() -> None:
    lean, whole = both(MX, record(OWNER, MX, b"\0\1\1a" + OWNER), record(OWNER, MX, b"\0\1\1A\7example\4test\0", ttl=7))
    assert lean is None and whole is not None
    assert (whole.records, whole.ttl) == ([(1, "a.example.test")], 7)


def test_one_text_in_different_strings_is_two_records() -> None:
    """Both can stand in one zone, and whoever counts records counts two."""
    lean, whole = both(TXT, record(OWNER, TXT, b"\2ab"), record(OWNER, TXT, b"\1a\1b"), record(OWNER, TXT, b"\2ab"))
    assert lean is None and whole is not None and whole.records == [b"ab", b"ab"]


def test_a_name_with_several_cnames_is_an_alias_of_nothing() -> None:
    """The first one was followed: where mail went was up to the order of the answer."""
    aliases = [record(OWNER, CNAME, target) for target in (b"\1b\0", b"\1c\0")]
    mail = [record(target, MX, b"\0\1\2mx" + target) for target in (b"\1b\0", b"\1c\0")]
    assert both(MX, *aliases, *mail) == both(MX, *reversed(aliases), *mail) == [None, None]
    assert both(MX, aliases[0], *aliases[:1], *mail)[1] == Response(0, False, False, [(1, "mx.b")], ["b"], 300)


_RDATA = {
    MX: [b"\0\0\0", b"\0\1\0", b"\0\1\1a" + OWNER, b"\0\1\1A" + OWNER, b"\0\1"],
    A: [bytes(4), b"\1\2\3\4", b"\1\2\3"],
    AAAA: [bytes(16), b"\1" * 16, bytes(15)],
    TXT: [b"\1a", b"\2ab", b"\1a\1b", b""],
    TLSA: [b"\3\1\1" + bytes(32), b"\2\1\1" + bytes(32), b"\3"],
}


@given(st.sampled_from(sorted(_RDATA)), st.data(), st.randoms())
@settings(max_examples=300)
def test_what_an_answer_says_does_not_depend_on_its_order(rdtype: int, data: st.DataObject, dice: Any) -> None:
    owners = st.sampled_from([OWNER, b"\1b\0", b"\1c\0"])
    drawn = st.one_of(
        st.tuples(owners, st.just(rdtype), st.sampled_from(_RDATA[rdtype]), st.sampled_from([5, 9])),
        st.tuples(owners, st.just(CNAME), st.sampled_from([b"\1b\0", b"\1c\0", b"\1"]), st.sampled_from([5, 9])),
    )
    records = [record(*one) for one in data.draw(st.lists(drawn, min_size=1, max_size=5))]

    def said(records: list[bytes]) -> Response | None:
        lean, whole = both(rdtype, *records)
        reply = lean or whole  # as the client asks them
        if reply is not None:
            reply.records.sort()
            reply.malformed = bool(reply.malformed)
        return reply

    shuffled = dice.sample(records, len(records))
    assert said(records) == said(shuffled)
    once = dict.fromkeys(records)
    assert said(list(once)) == said(records)


def test_two_opt_records_have_no_order_either() -> None:
    def opt(code: int, high: int) -> bytes:
        option = b"\0\x0f\0\2" + code.to_bytes(2, "big")
        return b"\0" + struct.pack("!HHIH", OPT, 1232, high << 24, len(option)) + option

    first, second = opt(6, 1), opt(22, 0)
    head = header(1, 0, 0, 2) + question()
    assert lenient.read(head + first + second, NAME, MX) == lenient.read(head + second + first, NAME, MX)
