"""Cutting work into shards between the steps: the list, its mail hosts, their endpoints.

Rule of this room: it streams from parts to parts in bounded memory and asks nobody.  A plan appears
as a whole directory or not at all, and one that stands is never made again, so a resumed run does
the same shards.

A shard is a hash of what must not be torn apart: the name, so that duplicates meet; the mail host;
the network of the address (/24 or /48), so that limits per address and network are exact within one
shard.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from crawler.config import STANDARD_PORTS, Config
from crawler.pacing import network_of
from crawler.parts import PartWriter, hidden, opened, publish, read_rows, sync_directory
from crawler.records import Endpoint, Host, MailHost, Tlsa, TlsaStatus
from crawler.storage import DOMAINS, HOSTS, PROBES, Run, Step
from crawler.targets import read_targets

MAX_SHARDS = 2_000
"""Files written at once while a plan is made; a longer list gets larger shards."""

_SMALLEST = 500
"""Rows worth a shard of their own, so that a short list still occupies every process."""

_BUFFERED_ROWS = 65_536
_BUFFERED_BYTES = 128 << 20

Tick = Callable[[int], None]
"""Told how many rows went by; may raise to stop the work."""


def cut_targets(run: Run, source: Path, lines: int, config: Config, workers: int, tick: Tick) -> None:
    """The list by A-label (what is no name by its text); `lines` is an upper bound of its length."""
    count = min(lines, config.limit or lines)
    shards = shard_count(count, config.shards.domains, workers)
    rows = read_targets(source, config.limit)
    _scatter(run, DOMAINS, shards, rows, lambda t: (t.domain or t.listed or "").encode(), tick)


def cut_hosts(run: Run, config: Config, workers: int, tick: Tick) -> None:
    """The mail hosts of all domains; one in several parts meets its doubles in its shard."""
    parts = run.parts("domains")
    bound = 0
    for part in parts:
        bound += sum(1 for _ in _mail_hosts(part))
        tick(0)
    shards = shard_count(bound, config.shards.hosts, workers)
    rows = (MailHost(host) for part in parts for host in _mail_hosts(part))
    _scatter(run, HOSTS, shards, rows, lambda h: h.host.encode(), tick)


def cut_endpoints(run: Run, config: Config, workers: int, tick: Tick) -> None:
    """Hosts x addresses x protocols, each with the TLSA records to hold its chain against."""
    count = 0
    for part in run.parts("hosts"):
        with opened(part) as file:
            lengths = pc.list_value_length(file.read(columns=["addresses"])["addresses"])
        count += (pc.sum(lengths).as_py() or 0) * len(config.protocol)
        tick(0)
    shards = shard_count(count, config.shards.endpoints, workers)
    _scatter(run, PROBES, shards, _endpoints(run, config), lambda e: network_of(e.address), tick)


def shard_count(count: int, size: int, workers: int) -> int:
    """Shards of about `size`, but work for every process as long as there is enough of it."""
    return max(1, min(MAX_SHARDS, max(-(-count // size), min(2 * workers, count // _SMALLEST))))


def _mail_hosts(part: Path) -> Iterator[str]:
    """The distinct mail hosts of one part of `domains`."""
    with opened(part) as file:
        mx = file.read(columns=["mx"])["mx"].combine_chunks()
    for host in pc.unique(pc.struct_field(pc.list_flatten(mx), "host")).to_pylist():
        if host:
            yield host


def _endpoints(run: Run, config: Config) -> Iterator[Endpoint]:
    ports = [(protocol, config.port_of(protocol), STANDARD_PORTS[protocol]) for protocol in config.protocol]
    for shard in run.shards(HOSTS):
        # One shard wrote both parts, so the join needs no other.
        hosts, tlsa = run.part_path("hosts", HOSTS, shard), run.part_path("tlsa", HOSTS, shard)
        found: dict[tuple[str, int], Tlsa] = {}
        if tlsa.exists():
            found = {(row.host, row.port): row for row in read_rows(tlsa, Tlsa)}
        unknown = Tlsa(status=TlsaStatus.NOT_ASKED)
        for host in read_rows(hosts, Host) if hosts.exists() else ():
            for protocol, port, standard in ports:
                rrset = found.get((host.host, standard), unknown)
                for address in host.addresses or ():
                    yield Endpoint(
                        protocol, host.host, address, port,
                        rrset.base_domain, rrset.status, rrset.records, rrset.records_dropped,
                    )  # fmt: skip


def _scatter(run: Run, step: Step, shards: int, rows: Iterable[Any], key: Callable[[Any], bytes], tick: Tick) -> None:
    """Write each row to the shard its key hashes to, then let all shards appear together."""
    folder = run.work / step.folder
    temporary = hidden(folder)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    writers: dict[int, PartWriter] = {}
    signature = run.signature(run.manifest())
    try:
        for number, row in enumerate(rows, 1):
            shard = int.from_bytes(blake2b(key(row), digest_size=6).digest()) % shards
            writer = writers.get(shard)
            if writer is None:
                writer = writers[shard] = PartWriter(
                    temporary / f"{shard:04d}.parquet",
                    step.row,
                    signature,
                    rows_at_once=max(16, min(1_024, _BUFFERED_ROWS // shards)),
                    group_bytes=max(1 << 16, min(8 << 20, _BUFFERED_BYTES // shards)),
                )
            writer.append(row)
            if not number % 4_096:
                tick(4_096)
        for writer in writers.values():
            writer.close()
            tick(0)
    except BaseException:
        for writer in writers.values():
            writer.abandon()
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_directory(temporary)
    publish(temporary, folder)
