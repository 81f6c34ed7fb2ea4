"""Programs that do a part of what a scan does, each on the same servers and in the same run as ours.

Each row says what a program does and what it leaves out.  A program that is not on PATH is named as absent.
A program that ends with an error, or that did less than it was given, is not compared: its row says so.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import scan_world
from bench.nginx import addresses
from bench.scan_world import World
from bench.whole import Whole, whole

_AT_ONCE = 400
"""Connections or questions under way at once, as many as our scan has."""


@dataclass(frozen=True)
class Given:
    """The work for other programs, as files; to write them costs none of them anything."""

    directory: Path
    world: World
    seconds: int  #: for `openssl s_time`, which has no list

    @property
    def domains(self) -> Path:
        """Names of all domains."""
        return self.directory / "given-domains.txt"

    @property
    def hosts(self) -> Path:
        """Names of all mail hosts, each once."""
        return self.directory / "given-hosts.txt"

    @property
    def questions(self) -> Path:
        """MX of each domain, A of each host."""
        return self.directory / "given-questions.txt"

    @property
    def targets(self) -> Path:
        """ADDRESS,NAME of all mail hosts."""
        return self.directory / "given-targets.csv"

    @property
    def resolvers(self) -> Path:
        """Where NSD is."""
        return self.directory / "given-resolvers.txt"

    @property
    def results(self) -> Path:
        """What a program writes."""
        return self.directory / "written-by-another"

    def write(self) -> Given:
        """Write the files of the world."""
        domains = [f"domain{n}.test" for n in range(self.world.domains)]
        hosts = [scan_world.host_of(n) for n in range(self.world.hosts)]
        at = addresses(scan_world.address_count(self.world.hosts))
        self.domains.write_text("\n".join(domains) + "\n")
        self.hosts.write_text("\n".join(hosts) + "\n")
        asked = [*(f"{name} MX" for name in domains), *(f"{name} A" for name in hosts)]
        self.questions.write_text("\n".join(asked) + "\n")
        self.targets.write_text("".join(f"{at[n % len(at)]},{host}\n" for n, host in enumerate(hosts)))
        self.resolvers.write_text(f"127.0.0.1:{self.world.dns}\n")
        return self


Command = Callable[[Given], list[str]]


@dataclass(frozen=True)
class Program:
    """Another program, and how its work is counted."""

    name: str
    binary: str
    command: Command
    unit: str
    count: Callable[[Given, Whole], int | None]  #: how much it did; None: it did not say
    expected: Callable[[Given], int | None]  #: how much it was given; None: as much as it could in a time
    does: str
    leaves_out: str


def _said(pattern: str) -> Callable[[Given, Whole], int | None]:
    def count(given: Given, took: Whole) -> int | None:
        found = re.search(pattern, took.out + took.err)
        return int(found[1]) if found else None

    return count


def _lines_with(words: str) -> Callable[[Given, Whole], int | None]:
    def count(given: Given, took: Whole) -> int | None:
        if not given.results.exists():
            return None
        with given.results.open(encoding="utf-8", errors="replace") as lines:
            return sum(words in line.replace('": "', '":"') for line in lines)

    return count


def _zdns(kind: str, names: Callable[[Given], Path]) -> Command:
    return lambda given: [
        "zdns", kind, "--name-servers", f"127.0.0.1:{given.world.dns}", "--threads", str(_AT_ONCE),
        "--input-file", str(names(given)), "--output-file", str(given.results),
    ]  # fmt: skip


def _massdns(given: Given) -> list[str]:
    command = ["massdns", "-r", str(given.resolvers), "-t", "MX", "-o", "J", "-w", str(given.results)]
    return [*command, *(["--root"] if os.geteuid() == 0 else []), str(given.domains)]


PROGRAMS = (
    Program(
        "openssl s_time -new", "openssl",
        lambda given: ["openssl", "s_time", "-connect", f"127.0.0.1:{given.world.implicit}", "-new", "-time", str(given.seconds)],
        "connections", _said(r"(\d+) connections in \d+ real seconds"), lambda given: None,
        "a TLS handshake, one after the other", "no SMTP, nothing judged, nothing written",
    ),
    Program(
        "dnsperf", "dnsperf",
        lambda given: ["dnsperf", "-s", "127.0.0.1", "-p", str(given.world.dns), "-d", str(given.questions), "-n", "1", "-e", "-D"],
        "answers", _said(r"Queries completed:\s+(\d+)"), lambda given: given.world.domains + given.world.hosts,
        "MX and A asked, answers counted", "no answer is read, nothing written",
    ),
    Program(
        "zdns MX", "zdns", _zdns("MX", lambda given: given.domains), "answers",
        _lines_with('"status":"NOERROR"'), lambda given: given.world.domains,
        "MX of each domain, as JSON", "no deduplication of hosts",
    ),
    Program(
        "zdns A", "zdns", _zdns("A", lambda given: given.hosts), "answers",
        _lines_with('"status":"NOERROR"'), lambda given: given.world.hosts,
        "A of each host, as JSON", "is given the hosts, each once",
    ),
    Program(
        "massdns", "massdns", _massdns, "answers",
        _lines_with('"status":"NOERROR"'), lambda given: given.world.domains,
        "MX of each domain, as JSON", "no A question, no deduplication of hosts, no pacing",
    ),
    Program(
        "zgrab2 smtp", "zgrab2",
        lambda given: [
            "zgrab2", "smtp", "--port", str(given.world.smtp), "--starttls", "--send-ehlo", "--ehlo-domain", "probe.bench.example",
            "--send-quit", "--senders", str(_AT_ONCE), "--input-file", str(given.targets), "--output-file", str(given.results),
        ],
        "endpoints", _lines_with('"status":"success"'), lambda given: given.world.hosts,
        "EHLO, STARTTLS, handshake, QUIT; JSON", "no EHLO inside TLS, no name match, no DANE, no pacing; is given the endpoints",
    ),
    Program(
        "tls-scan", "tls-scan",
        lambda given: [
            "tls-scan", "--starttls=smtp", f"--port={given.world.smtp}", f"--infile={given.targets}", f"--outfile={given.results}",
            f"--concurrency={_AT_ONCE}", "--timeout=10",
        ],
        "endpoints", _lines_with('"tlsVersion"'), lambda given: given.world.hosts,
        "EHLO, STARTTLS, handshake; JSON", "no EHLO inside TLS, no QUIT, no SNI of the host, no chain, no pacing; is given the endpoints",
    ),
)  # fmt: skip

OURS_DOES = (
    "list to dataset: MX, A, EHLO, STARTTLS, EHLO inside TLS, QUIT; verdicts, Parquet; pacing, nothing lost when killed"
)


@dataclass(frozen=True)
class Row:
    """One program in one round."""

    name: str
    cpu: float
    written: int
    count: int
    unit: str
    does: str
    leaves_out: str
    problem: str = ""


def absent() -> list[str]:
    """Programs that are not on PATH."""
    return sorted({program.binary for program in PROGRAMS if shutil.which(program.binary) is None})


def rows(given: Given) -> Iterator[Row]:
    """Every program that is on PATH, once."""
    for program in PROGRAMS:
        if shutil.which(program.binary) is not None:
            yield run(program, given)


def run(program: Program, given: Given) -> Row:
    """One program on all of its work."""
    given.results.unlink(missing_ok=True)
    took = whole(program.command(given))
    count, expected = program.count(given, took), program.expected(given)
    problem = ""
    if count is None or took.code:
        problem = f"ended with {took.code}: {' '.join((took.err or took.out).split())[-160:]}"
    elif expected is not None and count < expected:
        problem = f"did {count:,} of {expected:,}"
    written = given.results.stat().st_size if given.results.exists() else 0
    return Row(
        program.name, took.cpu, written, count or 0, program.unit, program.does, program.leaves_out, problem
    )  # fmt: skip


def table(rounds: list[list[Row]]) -> str:
    """One line a program: medians over the rounds, and what it does and leaves out."""
    lines = [f"  {'':34} {'CPU s':>6} {'per CPU-second':>24} {'bytes written':>13}"]
    for of_one in zip(*rounds, strict=True):
        row = of_one[0]
        problem = next((other.problem for other in of_one if other.problem), "")
        if problem:
            lines.append(f"  {row.name:34} not compared: {problem}")
            continue
        cpu = median(other.cpu for other in of_one)
        speed = median(other.count / max(other.cpu, 1e-9) for other in of_one)
        rate = f"{speed:,.0f} {row.unit}" if speed >= 10 else f"{speed:.2f} {row.unit}"
        lines.append(f"  {row.name:34} {cpu:6.2f} {rate:>24} {row.written:13,}")
        lines.append(f"  {'':34}   does: {row.does}")
        lines.append(f"  {'':34}   leaves out: {row.leaves_out or 'nothing of the contract'}")
    if gone := absent():
        lines.append(f"  absent from PATH, so not compared: {', '.join(gone)}")
    return "\n".join(lines) + "\n"
