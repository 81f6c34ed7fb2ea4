"""Every stored row, stated once; the words in its columns are those of `vocabulary.py`, and to be had from here.

Nothing here measures or judges.  The Arrow schemas, the data dictionary in the
docs and the golden schema test all derive from the classes below, so a new fact is one field.

**Null means not observed; `stage` and `outcome` say why.**  A measurement that did not happen is
unknown, never *no*.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import pyarrow as pa

from crawler.model.columns import (  # isort: skip
    ASKED, ATTEMPTS, BINARY, FLAG, INT, LONG, MILLISECONDS, MX, SERVICES, SMALL, SRV, TEXT, TEXTS, TIME,
    TLSA_RECORDS, column,
)  # fmt: skip

# The explicit aliases say that these names are to be had from here as well.
# ruff: noqa: PLC0414
from crawler.model.vocabulary import DaneError as DaneError
from crawler.model.vocabulary import DaneStatus as DaneStatus
from crawler.model.vocabulary import DnsError as DnsError
from crawler.model.vocabulary import Dnssec as Dnssec
from crawler.model.vocabulary import Fallback as Fallback
from crawler.model.vocabulary import Form as Form
from crawler.model.vocabulary import FoundBy as FoundBy
from crawler.model.vocabulary import LookupStatus as LookupStatus
from crawler.model.vocabulary import MtaStsFetch as MtaStsFetch
from crawler.model.vocabulary import MtaStsMode as MtaStsMode
from crawler.model.vocabulary import MtaStsRecord as MtaStsRecord
from crawler.model.vocabulary import Outcome as Outcome
from crawler.model.vocabulary import Route as Route
from crawler.model.vocabulary import SrvStatus as SrvStatus
from crawler.model.vocabulary import Stage as Stage
from crawler.model.vocabulary import TlsaStatus as TlsaStatus
from crawler.model.vocabulary import TlsrptStatus as TlsrptStatus
from crawler.model.vocabulary import is_conclusive as is_conclusive

SCHEMA_VERSION = 2
"""Raised whenever a stored column changes its name, type or meaning."""

MISSING_ISSUER = (2, 20, 21)
"""OpenSSL's X509_V_ERR codes of a chain that lacks an issuer: UNABLE_TO_GET_ISSUER_CERT, the same _LOCALLY, and
UNABLE_TO_VERIFY_LEAF_SIGNATURE."""


# --- stored rows --------------------------------------------------------------------------------


@dataclass(slots=True)
class Domain:
    """One name of the list: where its mail goes and what it publishes (table `domains`).

    In a run over a list of hosts (`--hosts`) it is one host and port of the list: `route` is `host`, `services` says what
    it is asked, and whatever DNS says of a domain is null, as nobody was asked about it.
    """

    domain: str | None = column(
        TEXT,
        "the name as A-label, lower case; in a list of hosts the host's name or address; null if `route` is `invalid`",
    )
    input: str | None = column(
        TEXT, "the name as the list writes it; of more than 1,024 characters the beginning, and how many are left out"
    )
    rank: int | None = column(LONG, "rank in the list, 1 first; null if the list has no ranks")
    registrable_domain: str | None = column(TEXT, "public suffix plus one label; null for a public suffix itself")
    public_suffix: str | None = column(TEXT, "longest match in the Public Suffix List")
    route: Route | None = column(
        TEXT, "`explicit implicit null_mx null_mx_invalid no_mail_host nxdomain unknown invalid opted_out host`"
    )
    dns_error: DnsError | None = column(
        TEXT, "why `route` is unknown: `servfail refused bogus timeout malformed gave_up`"
    )
    rcode: str | None = column(TEXT, "DNS response code of the MX answer, e.g. `NOERROR`; null if none came")
    ede: list[str] | None = column(TEXTS, "extended DNS errors of the MX answer (RFC 8914), `code text`")
    resolved_at: datetime | None = column(TIME, "when the MX question was answered or given up")
    mx: list[dict[str, Any]] | None = column(
        MX, "mail hosts by preference; for `implicit` the domain itself with preference 0"
    )
    mx_dropped: int | None = column(INT, "MX records beyond the cap that were left out")
    services: list[dict[str, Any]] | None = column(
        SERVICES,
        "hosts and ports that are asked on account of this name, apart from those of `mx`, by `protocol` and `form` (as in "
        "`probes`); `found_by`: `listed srv srv_other_form fallback mx`; `priority` and `weight` of an SRV record; "
        "`reference_names`: names of which the certificate must bear one (RFC 9525, RFC 6186 §6), none for an address; "
        "null: not looked for",
    )
    srv: list[dict[str, Any]] | None = column(
        SRV,
        "how the search for `services` went, for each `protocol` and `form`. `status` of the SRV records: `named "
        "not_available absent lookup_failed bogus opted_out`; `dnssec` and `cnames` as those of the MX answer; `dropped`: "
        "records left out, beyond the cap or without a port; `fallback`: `found none lookup_failed opted_out`, null where "
        "SRV records said enough; null: not looked for",
    )
    mx_unreadable: int | None = column(
        INT, "MX records of no known form beside the others: whom they name is not known"
    )
    cnames: list[str] | None = column(TEXTS, "CNAMEs followed to reach the MX answer")
    dnssec: Dnssec | None = column(TEXT, "`secure insecure bogus unknown`, of the MX answer")
    mta_sts_record: MtaStsRecord | None = column(
        TEXT, "`absent valid invalid multiple`; null: not asked, lookup failed, or longer than `dns.text_bytes`"
    )
    mta_sts_id: str | None = column(TEXT, "`id` of a valid `_mta-sts` record")
    mta_sts_ambiguous: bool | None = column(
        FLAG, "a text there begins `v=STSv1` with a blank before the `;`: a record when alone, none beside others"
    )
    mta_sts_fetch: MtaStsFetch | None = column(
        TEXT,
        "`ok no_host dns connect tls broken_off unavailable http timeout too_large syntax address_not_allowed opted_out`; null: not tried",
    )
    mta_sts_problem: str | None = column(TEXT, "in words, why there is no policy though a record announces one")
    mta_sts_cnames: list[str] | None = column(
        TEXTS, "CNAMEs from the policy host to its addresses, in order: to whom the policy is delegated (RFC 8461 §8.2)"
    )
    mta_sts_mode: MtaStsMode | None = column(TEXT, "`enforce testing none`")
    mta_sts_mx: list[str] | None = column(TEXTS, "`mx` patterns of the policy")
    mta_sts_max_age: int | None = column(LONG, "seconds the policy may be cached")
    policy_sha256: str | None = column(TEXT, "SHA-256 (hex) of the policy text, key of table `policies`")
    tlsrpt: TlsrptStatus | None = column(
        TEXT, "`absent valid invalid`; null: not asked, lookup failed, or longer than `dns.text_bytes`"
    )
    tlsrpt_rua: list[str] | None = column(TEXTS, "report addresses of a valid TLSRPT record")
    tlsrpt_ambiguous: bool | None = column(FLAG, "the same as `mta_sts_ambiguous`, of `v=TLSRPTv1`")


@dataclass(slots=True)
class Host:
    """One mail host and its addresses (table `hosts`, once per host and run)."""

    host: str | None = column(TEXT, "the name as A-label, lower case; or the address that a list of hosts names")
    asked: list[dict[str, Any]] | None = column(
        ASKED,
        "what is asked of it, by `protocol` and `form` (as in `probes`) and `port`; `found_by`: every way that led there, "
        "`listed mx srv srv_other_form fallback`; `domains`: how many names of the list did, null where that was not counted (`mx` alone); "
        "`reference_names`: those of `domains.services` together, null where they are more than `limits.reference_names`, or "
        "none was stated (`mx` alone)",
    )
    asked_dropped: int | None = column(INT, "ports beyond `pacing.host_ports` that were left out; null: none")
    addresses: list[str] | None = column(TEXTS, "IPv4 and IPv6 addresses")
    addresses_dropped: int | None = column(
        INT, "addresses that were left out: beyond the cap, or in a record of no known form"
    )
    cnames: list[str] | None = column(
        TEXTS,
        "CNAMEs followed to reach the addresses, in order; those through which only the other family led come last",
    )
    ipv4_status: LookupStatus | None = column(
        TEXT, "`ok nodata nxdomain servfail refused bogus timeout malformed not_asked gave_up`, of the A question"
    )
    ipv6_status: LookupStatus | None = column(TEXT, "the same, of the AAAA question")
    dnssec: Dnssec | None = column(TEXT, "`secure insecure bogus unknown`, of the address answers together")
    ttl: int | None = column(LONG, "seconds, the smallest of the address answers")
    resolved_at: datetime | None = column(TIME, "when the address questions were answered or given up")


@dataclass(slots=True)
class Tlsa:
    """One host and port's TLSA RRset (table `tlsa`)."""

    host: str | None = column(TEXT, "the mail host")
    port: int | None = column(INT, "port of the owner name, the protocol's standard port")
    base_domain: str | None = column(TEXT, "TLSA base domain, after CNAMEs (RFC 7671 §7)")
    status: TlsaStatus | None = column(TEXT, "`absent insecure bogus lookup_failed not_asked unusable usable`")
    records: list[dict[str, Any]] | None = column(TLSA_RECORDS, "the records, usable or not")
    records_dropped: int | None = column(
        INT, "records beyond the cap that were left out; those kept can match, and not rule a match out"
    )


