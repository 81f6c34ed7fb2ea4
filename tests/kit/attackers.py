"""Mail hosts that attack whoever measures them; `python -m tests.kit.attackers` serves until its input ends.

One address and port for each attack, printed as JSON, and ten hosts that mean well.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from OpenSSL import SSL

from crawler.lab.behaviours.raw_flights import signed_dhe_flight
from tests.kit.conversations import LEAF
from tests.kit.sealed import (
    ALERT,
    APPLICATION,
    CHANGE_CIPHER_SPEC,
    CONTEXTS,
    HANDSHAKE,
    HELLO,
    Sealed12,
    Sealed13,
    record,
    shake,
    upgrade,
)

Attack = Callable[[socket.socket], None]
ATTACKS: dict[str, Attack] = {}


def attack(function: Attack) -> Attack:
    ATTACKS[function.__name__] = function
    return function


# --- before TLS -----------------------------------------------------------------------------------


@attack
def tarpit(peer: socket.socket) -> None:
    """A byte of a greeting now and then."""
    for byte in b"220-" + b"x" * 10_000:
        peer.sendall(bytes([byte]))
        time.sleep(0.05)


@attack
def tarpit_of_lines(peer: socket.socket) -> None:
    """A line now and then: every one of them is a step forward, the reply never is."""
    while True:
        peer.sendall(b"220-wait\r\n")
        time.sleep(0.05)


@attack
def endless_banner(peer: socket.socket) -> None:
    while True:
        peer.sendall((b"220-" + b"x" * 200 + b"\r\n") * 100)


@attack
def endless_line(peer: socket.socket) -> None:
    peer.sendall(b"220 ")
    while True:
        peer.sendall(b"x" * 65_536)


@attack
def huge_hello(peer: socket.socket) -> None:
    """Ten megabytes of capabilities."""
    peer.sendall(b"220 mx\r\n")
    peer.recv(1_000)
    for _ in range(200):
        peer.sendall(b"250-X%049d\r\n" % 1 * 1_000)
    peer.sendall(b"250 STARTTLS\r\n")


@attack
def many_replies(peer: socket.socket) -> None:
    """Answers to questions that were not asked."""
    while True:
        peer.sendall(b"220 mx\r\n250 mx\r\n" * 100)


@attack
def silent(peer: socket.socket) -> None:
    """Accepts, and that was it: half-open for as long as one lets it be."""
    time.sleep(60)


@attack
def zero_window(peer: socket.socket) -> None:
    """Says all its lines at once and never reads a byte."""
    peer.sendall(b"220 mx\r\n" + HELLO + b"220 go\r\n")
    time.sleep(60)


@attack
def zero_window_after_refusal(peer: socket.socket) -> None:
    """Turns us away and never hears our goodbye, nor closes."""
    peer.sendall(b"554 no\r\n")
    time.sleep(60)


# --- the handshake --------------------------------------------------------------------------------


@attack
def dripped_handshake(peer: socket.socket) -> None:
    upgrade(peer)
    server = SSL.Connection(LEAF.context())
    server.set_accept_state()
    server.bio_write(peer.recv(65_536))
    try:
        server.do_handshake()
    except SSL.WantReadError:
        pass
    for byte in server.bio_read(65_536):
        peer.sendall(bytes([byte]))
        time.sleep(0.02)


@attack
def huge_chain(peer: socket.socket) -> None:
    """A megabyte of certificates."""
    upgrade(peer)
    shake(peer, CONTEXTS["huge"])


@attack
def huge_prime(peer: socket.socket) -> None:
    """TLS 1.2 with DHE over a prime for which the client's library would work a second."""
    upgrade(peer)
    peer.sendall(signed_dhe_flight(peer.recv(65_536), 9_600))
    peer.recv(1)


@attack
def largest_prime(peer: socket.socket) -> None:
    """The same over as many bits as the client takes; it is well signed, so the client does its half of the work."""
    upgrade(peer)
    peer.sendall(signed_dhe_flight(peer.recv(65_536), 8_192))
    peer.recv(65_536)
    time.sleep(60)


@attack
def huge_prime_in_pieces(peer: socket.socket) -> None:
    """The same, a byte of the handshake in each record and a few bytes of a record in each segment."""
    upgrade(peer)
    flight = signed_dhe_flight(peer.recv(65_536), 9_600, size=1)
    for at in range(0, len(flight), 997):
        peer.sendall(flight[at : at + 997])
    peer.recv(1)


@attack
def promised_chain(peer: socket.socket) -> None:
    """A Certificate message that claims 16 MB, in plain TLS 1.2 records without an end."""
    upgrade(peer)
    peer.recv(65_536)
    peer.sendall(record(HANDSHAKE, b"\x02\x00\x00\x26\x03\x03" + b"r" * 32 + b"\x00\xc0\x2b\x00"))
    peer.sendall(record(HANDSHAKE, b"\x0b\xff\xff\xff" + b"c" * 16_000))
    while True:
        peer.sendall(record(HANDSHAKE, b"c" * 16_000))


