"""Lean reader of the common DNS answers, and writer of questions.

It has no I/O, no loops without end, and no exception but `Undecodable`.  What is not
plainly common is declined, and `lenient.py` reads it; the tests hold both against dnspython.
RFC 1035 §4, RFC 6891 (EDNS), RFC 8914 (extended errors), RFC 6698 §2.1 (TLSA), RFC 2782 (SRV).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import dns.ipv6

from crawler.model.rows import printable
from crawler.settings.declared_limits import limit

A, CNAME, PTR, MX, TXT, AAAA, SRV, OPT, TLSA = 1, 5, 12, 15, 16, 28, 33, 41, 52
_PSEUDO = frozenset({OPT, 250})  # 250 is TSIG
IN = 1

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16
_RCODES = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH", "NOTZONE",
    "DSOTYPENI",
]  # fmt: skip

_COUNTS = struct.Struct("!HHHH").unpack_from
_RECORD = struct.Struct("!HHIH").unpack_from  # type, class, TTL, length of RDATA
_PAIR = struct.Struct("!HH").unpack_from
_TRIPLE = struct.Struct("!HHH").unpack_from
_LENGTH_BYTE = [bytes((n,)) for n in range(64)]
#: Bytes that stand for themselves in the text of a name; a name with any other is declined.
_PLAIN = b"abcdefghijklmnopqrstuvwxyz0123456789-_./*"
_PLAIN_TEXT = frozenset(_PLAIN.decode("ascii"))
#: dnspython follows 16 pointers at most; a name of fewer labels cannot need more.
_MAX_LABELS = 15


#: Extended errors kept of one message, and bytes of the text of each.
MOST_EXTENDED_ERRORS = limit(
    16, "extended errors kept of one DNS message", protects="the disk", cut="`domains.ede` has exactly so many"
)
_LONGEST_ERROR = limit(
    256, "bytes kept of the text of an extended error", protects="the disk", cut="the text is cut to so many"
)


class Undecodable(Exception):
    """These bytes are not a message that this reader takes (or this text not a name that it writes)."""


@dataclass(slots=True)
class Response:
    """What a message says about one name and type.

    Records: MX is (preference, exchange), A and AAAA the address as text, TXT the joined strings,
    CNAME and PTR the target, TLSA (usage, selector, matching, data), SRV (priority, weight, port, target), any other
    the bytes.  Names are lower case without the trailing dot; the root is ".".  A record that is given twice is one (RFC 2181 §5), and no
    order in which they come says anything.
    """

    rcode: int
    truncated: bool
    authentic: bool  #: the AD bit
    records: list[Any]
    cnames: list[str]  #: targets followed, in order
    ttl: int | None  #: seconds, the smallest of the records and CNAMEs above
    ede: list[tuple[int, str]] = field(default_factory=list)  #: extended errors: code and text
    malformed: int = 0  #: records of the type asked for that could not be read


def rcode_text(rcode: int) -> str:
    """Name of a response code (IANA DNS parameters), e.g. `SERVFAIL`."""
    if rcode < len(_RCODES):
        return _RCODES[rcode]
    return "BADVERS" if rcode == BADVERS else f"RCODE{rcode}"


def question_of(name: str, rdtype: int) -> bytes:
    """The question section for a name in lower case (RFC 1035 §4.1.2).

    Raises `Undecodable` for a name that cannot be carried or has other than plain characters.
    """
    if name == ".":
        return b"\0" + rdtype.to_bytes(2, "big") + b"\0\1"
    if not _PLAIN_TEXT.issuperset(name) or len(name) > 253:
        raise Undecodable(f"not a plain name: {name!r}")
    parts = []
    for label in name.encode("ascii").split(b"."):
        if not 0 < len(label) < 64:
            raise Undecodable(f"a label of {len(label)} bytes: {name!r}")
        parts.append(_LENGTH_BYTE[len(label)])
        parts.append(label)
    parts.append(b"\0" + rdtype.to_bytes(2, "big") + b"\0\1")
    return b"".join(parts)


def message_of(message_id: int, question: bytes, *, payload: int | None, checking_disabled: bool = False) -> bytes:
    """A query: recursion desired, AD understood (RFC 6840 §5.7).

    With a `payload` size it carries EDNS with the DO bit (RFC 3225).
    """
    head = message_id.to_bytes(2, "big") + (b"\x01\x30" if checking_disabled else b"\x01\x20") + b"\0\1\0\0\0\0\0"
    if payload is None:
        return head + b"\0" + question
    return b"".join((head, b"\1", question, b"\0\0\x29", payload.to_bytes(2, "big"), b"\0\0\x80\0\0\0"))


def read(wire: bytes, question: bytes, name: str, rdtype: int) -> Response:
    """Read the answer to a question, given as the section that was sent, its name (lower case) and type.

    The caller must check that the message repeats this question. Raises `Undecodable`, and nothing else.
    """
    try:
        return _read(wire, 12 + len(question), name, rdtype)
    except (IndexError, struct.error):
        raise Undecodable("the message ends early") from None


def _read(wire: bytes, at: int, name: str, rdtype: int) -> Response:
    questions, answers, authorities, additionals = _COUNTS(wire, 4)
    if questions != 1 or wire[2] & 0xF8 != 0x80:  # a response (QR) to a standard query (opcode 0)
        raise Undecodable("not a response to one standard query")
    seen = {12: name}
    records: list[Any] = []
    cnames: list[str] = []
    lowest = 0x80000000
    for _ in range(answers):
        if wire[at : at + 2] == b"\xc0\x0c":  # the usual owner: a pointer to the question
            owner, at = name, at + 2
        else:
            owner, at = _name(wire, at, seen)
        kind, rdclass, ttl, length = _RECORD(wire, at)
        at += 10
        end = at + length
        if kind in (rdtype, CNAME):
            if rdclass != IN or owner != (cnames[-1] if cnames else name):
                raise Undecodable("a record that does not continue the answer")
            if kind == rdtype:
                records.append(_READERS[kind](wire, at, end, seen) if kind in _READERS else wire[at:end])
            else:
                if records or len(cnames) == 16:
                    raise Undecodable("a CNAME beside data, or too many")
                cnames.append(_whole_name(wire, at, end, seen))
            if ttl < lowest or ttl > 0x7FFFFFFF:
                lowest = ttl if ttl <= 0x7FFFFFFF else 0  # RFC 2181 §8
        elif kind in _PSEUDO:
            raise Undecodable("a pseudo-record among the answers")
        at = end
    if cnames and (name in cnames or len(set(cnames)) < len(cnames)):
        raise Undecodable("CNAMEs in a circle")
    if len(records) > 1 and len(set(records)) < len(records):
        raise Undecodable("a record twice, or one text in different strings")
    for _ in range(authorities):
        at = _skipped(wire, at, seen)
    rcode = wire[3] & 15
    ede: list[tuple[int, str]] = []
    options_seen = False
    for _ in range(additionals):
        if wire[at : at + 3] == b"\0\0\x29":  # root, OPT: RFC 6891 §6.1.2
            if options_seen:
                raise Undecodable("two OPT records")
            options_seen = True
            rcode |= wire[at + 5] << 4
            end = at + 11 + int.from_bytes(wire[at + 9 : at + 11], "big")
            if end > at + 11:
                ede = _extended_errors(wire, at + 11, end)
            at = end
        else:
            at = _skipped(wire, at, seen)
    if at != len(wire):
        raise Undecodable("the sections do not end where the message does")
    return Response(
        rcode, wire[2] & 2 != 0, wire[3] & 0x20 != 0, records, cnames, lowest if records or cnames else None, ede
    )


def _name(wire: bytes, at: int, seen: dict[int, str]) -> tuple[str, int]:
    """The name at an offset and the offset behind it; `seen` remembers names by where they begin.

    A pointer must point before whatever was read so far (as in dnspython), so this ends.
    """
    start = floor = at
    end = 0
    labels = []
    tail = ""
    size = wire[at]
    while size:
        if size < 64:
            labels.append(wire[at + 1 : at + 1 + size])
            at += size + 1
        elif size >= 192:
            target = (size & 63) << 8 | wire[at + 1]
            end = end or at + 2
            if target >= floor or target < 12:
                raise Undecodable("a compression pointer that does not point back")
            if target in seen:
                tail = seen[target]
                break
            if wire[target] >= 192:
                raise Undecodable("a compression pointer to a pointer")
            floor = at = target
        else:
            raise Undecodable("an unknown type of label")
        size = wire[at]
    end = end or at + 1
    if not labels:
        return tail or ".", end
    joined = b".".join(labels).lower()
    dots = len(labels) - 1
    if joined.translate(None, _PLAIN) or joined.count(b".") != dots:
        raise Undecodable("a name with other than plain characters")
    name = joined.decode("ascii")
    if tail and tail != ".":
        name = f"{name}.{tail}"
        dots += tail.count(".") + 1
    if dots >= _MAX_LABELS or len(name) > 253:
        raise Undecodable("a name of very many labels")
    seen[start] = name
    return name, end


def _whole_name(wire: bytes, at: int, end: int, seen: dict[int, str]) -> str:
    """The name that fills RDATA from `at` to `end`."""
    name, stopped = _name(wire, at, seen)
    if stopped != end:
        raise Undecodable("a name that does not fill its record")
    return name


def _skipped(wire: bytes, at: int, seen: dict[int, str]) -> int:
    """The offset behind a record that nobody asked for."""
    _, at = _name(wire, at, seen)
    kind, _, _, length = _RECORD(wire, at)
    if kind in _PSEUDO:
        raise Undecodable("a pseudo-record out of place")
    return at + 10 + int(length)


def _extended_errors(wire: bytes, at: int, end: int) -> list[tuple[int, str]]:
    """Extended DNS errors among EDNS options (RFC 8914 §2)."""
    found = []
    while at < end:
        code, length = _PAIR(wire, at)
        at += 4
        if code == 15:
            if length < 2:
                raise Undecodable("an extended error without a code")
            found.append((int.from_bytes(wire[at : at + 2], "big"), error_text(wire[at + 2 : at + length])))
        at += length
    if at != end or len(found) > MOST_EXTENDED_ERRORS:
        raise Undecodable("EDNS options that do not fill their record, or more errors than are kept")
    return found


def error_text(data: bytes) -> str:
    """The text of an extended error, which may end in NUL (RFC 8914 §2); its beginning if it is long."""
    return printable(data.removesuffix(b"\0")[:_LONGEST_ERROR])


def _mx(wire: bytes, at: int, end: int, seen: dict[int, str]) -> tuple[int, str]:
    return wire[at] << 8 | wire[at + 1], _whole_name(wire, at + 2, end, seen)


def _srv(wire: bytes, at: int, end: int, seen: dict[int, str]) -> tuple[int, int, int, str]:
    """The target may be compressed, which RFC 2782 forbids and RFC 2181 §4.1 asks readers to bear."""
    priority, weight, port = _TRIPLE(wire, at)
    return priority, weight, port, _whole_name(wire, at + 6, end, seen)


def _a(wire: bytes, at: int, end: int, seen: dict[int, str]) -> str:
    if end - at != 4:
        raise Undecodable("an A record of other than 4 bytes")
    return f"{wire[at]}.{wire[at + 1]}.{wire[at + 2]}.{wire[at + 3]}"


def _aaaa(wire: bytes, at: int, end: int, seen: dict[int, str]) -> str:
    data = wire[at:end]
    if end - at != 16 or len(data) != 16:
        raise Undecodable("an AAAA record of other than 16 bytes")
    return dns.ipv6.inet_ntoa(data)


def _txt(wire: bytes, at: int, end: int, seen: dict[int, str]) -> bytes:
    if wire[at] == end - at - 1:  # the usual one string
        return wire[at + 1 : end]
    strings = []
    while at < end:
        behind = at + 1 + wire[at]
        strings.append(wire[at + 1 : behind])
        at = behind
    if at != end or not strings:
        raise Undecodable("strings that do not fill their record")
    return b"".join(strings)


def _tlsa(wire: bytes, at: int, end: int, seen: dict[int, str]) -> tuple[int, int, int, bytes]:
    """As it stands: whether lengths fit the matching type is for `dane.py` to say."""
    if end - at < 3:
        raise Undecodable("a TLSA record of fewer than 3 bytes")
    return wire[at], wire[at + 1], wire[at + 2], wire[at + 3 : end]


_READERS: dict[int, Any] = {
    A: _a,
    AAAA: _aaaa,
    CNAME: _whole_name,
    MX: _mx,
    PTR: _whole_name,
    SRV: _srv,
    TXT: _txt,
    TLSA: _tlsa,
}
