"""The TLS handshake over memory buffers: what we offer, what was negotiated, the chain as sent.

Bytes go in and bytes come out; it has no sockets.  The library is pyOpenSSL, whose `cryptography` wheel carries its
own current OpenSSL. So groups are readable, X25519MLKEM768 is offered, and the received chain can be had without
verifying it.  The chain is judged elsewhere.

Accepted, so that it can be counted: TLS 1.0 to 1.3, every cipher of the wheel but anonymous ones,
servers from before RFC 5746.  SSLv3, RC4, 3DES and EXPORT are not in the wheel; what fails for that
reason is `tls_unsupported_by_us`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any

from OpenSSL import SSL, crypto
from OpenSSL._util import ffi, lib

from crawler.model.rows import Outcome, printable
from crawler.tls.client_hello import offered_groups
from crawler.tls.dhe_cost import LIGHT
from crawler.tls.refusals import DHE_TOO_LARGE, OURS, TOO_MUCH
from crawler.tls.server_flight import ServerFlight

#: Anonymous suites would yield no certificate, NULL ones no encryption.
CIPHERS = b"ALL:!aNULL:!eNULL:@SECLEVEL=0"
#: For a second try with hosts that choose a finite-field group which our library does not take.
CIPHERS_WITHOUT_DHE = b"ALL:!aNULL:!eNULL:!kDHE:@SECLEVEL=0"
#: For a second try with hosts that stumble over the size of a post-quantum hello.
CLASSICAL_GROUPS = b"X25519:P-256:X448:P-384:P-521"

_READ = 16_384
_LONGEST_SERVER_NAME = 255  # TLSEXT_MAXLEN_host_name
_TLSEXT_PADDING = 0x10
"""SSL_OP_TLSEXT_PADDING, which pyOpenSSL does not name: no hello of 256 to 511 bytes, at which some load balancers
hang (RFC 7685 §4).  OpenSSL's SSL_OP_ALL has it, which mail servers set."""
_OPTIONS = SSL.OP_LEGACY_SERVER_CONNECT | SSL.OP_NO_RENEGOTIATION | SSL.OP_IGNORE_UNEXPECTED_EOF | _TLSEXT_PADDING

Afford = Callable[[float], bool]
"""Whether so many seconds of processor time may be spent on one handshake over a large prime."""


class TlsFailure(Exception):
    """The handshake failed, or what came later was not TLS.

    `outcome` is `tls_alert` (with `alert`), `tls_unsupported_by_us`, `limit_exceeded`, `tls_error`, or
    `closed`: the host closed TLS (close_notify), which says nothing of why.  `reason` is OpenSSL's own words;
    None where it has none.
    """

    def __init__(self, outcome: Outcome, reason: str | None, alert: str | None = None) -> None:
        super().__init__(reason)
        self.outcome, self.reason, self.alert = outcome, reason, alert


class Offer(Enum):
    """What a ClientHello offers."""

    MODERN = "modern"  #: post-quantum hybrid groups, and classical ones
    CLASSICAL = "classical"  #: classical groups only: a hello of a third of the size
    WITHOUT_DHE = "without_dhe"  #: no finite-field Diffie-Hellman, of which our library does not take every group


class TlsContexts:
    """The client contexts of a process, by what they offer."""

    def __init__(self, *, post_quantum: bool = True) -> None:
        self.modern = _context()
        self.classical = _context()
        self.without_dhe = _context(CIPHERS_WITHOUT_DHE)
        restrict_groups(self.classical, CLASSICAL_GROUPS)
        if not post_quantum:
            self.modern = self.classical
            restrict_groups(self.without_dhe, CLASSICAL_GROUPS)

    def __getitem__(self, offer: Offer) -> SSL.Context:
        return {Offer.MODERN: self.modern, Offer.CLASSICAL: self.classical, Offer.WITHOUT_DHE: self.without_dhe}[offer]


