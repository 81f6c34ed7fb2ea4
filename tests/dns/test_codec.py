"""The lean reader held against dnspython: on any bytes both agree, or the lean one declines."""

from __future__ import annotations

import random
import struct
from itertools import pairwise
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.dns import codec, lenient
from crawler.dns.codec import AAAA, CNAME, MX, OPT, TLSA, TXT, A, Response, Undecodable
from crawler.model.rows import printable

NAME = "example.test"
TYPES = [MX, A, AAAA, TXT, TLSA, CNAME]


def header(*counts: int, flags: int = 0x8180) -> bytes:
    return struct.pack("!HHHHHH", 7, flags, *counts)


def question(name: str = NAME, rdtype: int = MX) -> bytes:
    return codec.question_of(name, rdtype)


def record(owner: bytes, kind: int, rdata: bytes, ttl: int = 300, rdclass: int = 1) -> bytes:
    return owner + struct.pack("!HHIH", kind, rdclass, ttl, len(rdata)) + rdata


def read(wire: bytes, name: str = NAME, rdtype: int = MX) -> Response:
    return codec.read(wire, question(name, rdtype), name, rdtype)


def declined(wire: bytes, name: str = NAME, rdtype: int = MX) -> bool:
    try:
        read(wire, name, rdtype)
    except Undecodable:
        return True
    return False


OWNER = b"\xc0\x0c"
LABEL = b"\3mx1"


# --- single cases, byte by byte -----------------------------------------------------------------


def test_an_mx_answer_with_compressed_names() -> None:
    wire = header(1, 2, 0, 0) + question() + record(OWNER, MX, b"\0\x0a\3MX1\xc0\x0c")
    wire += record(OWNER, MX, b"\0\x14\3mx2" + OWNER, ttl=60)
    reply = read(wire)
    assert reply == Response(0, False, False, [(10, "mx1.example.test"), (20, "mx2.example.test")], [], 60)


def test_a_null_mx_names_the_root() -> None:
    assert read(header(1, 1, 0, 0) + question() + record(OWNER, MX, b"\0\0\0")).records == [(0, ".")]


@pytest.mark.parametrize(
    ("rdtype", "rdata", "value"),
    [
        (A, bytes([192, 0, 2, 1]), "192.0.2.1"),
        (AAAA, bytes.fromhex("20010db8000000000000000000000001"), "2001:db8::1"),
        (AAAA, bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 1]), "::ffff:192.0.2.1"),
        (TXT, b"\3abc\0\2de", b"abcde"),
        (TXT, b"\0", b""),
        (TLSA, b"\3\1\1" + bytes(32), (3, 1, 1, bytes(32))),
        (TLSA, b"\3\1\1\xff", (3, 1, 1, b"\xff")),
        (TLSA, b"\3\1\1", (3, 1, 1, b"")),
        (CNAME, b"\5other" + OWNER, "other.example.test"),
    ],
)
def test_each_type_has_its_form(rdtype: int, rdata: bytes, value: Any) -> None:
    wire = header(1, 1, 0, 0) + question(NAME, rdtype) + record(OWNER, rdtype, rdata)
    assert read(wire, NAME, rdtype).records == [value]
    assert lenient.read(wire, NAME, rdtype).records == [value]


@pytest.mark.parametrize(
    ("rdtype", "rdata"),
    [
        (A, b"\1\2\3"),
        (A, b"\1\2\3\4\5"),
        (AAAA, bytes(15)),
        (TXT, b""),
        (TXT, b"\5ab"),
        (TXT, b"\1ab"),
        (TLSA, b"\3\1"),
        (MX, b"\0"),
        (MX, b"\0\x0a\3mx1"),
        (MX, b"\0\x0a\1a\0junk"),
        (MX, b"\0\x0a\xc0\xff"),
    ],
)
def test_a_malformed_record_is_declined_and_then_does_not_hide_its_neighbour(rdtype: int, rdata: bytes) -> None:
    good = {A: bytes(4), AAAA: bytes(16), TXT: b"\1x", TLSA: b"\3\1\1" + bytes(32), MX: b"\0\1" + OWNER}[rdtype]
    for pair in ([rdata, good], [good, rdata]):
        wire = header(1, 2, 0, 0) + question(NAME, rdtype) + b"".join(record(OWNER, rdtype, one) for one in pair)
        assert declined(wire, NAME, rdtype)
        reply = lenient.read(wire, NAME, rdtype)
        assert (len(reply.records), reply.malformed) == (1, 1)