@dataclass(slots=True)
class Probe:
    """One endpoint: facts of its last attempt, and verdicts on its certificates (table `probes`)."""

    protocol: str | None = column(TEXT, "name of the plain form: `smtp`, `submission`, `imap` …")
    form: Form | None = column(
        TEXT,
        "`starttls`: TLS by an upgrade; `implicit`: TLS at once, on a port of its own; what comes before TLS "
        "(`capabilities`, `starttls_offered`, `starttls_code` …) is null then, and `greeting` came inside TLS",
    )
    host: str | None = column(TEXT, "mail host: the SNI and reference name; or an address, which is neither")
    address: str | None = column(TEXT, "IP address contacted")
    port: int | None = column(INT, "TCP port contacted")
    found_by: list[str] | None = column(TEXTS, "every way that led to this host and port, as in `hosts`")
    source_address: str | None = column(TEXT, "our address on that connection")
    vantage: str | None = column(TEXT, "name of the place measured from")
    stage: Stage | None = column(
        TEXT,
        "stage in which it ended: `connect greeting capabilities upgrade handshake after_tls done`; null: never contacted",
    )
    outcome: Outcome | None = column(TEXT, "how it ended there")
    conclusive: bool | None = column(
        FLAG, "the outcome answers whether the endpoint does TLS; another try is not expected to differ"
    )
    attempts: list[dict[str, Any]] | None = column(ATTEMPTS, "every attempt of this run, first to last")
    representative_host: str | None = column(TEXT, "for `sampled_out`: the name probed at the same address")
    representative_related: bool | None = column(
        FLAG,
        "for `sampled_out`: whether that name has the same registrable domain; else it says nothing of certificates",
    )
    greeting: str | None = column(TEXT, "the host's greeting, lines joined by LF, other bytes backslash-escaped")
    greeting_code: int | None = column(SMALL, "reply code of the greeting")
    hello_command: str | None = column(TEXT, "`ehlo`, `helo` or (LMTP) `lhlo`: which was answered")
    hello_reply: str | None = column(
        TEXT, "reply to EHLO before TLS; where that was refused, the reply to HELO behind it"
    )
    capabilities: list[str] | None = column(
        TEXTS, "keywords with their parameters before TLS, as many as are kept; null: not asked; empty: none"
    )
    capabilities_after_tls: list[str] | None = column(TEXTS, "the same inside TLS")
    starttls_offered: bool | None = column(
        FLAG, "STARTTLS among the capabilities (false also after HELO); null: no capabilities were seen"
    )
    starttls_masked: str | None = column(TEXT, "a keyword that looks like a masked STARTTLS, e.g. `XXXXXXXA`")
    starttls_code: int | None = column(SMALL, "reply code to STARTTLS")
    plaintext_login: bool | None = column(
        FLAG, "before TLS a login with the password in the clear was offered; null: not known, or no such thing"
    )
    last_reply: str | None = column(TEXT, "the reply, or the bytes, at which it ended")
    plaintext_after_upgrade: bytes | None = column(
        BINARY, "plaintext received behind the go-ahead, or where TLS was due; recorded and discarded"
    )
    stray_bytes: bytes | None = column(
        BINARY, "empty lines in front of replies, which we read over, as Postfix does and Exim does not; null: none"
    )
    text_dropped: int | None = column(
        INT, "characters of the texts and capabilities above beyond `limits.kept_text`, left out; null: there were none"
    )
    tls_version: str | None = column(TEXT, "`TLSv1 TLSv1.1 TLSv1.2 TLSv1.3`; null: no handshake was completed")
    tls_cipher: str | None = column(TEXT, "negotiated cipher, OpenSSL's name")
    tls_group: str | None = column(
        TEXT, "negotiated group, e.g. `X25519MLKEM768`; null also for DHE and RSA in TLS 1.2"
    )
    tls_alpn: str | None = column(
        TEXT, "what the host chose of the ALPN names offered; null: none was offered, or the host chose none"
    )
    tls_alert: str | None = column(TEXT, "fatal alert received, e.g. `handshake failure`")
    tls_reason: str | None = column(
        TEXT, "OpenSSL's reason for a failed handshake; `dh key too large` is ours, see `limits.dh_bits`"
    )
    tls_bytes: int | None = column(INT, "bytes received during the handshake")
    negotiated: bool | None = column(
        FLAG,
        "the protocol was answered inside TLS; false after a conclusive failure, also where the handshake stood and the host "
        "then ended it by an alert, as TLS 1.3 has it for a client certificate that is demanded: in TLS 1.2 the handshake itself "
        "fails then, and a sender gets no further in either (`stage` is `after_tls`, `tls_version` is known); null: unknown",
    )
    forward_secret: bool | None = column(
        FLAG,
        "the handshake had an (EC)DHE key exchange; every one of TLS 1.3 here, as none is PSK-only; null: none was completed, "
        "or it had none when finite-field DHE was not offered (a second try)",
    )
    post_quantum: bool | None = column(
        FLAG,
        "the group of the handshake is a post-quantum hybrid; null: none was completed, or none was offered, and the host is "
        "not proven intolerant of it",
    )
    pq_intolerant: bool | None = column(
        FLAG, "failed with a post-quantum hello, succeeded with classical groups, and failed with the first again"
    )
    ocsp_staple: bytes | None = column(BINARY, "stapled OCSP response, if it is not too large to be kept")
    ocsp_staple_bytes: int | None = column(INT, "its size; null: none was stapled")
    received_chain: list[str] | None = column(TEXTS, "SHA-256 (hex) of the certificates as sent, leaf first")
    chain_dropped: int | None = column(
        INT, "certificates sent beyond `limits.certificates`, left out; the chain is then never untrusted, but unknown"
    )
    chain_trusted: bool | None = column(
        FLAG,
        "a path to a trust anchor exists with nothing too weak in it (MD5, SHA-1, RSA below 1,024 bits); dates and names apart",
    )
    chain_error_code: int | None = column(INT, "OpenSSL's X509_V_ERR code, 0 is ok")
    chain_error_depth: int | None = column(INT, "depth in the chain of that error, 0 is the leaf")
    chain_error: str | None = column(TEXT, "OpenSSL's words for it")
    chain_ordered: bool | None = column(
        FLAG, "each certificate received is followed by one with its issuer's name (RFC 5246 §7.4.2)"
    )
    name_match: bool | None = column(
        FLAG,
        "the leaf names the host (RFC 9525, DNS-ID only); null: its names could not be read, or the host is an address",
    )
    reference_names: list[str] | None = column(TEXTS, "as in `hosts`, of this protocol, form and port")
    reference_matches: list[str] | None = column(
        TEXTS,
        "those of `reference_names` that the leaf names; a domain accepts the certificate's name if one is among its own in "
        "`domains.services`; null: there were none, or those of the leaf could not be read",
    )
    common_name_match: bool | None = column(
        FLAG, "the leaf has no DNS-ID, and its CN names the host, as before RFC 9525; no part of any PKIX verdict"
    )
    within_validity: bool | None = column(
        FLAG, "every certificate of the verified path (of the received chain, if none) is within its dates"
    )
    strict_valid: bool | None = column(
        FLAG,
        "the endpoint does TLS, and chain_trusted and name_match and within_validity, in three values: false also where "
        "there verifiably is no TLS; null where TLS broke off, unless one of the three is false",
    )
    dane: DaneStatus | None = column(TEXT, "`match mismatch unusable absent insecure bogus unknown`")
    dane_error: DaneError | None = column(
        TEXT, "why `mismatch`: `no_match path expired name`, the furthest a record got; why `unknown`: `too_costly`"
    )
    dane_record: int | None = column(INT, "index in the table `tlsa`'s `records` of the one that matched")
    dane_depth: int | None = column(
        INT, "index in `received_chain` of the certificate that matched; null for an anchor only the record has"
    )
    started_at: datetime | None = column(TIME, "start of the last attempt")
    connect_ms: int | None = column(MILLISECONDS, "time in stage `connect`")
    greeting_ms: int | None = column(MILLISECONDS, "time in stage `greeting`")
    capabilities_ms: int | None = column(MILLISECONDS, "time in stage `capabilities`")
    upgrade_ms: int | None = column(MILLISECONDS, "time in stage `upgrade`")
    handshake_ms: int | None = column(MILLISECONDS, "time in stage `handshake`")
    after_tls_ms: int | None = column(MILLISECONDS, "time in stage `after_tls`")


