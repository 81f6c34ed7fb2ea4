"""The lean reader against dnspython: it agrees, or it declines, on any bytes."""

from __future__ import annotations

import random
import struct
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
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.dns import codec, lenient
from crawler.dns.codec import AAAA, CNAME, MX, OPT, SRV, TLSA, TXT, A, Response, Undecodable
from crawler.model.rows import printable
from tests.kit.dns_wire import NAME, OWNER, header, names, owners, question, record

TYPES = [MX, A, AAAA, TXT, TLSA, SRV, CNAME]


@st.composite
def rdatas(draw: st.DrawFn, kind: int) -> str:
    if kind == MX:
        return f"{draw(st.integers(0, 65535))} {draw(st.one_of(st.just('.'), names.map(lambda n: n + '.')))}"
    if kind == SRV:
        numbers = " ".join(str(draw(st.integers(0, 65535))) for _ in range(3))
        return f"{numbers} {draw(st.one_of(st.just('.'), names.map(lambda n: n + '.')))}"
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
                    SRV: lambda r: (r.priority, r.weight, r.port, text(r.target)),
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
