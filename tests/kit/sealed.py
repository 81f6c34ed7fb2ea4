"""A TLS server that says what OpenSSL would not let it say, sealed with the keys that OpenSSL logs.

Rule of this file: the handshake is OpenSSL's; only what comes after it is made by hand.
"""

from __future__ import annotations

import hmac
import socket
import struct

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from OpenSSL import SSL

from tests.kit.conversations import LEAF, ROOT

HELLO = b"250-mx\r\n250-SIZE 1000\r\n250 STARTTLS\r\n"
CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION = 20, 21, 22, 23


def upgrade(peer: socket.socket) -> None:
    """The plain conversation up to the go-ahead."""
    lines = peer.makefile("rb")
    for line in (b"220 mx\r\n", HELLO, b"220 go\r\n"):
        peer.sendall(line)
        if line != b"220 go\r\n":
            lines.readline(1_000)


def record(kind: int, payload: bytes) -> bytes:
    """A TLS record in the clear."""
    return struct.pack("!BHH", kind, 0x0303, len(payload)) + payload


def shake(peer: socket.socket, context: SSL.Context) -> SSL.Connection:
    """Shake hands as OpenSSL would."""
    server = SSL.Connection(context)
    server.set_accept_state()
    while True:
        server.bio_write(peer.recv(65_536))
        try:
            server.do_handshake()
            return server
        except SSL.WantReadError:
            pass
        finally:
            try:
                while True:
                    peer.sendall(server.bio_read(1 << 20))
            except SSL.WantReadError:
                pass


class Sealed13:
    """A TLS 1.3 connection, handshake done, on which anything can be said (RFC 8446 §5.2, §7)."""

    def __init__(self, peer: socket.socket) -> None:
        upgrade(peer)
        counted = _Counted(peer)
        server = shake(counted, CONTEXTS["1.3"])
        # What followed the client's Finished, which ended the loop, are tickets under the same keys.
        self._number = counted.records
        self._secret = SECRETS[server.client_random()]["SERVER_TRAFFIC_SECRET_0"]
        self._keys()

    def _keys(self) -> None:
        self._cipher = AESGCM(self._expand(b"key", 32))
        self._iv = int.from_bytes(self._expand(b"iv", 12))

    def _expand(self, label: bytes, length: int) -> bytes:
        label = b"tls13 " + label
        context = struct.pack("!HB", length, len(label)) + label + b"\0"
        return HKDFExpand(hashes.SHA384(), length, context).derive(self._secret)

    def seal_key_update(self) -> bytes:
        """A KeyUpdate that asks for another; what is sealed after it has the next key."""
        update = self.seal(HANDSHAKE, b"\x18\x00\x00\x01\x01")
        self._secret = self._expand(b"traffic upd", 48)
        self._number = 0
        self._keys()
        return update

    def seal(self, kind: int, payload: bytes) -> bytes:
        header = struct.pack("!BHH", APPLICATION, 0x0303, len(payload) + 17)
        nonce = (self._iv ^ self._number).to_bytes(12)
        self._number += 1
        return header + self._cipher.encrypt(nonce, payload + bytes([kind]), header)


class Sealed12:
    """The same with TLS 1.2 and ECDHE-ECDSA-AES128-GCM-SHA256 (RFC 5246 §6.3, RFC 5288)."""

    def __init__(self, peer: socket.socket) -> None:
        upgrade(peer)
        server = shake(peer, CONTEXTS["1.2"])
        seed = b"key expansion" + server.server_random() + server.client_random()
        secret, block, chained = SECRETS[server.client_random()]["CLIENT_RANDOM"], b"", seed
        while len(block) < 40:
            chained = hmac.digest(secret, chained, "sha256")
            block += hmac.digest(secret, chained + seed, "sha256")
        self._cipher, self._salt = AESGCM(block[16:32]), block[36:40]
        self._number = 1  # 0 was Finished

    def seal(self, kind: int, payload: bytes) -> bytes:
        number = struct.pack("!Q", self._number)
        self._number += 1
        authenticated = number + struct.pack("!BHH", kind, 0x0303, len(payload))
        return record(kind, number + self._cipher.encrypt(self._salt + number, payload, authenticated))


class _Counted:
    """A socket that counts the records of what it sent last."""

    def __init__(self, peer: socket.socket) -> None:
        self.recv, self._peer, self.records = peer.recv, peer, 0

    def sendall(self, data: bytes) -> None:
        self.records = 0
        self._peer.sendall(data)
        while data:
            data = data[5 + int.from_bytes(data[3:5]) :]
            self.records += 1


SECRETS: dict[bytes, dict[str, bytes]] = {}


def _keep(_: SSL.Connection, line: bytes) -> None:
    label, random, secret = line.decode().split()
    SECRETS.setdefault(bytes.fromhex(random), {})[label] = bytes.fromhex(secret)


def _contexts() -> dict[str, SSL.Context]:
    big = ROOT.issue("mx.example")
    filler = ROOT.issue(*(f"{'x' * 50}{number:04}.example" for number in range(900))).certificate
    big.chain = [filler] * 17
    made = {"1.3": LEAF.context(), "1.2": LEAF.context(), "healthy": LEAF.context(), "huge": big.context()}
    made["1.2"].set_max_proto_version(SSL.TLS1_2_VERSION)
    made["1.2"].set_cipher_list(b"ECDHE-ECDSA-AES128-GCM-SHA256")
    made["1.3"].set_tls13_ciphersuites(b"TLS_AES_256_GCM_SHA384")
    for context in made.values():
        context.set_keylog_callback(_keep)
    return made


CONTEXTS = _contexts()
