"""A memory of what was computed lately, which never outgrows its size.

This module is pure.  What is kept is weighed, not counted: strangers make some things, and one of these may be as
large as thousands.

The LRU cache of `cachetools` does the same.  A hit took 1.9 times as long there and a miss 2.4 times (version 8.0, CPython
3.11), and a verdict on a known chain 2 to 3 % longer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from crawler.settings.declared_limits import limit

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

#: Bytes that the parsed certificates remembered by one process take: some 8,000 with RSA keys, or 800 hostile ones.
KEPT_CERTIFICATES = limit(
    150 << 20,
    "bytes of parsed certificates remembered by a process",
    protects="our memory",
    cut="the oldest are forgotten and parsed anew, which changes no finding",
)
KEPT_CHAINS = limit(
    8_000,
    "verdicts on chains remembered by a process, of each kind",
    protects="our memory",
    cut="the oldest are forgotten and made anew, which changes no finding",
)


class LruCache(Generic[K, V]):
    """What was computed for the keys used last; the least recently used is forgotten first.

    All that is kept weighs no more than `size` together; without a scale each value weighs 1.
    """

    def __init__(self, size: int, weigh: Callable[[V], int] = lambda value: 1) -> None:
        self._size = size
        self._weigh = weigh
        self._weight = 0
        self._kept: OrderedDict[K, V] = OrderedDict()

    def of(self, key: K, compute: Callable[[], V]) -> V:
        """The value of the key, computed if it is not remembered."""
        try:
            self._kept.move_to_end(key)
            return self._kept[key]
        except KeyError:
            value = self._kept[key] = compute()
            self._weight += self._weigh(value)
            while self._weight > self._size:
                self._weight -= self._weigh(self._kept.popitem(last=False)[1])
            return value
