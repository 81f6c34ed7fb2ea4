"""How a run is cut, and what reading its list may cost; each setting with what it rests on."""

from __future__ import annotations

from dataclasses import dataclass

from crawler.settings.declared import setting


@dataclass(frozen=True, slots=True)
class Sharding:
    """How work is cut; the units that appear whole or not at all."""

    domains: int = setting(20_000, "names of the list in one RESOLVE shard, about", low=1, high=10_000_000)
    hosts: int = setting(20_000, "mail hosts in one shard, about", low=1, high=10_000_000)
    endpoints: int = setting(8_000, "endpoints in one PROBE shard, about", low=1, high=10_000_000)


@dataclass(frozen=True, slots=True)
class Lists:
    """What reading a list of names may cost, whoever made it; beyond it the list is refused and nobody is contacted."""

    memory_bytes: int = setting(
        512 << 20,
        "bytes of memory that unpacking a list may take, or reading a Parquet file, beside the program itself. `xz -9` "
        "needs 65 MiB, `zstd --ultra --long=27` 128 MiB, Parquet as its writers cut it some tens",
        low=32 << 20,
        high=1 << 40,
    )
    unpacked_bytes: int = setting(
        256 << 20,
        "bytes that any packed list may unpack to; a larger one keeps to `unpacked_ratio`. A million names take some 20 MB",
        low=1 << 16,
        high=1 << 50,
    )
    unpacked_ratio: int = setting(
        100,
        "times its own size that a packed list may unpack to beyond that. Names pack to a third or a quarter, zone files "
        "to a tenth; gzip can hold a thousand times its size, zstd and Parquet a million times",
        low=1,
        high=1_000_000_000,
    )
    lines: int = setting(
        5_000_000,
        "lines, or rows, that any list may have; in a longer one they must have four bytes each on average, unpacked, or a byte "
        "where it is Parquet: a line with a name has so much, and an empty one has not",
        low=1,
        high=1_000_000_000_000,
    )
