"""Reader of the answers that the lean one declines, and writer of the names that it does not write.

Rule of this room: dnspython decodes; one malformed record never hides its neighbours, and a
message that breaks off behind its answers still has them.  RFC 1035 §4.
"""

from __future__ import annotations

import struct
from typing import Any

import dns.edns
import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.wire

from crawler.dns.codec import AAAA, CNAME, IN, MX, OPT, PTR, TLSA, TXT, A, Reply, Undecodable, error_text

#: More CNAMEs than this are a circle or a joke (BIND stops at 16).
MAX_CNAMES = 16

#: Foreign code on hostile bytes: whatever of these it raises, the message is at fault.
_FAULTS = (dns.exception.DNSException, ValueError, LookupError, TypeError, AttributeError, AssertionError, struct.error)

_Record = tuple[str, int, int, int, bytes, object]


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


def read(wire: bytes, name: str, rdtype: int) -> Reply:
    """Read an answer to the question for a name and type.  Raises `Undecodable`, and nothing else."""
    parser = dns.wire.Parser(wire)
    try:
        _, bits, questions, *counts = parser.get_struct("!HHHHHH")
        if bits & 0xF800 != 0x8000:
            raise Undecodable("not a response to a standard query")
        for _ in range(questions):
            parser.get_name()
            parser.get_struct("!HH")
        answers = [_record(parser, rdtype) for _ in range(counts[0])]
    except Undecodable:
        raise
    except _FAULTS as error:
        raise Undecodable(f"{type(error).__name__}: {error}") from None
    reply = Reply(bits & 15, bits & 0x0200 != 0, bits & 0x0020 != 0, [], [], None)
    _follow(reply, answers, name, rdtype)
    try:
        for _ in range(counts[1]):
            _record(parser, OPT)
        for _ in range(counts[2]):
            owner, kind, _, ttl, data, _ = _record(parser, OPT)
            if kind == OPT and owner == ".":
                reply.rcode |= (ttl >> 24) << 4
                found = _extended_errors(data)
                # Of several OPT records, which RFC 6891 §6.1.1 forbids, none comes first.
                reply.ede = sorted(reply.ede + found) if reply.ede else found
    except _FAULTS:
        pass  # the answers stand; what came behind them is lost
    return reply


def _record(parser: dns.wire.Parser, wanted: int) -> _Record:
    """Owner, type, class, TTL, RDATA, and the value if the type is wanted (None: malformed)."""
    owner = _text(parser.get_name(None, True))
    kind, rdclass, ttl, length = parser.get_struct("!HHIH")
    start = parser.current
    value = _value(kind, parser, length) if kind in (wanted, CNAME) and rdclass == IN else None
    parser.seek(start)
    return owner, kind, rdclass, ttl, parser.get_bytes(length), value


def _value(kind: int, parser: dns.wire.Parser, length: int) -> object:
    """The record in the form of `Reply`; None if it is malformed, and the next begins where its length says."""
    try:
        with parser.restrict_to(length):
            value = _read_value(kind, parser)
    except _FAULTS:
        return None
    return value


def _read_value(kind: int, parser: dns.wire.Parser) -> object:
    """dnspython refuses TLSA records of odd lengths, so those are read here."""
    if kind == TLSA:
        return (*parser.get_struct("!BBB"), parser.get_remaining())
    rdata: Any = dns.rdata.from_wire_parser(dns.rdataclass.IN, dns.rdatatype.RdataType.make(kind), parser)
    if kind == MX:
        return rdata.preference, _text(rdata.exchange)
    if kind in (CNAME, PTR):
        return _text(rdata.target)
    if kind in (A, AAAA):
        return rdata.address
    if kind == TXT:
        return b"".join(rdata.strings)
    return rdata.to_wire()


def _follow(reply: Reply, answers: list[_Record], name: str, rdtype: int) -> None:
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
    seen: set[object] = set()
    for owner, kind, rdclass, ttl, data, value in answers:
        if owner != name or kind not in (rdtype, CNAME) or rdclass != IN:
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


def _extended_errors(data: bytes) -> list[tuple[int, str]]:
    parser = dns.wire.Parser(data)
    found = []
    while parser.remaining():
        code, length = parser.get_struct("!HH")
        option = parser.get_bytes(length)
        if code == dns.edns.OptionType.EDE and length >= 2:
            found.append((int.from_bytes(option[:2], "big"), error_text(option[2:])))
    return found


def _bounded(ttl: int) -> int:
    return 0 if ttl > 0x7FFFFFFF else ttl  # RFC 2181 §8


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()
