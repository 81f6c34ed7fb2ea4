"""The lab's DNS below `_submission._tcp` and its like: the hosts that a domain names to mail clients.

The rules of `servers/dns.py` hold here too.
"""

from __future__ import annotations

import struct

import dns.rcode
import dns.rdatatype

from crawler.lab.behaviours.services import OWN_HOST, ServicesBehaviour
from crawler.lab.servers.dns import AT_QUESTION, LabAnswer, encoded, record
from crawler.lab.world.names import LabDomain
from crawler.lab.world.world import World
from crawler.model.rows import SrvStatus
from crawler.protocols.registry import services

_OFFERED = "_submission._tcp."
_SILENT = tuple(f"{found.srv}._tcp." for found in services().values() if found.srv)


def answer_services(world: World, port: int, name: str, rdtype: int) -> LabAnswer | None:
    """What the resolver says to a question about a service; None: it is about something else.

    `port` is the one on which the lab's hosts listen.
    """
    if name.startswith(_OFFERED):
        return _of_domain(world.domain(name.removeprefix(_OFFERED)), port, rdtype)
    for label in _SILENT:
        if name.startswith(label):
            return LabAnswer(dns.rcode.NXDOMAIN, secure=world.domain(name.removeprefix(label)).secure)
    return None


def _of_domain(domain: LabDomain, port: int, rdtype: int) -> LabAnswer:
    offered: ServicesBehaviour = domain.services
    if offered.status is SrvStatus.LOOKUP_FAILED:
        return LabAnswer(dns.rcode.SERVFAIL)
    if rdtype != dns.rdatatype.SRV or not offered.records:
        return LabAnswer(dns.rcode.NXDOMAIN, secure=domain.secure)
    owner, records = AT_QUESTION, b""
    if offered.alias:
        records, owner = record(AT_QUESTION, dns.rdatatype.CNAME, encoded(offered.alias)), encoded(offered.alias)
    host = domain.mail_hosts[0][1] if domain.mail_hosts else "."
    for one in offered.records:
        here = {0: port, -1: 0}.get(one.port, one.port)
        data = struct.pack("!HHH", one.priority, one.weight, here) + encoded(one.target.replace(OWN_HOST, host))
        records += record(owner, dns.rdatatype.SRV, data)
    return LabAnswer(dns.rcode.NOERROR, len(offered.records) + bool(offered.alias), records, domain.secure)
