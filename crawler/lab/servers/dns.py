"""The lab's DNS: a server that answers as a validating resolver would, for every name there is.

It holds the wire format and sockets; what is true of a name comes from `world.py`.  Ordinary
questions are read and answered here, since a scan asks by the thousand; anything else gets an error.
RFC 1035, RFC 6891 (EDNS), RFC 8914 (extended errors), RFC 6840 §5.8 (when AD is set).
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple, cast

import dns.rcode
import dns.rdatatype

from crawler.lab.behaviours.routes import Serving
from crawler.lab.world.names import LabDomain, LabHost
from crawler.lab.world.world import World
from crawler.model.rows import LookupStatus

_A, _AAAA, _MX, _CNAME, _OPT = (
    int(rdtype)
    for rdtype in (
        dns.rdatatype.A,
        dns.rdatatype.AAAA,
        dns.rdatatype.MX,
        dns.rdatatype.CNAME,
        dns.rdatatype.OPT,
    )
)
_IN = 1
_TTL = 300
_HEADER = struct.Struct("!HHHHHH")
_RECORD = struct.Struct("!HHIH")  # type, class, TTL, length
_QUESTION = 12  # where the question begins; also what a compressed name points to
AT_QUESTION = b"\xc0\x0c"
_QR_RD_RA, _TC, _AD, _OPCODE = 0x8180, 0x0200, 0x0020, 0x7800
_DO = 0x8000
_EDE_OPTION = 15
_RCODES = {
    LookupStatus.OK: dns.rcode.NOERROR,
    LookupStatus.NODATA: dns.rcode.NOERROR,
    LookupStatus.NXDOMAIN: dns.rcode.NXDOMAIN,
    LookupStatus.SERVFAIL: dns.rcode.SERVFAIL,
}
_TCP_IDLE = 30.0


class LabAnswer(NamedTuple):
    """What stands behind the question in a reply, ready to be sent."""

    rcode: int
    answers: int = 0
    records: bytes = b""
    secure: bool = False
    ede: bytes = b""
    serving: Serving = Serving.ANSWER


def answer(world: World, name: str, rdtype: int) -> LabAnswer:
    """What the resolver says to a question; `name` in lower case without trailing dot."""
    if not name:
        return _of_root(rdtype)
    labels = name.split(".")
    while len(labels) > 1 and labels[0].startswith("_"):
        del labels[0]
    owner = ".".join(labels)
    host = world.host(owner)
    if host is not None and rdtype != _MX:
        return _of_host(host, owner == name, rdtype)
    return _of_domain(world.domain(owner), owner == name, rdtype)


def _of_root(rdtype: int) -> LabAnswer:
    """The root is signed; a scan asks for it to learn whether its resolver validates."""
    records = record(AT_QUESTION, rdtype, encoded("ns.lab.example")) if rdtype == dns.rdatatype.NS else b""
    return LabAnswer(dns.rcode.NOERROR, bool(records), records, secure=True)


def _of_host(host: LabHost, itself: bool, rdtype: int) -> LabAnswer:
    if host.status is LookupStatus.SERVFAIL:
        return LabAnswer(dns.rcode.SERVFAIL)
    if not itself:  # names below it, such as _25._tcp, do not exist
        return LabAnswer(dns.rcode.NXDOMAIN, secure=host.secure)
    wanted = {_A: ".", _AAAA: ":"}.get(rdtype)
    found = [ip_address(text).packed for text in host.addresses if wanted and wanted in text]
    count, records = _chain(host.cnames)
    owner = encoded(host.cnames[-1]) if host.cnames else AT_QUESTION
    records += b"".join(record(owner, rdtype, data) for data in found)
    return LabAnswer(_RCODES[host.status], count + len(found), records, host.secure)


def _of_domain(domain: LabDomain, itself: bool, rdtype: int) -> LabAnswer:
    behaviour = domain.behaviour
    if behaviour.rcode or behaviour.serving is not Serving.ANSWER:
        ede = struct.pack("!H", behaviour.ede[0]) + behaviour.ede[1].encode() if behaviour.ede else b""
        secure = domain.secure and behaviour.rcode == dns.rcode.NXDOMAIN
        return LabAnswer(behaviour.rcode, secure=secure, ede=ede, serving=behaviour.serving)
    if not itself:
        return LabAnswer(dns.rcode.NXDOMAIN, secure=domain.secure)
    count, records = _chain(domain.cnames)
    if rdtype == _MX and behaviour.mx:
        owner = encoded(domain.cnames[-1]) if domain.cnames else AT_QUESTION
        for preference, exchange in domain.mx:
            records += record(owner, _MX, struct.pack("!H", preference) + encoded(exchange))
        count += len(domain.mx)
    return LabAnswer(dns.rcode.NOERROR, count, records, domain.secure)


def _chain(cnames: tuple[str, ...]) -> tuple[int, bytes]:
    owner, records = AT_QUESTION, b""
    for cname in cnames:
        records += record(owner, _CNAME, encoded(cname))
        owner = encoded(cname)
    return len(cnames), records


def record(owner: bytes, rdtype: int, data: bytes) -> bytes:
    """A resource record in wire format; `AT_QUESTION` is the owner that was asked for."""
    return owner + _RECORD.pack(rdtype, _IN, _TTL, len(data)) + data


@lru_cache(10_000)
def encoded(name: str) -> bytes:
    """A name in wire format, uncompressed; `.` is the root."""
    labels = [label.encode("ascii") for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


class Responder:
    """Bytes of a query to bytes of a reply."""

    def __init__(self, find: Callable[[str, int], LabAnswer]) -> None:
        """`find` is asked once for a name and type; what it says is kept."""
        self.questions = 0  #: answered or passed over in silence
        self._find = lru_cache(100_000)(find)

    def reply(self, query: bytes, *, limit: int | None) -> bytes | None:
        """The reply, or None to say nothing; `limit` None takes the size from the query (UDP)."""
        if len(query) < _QUESTION or query[2] & 0x80:
            return None
        ident, flags, questions, answers, authorities, additional = _HEADER.unpack_from(query)
        self.questions += 1
        if flags & _OPCODE or (questions, answers, authorities) != (1, 0, 0):
            return _error(ident, flags, dns.rcode.NOTIMP if flags & _OPCODE else dns.rcode.FORMERR)
        try:
            name, end = _name(query)
            rdtype, rdclass = struct.unpack_from("!HH", query, end)
            payload, dnssec_ok = _edns(query, end + 4) if additional else (0, False)
        except (IndexError, ValueError, struct.error):
            return _error(ident, flags, dns.rcode.FORMERR)
        if rdclass != _IN:
            return _error(ident, flags, dns.rcode.REFUSED)
        found = self._find(name, rdtype)
        if found.serving is Serving.SILENT:
            return None
        out = _QR_RD_RA | found.rcode
        if found.secure and (dnssec_ok or flags & _AD):
            out |= _AD
        question = query[_QUESTION : end + 4]  # as asked, letter case included
        if found.serving is Serving.MALFORMED:
            return _HEADER.pack(ident, out, 1, 1, 0, 0) + question + AT_QUESTION + b"\x00\x0f\x00"
        opt = _opt(found.ede) if payload else b""
        size = _QUESTION + len(question) + len(found.records) + len(opt)
        if size > (limit or max(512, payload)):
            return _HEADER.pack(ident, out | _TC, 1, 0, 0, bool(opt)) + question + opt
        return _HEADER.pack(ident, out, 1, found.answers, 0, bool(opt)) + question + found.records + opt


def _name(query: bytes) -> tuple[str, int]:
    """The name asked for, in lower case, and where it ends.  Raises `ValueError`, `IndexError`."""
    labels = []
    at = _QUESTION
    while length := query[at]:
        if length > 63:
            raise ValueError("compressed question")
        labels.append(query[at + 1 : at + 1 + length])
        at += 1 + length
    return b".".join(labels).decode("ascii").lower(), at + 1


def _edns(query: bytes, at: int) -> tuple[int, bool]:
    """UDP size and DO bit of the OPT record; ordinary queries have nothing else there."""
    root, rdtype, payload, ttl = struct.unpack_from("!BHHI", query, at)
    if root or rdtype != _OPT:
        raise ValueError("another record than OPT")
    return payload, bool(ttl & _DO)


def _opt(ede: bytes) -> bytes:
    option = struct.pack("!HH", _EDE_OPTION, len(ede)) + ede if ede else b""
    return b"\0" + struct.pack("!HHIH", _OPT, 1_232, 0, len(option)) + option


def _error(ident: int, flags: int, rcode: int) -> bytes:
    return _HEADER.pack(ident, 0x8080 | (flags & _OPCODE) | rcode, 0, 0, 0, 0)


class OverUdp(asyncio.DatagramProtocol):
    """One socket for all questions."""

    def __init__(self, responder: Responder) -> None:
        self._responder = responder

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self._responder.reply(data, limit=None)
        if reply is not None:
            self._transport.sendto(reply, addr)


class OverTcp(asyncio.Protocol):
    """Questions with their length before them (RFC 1035 §4.2.2), as many as come."""

    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._idle = asyncio.get_running_loop().call_later(_TCP_IDLE, self._transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._idle.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 2 and len(self._buffer) >= 2 + (size := int.from_bytes(self._buffer[:2], "big")):
            reply = self._responder.reply(bytes(self._buffer[2 : 2 + size]), limit=65_535)
            del self._buffer[: 2 + size]
            if reply is not None:
                self._transport.write(len(reply).to_bytes(2, "big") + reply)