@dataclass(slots=True)
class Certificate:
    """One distinct certificate (table `certificates`)."""

    sha256: str | None = column(TEXT, "SHA-256 of the DER, hex")
    der: bytes | None = column(BINARY, "the certificate; null: `over_budget`")
    over_budget: bool | None = column(
        FLAG, "its bytes, names and other texts are not stored, as its provider's budget of bytes was spent (our limit)"
    )
    parse_error: str | None = column(
        TEXT,
        "what the library could not read of it, and why; facts below that are null could be read in no other way either",
    )
    subject: str | None = column(TEXT, "RFC 4514 string, as much as is kept")
    issuer: str | None = column(TEXT, "RFC 4514 string, as much as is kept")
    issuer_organization: str | None = column(TEXT, "O of the issuer")
    common_name: str | None = column(TEXT, "last CN of the subject")
    names: list[str] | None = column(TEXTS, "DNS names of the subjectAltName; null: could not be read")
    names_dropped: int | None = column(INT, "DNS names beyond those kept, of which a match may be one")
    not_before: datetime | None = column(TIME, "start of validity")
    not_after: datetime | None = column(TIME, "end of validity")
    key_type: str | None = column(TEXT, "`rsa`, `ec:secp256r1`, `ed25519` …")
    key_bits: int | None = column(INT, "size of the key in bits")
    signature_algorithm: str | None = column(TEXT, "e.g. `sha256WithRSAEncryption`")
    self_signed: bool | None = column(
        FLAG, "issuer equals subject and the signature verifies under its own key; null: could not be checked"
    )
    is_ca: bool | None = column(FLAG, "basicConstraints CA")
    spki_sha256: str | None = column(TEXT, "SHA-256 of the SubjectPublicKeyInfo, hex")
    sct_count: int | None = column(INT, "embedded signed certificate timestamps")
    must_staple: bool | None = column(FLAG, "TLS feature status_request (RFC 7633)")


