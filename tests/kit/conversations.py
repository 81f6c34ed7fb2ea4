"""The test kit: play a transcript against a whole conversation, TLS included, without a network.

A transcript is lines of `S:` (the host says) and `C:` (we must say).  `S- ` is a line without its
end.  `TLS` upgrades: what follows is said inside.  `FIN`, `RST` and `LATE` end it from outside.
Every transcript is played whole, byte by byte, and all in one piece where the host speaks twice.
"""

from __future__ import annotations

import datetime
import itertools
from dataclasses import dataclass, field
from textwrap import dedent
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL

from crawler.model.rows import Outcome, Probe
from crawler.probe.conversation import Conversation, Identity
from crawler.probe.long_handshakes import LongHandshakes
from crawler.protocols.registry import service
from crawler.settings.config import Limits
from crawler.tls.handshake import TlsClient, TlsContexts

CONTEXTS = TlsContexts()
ENDINGS = {"FIN": Outcome.CLOSED, "RST": Outcome.RESET, "LATE": Outcome.TIMEOUT}


class Authority:
    """A throw-away CA that issues what a test asks for."""

    def __init__(self, name: str = "Test Root", *, parent: Authority | None = None) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)])
        issuer = parent or self
        self.certificate = (
            _builder(issuer.name, self.name, self.key.public_key())
            .add_extension(x509.BasicConstraints(True, None), critical=True)
            .sign(issuer.key, hashes.SHA256())
        )

    def issue(
        self,
        *names: str,
        days: tuple[float, float] = (-1, 30),
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
        common_name: str = "leaf",
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
    ) -> Leaf:
        """A leaf for the DNS names, valid from and until so many days from now."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = _builder(self.name, subject, key.public_key(), days)
        builder = builder.add_extension(x509.BasicConstraints(False, None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if names:
            san = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
            builder = builder.add_extension(san, critical=False)
        return Leaf(builder.sign(self.key, hashes.SHA256()), key)


def _builder(issuer, subject, key, days=(-1, 30)):  # type: ignore[no-untyped-def]
    now = datetime.datetime.now(datetime.UTC)
    start, end = (now + datetime.timedelta(days=day) for day in days)
    return x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number(), start, end)


@dataclass
class Leaf:
    """A certificate with its key, and what a server sends behind it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    chain: list[x509.Certificate] = field(default_factory=list)

    def context(self) -> SSL.Context:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_VERSION)
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
        context.use_certificate(self.certificate)
        context.use_privatekey(self.key)
        for certificate in self.chain:
            context.add_extra_chain_cert(certificate)
        return context


ROOT = Authority()
LEAF = ROOT.issue("mx.example")


@dataclass
class Heard:
    """What came of a transcript."""

    probe: Probe
    conversation: Conversation
    said: bytes  # after the last `C:` line


def play_whole(transcript: str, **options: Any) -> Heard:
    """Play it in the pieces it is written in, where the pieces themselves are the matter."""
    return _Stage(size=0, **options).run(transcript)


def play(transcript: str, **options: Any) -> Heard:
    """Play it whole and byte by byte; both must come to the same row, which is returned."""
    played = [_Stage(size=size, **options).run(transcript) for size in (0, 1)]
    whole, bytewise = (_comparable(heard.probe) for heard in played)
    # Bytes at which it ended: byte by byte there are fewer of them by then.
    for name in ("last_reply", "plaintext_after_upgrade"):
        longer, shorter = whole.pop(name), bytewise.pop(name)
        assert longer == shorter or longer.startswith(shorter), f"{name}: {shorter!r} does not begin {longer!r}"
    assert whole == bytewise, "byte by byte came to another row"
    return played[0]


def play_plain(words: str, name: str) -> Probe:
    """The row of a host that speaks in the clear where TLS is due at once; it does not look at our hello."""
    stage = _Stage(size=0, name=name)
    assert stage.conversation.connected()[:1] == b"\x16"
    stage.conversation.receive(words.encode("latin-1").decode("unicode_escape").encode("latin-1"))
    return stage.probe


