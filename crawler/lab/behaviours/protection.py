"""What defends the mail of the lab's names: TLSA records of hosts, MTA-STS policies of domains.

This module does no I/O.  A kind is one entry with the truth beside it, written by hand from the
RFCs.  The shares are set by hand and follow no published figure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from crawler.lab.behaviours.routes import ASKED_NOT_TO
from crawler.lab.behaviours.vocabulary import HostBehaviour, Leaf, Tls
from crawler.model.rows import DaneStatus, MtaStsFetch, MtaStsMode, MtaStsRecord, TlsaStatus

POLICY_NETWORK = "127.251.0"
"""All policy hosts have their addresses here, one for each kind."""

EE, TA, PKIX_EE = 3, 2, 1
CERT, SPKI = 0, 1
FULL, SHA256, SHA512 = 0, 1, 2

# --- TLSA -----------------------------------------------------------------------------------------

Associated = str  # `leaf`, `another leaf`, or what the authority calls a certificate: `intermediate`, `root`


@dataclass(frozen=True, slots=True)
class TlsaBehaviour:
    """What stands at `_25._tcp` below a mail host."""

    name: str
    about: str
    share: float  #: weight among the hosts in signed zones
    status: TlsaStatus
    dane: DaneStatus  #: where certificates were received and are in order
    records: tuple[tuple[int, int, int, Associated], ...] = ()
    crowd: int = 0  #: so many records more, which match nothing
    crowd_begins: int = 0  #: first bytes of their digests, which set their place in canonical order
    needs_path: bool = False  #: without a valid certificate there is no match


TLSA: dict[str, TlsaBehaviour] = {}
"""Every kind by name."""


def _tlsa(name: str, about: str, share: float, status: TlsaStatus, dane: DaneStatus, **more: Any) -> None:
    TLSA[name] = TlsaBehaviour(name, about, share, status, dane, **more)


_USABLE, _MATCH, _MISMATCH = TlsaStatus.USABLE, DaneStatus.MATCH, DaneStatus.MISMATCH

_tlsa("no-tlsa", "no TLSA records", 660, TlsaStatus.ABSENT, DaneStatus.ABSENT)
_tlsa("ee", "3 1 1: the leaf's key", 250, _USABLE, _MATCH, records=((EE, SPKI, SHA256, "leaf"),))
_tlsa("ee-full", "3 1 0: the leaf's key in full", 2, _USABLE, _MATCH, records=((EE, SPKI, FULL, "leaf"),))
_tlsa(
    "ee-roll-over", "3 1 1 twice: the key in use and the next", 20, _USABLE, _MATCH,
    records=((EE, SPKI, SHA256, "another leaf"), (EE, SPKI, SHA256, "leaf")),
)  # fmt: skip
_tlsa(
    "ta", "2 1 1: the intermediate that is sent", 40, _USABLE, _MATCH,
    records=((TA, SPKI, SHA256, "intermediate"),), needs_path=True,
)  # fmt: skip
_tlsa(
    "ta-full", "2 0 0: the root that is not sent", 1, _USABLE, _MATCH,
    records=((TA, CERT, FULL, "root"),), needs_path=True,
)  # fmt: skip
_tlsa(
    "ta-key-full", "2 1 0: the intermediate's key in full", 1, _USABLE, _MATCH,
    records=((TA, SPKI, FULL, "intermediate"),), needs_path=True,
)  # fmt: skip
_tlsa(
    "ta-leaf", "2 0 0: the leaf itself, which is no anchor (RFC 6698 §2.1.1)", 1, _USABLE, _MISMATCH,
    records=((TA, CERT, FULL, "leaf"),),
)  # fmt: skip
_tlsa("ta-not-sent", "2 0 1: the root, which is not sent", 2, _USABLE, _MISMATCH, records=((TA, CERT, SHA256, "root"),))
_tlsa("stale", "3 1 1: a key no longer in use", 10, _USABLE, _MISMATCH, records=((EE, SPKI, SHA256, "another leaf"),))
_tlsa(
    "stale-digest", "3 1 1 right and 3 1 2 stale: the stronger digest counts (RFC 7671 §9)", 1, _USABLE, _MISMATCH,
    records=((EE, SPKI, SHA256, "leaf"), (EE, SPKI, SHA512, "another leaf")),
)  # fmt: skip
_tlsa(
    "pkix-ee", "1 1 1, which SMTP does not know (RFC 7672 §3.1.3)", 5, TlsaStatus.UNUSABLE, DaneStatus.UNUSABLE,
    records=((PKIX_EE, SPKI, SHA256, "leaf"),),
)  # fmt: skip
_tlsa(
    "crowded", "3 1 1 before five hundred others, of which not all are taken", 0.5, _USABLE, _MATCH,
    records=((EE, SPKI, SHA256, "leaf"),), crowd=500, crowd_begins=0xFF,
)  # fmt: skip
_tlsa(
    "crowded-out", "3 1 1 behind five hundred others, of which not all are taken: it may match, for all we know", 0.5,
    _USABLE, DaneStatus.UNKNOWN, records=((EE, SPKI, SHA256, "leaf"),), crowd=500,
)  # fmt: skip
_tlsa("tlsa-bogus", "validation of the TLSA records fails", 3, TlsaStatus.BOGUS, DaneStatus.BOGUS)
_tlsa("tlsa-servfail", "the TLSA records cannot be had", 3, TlsaStatus.LOOKUP_FAILED, DaneStatus.UNKNOWN)
_tlsa(
    "tlsa-insecure", "right records in an unsigned zone, which count for nothing", 0, TlsaStatus.INSECURE,
    DaneStatus.INSECURE, records=((EE, SPKI, SHA256, "leaf"),),
)  # fmt: skip


def dane_truth(tlsa: TlsaBehaviour, status: TlsaStatus, behaviour: HostBehaviour) -> DaneStatus | None:
    """The DANE verdict on an endpoint that behaves so; None: it is never contacted."""
    truth = behaviour.truth
    if truth.stage is None:
        return None
    if status is not TlsaStatus.USABLE:
        return _WITHOUT_CHAIN[status]
    if truth.certificates is None:
        return DaneStatus.UNKNOWN
    if tlsa.needs_path:
        tls = behaviour.server.tls
        # RFC 7672 §3.2.3: unlike for PKIX, the CN counts where there is no DNS-ID.
        named = True if isinstance(tls, Tls) and tls.leaf.in_subject else truth.name_match
        facts = (truth.chain_trusted, truth.within_validity, named)
        if False in facts:
            return DaneStatus.MISMATCH
        if None in facts:
            return DaneStatus.UNKNOWN
    return tlsa.dane


_WITHOUT_CHAIN = {
    TlsaStatus.ABSENT: DaneStatus.ABSENT,
    TlsaStatus.INSECURE: DaneStatus.INSECURE,
    TlsaStatus.BOGUS: DaneStatus.BOGUS,
    TlsaStatus.UNUSABLE: DaneStatus.UNUSABLE,
    TlsaStatus.LOOKUP_FAILED: DaneStatus.UNKNOWN,
    TlsaStatus.NOT_ASKED: DaneStatus.UNKNOWN,
}

# --- MTA-STS --------------------------------------------------------------------------------------

POLICY = "version: STSv1\nmode: {mode}\n{mx}max_age: 604800\n"
_OK = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
_RECORD = (b"v=STSv1; id=20260101000000Z;",)
_ID = "20260101000000Z"


@dataclass(frozen=True, slots=True)
class StsBehaviour:
    """What a domain publishes, and how its policy host behaves."""

    name: str
    about: str
    share: float  #: weight among the domains that take mail
    record: MtaStsRecord
    fetch: MtaStsFetch | None = None
    mode: MtaStsMode | None = None
    texts: tuple[bytes, ...] = ()  #: TXT records at `_mta-sts`
    has_host: bool = True
    resolves: bool = True  #: the policy host's name servers answer
    address: str = ""  #: of the policy host, where it is not one of the lab's
    delegate: str = ""  #: the policy host is a CNAME for this name
    listens: bool = True
    speaks_tls: bool = True
    leaf: Leaf = field(default_factory=Leaf)
    head: str = _OK
    policy: str = POLICY
    padding: int = 0  #: so many bytes more
    stalls: bool = False
    hangs_up: bool = False  #: the connection ends where the answer would come
    is_cut_off: bool = False  #: the connection ends without a word of it inside TLS
    any_mx: str = ""  #: in the policy, instead of the domain's hosts

    def mx(self, hosts: tuple[str, ...]) -> tuple[str, ...]:
        """Patterns of the policy, given the domain's hosts."""
        return (self.any_mx,) if self.any_mx else hosts

    def reply(self, hosts: tuple[str, ...]) -> bytes:
        """What the policy host answers."""
        mx = "".join(f"mx: {pattern}\n" for pattern in self.mx(hosts))
        return (self.head + self.policy.format(mode=self.mode, mx=mx)).encode() + b"#" * self.padding


