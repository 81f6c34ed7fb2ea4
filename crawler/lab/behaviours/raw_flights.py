"""Server flights of TLS 1.2 written byte by byte, for what no library would send.

Bytes only; RFC 5246 §7.4.  A flight is ServerHello, Certificate, ServerKeyExchange and ServerHelloDone.  Its
signature is not a good one, but where its name says so: a client has refused the key exchange before it looks.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

DHE_RSA_AES128_GCM_SHA256 = 0x009E
ECDHE_RSA_AES128_GCM_SHA256 = 0xC02F
_RSA_SHA256 = b"\x04\x01"
_X25519 = 29
_RECORD_BYTES = 16_384
_SERVER_RANDOM = bytes(32)
_CLIENT_RANDOM = 5 + 4 + 2  # behind record and message header and version

#: IANA TLS cipher suites with finite-field DHE that OpenSSL may offer.
DHE_SUITES = frozenset(
    {0x0016, 0x0033, 0x0039, 0x0045, 0x0067, 0x006B, 0x0088, 0x009E, 0x009F, 0x00A2, 0x00A3, 0x00BE, 0x00C4}
    | {0x0032, 0x0038, 0x0040, 0x006A, 0xC09E, 0xC09F, 0xC0A2, 0xC0A3, 0xCCAA, 0xC052, 0xC053, 0xC07C, 0xC07D}
)


def dhe_flight(bits: int) -> bytes:
    """A key exchange over a prime of so many bits; it only looks like a prime."""
    return flight(DHE_RSA_AES128_GCM_SHA256, _over_prime(bits) + _RSA_SHA256 + _vector(bytes(128)))


def signed_dhe_flight(client_hello: bytes, bits: int, size: int = _RECORD_BYTES) -> bytes:
    """The same in answer to this ClientHello, with a good signature, in records of `size` bytes."""
    parameters = _over_prime(bits)
    signed = client_hello[_CLIENT_RANDOM : _CLIENT_RANDOM + 32] + _SERVER_RANDOM + parameters  # §7.4.3
    signature = _key().sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return flight(DHE_RSA_AES128_GCM_SHA256, parameters + _RSA_SHA256 + _vector(signature), size)


def _over_prime(bits: int) -> bytes:
    prime = (1 << (bits - 1)) | (0x1234567 << 8) | 1
    size = (bits + 7) // 8
    return _vector(prime.to_bytes(size)) + _vector(b"\x02") + _vector((prime // 3).to_bytes(size))


def ecdhe_flight(curve: int, signature_algorithm: bytes = _RSA_SHA256) -> bytes:
    """A key exchange on a named curve (IANA TLS Supported Groups); on others than X25519 the point is none."""
    point = bytes(range(1, 33)) if curve == _X25519 else b"\x04" + bytes(64)
    parameters = b"\x03" + curve.to_bytes(2) + _vector(point, 1)
    return flight(ECDHE_RSA_AES128_GCM_SHA256, parameters + signature_algorithm + _vector(bytes(128)))


def flight(cipher: int, key_exchange: bytes, size: int = _RECORD_BYTES) -> bytes:
    """The whole flight with this ServerKeyExchange, in records of `size` bytes."""
    hello = b"\x03\x03" + _SERVER_RANDOM + b"\0" + cipher.to_bytes(2) + b"\0"
    messages = (
        _message(2, hello)
        + _message(11, _vector(_vector(_certificate(), 3), 3))
        + _message(12, key_exchange)
        + _message(14, b"")
    )
    pieces = [messages[at : at + size] for at in range(0, len(messages), size)]
    return b"".join(b"\x16\x03\x03" + _vector(piece) for piece in pieces)


def offers_dhe(hello: bytes) -> bool:
    """Whether a ClientHello record offers finite-field Diffie-Hellman (RFC 5246 §7.4.1.2)."""
    at = 5 + 4 + 2 + 32
    at += 1 + hello[at]
    suites = hello[at + 2 : at + 2 + int.from_bytes(hello[at : at + 2])]
    return any(int.from_bytes(suites[n : n + 2]) in DHE_SUITES for n in range(0, len(suites), 2))


@cache
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 1_024)


@cache
def _certificate() -> bytes:
    key = _key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Lab")])
    begin = datetime.now(UTC) - timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin + timedelta(days=365))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def _message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + _vector(body, 3)


def _vector(content: bytes, width: int = 2) -> bytes:
    return len(content).to_bytes(width) + content