def test_a_chain_of_cnames_in_order_with_the_smallest_ttl() -> None:
    wire = header(1, 3, 0, 0) + question() + record(OWNER, CNAME, b"\1b" + OWNER, ttl=50)
    second = 12 + len(question()) + 12  # where the first target stands
    wire += record(struct.pack("!H", 0xC000 | second), CNAME, b"\1c\0", ttl=40)
    wire += record(b"\1C\0", MX, b"\0\1\2mx\1c\0", ttl=90)
    assert read(wire) == Response(0, False, False, [(1, "mx.c")], ["b.example.test", "c"], 40)


def test_a_chain_out_of_order_is_left_to_the_lenient_reader() -> None:
    wire = header(1, 2, 0, 0) + question() + record(b"\1c\0", MX, b"\0\1\2mx\1c\0") + record(OWNER, CNAME, b"\1c\0")
    assert declined(wire)
    reply = lenient.read(wire, NAME, MX)
    assert (reply.records, reply.cnames) == ([(1, "mx.c")], ["c"])


@pytest.mark.parametrize("length", [16, 17, 18, 40])
def test_what_lies_behind_more_aliases_than_are_followed_is_not_said_to_be_nothing(length: int) -> None:
    names = [OWNER, *(bytes([2]) + f"{number:02}".encode() + b"\0" for number in range(length))]
    aliases = [record(owner, CNAME, target) for owner, target in pairwise(names)]
    wire = header(1, length + 1, 0, 0) + question() + b"".join(aliases) + record(names[-1], MX, b"\0\1\2mx\1c\0")
    if length <= lenient.MAX_CNAMES:
        assert lenient.read(wire, NAME, MX).records == [(1, "mx.c")]
    else:
        with pytest.raises(Undecodable, match="more than 16 CNAMEs"):
            lenient.read(wire, NAME, MX)


@pytest.mark.parametrize("target", [OWNER, b"\1b\0"])
def test_cnames_in_a_circle_are_undecodable_for_both(target: bytes) -> None:
    wire = header(1, 2, 0, 0) + question() + record(OWNER, CNAME, target) + record(target, CNAME, OWNER)
    with pytest.raises(Undecodable):
        read(wire)
    with pytest.raises(Undecodable):
        lenient.read(wire, NAME, MX)


@pytest.mark.parametrize(
    "owner",
    [b"\xc0\x1e", b"\xc0\x22", b"\xff\xff", b"\xc0\x00", b"\x40a\0", b"\x80", b"\3ab", b"\xc0"],
    ids=["to itself", "forward", "outside", "into the header", "label type 01", "label type 10", "short", "half"],
)
def test_names_that_loop_or_lead_astray_are_declined(owner: bytes) -> None:
    assert declined(header(1, 1, 0, 0) + question() + record(owner, MX, b"\0\1\0"))


def test_two_pointers_at_each_other_end() -> None:
    body = b"\0\1\1a\xc0\x2c" + b"\0\0"  # the exchange points at what lies behind it
    assert declined(header(1, 1, 0, 0) + question() + record(OWNER, MX, body))


def test_an_escaped_name_is_declined_and_read_with_escapes() -> None:
    wire = header(1, 1, 0, 0) + question() + record(OWNER, MX, b"\0\1\4a.\xffb\0")
    assert declined(wire)
    assert lenient.read(wire, NAME, MX).records == [(1, r"a\.\255b")]


def test_the_records_of_other_names_are_not_an_answer() -> None:
    wire = header(1, 1, 0, 0) + question() + record(b"\4evil\0", MX, b"\0\1\4evil\0")
    assert declined(wire)
    assert lenient.read(wire, NAME, MX).records == []


def test_signatures_beside_the_answer_are_passed_over() -> None:
    wire = header(1, 2, 0, 0) + question() + record(OWNER, MX, b"\0\1" + OWNER) + record(OWNER, 46, b"signature")
    assert read(wire).records == [(1, NAME)]