@dataclass(slots=True)
class Policy:
    """One distinct MTA-STS policy text (table `policies`)."""

    sha256: str | None = column(TEXT, "SHA-256 of the text, hex")
    text: str | None = column(TEXT, "the policy as served, other bytes backslash-escaped")


@dataclass(slots=True)
class IncompleteChain:
    """One distinct chain that was refused for want of an issuer, and what a sender would say of it who knew the
    run's intermediates (table `incomplete_chains`).

    Known is every CA certificate that a host of the run sent and that leads up to a trust anchor;
    what certificates merely point to (AIA) was not fetched.  Whether a chain belongs here says `chain_error_code`
    2, 20 or 21 in `probes`.
    """

    received_chain: list[str] | None = column(TEXTS, "SHA-256 (hex) of the certificates as sent, as in `probes`")
    leaf_sha256: str | None = column(TEXT, "the first of them")
    trusted_if_known: bool | None = column(
        FLAG,
        "a path to a trust anchor exists with known intermediates; dates and names apart; null: a certificate could not be read",
    )
    known_issuers: list[str] | None = column(
        TEXTS, "SHA-256 (hex) of the known certificates on that path that were not sent, keys of `certificates`"
    )
    valid_from: datetime | None = column(
        TIME,
        "from when on every certificate of that path is within its dates",
    )
    valid_until: datetime | None = column(TIME, "until when it is")
    error_code: int | None = column(INT, "the X509_V_ERR code that remains, 0 is ok")
    error_depth: int | None = column(INT, "depth in the path of that error, 0 is the leaf")
    error: str | None = column(TEXT, "OpenSSL's words for it")


