"""What the DNS of hostile domains says, all of them signed, and their hosts let in.

The rules of `servers/dns.py` hold here too.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from ipaddress import IPv4Address

import dns.rcode
import dns.rdatatype
from OpenSSL import crypto

from crawler.lab.adversary.domains import ANCHORS, Adversary, Hostile
from crawler.lab.adversary.policies import VICTIM, is_detour
from crawler.lab.behaviours.protection import policy_address
from crawler.lab.behaviours.vocabulary import Leaf, Tls
from crawler.lab.servers.authority import Authority
from crawler.lab.servers.dns import AT_QUESTION, LabAnswer, encoded, record
from crawler.lab.servers.dns_protection import character_strings
from crawler.lab.servers.mail import MailServers
from crawler.lab.servers.policy import PolicyServers

_A, _MX, _TXT, _TLSA = dns.rdatatype.A, dns.rdatatype.MX, dns.rdatatype.TXT, dns.rdatatype.TLSA
_HEADER = 12
_MOST = 63_500  # bytes of an answer's records, so that the message fits into 65,535
_ALPHABET = b"abcdefghijklmnopqrstuvwxyz0123456789"
_HOSTS_OF_POLICIES = "127.250.0.{}"
_AT_ONCE = 10
_REFUSES = "127.250.255.{}"


def policy_addresses(domain: Hostile) -> list[str]:
    """Addresses of the domain's policy host."""
    if is_detour(domain.policy):
        return [_REFUSES.format(domain.number), policy_address(VICTIM)]
    return [_HOSTS_OF_POLICIES.format(domain.number)]


async def let_in(adversary: Adversary, authority: Authority, mail: MailServers, policies: PolicyServers) -> None:
    """Let all hosts of the adversary listen, with the certificates that they need."""
    if not list(adversary):
        return
    for number in range(1, ANCHORS + 1):
        for kind, constraints in (("anchor", 100), ("cheap anchor", 1)):
            authority.add_constrained(f"{kind} {number}", f"{kind} {max(1, number - 1)}", constraints)
    for address, server in adversary.listeners():
        mail.listen(address, server)
    for domain in adversary:
        if not is_detour(domain.policy):
            await policies.listen_at(policy_addresses(domain)[0], domain.policy)
        # All certificates now: whoever makes them while a scan runs keeps honest hosts waiting.
        leaves = {server.tls.leaf for server in domain.attack.servers if isinstance(server.tls, Tls)}
        for number in range(0 if domain.attack.many_labels else adversary.mx):
            host = f"mx{number}"
            answer_hostile(adversary, authority, f"_25._tcp.{host}.{domain.name}", _TLSA)
            for leaf in leaves:
                authority.leaf(leaf, f"{host}.{domain.name}")
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)


def answer_hostile(adversary: Adversary, authority: Authority, name: str, rdtype: int) -> LabAnswer | None:
    """What the resolver says to a question about a hostile domain; None: the name is somebody else's."""
    domain = adversary.owner(name)
    if domain is None:
        return None
    below = name.removesuffix(domain.name).removesuffix(".")
    found: list[bytes] = []
    match below, rdtype:
        case "", dns.rdatatype.MX if domain.attack.many_labels:
            return _many_labels(domain.name, adversary)
        case "", dns.rdatatype.MX:
            found = [b"\0\x0a" + encoded(f"mx{n}.{domain.name}") for n in range(adversary.mx)]
        case "_smtp._tls", dns.rdatatype.TXT:
            blanks = b" " * max(1, int(60_000 * adversary.size))
            found = [character_strings(b"v=TLSRPTv1;" + blanks + b"rua=mailto:tls@" + domain.name.encode())]
        case "_mta-sts", dns.rdatatype.TXT:
            found = [character_strings(text) for text in domain.policy.texts]
        case "mta-sts", dns.rdatatype.A:
            found = [IPv4Address(address).packed for address in policy_addresses(domain)]
        case _, dns.rdatatype.TLSA:
            found = _tlsa(adversary, authority, domain, below.removeprefix("_25._tcp."))
        case _, dns.rdatatype.A if below and not below.startswith("_"):
            found = [IPv4Address(a).packed for a in adversary.addresses(domain, number_of(below))]
            if domain.attack.many_labels:
                found *= max(1, int(_MOST * adversary.size) // (16 * len(found)))  # each again and again
    records = b"".join(record(AT_QUESTION, rdtype, data) for data in found)
    return LabAnswer(dns.rcode.NOERROR, len(found), records, secure=True)


def number_of(host: str) -> int:
    """Number of a mail host: that in its name, or one that follows from it."""
    digits = host.removeprefix("mx")
    return int(digits) if digits.isdigit() else sum(host.encode())


def _many_labels(domain: str, adversary: Adversary) -> LabAnswer:
    """Thousands of MX records whose hosts have up to 126 labels, written with pointers at one and the same name."""
    name = encoded(domain)
    labels = (255 - len(name)) // 2 - 1
    place = _HEADER + len(name) + 4 + len(AT_QUESTION) + 10 + 2  # of the first exchange in the message
    records = record(AT_QUESTION, _MX, b"\0\1" + b"\1a" * labels + name)
    count = 1
    most = int(_MOST * adversary.size)
    for depth in range(labels):
        pointer = (0xC000 | place + 2 * depth).to_bytes(2)
        for letter in _ALPHABET:
            if len(records) > most:
                return LabAnswer(dns.rcode.NOERROR, count, records, secure=True)
            records += record(AT_QUESTION, _MX, (depth + 1).to_bytes(2) + bytes([1, letter]) + pointer)
            count += 1
    return LabAnswer(dns.rcode.NOERROR, count, records, secure=True)


def _tlsa(adversary: Adversary, authority: Authority, domain: Hostile, host: str) -> list[bytes]:
    """TLSA records of a mail host (RFC 6698 §2.1)."""
    kind, servers, number = domain.attack.tlsa, domain.attack.servers, number_of(host)
    match kind:
        case "large":
            whole = _der(authority, Leaf(names=(f"{host}.{domain.name}",), crowd=3_000))
            draw = random.Random(f"tlsa {host} {domain.name}")
            rest = range(max(1, int(54_000 * adversary.size) // 320))
            return [b"\2\0\0" + whole, *(b"\2\1\0" + draw.randbytes(305) for _ in rest)]
        case "anchors":
            names = (f"{kind} {n}" for kind in ("anchor", "cheap anchor") for n in range(1, ANCHORS + 1))
            chain = authority.chain(Leaf(chain=tuple(names)))
            ders = (crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate) for certificate in chain)
            return [b"\2\0\1" + hashlib.sha256(der).digest() for der in ders]
        case "leaf":
            tls = servers[number % len(servers)].tls
            return [b"\2\0\0" + _der(authority, tls.leaf, f"{host}.{domain.name}")] if isinstance(tls, Tls) else []
    return []


def _der(authority: Authority, leaf: Leaf, host: str = "") -> bytes:
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, authority.leaf(leaf, host)[0])
