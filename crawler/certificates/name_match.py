"""Whether a certificate names a host (RFC 9525, by the service_identity library).

This module is pure.  The verdict is independent of the one on the chain.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from service_identity.hazmat import DNS_ID, DNSPattern

from crawler.certificates.guard import Unreadable, guarded
from crawler.certificates.parsing import ParsedCertificate, listed
from crawler.model.three_valued import any_of


def name_match(leaf: ParsedCertificate, host: str) -> bool | None:
    """Whether the certificate names the host: by DNS-IDs only, whatever the CN says (RFC 9525 §1.3, §6.3).

    A wildcard above fewer than two labels (`*.com`) names nothing, as the library and OpenSSL have it;
    the RFC leaves that open (§7.1).  None for a certificate whose names could not be read.
    """
    return None if leaf.names is None else _is_among(leaf.names, host)


def common_name_match(leaf: ParsedCertificate, host: str) -> bool | None:
    """Whether the CN names the host in a certificate without any DNS-ID (RFC 7672 §3.2.3, RFC 6125 §6.4.4).

    None where the DNS names, or without any the subject, could not be read.
    """
    if leaf.names is None:
        return None
    if leaf.names:
        return False
    if leaf.row.common_name is None:
        return None if leaf.row.subject is None else False
    return _is_among(listed([leaf.row.common_name]), host)


def names_any(leaf: ParsedCertificate, hosts: Iterable[str]) -> bool | None:
    """Whether the certificate names one of the hosts, as DANE-TA asks: by DNS-IDs, and by the CN if it has none."""
    return any_of(*(match(leaf, host) for host in hosts for match in (name_match, common_name_match)))


#: A host name (RFC 952, RFC 1123 §2.1) of two labels or more, of which the last cannot be part of an IPv4 address.
_PLAIN_NAME = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]", re.ASCII
)


def _is_among(names: bytes, host: str) -> bool:
    """Whether one of the names is the host's, or the wildcard that stands for it: no other can match."""
    host = host.rstrip(".")
    label, _, parent = host.partition(".")
    # Nearly always: the very name, which the library would find equal.  It may tell a name from an address only.
    if _PLAIN_NAME.fullmatch(host) and b"\0" + host.lower().encode() + b"\0" in names:
        return True
    try:
        reference = guarded(DNS_ID, host)
        # By RFC 9525 §6.3 a wildcard, which is a whole label, stands for any one label.  The library, as old as
        # RFC 6125, lets none stand for an A-label; it stands for one where it would stand for `x`.
        for_wildcards = guarded(DNS_ID, f"x.{parent}") if label.lower().startswith("xn--") else reference
    except Unreadable:  # a name that no certificate can carry as DNS-ID
        return False
    wildcard = b"*." + reference.hostname.partition(b".")[2]
    return _matches(names, reference.hostname, reference) or _matches(names, wildcard, for_wildcards)


def _matches(names: bytes, name: bytes, reference: DNS_ID) -> bool:
    if b"\0" + name + b"\0" not in names:
        return False
    try:
        return bool(reference.verify(guarded(DNSPattern.from_bytes, name)))
    except Unreadable:  # such as a wildcard above a top-level domain
        return False
