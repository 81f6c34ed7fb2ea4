"""`make bench-scan`: the whole pipeline, from a list to a finished dataset, on NSD and nginx.

Three scans of the same list: with the questions of zdns | zgrab2 (MX and A), with every question
of the crawler, and two names only, which is what start-up costs.  CPU is that of all our processes,
the parent and its workers, user + system; NSD and nginx are not counted.  Beside it, in the same
run, dnsperf and `openssl s_time -new` on the same servers: a CPU-second is worth something else on
every machine, and these two say what.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench import scan_world, validated
from bench.dns import dnsperf
from bench.measure import Measured
from bench.probe import s_time
from bench.scan_world import World

AS_OTHERS = ("--no-tlsa", "--no-mta-sts", "--no-tlsrpt", "--ipv4")
"""What is left is MX and A."""

MILLION = (1_000_000, 50_000)

REFERENCE = {"connections": 940, "answers": 140_000}
"""What a CPU-second of `openssl s_time -new` and of dnsperf is worth on the machine that the goals are stated for."""

_PAGE = resource.getpagesize()


@dataclass
class Scan:
    """What one scan took."""

    name: str
    domains: int
    cpu: float  #: user + system seconds of all processes
    wall: float
    peak: float  #: MiB resident, the sum over all processes, shared pages counted in each
    largest: float  #: MiB resident of the largest process
    tables: int  #: bytes of the tables
    whole: int  #: bytes of the run's directory
    steps: list[str] = field(default_factory=list)


def main() -> None:
    """Run all scenes and print what they took."""
    parser = argparse.ArgumentParser(prog="python -m bench.scan", description=__doc__)
    parser.add_argument("--domains", type=int, default=20_000, help="(default: %(default)s)")
    parser.add_argument("--hosts", type=int, default=5_000, help="mail hosts (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of everything (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=3, help="for openssl s_time (default: %(default)s)")
    parser.add_argument("--million", action="store_true", help="once, every question, a million domains, 50,000 hosts")
    options = parser.parse_args()
    if options.million:
        options.domains, options.hosts = MILLION
        options.rounds = 1
    with tempfile.TemporaryDirectory(prefix="bench-scan-") as name:
        directory = Path(name)
        with (
            scan_world.running(directory, options.domains, options.hosts) as world,
            validated.running(world.dns) as validating,
        ):
            rounds = [
                _round(directory / f"round-{number}", world, validating, options) for number in range(options.rounds)
            ]
            sys.stdout.write(_scaled(rounds))


def _round(
    directory: Path, world: World, validating: int, options: argparse.Namespace
) -> tuple[list[Measured], list[Scan]]:
    directory.mkdir()
    both, everything = directory / "two.txt", directory / "list.txt"
    both.write_text("domain0.test\ndomain1.test\n")
    everything.write_text("".join(f"domain{n}.test\n" for n in range(world.domains)))
    asked = directory / "questions.txt"
    with asked.open("w") as out:
        out.writelines(f"{name} {kind}\n" for name, kind in scan_world.questions(world.domains, world.hosts))
    references = [s_time(world.implicit, options.seconds), dnsperf(world.dns, asked)]

    def run(name: str, source: Path, dns: int, *flags: str, shard: int = 20_000) -> Scan:
        config = directory / f"{name}.toml"
        config.write_text(_settings(world, dns, shard))
        command = ["scan", str(source), "--config", str(config), "--workers", str(options.workers), *flags]
        return _scanned(name, command, directory / name)

    scans = [run("start-up", both, world.dns, *AS_OTHERS, shard=1)]
    if not options.million:
        scans.append(run("MX and A", everything, world.dns, *AS_OTHERS))
    scans.append(run("every question", everything, validating))
    sys.stdout.write(_report(world, references, scans))
    sys.stdout.flush()
    return references, scans


def _settings(world: World, dns: int, shard: int) -> str:
    """The defaults, but for where everything is and that loopback is one provider's network."""
    return f"""\
resolver = ["127.0.0.1:{dns}"]
ehlo_name = "probe.bench.example"
allow_network = ["127.0.0.0/8"]
ca_file = "{world.ca_file}"
port = {{ smtp = {world.smtp} }}
https = {{ port = {world.https} }}
shards = {{ domains = {shard} }}
[pacing]
per_network = 250
in_flight = 400
address_pause = 0.0
names_per_address = {max(16, world.shared)}
"""


