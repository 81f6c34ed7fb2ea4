"""`python -m bench.soak`: the same hosts again and again through one `Prober`; nothing may pile up.

After every round descriptors, asyncio tasks, live objects and resident memory are counted; growth
beyond noise between the second round, when every cache is warm, and the last one is a failure.  Most
hosts are well (nginx's mail module); some refuse the connection, and some never greet.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import socket
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from bench import nginx
from crawler.executors.lean_process import calm_garbage_collector
from crawler.model.rows import Endpoint, Outcome, Probe
from crawler.probe.prober import Prober
from crawler.settings.config import Config, Pacing, Timeouts

MIB = 1 << 20
REFUSING, SILENT = 100, 1  # endpoints a round; a silent address is asked under one name only


class Count(NamedTuple):
    """What there is when nothing is under way."""

    descriptors: int
    tasks: int
    objects: int
    resident: int  #: bytes


#: Growth from the second round to the last that is still noise.
NOISE = Count(descriptors=0, tasks=0, objects=2_000, resident=16 * MIB)


def count() -> Count:
    """Count now, garbage collected first."""
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return Count(len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks()), len(gc.get_objects()), resident)


async def soak(smtp: int, silent: int, refusing: int, hosts: int, probes: int) -> list[Count]:
    """Rounds over all hosts until so many endpoints were probed; a count after each."""
    config = Config(
        ehlo_name="probe.bench.example",
        allow_network=("127.0.0.0/8",),
        timeouts=Timeouts(greeting=2.0),
        # All hosts are of one provider, and a hundred refusals in a row are meant.
        pacing=Pacing(
            in_flight=400,
            per_network=250,
            per_provider=1_000,
            address_pause=0,
            breaker_refusals=0,
            attempts=2,
            retry_delay=0.1,
        ),
    )
    prober = Prober(config)
    listening = nginx.addresses(hosts)
    endpoints = [Endpoint("smtp", f"mx{n % 400}.bench.example", at, smtp) for n, at in enumerate(listening)]
    endpoints += [Endpoint("smtp", "mx0.bench.example", at, refusing) for at in listening[:REFUSING]]
    endpoints += [Endpoint("smtp", f"silent{n}.bench.example", "127.0.0.1", silent) for n in range(SILENT)]
    wanted = {Outcome.OK: hosts, Outcome.CONNECTION_REFUSED: REFUSING, Outcome.TIMEOUT: SILENT}
    counts, done = [], 0
    while done < probes or len(counts) < 3:
        outcomes: Counter[Outcome | None] = Counter()

        def emit(row: Any, outcomes: Counter[Outcome | None] = outcomes) -> None:
            if isinstance(row, Probe):
                outcomes[row.outcome] += 1

        begin = time.monotonic()
        await prober.probe_endpoints(endpoints, emit)
        done += len(endpoints)
        if outcomes != wanted:  # leaks are looked for where all is well
            raise SystemExit(f"soak: expected {wanted}, found {dict(outcomes)}")
        await asyncio.sleep(0.2)  # the last connections are closed by the loop
        counts.append(now := count())
        sys.stdout.write(
            f"{done:10,} probes  {time.monotonic() - begin:6.1f} s  {now.descriptors:4} descriptors  {now.tasks:3} tasks  "
            f"{now.objects:9,} objects  {now.resident / MIB:7.1f} MiB\n"
        )
        sys.stdout.flush()
    return counts


def grown(counts: list[Count]) -> list[str]:
    """What grew beyond noise between the second count and the last."""
    _, first, *_, last = counts
    return [
        f"{name} grew from {before:,} to {after:,}"
        for name, before, after, noise in zip(Count._fields, first, last, NOISE, strict=True)
        if after - before > noise
    ]


def main() -> None:
    """Start nginx, soak, and exit with 1 if anything grew."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--probes", type=int, default=60_000, help="endpoints probed in all (default: %(default)s)")
    parser.add_argument("--hosts", type=int, default=4_000, help="addresses of nginx (default: %(default)s)")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as directory,
        # A port that waits for a ClientHello never greets.
        nginx.running(Path(directory), "ecdsa", options.hosts, 400) as (smtp, silent),
        socket.socket() as refusing,
    ):
        refusing.bind(("127.0.0.1", 0))  # and never listens
        calm_garbage_collector()
        counts = uvloop.run(soak(smtp, silent, refusing.getsockname()[1], options.hosts, options.probes))
    if growth := grown(counts):
        raise SystemExit("soak: " + "; ".join(growth))
    sys.stdout.write("soak: nothing grew\n")


if __name__ == "__main__":
    main()
