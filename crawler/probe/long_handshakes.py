"""How many bytes of long handshakes a process holds at once: a host may send chains of megabytes to thousands of connections."""

from __future__ import annotations

import weakref
from threading import Lock

LONG_HANDSHAKE = 16 << 10
"""Bytes of a handshake from which on it counts among the long ones; usual ones have 2 to 8 KiB."""


class LongHandshakes:
    """Bytes of long handshakes whose TLS connections a process holds; several threads may ask."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._lock = Lock()

    def has_room(self, size: int, held: object) -> bool:
        """Whether there is room for one of this size; if so it is taken for as long as `held` is."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
        weakref.finalize(held, self._give, size).atexit = False
        return True

    def _give(self, size: int) -> None:
        with self._lock:
            self._left += size