def _scanned(name: str, command: list[str], data: Path) -> Scan:
    """Run one scan and watch all its processes."""
    before, begin = _children_cpu(), time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "crawler", *command, "--data", str(data)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        memory = _Memory(process.pid)
        out, said = process.communicate()
        memory.stop()
    cpu, wall = _children_cpu() - before, time.monotonic() - begin
    if process.returncode:
        raise SystemExit(f"bench: the scan failed: {said}")
    (run,) = data.glob("run=*")
    domains = next(int(line.split()[1].replace(",", "")) for line in out.splitlines() if line.startswith("  domains"))
    endpoints = next(line for line in out.splitlines() if line.startswith("  probes"))
    if "ok" not in endpoints or len(endpoints.split()) != 4:
        raise SystemExit(f"bench: not every endpoint was probed well: {endpoints}")
    tables = sum(path.stat().st_size for path in run.glob("*/*.parquet"))
    whole = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    return Scan(name, domains, cpu, wall, memory.peak, memory.largest, tables, whole, _steps(said))


def _steps(said: str) -> list[str]:
    if "ERROR" in said:
        raise SystemExit(f"bench: something went wrong in the scan: {said}")
    return [line for line in said.splitlines() if " in " in line]


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class _Memory:
    """Resident memory of a process and all its descendants, looked at twenty times a second."""

    def __init__(self, pid: int) -> None:
        self.peak = self.largest = 0.0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            sizes = [_resident(pid) for pid in _family(self._pid)]
            self.peak = max(self.peak, sum(sizes))
            self.largest = max(self.largest, *sizes)


def _family(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found = children.read_text().split()
        except OSError:  # it has just ended
            continue
        for child in found:
            yield from _family(int(child))


def _resident(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 2**20
    except OSError:
        return 0.0


# --- what it says ----------------------------------------------------------------------------------


def _report(world: World, references: list[Measured], scans: list[Scan]) -> str:
    lines = [f"\n{world.domains:,} domains on {world.hosts:,} mail hosts"]
    if world.shared > 1:
        lines[0] += f", {world.shared} of them at one address (nginx would need a descriptor for each)"
    lines += [f"  {row.name:40} {row.rate:10,.0f} per CPU-second" for row in references]
    startup = scans[0].cpu
    lines.append(
        f"  {'':16} {'CPU s':>6} {'- start':>7} {'domains/CPU-s':>13} {'wall s':>7} "
        f"{'MiB all':>8} {'MiB one':>8} {'tables':>11} {'B/domain':>8} {'all files':>11}"
    )
    for scan in scans:
        net = scan.cpu - startup
        rate = f"{scan.domains / net:13,.0f}" if net > 0 else " " * 13
        lines.append(
            f"  {scan.name:16} {scan.cpu:6.2f} {net:7.2f} {rate} {scan.wall:7.1f} {scan.peak:8.0f} {scan.largest:8.0f} "
            f"{scan.tables:11,} {scan.tables / scan.domains:8.0f} {scan.whole:11,}"
        )
    for scan in scans[1:]:
        lines += [f"    {scan.name}: {line}" for line in scan.steps]
    return "\n".join(lines) + "\n"


def _scaled(rounds: list[tuple[list[Measured], list[Scan]]]) -> str:
    """The mean of all rounds, and what it would be on the machine of the goals, by either reference."""
    tls, dns = (sum((row for row in rows[1:]), rows[0]) for rows in zip(*(r for r, _ in rounds), strict=True))
    lines = [f"\nmean of {len(rounds)}, CPU-seconds after start-up"]
    for scans in zip(*(s for _, s in rounds), strict=True):
        if scans[0].name == "start-up":
            startup = sum(scan.cpu for scan in scans) / len(scans)
            continue
        net = sum(scan.cpu for scan in scans) / len(scans) - startup
        lines.append(
            f"  {scans[0].name:16} {net:6.2f}; where s_time does {REFERENCE['connections']:,}: "
            f"{net * tls.rate / REFERENCE['connections']:.2f}; where dnsperf does {REFERENCE['answers']:,}: "
            f"{net * dns.rate / REFERENCE['answers']:.2f}"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