MTA_STS: dict[str, StsBehaviour] = {}
"""Every kind by name."""


def _sts(name: str, about: str, share: float, record: MtaStsRecord, **more: Any) -> None:
    MTA_STS[name] = StsBehaviour(name, about, share, record, **more)


def _announced(name: str, about: str, share: float, fetch: MtaStsFetch, **more: Any) -> None:
    """With a valid record."""
    _sts(name, about, share, MtaStsRecord.VALID, fetch=fetch, texts=_RECORD, **more)


def _status(line: str, more: str = "") -> str:
    return f"HTTP/1.1 {line}\r\nConnection: close\r\n{more}\r\n"


_ENFORCE, _TESTING = MtaStsMode.ENFORCE, MtaStsMode.TESTING
_sts("no-mta-sts", "no MTA-STS", 1_000, MtaStsRecord.ABSENT)
_sts("sts-record-invalid", "a record without id", 0.3, MtaStsRecord.INVALID, texts=(b"v=STSv1;",))
_sts("sts-two-records", "two records", 0.1, MtaStsRecord.MULTIPLE, texts=(*_RECORD, b"v=STSv1; id=2;"))
_sts(
    "sts-blank-beside", "a blank before the first semicolon, beside another text: no record", 0.1, MtaStsRecord.ABSENT,
    texts=(b"v", b"v=STSv1 ; id=1"),
)  # fmt: skip
_announced("sts-enforce", "an enforced policy of its hosts", 4, MtaStsFetch.OK, mode=_ENFORCE)
_announced("sts-testing", "a policy in testing", 4, MtaStsFetch.OK, mode=_TESTING)
_announced("sts-none", "a policy withdrawn", 0.2, MtaStsFetch.OK, mode=MtaStsMode.NONE)
_sts(
    "sts-blank-alone", "a blank before the first semicolon, and no other text", 0.1, MtaStsRecord.VALID,
    fetch=MtaStsFetch.OK, mode=_TESTING, texts=(_RECORD[0].replace(b";", b" ;", 1),),
)  # fmt: skip
_announced(
    "sts-delegated",
    "a policy at a provider's, by CNAME",
    2,
    MtaStsFetch.OK,
    mode=_ENFORCE,
    delegate="policies.lab.example",
)
_announced(
    "sts-delegate-opted-out", "a policy host that is an alias of a name whose owner asked not to be probed", 0.2,
    MtaStsFetch.OPTED_OUT, delegate=f"policies.{ASKED_NOT_TO}",
)  # fmt: skip
_announced(
    "sts-other-mx", "an enforced policy of other hosts", 0.2, MtaStsFetch.OK, mode=_ENFORCE, any_mx="*.other.test"
)
_announced("sts-no-host", "a policy host that does not exist", 0.3, MtaStsFetch.NO_HOST, has_host=False)
_announced("sts-servfail", "a policy host whose lookup fails", 0.2, MtaStsFetch.DNS, resolves=False)
_announced("sts-refused", "a policy host that refuses connections", 0.1, MtaStsFetch.CONNECT, listens=False)
_announced("sts-private", "a policy host in private space", 0.1, MtaStsFetch.ADDRESS_NOT_ALLOWED, address="10.1.2.3")
_announced("sts-no-tls", "a policy host that speaks no TLS", 0.1, MtaStsFetch.TLS, speaks_tls=False)
_announced("sts-expired", "an expired certificate", 0.2, MtaStsFetch.TLS, leaf=Leaf(valid=(-90, -1)))
_announced("sts-wrong-name", "a certificate for another name", 0.3, MtaStsFetch.TLS, leaf=Leaf(names=("www.{domain}",)))
_announced("sts-cn-alone", "the name in the CN alone", 0.1, MtaStsFetch.TLS, leaf=Leaf(in_subject=True))
_announced("sts-self-signed", "a self-signed certificate", 0.2, MtaStsFetch.TLS, leaf=Leaf(issuer="itself", chain=()))
_announced("sts-not-found", "404", 0.5, MtaStsFetch.HTTP, head=_status("404 Not Found"))
_announced(
    "sts-redirect", "a redirect into loopback, which must not be followed", 0.3, MtaStsFetch.HTTP,
    head=_status("301 Moved Permanently", "Location: https://127.0.0.1/\r\n"),
)  # fmt: skip
_announced(
    "sts-busy", "503", 0.2, MtaStsFetch.UNAVAILABLE, head=_status("503 Service Unavailable", "Retry-After: 60\r\n")
)
_announced(
    "sts-hangs-up", "a policy host that takes the request and hangs up", 0.2, MtaStsFetch.BROKEN_OFF, hangs_up=True
)
_announced("sts-html", "a web page", 0.2, MtaStsFetch.HTTP, head=_status("200 OK", "Content-Type: text/html\r\n"))
_announced("sts-stalls", "a policy host that takes the request and says nothing", 0.1, MtaStsFetch.TIMEOUT, stalls=True)
_announced(
    "sts-cut-off", "a policy without length, cut off after half of its hosts", 0.1, MtaStsFetch.HTTP,
    policy="version: STSv1\nmode: enforce\nmax_age: 86400\nmx: mx1.cut.example\n", is_cut_off=True,
)  # fmt: skip
_announced("sts-large", "ten megabytes", 0.1, MtaStsFetch.TOO_LARGE, padding=10_000_000)
_announced(
    "sts-interim", "interim responses by the thousand, before the policy", 0.1, MtaStsFetch.TOO_LARGE,
    head="HTTP/1.1 103 Early Hints\r\n\r\n" * 8_000 + _OK,
)  # fmt: skip
_announced("sts-nul", "NULs instead of a policy", 0.1, MtaStsFetch.SYNTAX, policy="\x00" * 100)
_announced("sts-no-mode", "a policy without mode", 0.2, MtaStsFetch.SYNTAX, policy="version: STSv1\n{mx}max_age: 1\n")
_NUMBER = {name: number for number, name in enumerate(MTA_STS, 1)}


def policy_address(kind: StsBehaviour) -> str:
    """Address of the policy hosts that behave so."""
    return kind.address or f"{POLICY_NETWORK}.{_NUMBER[kind.name]}"


def policy_id(kind: StsBehaviour) -> str | None:
    """`id` of a valid record."""
    return _ID if kind.record is MtaStsRecord.VALID else None
