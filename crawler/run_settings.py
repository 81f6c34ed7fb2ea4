"""How a run is cut, what reading its list may cost, and when a scan doubts itself; each setting with what it rests on."""

from __future__ import annotations

from dataclasses import dataclass

from crawler.settings import setting


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


@dataclass(frozen=True, slots=True)
class Watch:
    """When a scan doubts its own network, its own processes, and its result."""

    connections: int = setting(
        60, "the last connections of a process that are looked at together", low=10, high=100_000
    )
    networks: int = setting(
        30,
        "networks (/24, /48) in which they must have failed: so many do not fail together by chance",
        low=2,
        high=100_000,
    )
    answering: float = setting(
        0.05, "share of them that may have stood all the same; even lists of dead domains have more", low=0, high=0.9
    )
    asked_again: int = setting(
        20,
        "endpoints of different networks that answered in this run and are asked once more on alarm",
        low=1,
        high=1_000,
    )
    pause: float = setting(
        5.0, "seconds before they are asked again in an outage, doubled up to a minute", low=0.05, high=3_600
    )
    patience: float = setting(
        900.0, "seconds of an outage after which the scan ends, to be continued", low=0.1, high=86_400
    )
    silence: float = setting(
        120.0,
        "seconds without a sign of life after which a worker process is stuck, or stopped, and is ended; one says something each second",
        low=1,
        high=86_400,
    )
    given_up: int = setting(
        50,
        "registrable domains of which something is given up, as it ends the process that measures it, before the scan ends; "
        "more is a fault of ours, or of the machine",
        low=0,
        high=100_000,
    )
    given_up_alone: int = setting(
        8,
        "rows of one registrable domain that are found one by one; then what is found with no other domain's is given up together",
        low=1,
        high=1_000,
    )
    resolver_every: float = setting(
        5.0, "seconds between two questions whether a resolver answers", low=0.05, high=3_600
    )
    least: int = setting(50, "domains or endpoints from which on shares of them are judged", low=1, high=1_000_000)
    implausible: float = setting(
        0.5, "share of domains or mail hosts whose DNS failed that makes a run `suspect`; top lists have 2 to 5 %",
        low=0.01, high=1,
    )  # fmt: skip
    implausible_connections: float = setting(
        0.8,
        "share of endpoints without a connection or a word that makes a run `suspect`; top lists have about 10 %, lists of old "
        "domains up to a half",
        low=0.01,
        high=1,
    )