def test_extended_errors_and_the_extended_response_code() -> None:
    options = b"\0\x0f\0\x08\0\x06bogus\0" + b"\0\x0a\0\x02id" + b"\0\x0f\0\2\0\x16"
    opt = b"\0" + struct.pack("!HHIH", OPT, 1232, 1 << 24, len(options)) + options
    wire = header(1, 0, 0, 1, flags=0x8180) + question() + opt
    for reply in (read(wire), lenient.read(wire, NAME, MX)):
        assert (reply.rcode, reply.ede) == (16, [(6, "bogus"), (22, "")])
    assert codec.rcode_text(16) == "BADVERS"


def test_the_text_of_an_extended_error_is_escaped() -> None:
    option = b"\0\x0f\0\x05\0\0a\xff\n"
    opt = b"\0" + struct.pack("!HHIH", OPT, 1232, 0, len(option)) + option
    assert read(header(1, 0, 0, 1) + question() + opt).ede == [(0, "a\\xff\n")]


def test_flags_are_told() -> None:
    reply = read(header(1, 0, 0, 0, flags=0x87A3) + question())
    assert (reply.rcode, reply.truncated, reply.authentic) == (3, True, True)
    assert (codec.rcode_text(3), codec.rcode_text(77)) == ("NXDOMAIN", "RCODE77")


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"\0" * 11,
        header(1, 0, 0, 0, flags=0x0100) + question(),
        header(1, 0, 0, 0, flags=0xA980) + question(),
        header(2, 0, 0, 0) + question() * 2,
        header(0, 0, 0, 0),
        header(1, 0, 0, 0) + question() + b"junk",
        header(1, 65535, 65535, 65535) + question(),
        header(1, 1, 0, 0) + question() + record(b"\0", OPT, b""),
        header(1, 0, 1, 0) + question() + record(b"\0", OPT, b""),
        header(1, 0, 0, 2) + question() + record(b"\0", OPT, b"") * 2,
        header(1, 0, 0, 1) + question() + record(b"\0", 250, b""),
        header(1, 1, 0, 0) + question() + record(OWNER, MX, b"\0\1\0", rdclass=3),
    ],
    ids=range(13),
)
def test_what_is_not_one_plain_answer_is_declined(wire: bytes) -> None:
    assert declined(wire)


def test_a_ttl_with_the_top_bit_set_is_zero() -> None:
    assert read(header(1, 1, 0, 0) + question() + record(OWNER, MX, b"\0\1\0", ttl=0xFFFFFFFF)).ttl == 0


def test_64_kib_of_records_are_read_in_one_go() -> None:
    count = (65_535 - 100) // len(record(OWNER, MX, b"\0\1\1a" + OWNER))
    records = b"".join(record(OWNER, MX, n.to_bytes(2, "big") + b"\1a" + OWNER) for n in range(count))
    assert len(read(header(1, count, 0, 0) + question() + records).records) == count


# --- an answer is a set -------------------------------------------------------------------------


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


# --- questions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["example.test", "_25._tcp.mx.example", ".", "a", "x" * 63 + ".test"])
@pytest.mark.parametrize("disabled", [False, True])
def test_a_question_is_what_dnspython_reads(name: str, disabled: bool) -> None:
    wire = codec.message_of(513, codec.question_of(name, TLSA), payload=1232, checking_disabled=disabled)
    message = dns.message.from_wire(wire)
    assert message.question[0].name == dns.name.from_text(name)
    assert (message.id, message.question[0].rdtype, message.payload) == (513, TLSA, 1232)
    assert message.ednsflags == dns.flags.DO
    assert message.flags == dns.flags.RD | dns.flags.AD | (dns.flags.CD if disabled else 0)
    assert codec.question_of(name, TLSA) == lenient.question_of(name, TLSA)


def test_a_question_without_edns_has_no_additional_section() -> None:
    message = dns.message.from_wire(codec.message_of(1, question(), payload=None))
    assert (message.edns, message.additional) == (-1, [])


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64, ".a", "a.", "ä.test", "a b", r"a\.b", ".".join(["a" * 49] * 6)])
def test_a_name_that_is_not_plain_is_not_written(name: str) -> None:
    with pytest.raises(Undecodable):
        codec.question_of(name, MX)


