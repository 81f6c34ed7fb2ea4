"""`python -m bench.crowd`: as many hosts in flight as there are, in two processes at once, and what memory they take.

The worst case for memory: every host greets after five seconds, so that all wait at the same time,
and then all shake hands at the same time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import uvloop

from bench import nginx
from bench.measure import Stopwatch
from crawler.executors.lean_process import calm_garbage_collector
from crawler.model.rows import Endpoint, Outcome, Probe
from crawler.probe.prober import Prober
from crawler.settings.config import Config, Pacing, Timeouts

DELAY = 5
A_SERVER = 5_000  # addresses of one nginx: each is a descriptor, and so is each connection


async def crowd(where: list[tuple[int, int, int]]) -> None:
    """Probe every host (port, first address, number of them) at once; the last line says what it took."""
    endpoints = [
        Endpoint("smtp", f"mx{number % 400}.bench.example", address, port)
        for port, first, hosts in where
        for number, address in enumerate(nginx.addresses(hosts, first))
    ]
    config = Config(
        ehlo_name="probe.bench.example",
        allow_network=("127.0.0.0/8",),
        # Here the machine is server and client both; nobody should be given up for want of CPU.
        timeouts=Timeouts(connect=120, greeting=120, reply=120, handshake=120, target=600),
        pacing=Pacing(in_flight=len(endpoints), per_network=250, per_provider=100_000, attempts=1),
    )
    outcomes: Counter[str] = Counter()
    most = 0

    def emit(row: Any) -> None:
        if isinstance(row, Probe):
            outcomes[row.outcome or ""] += 1

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, len(os.listdir("/proc/self/fd")))
            await anyio.sleep(0.5)

    prober = Prober(config)
    taken = Stopwatch()
    async with anyio.create_task_group() as watching:
        watching.start_soon(watch)
        await prober.probe_endpoints(endpoints, emit)
        watching.cancel_scope.cancel()
    taken.report(len(endpoints), **outcomes, descriptors=most)
    if outcomes != {Outcome.OK: len(endpoints)}:
        raise SystemExit(f"bench: not every endpoint was probed well: {dict(outcomes)}")


def main() -> None:
    """Start the servers, then the processes that probe, all at the same time."""
    parser = argparse.ArgumentParser(prog="python -m bench.crowd", description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--hosts", type=int, default=10_000, help="in flight in each process (default: %(default)s)")
    parser.add_argument("--where", help=argparse.SUPPRESS)  # such a process: its hosts, as JSON
    options = parser.parse_args()
    if options.where:
        calm_garbage_collector()
        uvloop.run(crowd(json.loads(options.where)))
        return
    with ExitStack() as running:
        clients = []
        for begin in range(0, options.processes * options.hosts, options.hosts):
            where = []
            for first in range(begin, begin + options.hosts, A_SERVER):
                hosts = min(A_SERVER, begin + options.hosts - first)
                directory = Path(running.enter_context(tempfile.TemporaryDirectory()))
                server = nginx.running(directory, "ecdsa", hosts, 100, delay=DELAY, first=first)
                port, _ = running.enter_context(server)
                where.append((port, first, hosts))
            clients.append(where)
        command = [sys.executable, "-m", "bench.crowd", "--where"]
        probing = [
            subprocess.Popen([*command, json.dumps(where)], stdout=subprocess.PIPE, text=True) for where in clients
        ]
        results = [json.loads(client.communicate()[0].splitlines()[-1]) for client in probing]
    for result in results:
        notes = ", ".join(f"{name} {value:,}" for name, value in result["notes"].items())
        sys.stdout.write(
            f"{result['count']:,} hosts  {result['wall']:6.1f} s  {result['cpu']:6.1f} CPU-s  "
            f"{result['peak']:7.0f} MiB at most  {notes}\n"
        )
    sys.stdout.write(f"together {sum(result['peak'] for result in results):,.0f} MiB at most\n")


if __name__ == "__main__":
    main()