@attack
def endless_change_cipher_spec(peer: socket.socket) -> None:
    """Records that TLS 1.3 says to ignore (RFC 8446 §5)."""
    upgrade(peer)
    peer.recv(65_536)
    while True:
        peer.sendall(record(CHANGE_CIPHER_SPEC, b"\x01") * 500)


@attack
def endless_warnings(peer: socket.socket) -> None:
    upgrade(peer)
    peer.recv(65_536)
    while True:
        peer.sendall(record(ALERT, b"\x01\x5a") * 500)


@attack
def half_a_handshake(peer: socket.socket) -> None:
    upgrade(peer)
    peer.recv(65_536)
    peer.sendall(b"\x16\x03\x03\x40\x00")
    time.sleep(60)


# --- inside TLS -----------------------------------------------------------------------------------


def flood(peer: socket.socket, sealed: Callable[[], bytes]) -> None:
    """Records without an end, many at a time."""
    while True:
        peer.sendall(b"".join(sealed() for _ in range(500)))


@attack
def endless_tickets(peer: socket.socket) -> None:
    """NewSessionTicket without an end (TLS 1.3)."""
    tls = Sealed13(peer)
    ticket = struct.pack("!IIB8sH", 7_200, 1, 8, b"n" * 8, 1_000) + b"t" * 1_000 + b"\x00\x00"
    flood(peer, lambda: tls.seal(HANDSHAKE, b"\x04" + len(ticket).to_bytes(3) + ticket))


@attack
def endless_key_updates(peer: socket.socket) -> None:
    """Each asks for an answer that we must keep until it is sent."""
    tls = Sealed13(peer)
    flood(peer, tls.seal_key_update)


@attack
def key_updates_with_data(peer: socket.socket) -> None:
    """As before, with a line of a reply between them."""
    tls = Sealed13(peer)
    flood(peer, lambda: tls.seal_key_update() + tls.seal(APPLICATION, b"250-x\r\n"))


@attack
def endless_empty_records(peer: socket.socket) -> None:
    tls = Sealed13(peer)
    flood(peer, lambda: tls.seal(APPLICATION, b""))


@attack
def empty_records_now_and_then(peer: socket.socket) -> None:
    tls = Sealed13(peer)
    while True:
        peer.sendall(tls.seal(APPLICATION, b""))
        time.sleep(0.05)


@attack
def endless_reply_inside(peer: socket.socket) -> None:
    tls = Sealed13(peer)
    flood(peer, lambda: tls.seal(APPLICATION, b"250-" + b"x" * 200 + b"\r\n"))


@attack
def endless_renegotiation(peer: socket.socket) -> None:
    """HelloRequest without an end (TLS 1.2); each refusal is a warning that we must keep until it is sent."""
    tls = Sealed12(peer)
    flood(peer, lambda: tls.seal(HANDSHAKE, b"\x00\x00\x00\x00"))


@attack
def renegotiation(peer: socket.socket) -> None:
    """One HelloRequest, and then patience."""
    peer.sendall(Sealed12(peer).seal(HANDSHAKE, b"\x00\x00\x00\x00"))
    time.sleep(60)


@attack
def reset_inside(peer: socket.socket) -> None:
    Sealed13(peer)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def healthy(peer: socket.socket) -> None:
    """Means well, for comparison."""
    upgrade(peer)
    server = shake(peer, CONTEXTS["healthy"])
    while True:
        try:  # our first command came together with the end of the handshake
            command = server.recv(1_000)
            server.send(b"221 bye\r\n" if command.startswith(b"QUIT") else b"250-mx\r\n250 HELP\r\n")
            peer.sendall(server.bio_read(65_536))
        except SSL.WantReadError:
            data = peer.recv(65_536)
            if not data:
                return
            server.bio_write(data)


# --- serving ---------------------------------------------------------------------------------------


def main() -> None:
    """Listen on an address for each attack (`healthy` on ten), say where, and serve until standard input ends.

    Each attack has a process of its own, so that none has to wait for another's turn.
    """
    hosts = {**ATTACKS, **{f"healthy-{number}": healthy for number in range(10)}}
    listeners = {name: socket.socket() for name in hosts}
    for number, (name, listener) in enumerate(listeners.items(), 1):
        if name == "zero_window":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        listener.bind((f"127.0.60.{number}", 0))
        listener.listen(128)
    children = []
    for name in ATTACKS:
        if (child := os.fork()) == 0:
            _serve(listeners[name], hosts[name])
        children.append(child)
    for name in hosts.keys() - ATTACKS.keys():
        threading.Thread(target=_serve, args=(listeners[name], healthy), daemon=True).start()
    sys.stdout.write(json.dumps({name: listener.getsockname() for name, listener in listeners.items()}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    for child in children:
        os.kill(child, signal.SIGKILL)


def _serve(listener: socket.socket, serve: Attack) -> NoReturn:
    def guarded(peer: socket.socket) -> None:
        try:
            with peer:
                serve(peer)
        except (OSError, SSL.Error):
            pass  # the client has had enough

    while True:
        peer, _ = listener.accept()
        threading.Thread(target=guarded, args=(peer,), daemon=True).start()


if __name__ == "__main__":
    main()
