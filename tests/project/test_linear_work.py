"""What a stranger writes is read in work that grows with its length, and no faster.

Each reader gets strings that are made for bad patterns: many optional blanks, marks and digits, with something at the end
that makes all that came before it in vain.  What is measured is growth: four times the length may not cost ten times as
much (linear is four, quadratic sixteen).
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from crawler.dns import codec, lenient
from crawler.dns.codec import CNAME, MX, OPT, TXT, A, Undecodable
from crawler.lists.zone_files import Zone, zone_of
from crawler.model.names import InvalidName, a_label
from crawler.model.rows import printable
from crawler.policies import mta_sts, tlsrpt
from crawler.policies.mta_sts import InvalidPolicy, parse_policy
from crawler.protocols import smtp
from crawler.protocols.protocol import Ended
from crawler.protocols.three_digit import ThreeDigitReplies
from crawler.settings.config import Limits

SHORT, LONG = 16_384, 65_536
FACTOR = 10
#: Seconds below which a measurement is noise, and no work either.
NOISE = 0.01


def seconds(work: Callable[[], object]) -> float:
    """Processor time, the least of three."""
    found = []
    for _ in range(3):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
        if found[-1] < NOISE:
            break
    return min(found)


def grows_too_fast(work: Callable[[int], Callable[[], object]]) -> bool:
    """Whether the work for a long input is out of proportion to that for a short one."""
    short = seconds(work(64))  # exponential work would never end with the next
    if short > 0.1:
        return True
    # A busy machine may disturb one measurement, and not three.
    return all((short := seconds(work(SHORT))) >= NOISE and seconds(work(LONG)) > FACTOR * short for _ in range(3))


def reply(data: bytes) -> object:
    """As a conversation does, with limits that let it through."""
    many = Limits(line_bytes=1_000_000, reply_bytes=1_000_000, reply_lines=100_000)
    found = ThreeDigitReplies(many).cut(bytearray(data))
    return smtp.capabilities(found) if found is not None else None


def zone_file(data: bytes) -> object:
    lines = data.decode("latin-1").splitlines() or [""]
    zone = zone_of(lines) or Zone()
    return [zone.targets(line) for line in lines]


READERS: dict[str, Callable[[bytes], object]] = {
    "mta_sts record": lambda data: mta_sts.record_state([data]),
    "mta_sts record among others": lambda data: mta_sts.record_state([b"v", data]),
    "tlsrpt record": lambda data: tlsrpt.record_state([data]),
    "policy": parse_policy,
    "reply": reply,
    "name": lambda data: a_label(data.decode("latin-1")),
    "zone file": zone_file,
    "printable": printable,
}
BEGINS = [
    b"", b"v=STSv1", b"v=STSv1; id=", b"v=STSv1; id=1", b"v=TLSRPTv1", b"v=TLSRPTv1; rua=", b"v=TLSRPTv1; rua=mailto:a@b",
    b"version:", b"mx: *.", b"mode: enforce", b"220 ", b"250-", b"a IN NS b\n", b"$TTL 1\na ", b'a TXT "',
]  # fmt: skip
UNITS = [
    b" ", b"\t", b";", b" ;", b"; ", b",", b" ,", b"=", b"a", b"a=b;", b"%", b"%41", b".", b"a.", b"-", b"1", b"1h", b"\r",
    b"\n", b"\r\n", b"@", b":", b"/", b"<", b'"', b"\\", b"(", b")", b"a b", b" a", b"250-\r\n", b"a 1 NS b\n", b"mx: a\n",
    b"xn--", b"\xff",
]  # fmt: skip
ENDS = [b"", b"\x01", b"x", b" =;"]


@pytest.mark.parametrize("reader", READERS)
def test_a_text_made_for_bad_patterns_is_read_in_linear_work(reader: str) -> None:
    """`v=TLSRPTv1` before 60,000 blanks cost three seconds; in a zone file 40 digits before a letter cost for ever."""

    def work(begin: bytes, unit: bytes, end: bytes, size: int) -> Callable[[], object]:
        data = begin + unit * (size // len(unit)) + end

        def read() -> None:
            with suppress(InvalidPolicy, InvalidName, Ended):
                READERS[reader](data)

        return read

    slow = [
        (begin, unit, end)
        for begin in BEGINS
        for unit in UNITS
        for end in ENDS
        if grows_too_fast(lambda size, begin=begin, unit=unit, end=end: work(begin, unit, end, size))  # type: ignore[misc]
    ]
    assert slow == []


# --- answers of the DNS ------------------------------------------------------------------------------

NAME = "example.test"
HERE = b"\xc0\x0c"  # the name in the question


def record(owner: bytes, kind: int, rdata: bytes) -> bytes:
    return owner + struct.pack("!HHIH", kind, 1, 300, len(rdata)) + rdata


def deep(number: int, labels: int = 126) -> bytes:
    """First a name of very many labels, then names that point into it."""
    if number == 0:
        return record(b"\1a" * labels + b"\0", MX, b"\0\1\0")
    at = 12 + len(codec.question_of(NAME, MX)) + 2 * (number % (labels - 1))
    pointer = struct.pack("!H", 0xC000 | at)
    return record(pointer, MX, b"\0\1" + pointer)


SHAPES: dict[str, tuple[int, int, Callable[[int], bytes]]] = {
    "names of 126 labels": (MX, 0, deep),
    "the same, of an answer beside": (MX, 2, deep),
    "names of one label and 126": (MX, 0, lambda n: deep(n) if not n else record(b"\1b" + deep(n)[:2], MX, b"\0\1\0")),
    "escaped names": (MX, 0, lambda n: record(b"\2\xff" + bytes([n % 256]) + HERE, MX, b"\0\1\1." + HERE)),
    "a chain of aliases": (A, 0, lambda n: record(b"\2%b\0" % n.to_bytes(2), CNAME, b"\2%b\0" % (n + 1).to_bytes(2))),
    "aliases at one name": (A, 0, lambda n: record(HERE, CNAME, b"\2%b\0" % n.to_bytes(2))),
    "one record": (MX, 0, lambda n: record(HERE, MX, b"\0\1\1a" + HERE)),
    "many records": (MX, 0, lambda n: record(HERE, MX, n.to_bytes(2) + b"\1a" + HERE)),
    "records that are broken": (A, 0, lambda n: record(HERE, A, b"\1")),
    "texts of one byte": (TXT, 0, lambda n: record(HERE, TXT, b"\1" + bytes([n % 256]))),
    "a text of empty strings": (TXT, 0, lambda n: b"\0"),
    "OPT records": (MX, 2, lambda n: record(b"\0", OPT, b"\0\x0f\0\4" + n.to_bytes(2) + b"ab")),
    "pointers to pointers": (
        MX,
        0,
        lambda n: record(HERE, MX, b"\0\1" + struct.pack("!H", 0xC000 | (12 + n % 16_000))),
    ),
}


def answer(shape: str, size: int) -> tuple[bytes, int]:
    """An answer of that shape and about so many bytes."""
    rdtype, section, make = SHAPES[shape]
    body, number = bytearray(), 0
    while len(body) + len(make(number)) < size - 100:
        body += make(number)
        number += 1
    if shape == "a text of empty strings":
        body, number = bytearray(record(HERE, TXT, bytes(body))), 1
    counts = [0, 0, 0]
    counts[section] = number
    return struct.pack("!HHHHHH", 7, 0x8180, 1, *counts) + codec.question_of(NAME, rdtype) + bytes(body), rdtype


@pytest.mark.parametrize("shape", SHAPES)
def test_an_answer_is_read_in_linear_work(shape: str) -> None:
    """Names of 126 labels, all at one place: 64 KiB cost 1.4 s, and sixty of them came in one turn of the event loop."""

    def work(size: int) -> Callable[[], object]:
        wire, rdtype = answer(shape, max(size, 256))

        def read() -> None:
            with suppress(Undecodable):
                codec.read(wire, codec.question_of(NAME, rdtype), NAME, rdtype)
            with suppress(Undecodable):
                lenient.read(wire, NAME, rdtype)

        return read

    assert not grows_too_fast(work)


def test_no_answer_costs_more_than_a_few_times_an_honest_one() -> None:
    """Of the same size, read by the lean reader; names read again for every pointer at them cost two hundred times as much."""

    def cost(shape: str, reader: Callable[[bytes, int], object]) -> float:
        wire, rdtype = answer(shape, LONG)

        def read() -> None:
            with suppress(Undecodable):
                reader(wire, rdtype)

        return seconds(read)

    honest = cost("many records", lambda wire, rdtype: codec.read(wire, codec.question_of(NAME, rdtype), NAME, rdtype))
    costs = {shape: cost(shape, lambda wire, rdtype: lenient.read(wire, NAME, rdtype)) for shape in SHAPES}
    assert {shape: took for shape, took in costs.items() if took > 12 * max(honest, NOISE)} == {}


@pytest.mark.parametrize("ending", [b"\0", b"\1a"], ids=["whole names", "names too long"])
def test_pointers_at_the_same_labels_again_and_again_end_at_what_a_message_can_hold(ending: bytes) -> None:
    """Each name begins elsewhere, so none is known already, and has as many labels as a name may have."""
    message = lenient._Message(bytes(12) + (b"\1a" * 126 + ending) * 70 + b"\0")
    reasons = set()
    for at in range(12, 16_000, 2):
        try:
            message.name(at)
        except Undecodable as error:
            reasons.add(str(error))
    assert any("more labels than a message can hold" in reason for reason in reasons)
    assert message._read < lenient._MOST_LABELS + 200


def test_of_the_extended_errors_a_few_are_kept_and_of_each_a_line() -> None:
    options = b"".join(b"\0\x0f" + (2 + 5_000).to_bytes(2) + n.to_bytes(2) + b"x" * 5_000 for n in range(12))
    options += b"\0\x0f\0\2\0\6" * 900
    wire = struct.pack("!HHHHHH", 7, 0x8182, 1, 0, 0, 1) + codec.question_of(NAME, MX) + record(b"\0", OPT, options)
    with pytest.raises(Undecodable):
        codec.read(wire, codec.question_of(NAME, MX), NAME, MX)
    found = lenient.read(wire, NAME, MX).ede
    assert len(found) <= codec.MOST_EXTENDED_ERRORS and all(len(text) <= 256 for _, text in found)
    assert (6, "") in found, "what says that validation failed is not crowded out by repetition"