def _context(ciphers: bytes = CIPHERS) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_VERSION)
    context.set_cipher_list(ciphers)
    context.set_options(_OPTIONS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_ocsp_client_callback(_keep_staple)
    return context


def restrict_groups(context: SSL.Context, groups: bytes) -> None:
    """Offer only these groups.  pyOpenSSL has no public call for it; this is the one place that knows."""
    # Raising here, at start-up, is the self-test: a wheel without the call must not measure.
    if lib.SSL_CTX_set1_curves_list(context._context, groups) != 1:
        raise RuntimeError(f"OpenSSL refused the groups {groups.decode()}")


def _keep_staple(connection: SSL.Connection, staple: bytes, _: Any) -> bool:
    connection.set_app_data(staple)
    return True


def _is_dhe(ssl: Any, suite: bytes) -> bool:
    """Whether a cipher suite, as its two bytes, has a finite-field key exchange; `ssl` is any connection's."""
    cipher = lib.SSL_CIPHER_find(ssl, suite) if len(suite) == 2 else ffi.NULL
    name: bytes = b"" if cipher == ffi.NULL else ffi.string(lib.SSL_CIPHER_get_name(cipher))
    return name.startswith((b"DHE-", b"EDH-"))


class TlsClient:
    """One client connection: `start`, then `feed` until `established`, then `write` and `read`."""

    __slots__ = ("__weakref__", "_afford", "_connection", "_dh_bits", "_flight", "_looked", "established")

    def __init__(
        self,
        context: SSL.Context,
        server_name: bytes | None,
        dh_bits: int | None = None,
        afford: Afford | None = None,
        alpn: str = "",
    ) -> None:
        """`alpn` is the name of a protocol to offer by ALPN; empty: none is offered.  `dh_bits` is the largest prime that is taken for DHE; None: as large as the library takes.

        `afford` is asked whether a costly one may be worked with, beside that.
        Raises `TlsFailure` when the name cannot be carried in SNI (over 255 bytes).
        """
        self._dh_bits, self._afford = dh_bits, afford
        self._connection = SSL.Connection(context)
        # It must not lead back to us: in a circle the connection, of megabytes, would stay until circles are looked for.
        self._flight = ServerFlight(partial(_is_dhe, self._connection._ssl))
        self._looked = False  # at what is fed next
        self._connection.set_connect_state()
        self._connection.request_ocsp()
        if alpn:
            self._connection.set_alpn_protos([alpn.encode()])
        self.established = False
        if server_name is not None:
            # OpenSSL refuses a longer one, of which pyOpenSSL says nothing: the hello would go out without it.
            if len(server_name) > _LONGEST_SERVER_NAME:
                raise TlsFailure(Outcome.TLS_UNSUPPORTED_BY_US, "host name does not fit into SNI")
            self._connection.set_tlsext_host_name(server_name)

    def start(self) -> bytes:
        """The ClientHello."""
        return self.feed(b"")

    def is_heavy(self, data: bytes) -> bool:
        """Whether the library may work long on these bytes of the handshake, which are fed next."""
        self._look(data)
        return self._flight.seconds > LIGHT and not self.established

    def _may_work(self) -> bool:
        flight = self._flight
        if self._dh_bits is not None and flight.prime_bits > self._dh_bits:
            return False
        return flight.seconds <= LIGHT or self._afford is None or self._afford(flight.seconds)

    def _look(self, data: bytes) -> None:
        if not self._looked and not self._flight.done:
            self._flight.feed(data)
        self._looked = True

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the handshake, return what to send.  Raises `TlsFailure`, our alert unsent."""
        self._look(data)
        self._looked = False
        if not self._may_work():
            raise TlsFailure(Outcome.LIMIT_EXCEEDED, DHE_TOO_LARGE)
        connection = self._connection
        if data:
            connection.bio_write(data)
        try:
            connection.do_handshake()
            self.established = True
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            raise _failure(error) from None
        return self._pending()

    def write(self, plain: bytes) -> bytes:
        """Encrypt; returns what to send, together with what the handshake left to be sent."""
        try:
            self._connection.send(plain)
        except SSL.Error as error:
            raise _failure(error) from None
        return self._pending()

    def read(self, data: bytes) -> tuple[bytes, bool]:
        """Decrypt; returns plaintext and whether the host has closed TLS.  Raises `TlsFailure`."""
        connection = self._connection
        if data:
            connection.bio_write(data)
        plain = b""
        try:
            while True:
                plain += connection.recv(_READ)
        except SSL.WantReadError:
            return plain, False
        except (SSL.ZeroReturnError, SSL.SysCallError):
            return plain, True
        except SSL.Error as error:
            if plain:
                return plain, False  # the failure comes again with the next read
            raise _failure(error) from None

    def _pending(self) -> bytes:
        try:
            return self._connection.bio_read(_READ)
        except SSL.WantReadError:
            return b""

    # --- facts, once established ---

    def version(self) -> str:
        """`TLSv1 TLSv1.1 TLSv1.2 TLSv1.3`."""
        return self._connection.get_protocol_version_name()

    def cipher(self) -> str | None:
        """Negotiated cipher, OpenSSL's name."""
        return self._connection.get_cipher_name()

    def group(self) -> str | None:
        """Negotiated group; None for finite-field DHE and static RSA in TLS 1.2 and older."""
        return self._connection.get_group_name()

    def alpn(self) -> str | None:
        """The protocol that the host chose of those offered by ALPN (RFC 7301)."""
        chosen = self._connection.get_alpn_proto_negotiated()
        return printable(chosen) if chosen else None

    def staple(self) -> bytes | None:
        """The OCSP response stapled to the handshake."""
        return self._connection.get_app_data() or None

    def chain(self) -> list[crypto.X509]:
        """Certificates as sent, leaf first."""
        return self._connection.get_peer_cert_chain() or []


def _failure(error: SSL.Error) -> TlsFailure:
    """What OpenSSL queued: a reason that is ours wherever it stands, else the first, of which later ones are consequences."""
    if isinstance(error, SSL.ZeroReturnError):
        return TlsFailure(Outcome.CLOSED, None)
    queued = error.args[0] if error.args and isinstance(error.args[0], list) else []
    reasons = [reason for _, _, reason in queued]
    if ours := next((reason for reason in reasons if reason in OURS), None):
        return TlsFailure(Outcome.TLS_UNSUPPORTED_BY_US, ours)
    if not reasons:
        return TlsFailure(Outcome.TLS_ERROR, None)
    before, found, alert = reasons[0].partition(" alert ")
    if found and before in ("tlsv1", "ssl/tls", "sslv3", "tlsv13", "tls"):
        return TlsFailure(Outcome.TLS_ALERT, reasons[0], alert)
    if too_much := next((reason for reason in reasons if reason in TOO_MUCH), None):
        return TlsFailure(Outcome.LIMIT_EXCEEDED, too_much)
    return TlsFailure(Outcome.TLS_ERROR, reasons[0])


def is_forward_secret(version: str, cipher: str) -> bool:
    """(EC)DHE key exchange; every TLS 1.3 handshake here, as we never offer PSK (RFC 9325 §4.1)."""
    return version == "TLSv1.3" or cipher.startswith(("ECDHE-", "DHE-", "EDH-"))


def is_post_quantum(group: str | None) -> bool:
    """Whether the group holds ML-KEM, alone or as a hybrid (draft-ietf-tls-ecdhe-mlkem)."""
    return group is not None and "MLKEM" in group.upper()


def offered(*, post_quantum: bool = True) -> dict[str, Any]:
    """The offer of our ClientHello, for the manifest: versions, ciphers, groups, SNI rule, one hello in hex."""
    contexts = TlsContexts(post_quantum=post_quantum)
    context = contexts.modern
    hello = TlsClient(context, b"mx.example").start()
    return {
        "library": SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode(),
        "versions": ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"],
        "cipher_string": CIPHERS.decode(),
        "ciphers": SSL.Connection(context).get_cipher_list(),
        "groups": offered_groups(hello),
        "groups_of_second_try": offered_groups(TlsClient(contexts.classical, b"mx.example").start()),
        "server_name": "the mail host",
        "client_hello": hello.hex(),
    }
