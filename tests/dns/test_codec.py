"""The lean reader of DNS messages, byte by byte; questions as they are written."""

from __future__ import annotations

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

from crawler.dns import codec, lenient
from crawler.dns.codec import AAAA, CNAME, MX, OPT, SRV, TLSA, TXT, A, Response, Undecodable
from tests.kit.dns_wire import NAME, OWNER, header, question, read, record


def declined(wire: bytes, name: str = NAME, rdtype: int = MX) -> bool:
    try:
        read(wire, name, rdtype)
    except Undecodable:
        return True
    return False


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
        (SRV, b"\0\1\0\2\0"),
        (SRV, b"\0\1\0\2\0\3"),
        (SRV, b"\0\1\0\2\0\3\1a\0junk"),
    ],
)
def test_a_malformed_record_is_declined_and_then_does_not_hide_its_neighbour(rdtype: int, rdata: bytes) -> None:
    good = {A: bytes(4), AAAA: bytes(16), TXT: b"\1x", TLSA: b"\3\1\1" + bytes(32), MX: b"\0\1" + OWNER}
    good |= {SRV: bytes(6) + OWNER}
    for pair in ([rdata, good[rdtype]], [good[rdtype], rdata]):
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
