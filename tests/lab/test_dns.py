"""The lab's name server: every answer is one that dnspython reads, and says what is true of the name."""

from __future__ import annotations

import anyio
import dns.asyncquery
import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.lab.behaviours.routes import Serving
from crawler.lab.lab import Lab
from crawler.lab.servers.dns import Responder, answer
from crawler.lab.world.generated import generated_domains
from crawler.lab.world.world import World
from crawler.model.rows import LookupStatus, Route

NAMES = list(generated_domains(400))
WORLD = World(1, NAMES)
RESPONDER = Responder(lambda name, rdtype: answer(WORLD, name, rdtype))


def domain_with(route: str) -> str:
    """A name of the list that shows the route."""
    return next(name for name in NAMES if WORLD.domain(name).behaviour.name == route)


def ask(name: str, rdtype: str, *, edns: bool = True, ad: bool = True) -> dns.message.Message:
    """The answer as a client with TCP gets it."""
    query = dns.message.make_query(name, rdtype, use_edns=0 if edns else False)
    if ad:
        query.flags |= dns.flags.AD
    wire = RESPONDER.reply(query.to_wire(), limit=65_535)
    assert wire is not None
    return dns.message.from_wire(wire)


@pytest.mark.parametrize("name", NAMES)
def test_an_mx_answer_says_what_is_true_of_the_domain(name: str) -> None:
    domain = WORLD.domain(name)
    if domain.behaviour.serving is not Serving.ANSWER:
        return
    reply = ask(name, "MX")
    found = reply.get_rrset(reply.answer, reply.canonical_name(), 1, dns.rdatatype.MX) or ()
    exchanges = {(record.preference, record.exchange.to_text(omit_final_dot=True)) for record in found}
    assert exchanges == ({(p, "." if h == "." else h) for p, h in domain.mx} if domain.behaviour.mx else set())
    assert reply.rcode() == domain.behaviour.rcode
    assert tuple(cname.target.to_text(omit_final_dot=True) for cname in _cnames(reply)) == domain.cnames
    if domain.behaviour.dns_error is None:
        assert bool(reply.flags & dns.flags.AD) == domain.secure


@pytest.mark.parametrize("rdtype", ["A", "AAAA"])
def test_address_answers_say_what_is_true_of_the_host(rdtype: str) -> None:
    hosts = {host for name in NAMES for _, host in WORLD.domain(name).mail_hosts}
    for name in hosts:
        host = WORLD.host(name)
        assert host is not None
        reply = ask(name, rdtype)
        texts = {record.address for rrset in reply.answer if rrset.rdtype != dns.rdatatype.CNAME for record in rrset}
        assert texts == {address for address in host.addresses if (":" in address) == (rdtype == "AAAA")}
        status = host.ipv4_status if rdtype == "A" else host.ipv6_status
        assert (reply.rcode() == dns.rcode.NOERROR) == (status in (LookupStatus.OK, LookupStatus.NODATA))
        assert tuple(cname.target.to_text(omit_final_dot=True) for cname in _cnames(reply)) == host.cnames


def _cnames(reply: dns.message.Message) -> list[dns.rdata.Rdata]:
    return [record for rrset in reply.answer if rrset.rdtype == dns.rdatatype.CNAME for record in rrset]


def test_policy_and_tlsa_names_do_not_exist() -> None:
    name = domain_with("own-host")
    for below in (f"_mta-sts.{name}", f"_smtp._tls.{name}", f"_25._tcp.mx1.{name}"):
        assert ask(below, "TXT").rcode() == dns.rcode.NXDOMAIN


def test_validation_failures_carry_an_extended_error() -> None:
    reply = ask(domain_with("bogus"), "MX")
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert [error.code for error in reply.extended_errors()] == [dns.edns.EDECode.DNSSEC_BOGUS]


def test_ad_is_set_only_for_those_who_ask_for_it() -> None:
    assert ask("", "NS").flags & dns.flags.AD
    assert not ask("", "NS", ad=False).flags & dns.flags.AD


def test_the_question_comes_back_in_the_letters_it_was_asked_in() -> None:
    name = domain_with("own-host").swapcase()
    query = dns.message.make_query(name, "MX")
    reply = RESPONDER.reply(query.to_wire(), limit=None)
    assert reply is not None
    assert dns.message.from_wire(reply).question[0].name.to_text(omit_final_dot=True) == name


def test_an_answer_too_large_for_the_datagram_is_truncated() -> None:
    query = dns.message.make_query(domain_with("fleet"), "MX", use_edns=0, payload=512)
    wire = RESPONDER.reply(query.to_wire(), limit=None)
    assert wire is not None
    reply = dns.message.from_wire(wire)
    assert reply.flags & dns.flags.TC
    assert not reply.answer


def test_an_answer_that_breaks_off_is_no_dns_message() -> None:
    query = dns.message.make_query(domain_with("dns-malformed"), "MX")
    wire = RESPONDER.reply(query.to_wire(), limit=None)
    assert wire is not None
    with pytest.raises(dns.exception.DNSException):
        dns.message.from_wire(wire)


@given(st.binary(max_size=200))
def test_no_bytes_bring_the_server_down(query: bytes) -> None:
    reply = RESPONDER.reply(query, limit=None)
    if reply is not None:
        dns.message.from_wire(reply, continue_on_error=True)


@given(st.binary(max_size=60))
def test_no_question_behind_an_honest_header_brings_the_server_down(question: bytes) -> None:
    reply = RESPONDER.reply(b"\x12\x34\x01\x20\x00\x01\x00\x00\x00\x00\x00\x01" + question, limit=None)
    assert reply is None or reply[:2] == b"\x12\x34"


def test_over_sockets_udp_tcp_and_silence() -> None:
    async def main() -> None:
        async with Lab(NAMES) as lab:
            address = {"where": "127.0.0.1", "port": lab.dns_port}
            query = dns.message.make_query(domain_with("fleet"), "MX", use_edns=0, payload=1_232)
            over_udp = await dns.asyncquery.udp(query, **address, timeout=5)
            over_tcp = await dns.asyncquery.tcp(query, **address, timeout=5)
            assert over_udp.flags & dns.flags.TC
            assert len(over_tcp.answer[0]) == len(WORLD.domain(domain_with("fleet")).mx)
            silent = dns.message.make_query(domain_with("dns-timeout"), "MX")
            with pytest.raises(dns.exception.Timeout):
                await dns.asyncquery.udp(silent, **address, timeout=0.1)

    anyio.run(main)


def test_names_outside_the_list_are_answered_too_and_their_hosts_listen() -> None:
    async def main() -> None:
        async with Lab(["one.example"]) as lab:
            name = next(n for n in generated_domains(200, 5) if _listens(lab.world, n))
            query = dns.message.make_query(f"mx1.{name}", "A")
            reply = await dns.asyncquery.udp(query, "127.0.0.1", port=lab.dns_port, timeout=5)
            await lab.mail.settled()
            stream = await anyio.connect_tcp(reply.answer[0][0].address, lab.smtp_port)
            assert (await stream.receive()).startswith(b"220 ")
            await stream.aclose()

    anyio.run(main)


def _listens(world: World, name: str) -> bool:
    host = world.host(f"mx1.{name}")
    return host is not None and world.domain(name).route is Route.EXPLICIT and host.behaviour.name == "tls13-x25519"
