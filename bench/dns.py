"""`make bench-dns`: our DNS client and the whole RESOLVE stage beside dnsperf, on the same NSD.

NSD serves a generated zone on loopback and plays the resolver.  dnsperf (C) only counts answers; our
client reads and judges them; the stage makes rows of them and writes Parquet.  The figure is answers
per CPU-second of the client process (user + system, after start-up), as a ratio to dnsperf's.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import nsd
from bench.measure import Measured, program, scene, table

DNSPERF = "dnsperf (C, only counts)"


def main() -> None:
    """Run all scenes, each in a process of its own, and print one table."""
    parser = argparse.ArgumentParser(prog="python -m bench.dns", description=__doc__)
    parser.add_argument("--domains", type=int, default=100_000, help="domains in the zone (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=1, help="times everything is measured (default: %(default)s)")
    options = parser.parse_args()
    few = min(10_000, options.domains)  # memory must not depend on the length of the list
    with tempfile.TemporaryDirectory() as directory, nsd.running(Path(directory), nsd.zone(options.domains)) as port:
        asked = Path(directory) / "questions.txt"
        with asked.open("w") as out:
            out.writelines(f"{name} {kind}\n" for name, kind in nsd.questions(options.domains))
        for _ in range(options.rounds):
            rows = [
                dnsperf(port, asked),
                _scene("our client", "client", port, options.domains),
                _scene("our whole RESOLVE stage, with Parquet", "stage", port, options.domains),
                _scene(f"the same, {few:,} domains", "stage", port, few),
            ]
            rows += _two_at_once(port, options.domains // 2)
            sys.stdout.write(f"\n{table(rows, DNSPERF, 'answers')}\n")


def dnsperf(port: int, questions: Path) -> Measured:
    """The questions once, in their order, with EDNS and the DO bit as ours have."""
    if shutil.which("dnsperf") is None:
        raise SystemExit("bench: dnsperf is needed: apt install dnsperf")
    command = ["dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(questions), "-n", "1", "-e", "-D"]

    def count(output: str) -> int:
        found = re.search(r"Queries completed:\s+(\d+)", output)
        if found is None:
            raise SystemExit(f"bench: dnsperf said: {output[-500:]}")
        return int(found[1])

    return program(DNSPERF, command, count)


def _two_at_once(port: int, domains: int) -> list[Measured]:
    """Two processes, half of the work each: a second core should be worth a second core."""
    with ThreadPoolExecutor(2) as both:
        names = ["stage in two processes, the first", "stage in two processes, the second"]
        return list(both.map(lambda name: _scene(name, "stage", port, domains), names))


def _scene(name: str, what: str, port: int, domains: int) -> Measured:
    try:
        return scene(name, "bench.dns_scenes", what, str(port), str(domains))
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"bench: {name} failed") from error


if __name__ == "__main__":
    main()
