"""The scenes of `bench.dns`, each run in a process of its own; the last line says what it took."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio

from bench.measure import Stopwatch
from bench.nsd import DOMAINS_PER_PROVIDER, hosts_of, questions
from crawler.dataset.parts import PartWriter
from crawler.dns.client import DnsClient
from crawler.dns.codec import AAAA, MX, TXT, A
from crawler.executors.lean_process import calm_garbage_collector
from crawler.model.rows import TABLES, Domain, LookupStatus, MailHost, Target
from crawler.resolve.domains import resolve_domains
from crawler.resolve.hosts import resolve_hosts
from crawler.settings.config import Config

TYPES = {"MX": MX, "TXT": TXT, "A": A, "AAAA": AAAA}


def settings(port: int) -> Config:
    """Nothing but the defaults, at this resolver."""
    return Config(resolver=(f"127.0.0.1:{port}",))


async def client(port: int, domains: int) -> None:
    """Every question asked and its answer read, as the stage does, and thrown away."""
    config = settings(port)
    statuses: Counter[LookupStatus] = Counter()
    asked = iter(questions(domains))

    async def take(dns: DnsClient) -> None:
        for name, kind in asked:
            answer = await dns.ask(name, TYPES[kind])
            statuses[answer.status] += 1

    async with DnsClient(config) as dns:
        watch = Stopwatch()
        async with anyio.create_task_group() as takers:
            for _ in range(config.dns.domains_in_flight):
                takers.start_soon(take, dns)
        counts = dns.counts()
        watch.report(counts["answered"], lost=counts["lost"], **statuses)
    if set(statuses) - {LookupStatus.OK, LookupStatus.NODATA, LookupStatus.NXDOMAIN}:
        raise SystemExit(f"bench: not every question was answered: {dict(statuses)}")


async def stage(port: int, domains: int) -> None:
    """Targets in, Parquet out, then the mail hosts; shard by shard, as a scan does it."""
    config = settings(port)
    calm_garbage_collector()
    resolved = 0
    with tempfile.TemporaryDirectory() as directory:
        async with DnsClient(config) as dns:
            watch = Stopwatch()
            for start in range(0, domains, config.shards.domains):
                shard = range(start, min(start + config.shards.domains, domains))
                writers = {
                    row: PartWriter(Path(directory) / f"{name}-{start}", row, {}) for name, row in TABLES.items()
                }

                def emit(row: Any, writers: dict[type, PartWriter] = writers) -> None:
                    writers[type(row)].append(row)

                await resolve_domains(map(_target, shard), dns, config, emit)
                await resolve_hosts(_mail_hosts(shard), dns, config, emit)
                for writer in writers.values():
                    writer.close()
                resolved += writers[Domain].rows
            counts = dns.counts()
            watch.report(counts["answered"], lost=counts["lost"], domains=resolved)
    if counts["lost"] or resolved != domains:
        raise SystemExit(f"bench: questions or domains were lost: {counts}")


def _target(number: int) -> Target:
    return Target(f"domain{number}.test", f"domain{number}.test", number + 1)


def _mail_hosts(shard: range) -> Iterator[MailHost]:
    for number in shard:
        if number % DOMAINS_PER_PROVIDER == 0:
            yield from map(MailHost, hosts_of(number))


if __name__ == "__main__":
    scene = {"client": client, "stage": stage}[sys.argv[1]]
    anyio.run(scene, int(sys.argv[2]), int(sys.argv[3]), backend_options={"use_uvloop": True})