#: Every stored table, in the order of the flow.
TABLES: dict[str, type] = {
    "domains": Domain,
    "hosts": Host,
    "tlsa": Tlsa,
    "probes": Probe,
    "certificates": Certificate,
    "policies": Policy,
    "incomplete_chains": IncompleteChain,
}


# --- rows between the stages, nobody's business outside the run ----------------------------------


@dataclass(slots=True)
class Target:
    """One line of the list, normalised; what RESOLVE starts from."""

    domain: str | None = column(TEXT, "A-label; null if the line is not a domain name")
    input: str | None = column(TEXT, "as written")
    rank: int | None = column(LONG, "rank in the list")
    problem: str | None = column(TEXT, "why the line is not a domain name")
    port: int | None = column(INT, "port that a list of hosts names")
    services: list[str] | None = column(TEXTS, "what a host of the list is asked, by names of the command line")


@dataclass(slots=True)
class MailHost:
    """One distinct mail host; what the address lookups start from."""

    host: str | None = column(TEXT, "A-label, lower case")
    asked: list[dict[str, Any]] | None = column(
        ASKED, "what is asked of it on account of some names; null: every protocol of the run, as an MX record names it"
    )


@dataclass(slots=True)
class Endpoint:
    """One (protocol, form, host, address, port) to be probed once."""

    protocol: str | None = column(TEXT, "name of the protocol's plain form")
    host: str | None = column(TEXT, "mail host")
    address: str | None = column(TEXT, "IP address")
    port: int | None = column(INT, "TCP port")
    base_domain: str | None = column(TEXT, "TLSA base domain")
    tlsa_status: TlsaStatus | None = column(TEXT, "status of the TLSA RRset")
    tlsa: list[dict[str, Any]] | None = column(TLSA_RECORDS, "TLSA records to hold the chain against")
    tlsa_dropped: int | None = column(INT, "TLSA records beyond the cap, which are not there")
    weight: float | None = column(
        pa.float32(), "listed domains that send mail to the host, each divided among its hosts"
    )
    chance: float | None = column(
        pa.float32(), "0 to 1, not to be foreseen by who chose the name: decides between equals"
    )
    aliases: list[str] | None = column(TEXTS, "CNAMEs from the host to its addresses")
    over_budget: bool | None = column(FLAG, "cut by a budget: gets a row and no connection")
    network_weight: float | None = column(pa.float32(), "weight, divided among the host's endpoints in a network")
    share: float | None = column(pa.float32(), "weight, divided among all endpoints of the host that are within budget")
    provider_weight: float | None = column(pa.float32(), "of all mail hosts under the registrable domain")
    provider_endpoints: int | None = column(INT, "of all of them, before a network was found to be full")
    form: Form | None = column(TEXT, "how it comes to TLS; null: `starttls`")
    found_by: list[str] | None = column(TEXTS, "every way that led to this host and port")
    reference_names: list[str] | None = column(TEXTS, "names to hold against the leaf beside the host's; null: none")


