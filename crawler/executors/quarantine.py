"""Shards that may have ended the process that did them: which are suspected, and which of them did it.

This module keeps the account; it starts no process and writes no file.

A process has up to sixteen shards in hand, and when it ends in the middle of them, any may be the reason.  So they are done
again in quarantine: in two groups, each by a process that has nothing else in hand.  A group that ends its process is
halved again.  A shard that ends its process alone is guilty: its rows are divided among two new shards, until one row is left.
A shard that is done is innocent, and its rows are kept.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection

_ALONE = 2
"""Times that a shard ends its process alone before it is guilty.  Once may be an accident: of the machine, of its operator."""


class Quarantine:
    """The suspected shards of one step."""

    def __init__(self) -> None:
        self._groups: deque[tuple[int, ...]] = deque()
        self._ended_alone: Counter[int] = Counter()

    def __bool__(self) -> bool:
        """Whether there are shards to be done in quarantine."""
        return bool(self._groups)

    def suspect(self, shards: Collection[int]) -> int | None:
        """A process ended, or failed, with these in hand.  Returns the shard that did it, once that is known.

        A guilty shard is forgotten here; who asks decides what becomes of it.
        """
        found = sorted(shards)
        if len(found) > 1:
            middle = len(found) // 2
            self._groups.extendleft((tuple(found[middle:]), tuple(found[:middle])))
        elif found:
            (shard,) = found
            self._ended_alone[shard] += 1
            if self._ended_alone[shard] >= _ALONE:
                return shard
            self._groups.appendleft((shard,))
        return None

    def add(self, shard: int, ended_alone: int = 0) -> None:
        """Have a shard done alone, before others, so that what ends processes is found soon; `ended_alone` counts against it."""
        self._ended_alone[shard] += ended_alone
        self._groups.appendleft((shard,))

    def next(self, may_begin: Callable[[int], bool]) -> tuple[int, ...]:
        """A group to be done now, by a process that has nothing in hand; empty if there is none."""
        for group in self._groups:
            if all(map(may_begin, group)):
                self._groups.remove(group)
                return group
        return ()
