"""Reader of the answers that the lean one declines, and writer of the names that it does not write.

One malformed record never hides its neighbours, and a message that breaks off behind its answers
still has them.  The work is linear in the bytes of a message, whatever its names point at.  dnspython is the oracle
in the tests, and too slow to be the reader: an answer of 64 KiB that is made for it costs it a second.  RFC 1035 §4.
"""

from __future__ import annotations

import struct
from itertools import pairwise

import dns.exception
import dns.ipv6
import dns.name

from crawler.dns.codec import (
    AAAA,
    CNAME,
    IN,
    MOST_EXTENDED_ERRORS,
    MX,
    OPT,
    PTR,
    SRV,
    TLSA,
    TXT,
    A,
    Response,
    Undecodable,
    error_text,
)
from crawler.settings.declared_limits import limit

#: More CNAMEs than this are a circle or a joke (BIND stops at 16).
MAX_CNAMES = limit(
    16,
    "CNAMEs followed in one answer",
    protects="our processor time",
    cut="the answer is `malformed`",
)
#: Labels read in one message.  Each has two bytes, so only pointers that lead to the same ones again and again can ask for
#: more than a message can hold.
_MOST_LABELS = limit(
    32_768, "labels read in one DNS message", protects="our processor time", cut="the answer is `malformed`"
)
_HEADER = 12
_COUNTS = struct.Struct("!HHHH").unpack_from
_RECORD = struct.Struct("!HHIH").unpack_from  # type, class, TTL, length of RDATA
_PAIR = struct.Struct("!HH").unpack_from
_TRIPLE = struct.Struct("!HHH").unpack_from

_Value = str | bytes | tuple[int, str] | tuple[int, int, int, bytes] | tuple[int, int, int, str]
_Record = tuple[
    str, int, bool, int, bytes, _Value | None
]  #: owner, type, class is IN, TTL, RDATA, value (None: malformed)


def question_of(name: str, rdtype: int) -> bytes:
    """The question section for any name in presentation form (RFC 1035 §5.1 escapes).

    Raises `Undecodable` for a text that is no name.
    """
    try:
        wire = dns.name.from_text(name.encode("ascii").decode("ascii")).to_wire()
    except (dns.exception.DNSException, UnicodeError) as error:
        raise Undecodable(f"{name!r} is no name: {error}") from None
    assert wire is not None
    return wire.lower() + rdtype.to_bytes(2, "big") + b"\0\1"


def read(wire: bytes, name: str, rdtype: int) -> Response:
    """Read an answer to the question for a name and type.  Raises `Undecodable`, and nothing else."""
    message = _Message(wire)
    try:
        questions, *counts = _COUNTS(wire, 4)
        if wire[2] & 0xF8 != 0x80:
            raise Undecodable("not a response to a standard query")
        at = _HEADER
        for _ in range(questions):
            at = message.behind_name(at) + 4
        answers: list[_Record] = []
        for _ in range(counts[0]):
            at = _answer(message, at, rdtype, answers)
    except (IndexError, struct.error):
        raise Undecodable("the message ends early") from None
    reply = Response(wire[3] & 15, wire[2] & 2 != 0, wire[3] & 0x20 != 0, [], [], None)
    _follow(reply, answers, name, rdtype)
    try:
        _read_the_rest(message, at, counts[1], counts[2], reply)
    except (IndexError, struct.error, Undecodable):
        pass  # the answers stand; what came behind them is lost
    return reply