def schema_of(row: type) -> pa.Schema:
    """The Arrow schema of a row class; each field carries its sentence as metadata `doc`."""
    return pa.schema(
        [pa.field(f.name, f.metadata["type"], metadata={"doc": f.metadata["doc"]}) for f in fields(row)],
        metadata={"schema_version": str(SCHEMA_VERSION)},
    )


def printable(data: bytes) -> str:
    """Server bytes as text: printable ASCII and LF as they are, every other byte backslash-escaped.

    A backslash of the server's own is doubled, so the bytes can be had back.
    """
    if _TO_ESCAPE.search(data) is None:
        return data.decode("ascii")
    return "".join(_PRINTABLE[byte] for byte in data)


def within(texts: list[str], size: int) -> list[str]:
    """The first of the texts that together have at most so many characters."""
    if sum(map(len, texts)) <= size:
        return texts
    kept = []
    for text in texts:
        size -= len(text)
        if size < 0:
            break
        kept.append(text)
    return kept


_TO_ESCAPE = re.compile(rb"[^\n\x20-\x5b\x5d-\x7e]")
_PRINTABLE = [chr(b) if 32 <= b < 127 or b == 10 else f"\\x{b:02x}" for b in range(256)]
_PRINTABLE[ord("\\")] = "\\\\"
