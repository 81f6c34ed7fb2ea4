"""How much a worker process has in hand, how much it may say at once, and how many may end idle."""

from __future__ import annotations

from crawler.settings.declared_limits import limit

MAX_ACTIVE = limit(
    16, "shards under way at once in one process", protects="our memory", cut="nothing is cut: the others wait"
)
"""Shards under way at once in one process; most of them wait for slow hosts or for a second try."""

MAX_IDLE_DEATHS = limit(
    3,
    "worker processes in a row that end with no shard in hand",
    protects="our time",
    cut="the scan ends and says how the last one ended; what is finished is kept",
)
"""A shard that gets done in between begins the count anew."""

MAX_MESSAGE = limit(
    1 << 16,
    "bytes of one message of a worker process",
    protects="our memory",
    cut="the process is ended and another started, with a warning; its shards are done again",
)

MOST_DOUBTS = limit(
    1_000, "alarms in vain that the manifest tells of", protects="the manifest", cut="later ones are not told of"
)