class _Message:
    """The bytes of one message, and the names in it, each read once."""

    def __init__(self, wire: bytes) -> None:
        self.wire = wire
        self._names: dict[int, tuple[str, int]] = {}  # text and bytes of a name, by where it begins
        self._read = 0  # labels

    def behind_name(self, at: int) -> int:
        """The offset behind a name that nobody wants to know."""
        size = self.wire[at]
        while size:
            if size >= 192:
                return at + 2
            if size >= 64:
                raise Undecodable("an unknown type of label")
            at += size + 1
            size = self.wire[at]
        return at + 1

    def name(self, at: int) -> tuple[str, int]:
        """The name at an offset, lower case with escapes and without its last dot, and the offset behind it.

        Each pointer leads further to the front than the name that it is in began, so this ends.
        """
        wire, begin, end = self.wire, at, 0
        parts: list[tuple[int, list[bytes]]] = []  # what stands between two pointers, and where that begins
        known = None
        while known is None:
            if self._read > _MOST_LABELS:
                raise Undecodable("more labels than a message can hold, by pointers at the same ones")
            labels: list[bytes] = []
            while (size := wire[at]) and size < 64 and len(labels) < 128:
                labels.append(wire[at + 1 : at + 1 + size])
                at += size + 1
            self._read += len(labels) + 1
            if len(labels) > 127:
                raise Undecodable("a name of more than 255 bytes")
            parts.append((begin, labels))
            if not size:
                known, end = (".", 1), end or at + 1
            elif size < 192:
                raise Undecodable("an unknown type of label")
            else:
                end = end or at + 2
                at = (size & 63) << 8 | wire[at + 1]
                if not _HEADER <= at < begin:
                    raise Undecodable("a compression pointer that does not point back")
                begin = at
                known = self._names.get(at)
        text, length = known
        for begin, labels in reversed(parts):
            if labels:
                length += len(labels) + sum(map(len, labels))
                if length > 255:
                    raise Undecodable("a name of more than 255 bytes")
                own = ".".join(map(_text, labels))
                text = own if text == "." else f"{own}.{text}"
            self._names[begin] = text, length
        return text, end


def _text(label: bytes) -> str:
    label = label.lower()
    if label.isalnum():  # as almost all are
        return label.decode("ascii")
    return "".join(_ESCAPED[byte] for byte in label)


#: Bytes of a label in presentation form (RFC 1035 §5.1).
_ESCAPED = [
    f"\\{chr(byte)}" if byte in b'"().;\\@$' else chr(byte) if 0x20 < byte < 0x7F else f"\\{byte:03d}"
    for byte in range(256)
]


def _answer(message: _Message, at: int, wanted: int, answers: list[_Record]) -> int:
    """Read the record at an offset, keep it if its type is wanted, and return the offset behind it."""
    begin, at = at, message.behind_name(at)
    kind, rdclass, ttl, length = _RECORD(message.wire, at)
    start = at + 10
    end: int = start + length
    if end > len(message.wire):
        raise Undecodable("the message ends early")
    if kind in (wanted, CNAME):
        owner, _ = message.name(begin)
        value = None
        if rdclass == IN:
            try:
                value = _value(message, kind, start, end)
            except (IndexError, struct.error, Undecodable):
                pass  # malformed, and the next begins where its length says
        answers.append((owner, kind, rdclass == IN, ttl, message.wire[start:end], value))
    return end


def _value(message: _Message, kind: int, at: int, end: int) -> _Value | None:
    """RDATA in the form of `Response`; None, or an exception, if it is malformed."""
    data = message.wire[at:end]
    if kind == MX and len(data) > 2:
        return int.from_bytes(data[:2]), _whole_name(message, at + 2, end)
    if kind == SRV and len(data) > 6:
        return (*_TRIPLE(data), _whole_name(message, at + 6, end))
    if kind in (CNAME, PTR):
        return _whole_name(message, at, end)
    if kind == A:
        return ".".join(map(str, data)) if len(data) == 4 else None
    if kind == AAAA:
        return dns.ipv6.inet_ntoa(data) if len(data) == 16 else None
    if kind == TXT:
        return _strings(data)
    if kind == TLSA:
        return (data[0], data[1], data[2], data[3:])
    return data if kind not in (MX, SRV) else None


