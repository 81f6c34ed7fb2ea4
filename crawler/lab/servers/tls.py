"""The server's side of TLS over memory buffers, made after the description in a behaviour.

Bytes go in and bytes come out; it has no sockets.
"""

from __future__ import annotations

from pathlib import Path

from OpenSSL import SSL, crypto
from OpenSSL._util import lib

from crawler.lab.behaviours.vocabulary import HOST_NAME, Tls
from crawler.lab.servers.authority import Authority, dh_parameters

_VERSIONS = {
    "TLSv1": SSL.TLS1_VERSION,
    "TLSv1.1": SSL.TLS1_1_VERSION,
    "TLSv1.2": SSL.TLS1_2_VERSION,
    "TLSv1.3": SSL.TLS1_3_VERSION,
}
_READ = 16_384


class ServerContexts:
    """One context for each description, made when first needed; the leaf is chosen by SNI."""

    def __init__(self, authority: Authority, directory: Path) -> None:
        self._authority = authority
        self._dh = directory / "dh.pem"  # pyOpenSSL loads parameters from files only
        self._made: dict[Tls, SSL.Context] = {}

    def __getitem__(self, tls: Tls) -> SSL.Context:
        """Raises `RuntimeError` when the library cannot do what the description says."""
        if tls not in self._made:
            self._made[tls] = self._context(tls)
        return self._made[tls]

    def _context(self, tls: Tls) -> SSL.Context:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(_VERSIONS[tls.versions[0]])
        context.set_max_proto_version(_VERSIONS[tls.versions[1]])
        context.set_cipher_list(tls.ciphers.encode())
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        # pyOpenSSL has no public call that restricts groups.
        if lib.SSL_CTX_set1_curves_list(context._context, tls.groups.encode()) != 1:
            raise RuntimeError(f"OpenSSL refused the groups {tls.groups}")
        if "DHE-RSA" in tls.ciphers:
            if not self._dh.exists():
                self._dh.write_bytes(dh_parameters())
            context.load_tmp_dh(str(self._dh).encode())
        for certificate in self._authority.chain(tls.leaf):
            _send_along(context, certificate)
        if tls.wants_certificate or tls.demands_certificate:
            context.set_verify(SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if tls.demands_certificate else 0))

        def choose(connection: SSL.Connection) -> None:
            name = (connection.get_servername() or HOST_NAME.encode()).decode("ascii", "replace")
            certificate, key = self._authority.leaf(tls.leaf, name.lower())
            _use(connection, certificate)
            connection.use_privatekey(key)

        context.set_tlsext_servername_callback(choose)
        return context


def _send_along(context: SSL.Context, certificate: crypto.X509) -> None:
    """pyOpenSSL would have it parsed first by a library that takes no odd ones."""
    copy = lib.X509_dup(certificate._x509)  # which the context will free
    if lib.SSL_CTX_add_extra_chain_cert(context._context, copy) != 1:
        lib.X509_free(copy)
        raise RuntimeError("OpenSSL refused a certificate of the chain")


def _use(connection: SSL.Connection, certificate: crypto.X509) -> None:
    """The same for the leaf of one connection."""
    if lib.SSL_use_certificate(connection._ssl, certificate._x509) != 1:
        raise RuntimeError("OpenSSL refused the certificate")


class TlsServer:
    """One connection: `feed` until `established`, then `read` and `write`."""

    __slots__ = ("_connection", "established")

    def __init__(self, context: SSL.Context) -> None:
        self._connection = SSL.Connection(context)
        self._connection.set_accept_state()
        self.established = False

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Take bytes of the handshake; returns what to send, and whether the handshake has failed."""
        self._connection.bio_write(data)
        try:
            self._connection.do_handshake()
            self.established = True
        except SSL.WantReadError:
            pass
        except SSL.Error:
            return self._pending(), True
        return self._pending(), False

    def read(self, data: bytes = b"") -> tuple[bytes, bool]:
        """Decrypt; returns plaintext, and whether the client is done with TLS."""
        if data:
            self._connection.bio_write(data)
        plain = b""
        try:
            while True:
                plain += self._connection.recv(_READ)
        except SSL.WantReadError:
            return plain, False
        except SSL.Error:
            return plain, True

    def write(self, plain: bytes) -> bytes:
        """Encrypt."""
        self._connection.sendall(plain)
        return self._pending()

    def close(self) -> bytes:
        """Say that this is the end (close_notify)."""
        try:
            self._connection.shutdown()
        except SSL.Error:
            pass  # the client is gone already
        return self._pending()

    def hello_request(self) -> bytes:
        """Ask the client for another handshake (RFC 5246 §7.4.1.1)."""
        self._connection.renegotiate()
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            pass
        return self._pending()

    def _pending(self) -> bytes:
        made = b""
        try:
            while True:
                made += self._connection.bio_read(1 << 20)
        except SSL.WantReadError:
            return made
