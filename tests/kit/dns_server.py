"""A DNS server on loopback for tests, which answers as it is told: honestly, wrongly, late or not at all."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from crawler.dns.client import DnsClient
from crawler.settings.config import Config

Query = dns.message.Message
#: Gets a query and whether it came over TCP; returns the datagrams or messages to send back.
Script = Callable[[Query, bool], Iterable[bytes]]


def reply_to(
    query: Query, *records: str, rcode: int = 0, ad: bool = False, tc: bool = False, ede: tuple[int, str] | None = None
) -> bytes:
    """A response with records in presentation form (`name ttl IN type rdata`) in its answer section."""
    response = dns.message.make_response(query, recursion_available=True)
    response.set_rcode(dns.rcode.Rcode(rcode))
    for record in records:
        name, ttl, _, kind, rdata = record.split(None, 4)
        response.answer.append(_rrset(name, int(ttl), kind, rdata))
    if ad:
        response.flags |= dns.flags.AD
    if tc:
        response.flags |= dns.flags.TC
    if ede is not None:
        response.use_edns(options=[dns.edns.EDEOption(*ede)])
    return response.to_wire(max_size=65_535)


def _rrset(name: str, ttl: int, kind: str, rdata: str) -> dns.rrset.RRset:
    """As dnspython makes it, but RDATA in generic form (RFC 3597 §5) stays as it is, however malformed."""
    if not rdata.startswith(r"\#"):
        return dns.rrset.from_text(name, ttl, "IN", kind, rdata)
    rdtype = dns.rdatatype.from_text(kind)
    return dns.rrset.from_rdata(
        name, ttl, dns.rdata.GenericRdata(dns.rdataclass.IN, rdtype, bytes.fromhex("".join(rdata.split()[2:])))
    )


def zone(*records: str, ad: bool = False) -> Script:
    """A script that answers from records, following CNAMEs; other types are NODATA, other names NXDOMAIN."""
    by_name: dict[str, list[str]] = {}
    for record in records:
        by_name.setdefault(record.split()[0].lower().rstrip("."), []).append(record)

    def answer(query: Query, over_tcp: bool) -> Iterable[bytes]:
        name = query.question[0].name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(query.question[0].rdtype)
        found: list[str] = []
        for _ in range(10):
            here = by_name.get(name)
            if here is None:
                # An empty non-terminal exists.
                exists = any(other.endswith(f".{name}") for other in by_name)
                yield reply_to(query, *found, rcode=0 if exists else 3, ad=ad)
                return
            found += [record for record in here if record.split()[3] in (kind, "CNAME")]
            alias = next((record for record in here if record.split()[3] == "CNAME" != kind), None)
            if alias is None:
                break
            name = alias.split()[4].lower().rstrip(".")
        yield reply_to(query, *found, ad=ad)

    return answer


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: Server) -> None:
        self.server = server

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        query = dns.message.from_wire(data)
        self.server.queries.append((query, False))
        for answer in self.server.script(query, False):
            self.transport.sendto(answer, address)


class Server:
    """What was asked, and where the server listens."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.queries: list[tuple[Query, bool]] = []
        self.connections = 0

    def asked(self) -> list[tuple[str, str]]:
        """Names and types asked, in order."""
        return [
            (q.question[0].name.to_text(omit_final_dot=True), dns.rdatatype.to_text(q.question[0].rdtype))
            for q, _ in self.queries
        ]

    async def run_conversation(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                wire = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
                query = dns.message.from_wire(wire)
                self.queries.append((query, True))
                for answer in self.script(query, True):
                    writer.write(len(answer).to_bytes(2, "big") + answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[Server]:
    """Run a server on a free port of 127.0.0.1, UDP and TCP."""
    server = Server(script)
    loop = asyncio.get_running_loop()
    for _ in range(20):
        tcp = await asyncio.start_server(server.run_conversation, "127.0.0.1", 0)
        server.port = tcp.sockets[0].getsockname()[1]
        try:
            udp, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(server), local_addr=("127.0.0.1", server.port)
            )
            break
        except OSError:  # the same number is taken on UDP
            tcp.close()
    # Double what stock Linux gives: the few hundred questions that a client has under way must fit.
    udp.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**22)
    try:
        yield server
    finally:
        udp.close()
        tcp.close()
        await asyncio.sleep(0)


def settings(*servers: Server, **values: Any) -> Config:
    """A configuration that asks these servers and is impatient; `dns` settings and others by name."""
    resolvers = [f"127.0.0.1:{server.port}" for server in servers]
    quick = {"timeout": 0.1, "sockets": 2, **values.pop("dns", {})}
    return Config.from_mapping({"resolver": resolvers, "dns": quick, **values})


@asynccontextmanager
async def client_of(script: Script, **values: Any) -> AsyncIterator[tuple[DnsClient, Server]]:
    """A client that asks one server with this script."""
    async with serving(script) as server, DnsClient(settings(server, **values)) as client:
        yield client, server
