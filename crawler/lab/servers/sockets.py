"""Listening sockets of the lab, and such that swallow every SYN."""

from __future__ import annotations

import ctypes
import socket
import struct
from ipaddress import ip_address

_BACKLOG = 512
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h; not in Python's socket module


def bound_socket(address: str, port: int, *, dropped: bool) -> socket.socket:
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setblocking(False)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if dropped:
            _drop_everything(bound)
        bound.bind((address, port))
        bound.listen(_BACKLOG)
    except BaseException:
        bound.close()
        raise
    return bound


def _drop_everything(bound: socket.socket) -> None:
    """Attach a packet filter of one instruction, `return 0`: the kernel drops every SYN without a word."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    bound.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", 1, ctypes.addressof(program)))
