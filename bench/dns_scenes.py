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
from bench.nsd import hosts_of, questions
from crawler.config import Config
from crawler.dns.client import DnsClient
from crawler.dns.codec import AAAA, MX, TXT, A
from crawler.parts import PartWriter
from crawler.records import TABLES, LookupStatus, MailHost, Target
from crawler.resolve import resolve_domains, resolve_hosts

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
    """Targets in, Parquet out; then the distinct mail hosts."""
    config = settings(port)

    def targets() -> Iterator[Target]:
        for n in range(domains):
            yield Target(f"domain{n}.test", f"domain{n}.test", n + 1)

    def hosts() -> Iterator[MailHost]:
        for host in {host: None for n in range(domains) for host in hosts_of(n)}:
            yield MailHost(host)

    with tempfile.TemporaryDirectory() as directory:
        writers = {row: PartWriter(Path(directory) / name, row, {}) for name, row in TABLES.items()}

        def emit(row: Any) -> None:
            writers[type(row)].append(row)

        async with DnsClient(config) as dns:
            watch = Stopwatch()
            await resolve_domains(targets(), dns, config, emit)
            await resolve_hosts(hosts(), dns, config, emit)
            for writer in writers.values():
                writer.close()
            counts = dns.counts()
            watch.report(counts["answered"], lost=counts["lost"], domains=writers[TABLES["domains"]].rows)
    if counts["lost"] or writers[TABLES["domains"]].rows != domains:
        raise SystemExit(f"bench: questions or domains were lost: {counts}")


if __name__ == "__main__":
    scene = {"client": client, "stage": stage}[sys.argv[1]]
    anyio.run(scene, int(sys.argv[2]), int(sys.argv[3]), backend_options={"use_uvloop": True})