@pytest.mark.parametrize("name", ["a..b", "x" * 64, "ä.test", ".".join(["a" * 49] * 6), "\\300"])
def test_a_text_that_is_no_name_cannot_be_asked(name: str) -> None:
    with pytest.raises(Undecodable):
        lenient.question_of(name, MX)


def test_escapes_are_written_by_the_lenient_writer() -> None:
    assert lenient.question_of(r"A\.b.test", MX) == b"\3a.b\4test\0\0\x0f\0\1"


# --- properties ---------------------------------------------------------------------------------

labels = st.text("abcXYZ019-_", min_size=1, max_size=5)
names = st.lists(labels, min_size=1, max_size=4).map(".".join)
owners = st.one_of(st.just(NAME), names)


@st.composite
def rdatas(draw: st.DrawFn, kind: int) -> str:
    if kind == MX:
        return f"{draw(st.integers(0, 65535))} {draw(st.one_of(st.just('.'), names.map(lambda n: n + '.')))}"
    if kind == A:
        return ".".join(str(draw(st.integers(0, 255))) for _ in range(4))
    if kind == AAAA:
        return dns.ipv6.inet_ntoa(draw(st.binary(min_size=16, max_size=16)))
    if kind == TXT:
        return " ".join(f'"{draw(st.text("abc=; ", max_size=9))}"' for _ in range(draw(st.integers(1, 3))))
    if kind == TLSA:
        return f"{draw(st.integers(0, 4))} {draw(st.integers(0, 2))} 0 {draw(st.binary(min_size=1, max_size=9)).hex()}"
    return f"{draw(names)}."


@st.composite
def responses(draw: st.DrawFn) -> tuple[int, bytes]:
    """A well-formed response: a chain of CNAMEs, records, signatures, authority, EDNS."""
    rdtype = draw(st.sampled_from(TYPES))
    response = dns.message.make_response(dns.message.make_query(NAME, rdtype), recursion_available=True)
    response.id = 7
    response.set_rcode(draw(st.sampled_from([0, 2, 3, 5])))
    if draw(st.booleans()):
        response.flags |= dns.flags.AD
    owner = NAME
    for _ in range(draw(st.integers(0, 3)) if rdtype != CNAME else 0):
        target = draw(names)
        response.answer.append(
            dns.rrset.from_text(f"{owner}.", draw(st.integers(0, 2**31)), "IN", "CNAME", f"{target}.")
        )
        owner = target
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from([rdtype, rdtype, rdtype, A, CNAME, TXT]))
        rdata = draw(rdatas(kind))
        who = owner if draw(st.integers(0, 5)) else draw(names)
        response.answer.append(dns.rrset.from_text(f"{who}.", draw(st.integers(0, 2**31)), "IN", kind, rdata))
    if draw(st.booleans()):
        response.authority.append(dns.rrset.from_text(f"{draw(owners)}.", 5, "IN", "NS", f"{draw(names)}."))
    if draw(st.booleans()):
        response.additional.append(dns.rrset.from_text(f"{draw(owners)}.", 5, "IN", "A", "192.0.2.9"))
    if draw(st.booleans()):
        options = [dns.edns.EDEOption(draw(st.integers(0, 30)), draw(st.text("ab ", max_size=5)) or None)]
        response.use_edns(0, 0, 1232, options=options if draw(st.booleans()) else [])
    return rdtype, response.to_wire(max_size=65_535)