def _comparable(probe: Probe) -> dict[str, Any]:
    random = ("_ms", "tls_bytes")  # times; and the lengths of ECDSA signatures
    return {name: getattr(probe, name) for name in Probe.__slots__ if not name.endswith(random)}


class _Stage:
    """One performance: the host's bytes in pieces of `size` (0: as written)."""

    def __init__(
        self,
        *,
        size: int,
        name: str = "smtp",
        limits: Limits | None = None,
        context: SSL.Context | None = None,
        long: LongHandshakes | None = None,
    ) -> None:
        ticks = itertools.count()
        spoken = service(name)
        self.probe = Probe(
            protocol=spoken.protocol.name, form=spoken.form, host="mx.example", address="192.0.2.1", port=spoken.port
        )
        self.conversation = Conversation(
            self.probe,
            spoken.protocol,
            Identity(b"probe.example", b"mx.example"),
            limits or Limits(),
            lambda server_name: TlsClient(
                CONTEXTS.modern, server_name, (limits or Limits()).dh_bits, alpn=spoken.protocol.alpn
            ),
            lambda: next(ticks) / 1000,
            long,
        )
        self.size = size
        self.context = context
        self.server: SSL.Connection | None = None
        self.said = b""  # by us, not yet held against the transcript

    def run(self, transcript: str) -> Heard:
        self.said += self.conversation.connected()
        for line in dedent(transcript).strip("\n").splitlines():
            mark, _, text = line.partition(" ")
            data = text.encode("latin-1").decode("unicode_escape").encode("latin-1")
            match mark:
                case "S:":
                    self.host_says(data + b"\r\n")
                case "S-":
                    self.host_says(data)
                case "C:":
                    self.expect(data + b"\r\n")
                case "TLS":
                    self.upgrade()
                case _:
                    self.conversation.end(ENDINGS[mark])
        return Heard(self.probe, self.conversation, self.said)

    def deliver(self, data: bytes) -> None:
        step = self.size or max(len(data), 1)
        for at in range(0, len(data), step):
            out = self.conversation.receive(data[at : at + step])
            self.said += self.inside(out) if self.server else out

    def host_says(self, data: bytes) -> None:
        if self.server is None:
            self.deliver(data)
        else:
            self.server.send(data)
            self.deliver(self.server.bio_read(65536))

    def expect(self, data: bytes) -> None:
        assert self.said == data, f"we said {self.said!r}, the transcript wants {data!r}"
        self.said = b""

    def inside(self, out: bytes) -> bytes:
        """What we said inside TLS."""
        assert self.server is not None
        if out:
            self.server.bio_write(out)
        try:
            return self.server.recv(65536)
        except SSL.WantReadError:
            return b""

    def upgrade(self) -> None:
        """Shake hands until both sides are done or one gives up."""
        server = SSL.Connection(self.context or LEAF.context())
        server.set_accept_state()
        hello, self.said = self.said, b""
        server.bio_write(hello)
        for _ in range(6):
            try:
                server.do_handshake()
                self.server = server
            except SSL.WantReadError:
                pass
            except SSL.Error:
                self.conversation.receive(_drain(server))  # the server's alert
                return
            pending = _drain(server)
            if not pending:
                return
            step = self.size or len(pending)
            for at in range(0, len(pending), step):
                out = self.conversation.receive(pending[at : at + step])
                if out and self.server:
                    self.said += self.inside(out)
                elif out:
                    server.bio_write(out)
            if self.server is None:
                try:
                    server.do_handshake()
                    self.server = server
                    self.said += self.inside(b"")
                except SSL.Error:
                    pass


def _drain(connection: SSL.Connection) -> bytes:
    try:
        return connection.bio_read(1 << 20)
    except SSL.WantReadError:
        return b""
