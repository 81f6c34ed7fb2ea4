"""The lab's DNS below `_25._tcp`, `_mta-sts`, `mta-sts` and `_smtp._tls`: what defends mail.

The rules of `servers/dns.py` hold here too; the certificates behind TLSA records are the authority's.
"""

from __future__ import annotations

import hashlib
import struct
from ipaddress import IPv4Address

import dns.edns
import dns.rcode
import dns.rdatatype
from OpenSSL import crypto

from crawler.lab.behaviours.protection import CERT, EE, FULL, MTA_STS, SHA256, SPKI, Associated, policy_address
from crawler.lab.behaviours.vocabulary import Leaf, Tls
from crawler.lab.servers.authority import Authority
from crawler.lab.servers.dns import AT_QUESTION, LabAnswer, encoded, record
from crawler.lab.world.names import LabDomain, LabHost
from crawler.lab.world.world import World
from crawler.model.rows import LookupStatus, TlsaStatus

_TLSA, _POLICY_HOST, _POLICY_RECORD, _REPORTING = "_25._tcp.", "mta-sts.", "_mta-sts.", "_smtp._tls."
_BOGUS = struct.pack("!H", dns.edns.EDECode.DNSSEC_BOGUS)


def answer_protected(world: World, authority: Authority, name: str, rdtype: int) -> LabAnswer | None:
    """What the resolver says to a question about protection; None: it is about something else."""
    if name.startswith(_TLSA):
        host = world.host(name.removeprefix(_TLSA))
        return _of_tlsa(host, authority, rdtype) if host is not None and host.status is LookupStatus.OK else None
    if name.startswith(_POLICY_RECORD):
        domain = world.domain(name.removeprefix(_POLICY_RECORD))
        return _of_texts(domain, list(domain.mta_sts.texts), rdtype)
    if name.startswith(_REPORTING):
        domain = world.domain(name.removeprefix(_REPORTING))
        if domain.tlsrpt.status is None:
            return LabAnswer(dns.rcode.SERVFAIL)
        return _of_texts(domain, domain.tlsrpt.records(domain.name), rdtype)
    if name.startswith(_POLICY_HOST) and rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA):
        return _of_policy_host(world, name.removeprefix(_POLICY_HOST), rdtype)
    return None


def _of_tlsa(host: LabHost, authority: Authority, rdtype: int) -> LabAnswer | None:
    kind = host.tlsa
    if kind.status is TlsaStatus.BOGUS:
        return LabAnswer(dns.rcode.SERVFAIL, ede=_BOGUS)
    if kind.status is TlsaStatus.LOOKUP_FAILED:
        return LabAnswer(dns.rcode.SERVFAIL)
    if rdtype != dns.rdatatype.TLSA or not kind.records:
        return None
    found = [
        bytes([usage, selector, matching]) + _association(host, authority, selector, matching, of)
        for usage, selector, matching, of in kind.records
    ]
    crowd = (bytes([kind.crowd_begins]) * 30 + n.to_bytes(2) for n in range(kind.crowd))
    found += [bytes([EE, SPKI, SHA256]) + digest for digest in crowd]
    records = b"".join(record(AT_QUESTION, dns.rdatatype.TLSA, data) for data in found)
    return LabAnswer(dns.rcode.NOERROR, len(found), records, host.secure)


def _association(host: LabHost, authority: Authority, selector: int, matching: int, of: Associated) -> bytes:
    """Certificate association data (RFC 6698 §2.1.4)."""
    if of == "leaf":
        tls = host.behaviour.server.tls
        certificate, _ = authority.leaf(tls.leaf if isinstance(tls, Tls) else Leaf(), host.name)
    else:
        # Any key that is not the leaf's will do.
        (certificate,) = authority.chain(Leaf(chain=("unknown root" if of == "another leaf" else of,)))
    if selector == CERT:
        data = crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
    else:
        data = crypto.dump_publickey(crypto.FILETYPE_ASN1, certificate.get_pubkey())
    if matching == FULL:
        return data
    return (hashlib.sha256 if matching == SHA256 else hashlib.sha512)(data).digest()


def _of_texts(domain: LabDomain, texts: list[bytes], rdtype: int) -> LabAnswer | None:
    if rdtype != dns.rdatatype.TXT or not texts:
        return None
    records = b"".join(record(AT_QUESTION, dns.rdatatype.TXT, character_strings(text)) for text in texts)
    return LabAnswer(dns.rcode.NOERROR, len(texts), records, domain.secure)


def character_strings(text: bytes) -> bytes:
    """A text as the character strings of a TXT record, 255 bytes each at most (RFC 1035 §3.3)."""
    pieces = (text[start : start + 255] for start in range(0, len(text), 255))
    return b"".join(bytes([len(piece)]) + piece for piece in pieces)


def _of_policy_host(world: World, name: str, rdtype: int) -> LabAnswer | None:
    domain = world.domain(name)
    kind = domain.mta_sts
    if kind is MTA_STS["no-mta-sts"]:
        return None
    if not kind.resolves:
        return LabAnswer(dns.rcode.SERVFAIL)
    if not kind.has_host:
        return LabAnswer(dns.rcode.NXDOMAIN, secure=domain.secure)
    owner, records = AT_QUESTION, b""
    if kind.delegate:
        records = record(owner, dns.rdatatype.CNAME, encoded(kind.delegate))
        owner = encoded(kind.delegate)
    if rdtype == dns.rdatatype.A:
        records += record(owner, rdtype, IPv4Address(policy_address(kind)).packed)
    return LabAnswer(dns.rcode.NOERROR, bool(kind.delegate) + (rdtype == dns.rdatatype.A), records, domain.secure)