def _whole_name(message: _Message, at: int, end: int) -> str:
    name, stopped = message.name(at)
    if stopped != end:
        raise Undecodable("a name that does not fill its record")
    return name


def _strings(data: bytes) -> bytes | None:
    """The character strings of a TXT record, joined; None if they do not fill it, or there are none (RFC 1035 §3.3.14)."""
    places = [0]
    while places[-1] < len(data):
        places.append(places[-1] + 1 + data[places[-1]])
    if places[-1] != len(data) or not data:
        return None
    return b"".join(data[begin + 1 : behind] for begin, behind in pairwise(places))


def _follow(reply: Response, answers: list[_Record], name: str, rdtype: int) -> None:
    """Collect the records at the end of the chain of CNAMEs, in whatever order they came.

    A name with several CNAMEs is an alias of nothing (RFC 2181 §10.1): which of them a resolver puts first is chance.
    """
    aliases: dict[str, dict[str, int]] = {}
    for owner, kind, _, ttl, _, value in answers:
        if kind == CNAME and rdtype != CNAME and isinstance(value, str):
            targets = aliases.setdefault(owner, {})
            targets[value] = min(_bounded(ttl), targets.get(value, _bounded(ttl)))
    ttls = []
    visited = {name}
    while name in aliases and len(visited) <= MAX_CNAMES:
        if len(aliases[name]) > 1:
            raise Undecodable("several CNAMEs at one name")
        ((name, ttl),) = aliases[name].items()
        ttls.append(ttl)
        reply.cnames.append(name)
        if name in visited:
            raise Undecodable("CNAMEs in a circle")
        visited.add(name)
    if name in aliases:  # what is behind them was not read, so nobody may say that there is nothing
        raise Undecodable(f"more than {MAX_CNAMES} CNAMEs")
    seen: set[object] = set()
    for owner, kind, is_in, ttl, data, value in answers:
        if owner != name or kind not in (rdtype, CNAME) or not is_in:
            continue
        if value is None:
            reply.malformed += 1
        elif kind == rdtype:
            ttls.append(_bounded(ttl))
            # Names may be written in several ways; one text in different strings is two records.
            identity = data if kind == TXT else value
            if identity not in seen:
                seen.add(identity)
                reply.records.append(value)
    reply.ttl = min(ttls, default=None)


def _read_the_rest(message: _Message, at: int, authorities: int, additionals: int, reply: Response) -> None:
    """Only OPT counts in the authority and additional sections; what is learnt before they break off stands."""
    for _ in range(authorities):
        at = message.behind_name(at)
        at += 10 + _RECORD(message.wire, at)[3]
    of_opts = 0
    for _ in range(additionals):
        is_root = message.wire[at] == 0
        at = message.behind_name(at)
        kind, _, ttl, length = _RECORD(message.wire, at)
        data = message.wire[at + 10 : at + 10 + length]
        at += 10 + length
        if kind == OPT and is_root and len(data) == length:
            of_opts += 1
            reply.rcode |= (ttl >> 24) << 4
            _add_extended_errors(data, reply)
    if of_opts > 1 or len(reply.ede) > MOST_EXTENDED_ERRORS:
        # RFC 6891 §6.1.1 forbids several OPT records; where they come all the same, none of them is preferred.
        reply.ede = sorted(set(reply.ede))[:MOST_EXTENDED_ERRORS]


def _add_extended_errors(data: bytes, reply: Response) -> None:
    """Extended DNS errors among EDNS options (RFC 8914 §2)."""
    at = 0
    while at < len(data):
        code, length = _PAIR(data, at)
        option = data[at + 4 : at + 4 + length]
        if len(option) < length:
            raise Undecodable("EDNS options that do not fill their record")
        if code == 15 and length >= 2:
            reply.ede.append((int.from_bytes(option[:2]), error_text(option[2:])))
        at += 4 + length


def _bounded(ttl: int) -> int:
    return 0 if ttl > 0x7FFFFFFF else ttl  # RFC 2181 §8
