"""The words in which a mail host of the lab is described, and the table of all of them.

This module does no I/O.  A behaviour is one entry: what the host does, and beside it the truth,
which is what a perfect scanner must report.  The truth is written by hand from the behaviour and
the contract, never computed by the code that is measured with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from crawler.model.rows import Outcome, Stage

HOST_NAME = "mx.lab.example"
"""What every mail host of the lab calls itself; a host does not know the MX names that lead to it."""


# --- what a host does ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before the next step."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Flood:
    """Send the same bytes over and over, up to `total` bytes, as fast as the client takes them."""

    chunk: bytes
    total: int = 1 << 40


@dataclass(frozen=True, slots=True)
class Pieces:
    """Send the bytes in segments of `size`, `gap` seconds apart."""

    data: bytes
    size: int = 3
    gap: float = 0.001


class Act(Enum):
    """Steps without a value."""

    CLOSE = "close"  #: an orderly FIN
    RESET = "reset"  #: an RST
    SILENCE = "silence"  #: never say another word, keep the connection
    START_TLS = "start TLS"  #: the next bytes are a ClientHello
    RENEGOTIATE = "renegotiate"  #: ask for another handshake inside TLS 1.2
    DROP_TLS = "drop TLS"  #: what follows is sent as plaintext


Step = bytes | Pause | Flood | Pieces | Act
Steps = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """What is in a host's certificate, and what is sent behind it.

    `{host}` in a name stands for the name in the client's SNI, `{domain}` for the domain it is in: what
    stands behind its first label, or itself when that is a top-level domain.
    """

    names: tuple[str, ...] = ("{host}",)
    valid: tuple[int, int] = (-30, 60)  #: days from now: not before, not after
    issuer: str = "intermediate"  #: what `Authority` has under this name, or `itself`
    key: str = "ec"  #: `ec`, `rsa` or `ed25519`
    in_subject: bool = False  #: the names stand in the subject's CN and nowhere else
    oddity: str = ""  #: one of `oddities.ODDITIES`
    crowd: int = 0  #: so many names more, of about `crowd_width` bytes each
    crowd_width: int = 1
    ballast: int = 0  #: random bytes in an extension that nobody knows, others for each certificate
    chain: tuple[str, ...] = ("intermediate",)  #: sent behind the leaf, in this order


@dataclass(frozen=True, slots=True)
class Tls:
    """How a host speaks TLS."""

    versions: tuple[str, str] = ("TLSv1.2", "TLSv1.3")
    groups: str = "X25519:P-256:P-384"
    ciphers: str = "DEFAULT:@SECLEVEL=0"
    leaf: Leaf = field(default_factory=Leaf)
    segment: int = 0  #: send the handshake in segments of this many bytes; 0: as it comes
    largest_hello: int = 0  #: a ClientHello record with more bytes gets `on_large_hello`; 0: any size is welcome
    on_large_hello: Steps = (Act.RESET,)
    deaf_to: tuple[
        tuple[int, int], ...
    ] = ()  #: a ClientHello record whose length is in one of these ranges is not answered
    dhe_bits: int = 0  #: of the prime in the key exchange that a client which offers DHE gets; 0: none
    dhe_is_signed: bool = False  #: so that the client goes on, and computes with the prime
    wants_certificate: bool = False  #: ask the client for a certificate, and do without
    demands_certificate: bool = False  #: ask, and refuse a client that has none


class Port(Enum):
    """What becomes of a SYN."""

    OPEN = "open"
    REFUSED = "refused"  #: nothing listens: RST
    DROPPED = "dropped"  #: a packet filter swallows it
    ELSEWHERE = "elsewhere"  #: the address is none of ours


CAPABILITIES = b"250-mx.lab.example\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n"
EHLO = CAPABILITIES + b"250-STARTTLS\r\n250 ENHANCEDSTATUSCODES\r\n"
EHLO_WITHOUT = CAPABILITIES + b"250 ENHANCEDSTATUSCODES\r\n"
GREETING = b"220 mx.lab.example ESMTP\r\n"
GO_AHEAD = b"220 2.0.0 Ready to start TLS\r\n"

PLAIN: Mapping[str, Steps] = {
    "EHLO": (EHLO,),
    "HELO": (b"250 mx.lab.example\r\n",),
    "STARTTLS": (GO_AHEAD, Act.START_TLS),
    "QUIT": (b"221 2.0.0 Bye\r\n", Act.CLOSE),
    "NOOP": (b"250 2.0.0 OK\r\n",),
    "RSET": (b"250 2.0.0 OK\r\n",),
}
INSIDE_TLS: Mapping[str, Steps] = {**PLAIN, "EHLO": (EHLO_WITHOUT,), "STARTTLS": (b"503 5.5.1 Already inside TLS\r\n",)}
UNKNOWN_COMMAND: Steps = (b"502 5.5.2 Command not recognized\r\n",)


@dataclass(frozen=True, slots=True)
class Server:
    """A mail host, stage by stage; what is not said is as a well-kept server does it."""

    greeting: Steps = (GREETING,)
    plain: Mapping[str, Steps] = field(default_factory=dict)  #: replies to commands, over `PLAIN`
    tls: Tls | Steps = field(default_factory=Tls)  #: or what to do instead when the ClientHello comes
    after_handshake: Steps = ()
    inside: Mapping[str, Steps] = field(default_factory=dict)  #: replies inside TLS, over `INSIDE_TLS`
    port: Port = Port.OPEN
    address: str = ""  #: the one address of all hosts that behave so; else each has its own in 127.0.0.0/8


# --- what a perfect scanner reports -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Truth:
    """The verdicts on an endpoint: columns of `rows.Probe` under their own names, null where unknown."""

    stage: Stage | None
    outcome: Outcome
    conclusive: bool
    greeting_code: int | None = None
    hello_command: str | None = None
    starttls_offered: bool | None = None
    starttls_masked: str | None = None
    starttls_code: int | None = None
    injected: bool = False  #: something is in `plaintext_after_upgrade`
    stray: bool = False  #: something is in `stray_bytes`
    tls_version: str | None = None
    tls_group: str | None = None
    negotiated: bool | None = None
    forward_secret: bool | None = None
    post_quantum: bool | None = None
    pq_intolerant: bool = False
    chain_trusted: bool | None = None
    name_match: bool | None = None
    within_validity: bool | None = None
    strict_valid: bool | None = None
    certificates: int | None = None  #: how many are received


def secured(
    version: str,
    group: str | None,
    *,
    forward_secret: bool = True,
    post_quantum: bool = False,
    trusted: bool | None = True,
    name_match: bool | None = True,
    within_validity: bool | None = True,
    certificates: int = 2,
    **seen: Any,
) -> Truth:
    """The protocol was answered inside TLS."""
    facts = (trusted, name_match, within_validity)
    made = Truth(
        Stage.DONE,
        Outcome.OK,
        conclusive=True,
        greeting_code=220,
        hello_command="ehlo",
        starttls_offered=True,
        starttls_code=220,
        tls_version=version,
        tls_group=group,
        negotiated=True,
        forward_secret=forward_secret,
        post_quantum=post_quantum,
        chain_trusted=trusted,
        name_match=name_match,
        within_validity=within_validity,
        strict_valid=False if False in facts else None if None in facts else True,
        certificates=certificates,
    )
    return replace(made, **seen)


def ended(stage: Stage | None, outcome: Outcome, *, conclusive: bool = False, **seen: Any) -> Truth:
    """It ended before that; what its stage implies is filled in, anything else is in `seen`."""
    order = list(Stage)
    reached = order.index(stage) if stage is not None else -1
    implied: dict[str, Any] = {}
    if reached > order.index(Stage.GREETING):
        implied["greeting_code"] = 220
    if reached > order.index(Stage.CAPABILITIES) or outcome is Outcome.NOT_OFFERED:
        implied["hello_command"] = "ehlo"
        implied["starttls_offered"] = outcome is not Outcome.NOT_OFFERED
    if reached > order.index(Stage.UPGRADE):
        implied["starttls_code"] = 220
    if reached > order.index(Stage.HANDSHAKE):
        implied |= {"tls_version": "TLSv1.3", "tls_group": "x25519", "forward_secret": True, "post_quantum": False}
        implied |= dict.fromkeys(("chain_trusted", "name_match", "within_validity"), True)
        implied["certificates"] = 2
    if conclusive:
        implied["negotiated"] = False
    made = Truth(stage, outcome, conclusive, **(implied | seen))
    certificate = (made.chain_trusted, made.name_match, made.within_validity)
    if made.negotiated is False or False in certificate:
        return replace(made, strict_valid=False)
    return replace(made, strict_valid=True if made.negotiated and None not in certificate else None)


# --- the table ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HostBehaviour:
    """One way in which a mail host behaves."""

    name: str
    about: str
    share: float  #: weight among the hosts that domains run for themselves; 0: only where a route asks for it
    server: Server
    truth: Truth
    lacks: str = ""  #: the certificate that is missing between the chain sent and the lab's root


#: Every behaviour by name, in the order of registration, which its addresses are numbered by.
HOSTS: dict[str, HostBehaviour] = {}


def host(name: str, about: str, *, share: float, truth: Truth, lacks: str = "", **server: Any) -> None:
    """Register a behaviour; `server` are the fields of `Server` in which it differs from a well-kept one."""
    if name in HOSTS:
        raise ValueError(f"two behaviours are called {name}")
    HOSTS[name] = HostBehaviour(name, about, share, Server(**server), truth, lacks)
