"""What a server's first flight says in the open, read before the TLS library sees it: how large its Diffie-Hellman prime is.

This module is pure, linear, and it refuses nothing: bytes that it cannot read are left to the library.  The
library takes a prime of 10,000 bits, over which one handshake costs a second of processor time, in one turn of the
event loop.  RFC 5246 §6.2.1 (records), §7.4 (messages); TLS 1.3 has no such message.
"""

from __future__ import annotations

from collections.abc import Callable

from crawler.tls.dhe_cost import estimated_seconds

_HEADER = 5  # type, version, length (§6.2.1)
_ALERT, _HANDSHAKE, _CHANGE_CIPHER_SPEC, _APPLICATION_DATA = 21, 22, 20, 23
_KNOWN = frozenset({_ALERT, _HANDSHAKE, _CHANGE_CIPHER_SPEC, _APPLICATION_DATA})
_SERVER_HELLO, _SERVER_KEY_EXCHANGE, _SERVER_HELLO_DONE = 2, 12, 14
_READ = frozenset({_SERVER_HELLO, _SERVER_KEY_EXCHANGE})
_SESSION_ID = 2 + 32  # where its length stands: behind server_version and random (§7.4.1.3)


class ServerFlight:
    """Takes the bytes of the handshake as they come, in records and segments of any size.

    `is_dhe` says of a cipher suite (its two bytes) whether its key exchange is over a finite field, with a
    ServerKeyExchange that begins with the prime.
    """

    __slots__ = ("_header", "_is_dhe", "_kind", "_left", "_message", "_skip", "done", "prime_bits", "seconds")

    def __init__(self, is_dhe: Callable[[bytes], bool]) -> None:
        self.prime_bits = 0  #: of the prime, once it has come whole
        self.seconds = 0.0  #: of processor time that a handshake over it costs, as estimated
        self.done = False  #: nothing more can be learnt
        self._is_dhe = is_dhe
        self._header = bytearray()  # of the record that begins
        self._kind = 0  # of the record under way
        self._left = 0  # bytes of it to come
        self._message = bytearray()  # the handshake message under way, or the beginning of one
        self._skip = 0  # bytes to come of a message that nobody reads

    def feed(self, data: bytes) -> None:
        """Read on; a message may end in another record or segment than it begins in."""
        at = 0
        while not self.done and at < len(data):
            if self._left:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                if self._kind == _HANDSHAKE:
                    self._hear(piece)
            else:
                piece = data[at : at + _HEADER - len(self._header)]
                at += len(piece)
                self._header += piece
                if len(self._header) == _HEADER:
                    self._kind, self._left = self._header[0], int.from_bytes(self._header[3:])
                    self._header.clear()
                    self.done = self._kind not in _KNOWN

    def _hear(self, piece: bytes) -> None:
        if self._skip:
            skipped = min(self._skip, len(piece))
            self._skip -= skipped
            piece = piece[skipped:]
        message = self._message
        message += piece
        while len(message) >= 4 and not self.done:
            kind, end = message[0], 4 + int.from_bytes(message[1:4])
            if kind in _READ:
                if len(message) < end:
                    return
                self._understand(kind, bytes(message[4:end]))
            elif kind == _SERVER_HELLO_DONE:
                self.done = True
            elif len(message) < end:
                self._skip = end - len(message)
                message.clear()
                return
            del message[:end]

    def _understand(self, kind: int, body: bytes) -> None:
        if kind == _SERVER_HELLO:
            suite = _SESSION_ID + 1 + (body[_SESSION_ID] if len(body) > _SESSION_ID else 0)
            self.done = not self._is_dhe(body[suite : suite + 2])
        else:
            self.done = True
            prime = body[2 : 2 + int.from_bytes(body[:2])]
            self.prime_bits = int.from_bytes(prime).bit_length()
            rest = body[2 + len(prime) :]
            self.seconds = estimated_seconds(prime, rest[2 : 2 + int.from_bytes(rest[:2])])