def oracle(wire: bytes, rdtype: int) -> Response:
    """What dnspython's own message reader makes of the bytes, in our form."""
    message = dns.message.from_wire(wire, continue_on_error=True, one_rr_per_rrset=True, ignore_trailing=True)

    def text(name: dns.name.Name) -> str:
        return name.to_text(omit_final_dot=True).lower()

    here = NAME
    cnames: list[str] = []
    ttls = []
    records: list[Any] = []
    for rrset in message.answer:
        if rdtype != CNAME and rrset.rdtype == CNAME and text(rrset.name) == here:
            here = text(rrset[0].target)
            cnames.append(here)
            ttls.append(rrset.ttl)
    for rrset in message.answer:
        if rrset.rdtype == rdtype and text(rrset.name) == here and rrset.rdclass == 1:
            ttls.append(rrset.ttl)
            rdata: Any = rrset[0]
            records.append(
                {
                    MX: lambda r: (r.preference, text(r.exchange)),
                    A: lambda r: r.address,
                    AAAA: lambda r: r.address,
                    TXT: lambda r: b"".join(r.strings),
                    TLSA: lambda r: (r.usage, r.selector, r.mtype, r.cert),
                    CNAME: lambda r: text(r.target),
                }[rdtype](rdata)
            )
    ede = [
        (int(o.code), printable((o.text or "").encode())) for o in message.options if isinstance(o, dns.edns.EDEOption)
    ]
    return Response(
        int(message.rcode()),
        bool(message.flags & dns.flags.TC),
        bool(message.flags & dns.flags.AD),
        records,
        cnames,
        min(ttls, default=None),
        ede,
    )


def agree(wire: bytes, rdtype: int) -> bool:
    """Check all three readers on the same bytes; whether the lean one took them."""
    try:
        ours = codec.read(wire, question(NAME, rdtype), NAME, rdtype)
    except Undecodable:
        try:
            lenient.read(wire, NAME, rdtype)
        except Undecodable:
            pass
        return False
    assert lenient.read(wire, NAME, rdtype) == ours
    message = dns.message.from_wire(wire, continue_on_error=True, ignore_trailing=True)
    if not message.errors:  # else dnspython dropped something that nobody asked for, such as a bad SOA or option
        assert oracle(wire, rdtype) == ours
    return True


@given(responses())
@settings(max_examples=300)
def test_on_valid_responses_the_readers_agree(case: tuple[int, bytes]) -> None:
    rdtype, wire = case
    agree(wire, rdtype)


@given(responses(), st.data())
@settings(max_examples=200)
def test_on_truncated_responses_they_agree_or_the_lean_one_declines(
    case: tuple[int, bytes], data: st.DataObject
) -> None:
    rdtype, wire = case
    assert not agree(wire[: data.draw(st.integers(0, len(wire) - 1))], rdtype)


@given(responses(), st.data())
@settings(max_examples=400)
def test_on_damaged_responses_they_agree_or_the_lean_one_declines(case: tuple[int, bytes], data: st.DataObject) -> None:
    rdtype, wire = case
    damaged = bytearray(wire)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(2, len(wire) - 1))
        if not 12 <= at < 12 + len(question(NAME, rdtype)):  # the client has seen to the question
            damaged[at] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from([0xC0, 0x0C, 0x3F, 0x40, 0xFF])))
    agree(bytes(damaged), rdtype)


@given(st.binary(max_size=200), st.sampled_from(TYPES))
@settings(max_examples=300)
def test_on_random_bytes_nothing_but_undecodable_is_raised(body: bytes, rdtype: int) -> None:
    agree(body, rdtype)
    agree(header(1, 2, 1, 1) + question(NAME, rdtype) + body, rdtype)


def test_a_fuzz_run_of_twenty_thousand_messages_ends_and_agrees() -> None:
    """Compression pointers thrown everywhere, from a fixed seed."""
    dice = random.Random(20)
    taken = 0
    for _ in range(20_000):
        rdtype = dice.choice(TYPES)
        section = question(NAME, rdtype)
        counts = dice.randrange(4), dice.randrange(2), dice.randrange(2)
        parts = [header(1, *counts, flags=0x8180) + section]
        for _ in range(sum(counts) + (dice.random() < 0.05)):
            pointer = struct.pack("!H", 0xC000 | dice.randrange(12, 12 + len(section) + 40))
            owner = dice.choice([OWNER, OWNER, OWNER, pointer, b"\1a" + pointer, b"\0"])
            rdata = dice.choice([b"\0\1", b"", b"\1"]) + dice.choice([pointer, OWNER, b"\2mx" + pointer, b"\1a\0"])
            rdata = dice.choice([rdata, rdata, bytes(4), bytes(16), b"\1x", dice.randbytes(dice.randrange(9))])
            parts.append(record(owner, dice.choice([rdtype, rdtype, CNAME, OPT, 46]), rdata))
        taken += agree(b"".join(parts), rdtype)
    assert taken > 1_000
