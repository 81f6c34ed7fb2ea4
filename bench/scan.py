"""`make bench-scan`: the whole pipeline, from a list to a finished dataset, on NSD and nginx.

Three scans of the same list: with the questions of other pipelines (MX and A), with every question
of the crawler, and one domain only, which is what start-up costs.  CPU is that of all processes of a program from its
first instruction on, user + system, start-up included; NSD and nginx are not counted.  Beside it, in the
same run and on the same servers, the programs of `bench.others` that are on PATH: a CPU-second is worth
something else on every machine, and they say what.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench import others, scan_world, validated
from bench.others import Given, Row
from bench.scan_world import World
from bench.whole import whole

AS_OTHERS = ("--no-tlsa", "--no-mta-sts", "--no-tlsrpt", "--ipv4")
"""What is left is MX and A."""

MILLION = (1_000_000, 50_000)

HERE = Path(__file__).resolve().parent.parent
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
    parser.add_argument("--rounds", type=int, default=5, help="of everything (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=3, help="for openssl s_time (default: %(default)s)")
    parser.add_argument("--million", action="store_true", help="once, every question, a million domains, 50,000 hosts")
    parser.add_argument(
        "--against", type=Path, metavar="DIR", help="another source tree, scanned with in turns with ours"
    )
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
            given = Given(directory, world, options.seconds).write()
            rounds = [
                _round(directory / f"round-{number}", given, validating, options) for number in range(options.rounds)
            ]
            sys.stdout.write(_side_by_side(rounds))


def _round(directory: Path, given: Given, validating: int, options: argparse.Namespace) -> tuple[list[Row], list[Scan]]:
    world = given.world
    directory.mkdir()
    one, everything = directory / "one.txt", directory / "list.txt"
    one.write_text("domain0.test\n")
    everything.write_text("".join(f"domain{n}.test\n" for n in range(world.domains)))

    def run(name: str, source: Path, dns: int, *flags: str, tree: Path = HERE) -> Scan:
        config = directory / f"{name}.toml"
        config.write_text(_settings(world, dns))
        command = ["scan", str(source), "--config", str(config), "--workers", str(options.workers), *flags]
        return _scanned(name, command, directory / name, tree)

    rows = list(others.rows(given))
    scans = [run("one domain", one, world.dns, *AS_OTHERS)]
    if not options.million:
        scans.append(run("MX and A", everything, world.dns, *AS_OTHERS))
    if options.against:
        other = options.against.resolve()
        scans.append(run("MX and A, another tree", everything, world.dns, *AS_OTHERS, tree=other))
    scans.append(run("every question", everything, validating))
    sys.stdout.write(_report(world, scans))
    sys.stdout.flush()
    return rows, scans


def _settings(world: World, dns: int) -> str:
    """The defaults, but for where everything is and that loopback is one provider's network."""
    return f"""\
resolver = ["127.0.0.1:{dns}"]
ehlo_name = "probe.bench.example"
allow_network = ["127.0.0.0/8"]
ca_file = "{world.ca_file}"
port = {{ smtp = {world.smtp} }}
https = {{ port = {world.https} }}
[pacing]
per_network = 250
in_flight = 400
address_pause = 0.0
names_per_address = {max(16, world.shared)}
"""


def _scanned(name: str, command: list[str], data: Path, tree: Path) -> Scan:
    """Run one scan and watch all its processes."""
    memory = _Memory()
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    command = [sys.executable, "-P", "-m", "crawler", *command, "--data", str(data)]
    took = whole(command, environment=environment, watch=memory.of)
    if took.code:
        raise SystemExit(f"bench: the scan failed: {took.err}")
    out, said = took.out, took.err
    (run,) = data.glob("run=*")
    domains = next(int(line.split()[1].replace(",", "")) for line in out.splitlines() if line.startswith("  domains"))
    endpoints = next(line for line in out.splitlines() if line.startswith("  probes"))
    if "ok" not in endpoints or len(endpoints.split()) != 4:
        raise SystemExit(f"bench: not every endpoint was probed well: {endpoints}")
    tables = sum(path.stat().st_size for path in run.glob("*/*.parquet"))
    stored = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    return Scan(name, domains, took.cpu, took.wall, memory.peak, memory.largest, tables, stored, _steps(said))


def _steps(said: str) -> list[str]:
    if "ERROR" in said:
        raise SystemExit(f"bench: something went wrong in the scan: {said}")
    return [line for line in said.splitlines() if " in " in line]


class _Memory:
    """Resident memory of a process and all its descendants, looked at twenty times a second."""

    def __init__(self) -> None:
        self.peak = self.largest = 0.0
        self._over = threading.Event()

    def of(self, pid: int) -> Callable[[], None]:
        """Begin to look; returns what ends it."""
        self._pid = pid
        thread = threading.Thread(target=self._watch)
        thread.start()

        def stop() -> None:
            self._over.set()
            thread.join()

        return stop

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


def _report(world: World, scans: list[Scan]) -> str:
    lines = [f"\n{world.domains:,} domains on {world.hosts:,} mail hosts"]
    if world.shared > 1:
        lines[0] += f", {world.shared} of them at one address (nginx would need a descriptor for each)"
    lines.append(
        f"  {'':22} {'CPU s':>6} {'domains/CPU-s':>13} {'wall s':>7} "
        f"{'MiB all':>8} {'MiB one':>8} {'tables':>11} {'B/domain':>8} {'all files':>11}"
    )
    lines += [
        f"  {scan.name:22} {scan.cpu:6.2f} {scan.domains / scan.cpu:13,.0f} {scan.wall:7.1f} {scan.peak:8.0f} "
        f"{scan.largest:8.0f} {scan.tables:11,} {scan.tables / scan.domains:8.0f} {scan.whole:11,}"
        for scan in scans
    ]
    for scan in scans[1:]:
        lines += [f"    {scan.name}: {line}" for line in scan.steps]
    return "\n".join(lines) + "\n"


def _side_by_side(rounds: list[tuple[list[Row], list[Scan]]]) -> str:
    """Ours and the others in one table, and the quotients of our scans to two of them, each within its round."""
    both = [[*(_as_row(scan) for scan in scans), *rows] for rows, scans in rounds]
    lines = [f"\nmedians of {len(rounds)} rounds, start-up included", others.table(both)]
    for number, scan in enumerate(rounds[0][1][1:], start=1):
        for name in ("openssl s_time -new", "dnsperf"):
            if worth := [
                (scans[number].cpu, row.count / row.cpu)
                for rows, scans in rounds
                for row in rows
                if row.name == name and not row.problem
            ]:
                units = median(cpu * rate for cpu, rate in worth)
                lines.append(f"  {scan.name}: takes the CPU of {units:,.0f} units of {name}\n")
    return "\n".join(lines)


def _as_row(scan: Scan) -> Row:
    left_out = {"MX and A": "TLSA, MTA-STS and TLSRPT are not asked for", "one domain": "start-up is nearly all of it"}
    return Row(
        f"starttls-crawler, {scan.name}", scan.cpu, scan.whole, scan.domains, "domains",
        others.OURS_DOES, left_out.get(scan.name, ""),
    )  # fmt: skip


if __name__ == "__main__":
    main()
