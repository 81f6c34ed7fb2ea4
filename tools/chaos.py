"""Scans are killed at random moments and what was not synced is lost; the same command must finish the dataset.

`python -m tools.chaos --kills 200` (`make chaos KILLS=200`) does so until so many processes were
killed: the scan itself, or one of its workers.  After each kill some of what a power cut could lose
is lost.  All the while a reader opens every part that it sees.  Each dataset that gets finished must
be that of an undisturbed scan: the same rows but for times.  A failure names the seed that repeats it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crawler.model.rows import TABLES

ROOT = Path(__file__).resolve().parent.parent
FAKE = (sys.executable, str(ROOT / "tests" / "kit" / "fake_scan.py"))
REAL = (sys.executable, "-m", "crawler")
PATIENCE = 120.0
"""Seconds that a scan may take at most; one that hangs is a failure."""


class Failure(Exception):
    """What must not happen did."""


@dataclass
class Arena:
    """One list that is scanned again and again, each time into another directory."""

    directory: Path
    command: tuple[str, ...]
    list: Path
    config: Path
    environment: dict[str, str] = field(default_factory=dict)

    def call(self, data: Path | str) -> list[str]:
        """The command of a scan."""
        command = [*self.command, "scan", str(self.list), "--data", str(data), "--config", str(self.config)]
        return [*command, "--run", "mine", "--quiet"]

    def start(self, data: Path | str, wrapper: Sequence[str] = (), **options: Any) -> subprocess.Popen[str]:
        """A scan, by a program that is given its command if need be; `options` are those of `Popen`."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **self.environment}
        given: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen(
            [*wrapper, *self.call(data)], text=True, env=environment, cwd=self.directory, **given,
        )  # fmt: skip

    def finish(self, data: Path | str) -> float:
        """Let a scan come to its end; returns the seconds it took."""
        started = time.monotonic()
        with self.start(data) as process:
            _, said = process.communicate(timeout=PATIENCE)
        if process.returncode:
            raise Failure(f"a scan that nobody disturbed ended with {process.returncode}: {said[-2000:]}")
        return time.monotonic() - started


# --- what a dataset says ---------------------------------------------------------------------------


def facts(run: Path) -> dict[str, list[str]]:
    """Every table as sorted lines, without what may differ: times, and what a host does otherwise each time."""
    return {table: sorted(_lines(run, table)) for table in TABLES}


def _lines(run: Path, table: str) -> Iterator[str]:
    for part in (run / table).glob("*.parquet"):
        for row in pq.read_table(part, partitioning=None).to_pylist():
            forget_chance(row)
            yield json.dumps({name: fact(value) for name, value in row.items() if not varies(name)}, default=repr)


def forget_chance(row: dict[str, Any]) -> None:
    """Take out of a row what two scans of the same host need not have in common."""
    if row.get("outcome") == "timeout":
        row["last_reply"] = None  # how far a host that dribbles had come by then
    if row.get("outcome") == "limit_exceeded":
        row["text_dropped"] = None  # how much of a flood had come by then
    if row.get("stage") == "greeting" and row.get("outcome") == "reset":
        row["source_address"] = None  # not learnt if the reset was quicker than our look


def varies(name: str) -> bool:
    return name.endswith(("_at", "_ms")) or name == "tls_bytes"  # the last: lengths of ECDSA signatures


def fact(value: Any) -> Any:
    if isinstance(value, list):
        return [fact(item) for item in value]
    if isinstance(value, dict):
        return {name: fact(item) for name, item in value.items() if not varies(name)}
    return value


def must_equal(found: dict[str, list[str]], wanted: dict[str, list[str]]) -> None:
    """Raises `Failure` with the first rows that differ."""
    for table, lines in wanted.items():
        missing, added = Counter(lines) - Counter(found[table]), Counter(found[table]) - Counter(lines)
        if missing or added:
            raise Failure(f"{table}: missing {list(missing.elements())[:2]}, instead {list(added.elements())[:2]}")


class Reader(threading.Thread):
    """Opens every part that is visible, again and again; a part that is not whole is a failure."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.parts = 0
        self.problem: str | None = None
        self._root = root
        self._over = threading.Event()

    def stop(self) -> None:
        """Stop, and raise `Failure` if any part could not be read."""
        self._over.set()
        self.join()
        if self.problem:
            raise Failure(self.problem)

    def run(self) -> None:
        while not self._over.wait(0.05) and self.problem is None:
            for part in self._visible():
                self._open(part)

    def _visible(self) -> list[Path]:
        try:
            return list(self._root.glob("*/run=*/[a-z]*/*.parquet"))
        except FileNotFoundError:  # a whole dataset was taken away by ourselves
            return []

    def _open(self, part: Path) -> None:
        try:
            with pq.ParquetFile(part) as file:
                file.read()
            self.parts += 1
        except FileNotFoundError:
            pass  # merged since, or taken away by ourselves
        except (OSError, pa.ArrowException) as error:
            if part.exists():
                self.problem = f"{part} was visible and could not be read: {error}"


# --- what disturbs it ------------------------------------------------------------------------------


def lose_unsynced(run: Path, chance: random.Random) -> str | None:
    """Lose something that a power cut may lose: it was not synced, or nothing that counts on it was."""
    hidden = [path for path in run.glob("**/.tmp-*") if path.is_file()]
    markers = sorted((run / "_work" / "done").glob("*-[0-9]*.json"), key=lambda path: path.stat().st_mtime_ns)
    stems = {marker.stem for marker in markers}
    unmarked = [
        part for part in run.glob("[a-z]*/*-*.parquet") if part.stem not in stems and not part.stem.startswith("merged")
    ]
    match chance.randrange(6):
        case 0 if hidden:
            path = chance.choice(hidden)
            os.truncate(path, chance.randint(0, path.stat().st_size))
            return "hidden file cut short"
        case 1 if hidden:
            chance.choice(hidden).unlink()
            return "hidden file gone"
        case 2 if markers:
            markers[-1].unlink()
            return "last marker gone"
        case 3 if unmarked:
            chance.choice(unmarked).unlink()
            return "part without a marker gone"
    return None


def family(pid: int) -> list[int]:
    """The children of a process."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def is_running(pid: int) -> bool:
    """Whether a process has not ended; one that nobody has waited for yet (`Z`) has."""
    try:
        state = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def killed(process: subprocess.Popen[str]) -> None:
    """Kill a scan, and wait until no process of it is left."""
    workers = family(process.pid)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30  # a busy machine may be long in starting what ends at once then
    while any(map(is_running, workers)):
        if time.monotonic() > deadline:
            raise Failure(f"workers outlived their scan by 30 s: {workers}")
        time.sleep(0.005)


def chaos(arena: Arena, kills: int, seed: int) -> dict[str, Any]:
    """Kill so many times; returns what was done.  Raises `Failure`."""
    chance = random.Random(seed)
    begun = time.monotonic()
    undisturbed = arena.directory / "undisturbed"
    seconds = arena.finish(undisturbed)
    wanted = facts(undisturbed / "run=mine")
    done: Counter[str] = Counter()
    reader = Reader(arena.directory)
    reader.start()
    try:
        while done["parent killed"] + done["worker killed"] < kills:
            data = arena.directory / f"data-{done['datasets']}"
            process = arena.start(data)
            if chance.random() < 0.3:
                _kill_a_worker(process, chance, seconds, done)
            if _ends_within(process, chance.uniform(0.05, 1.1) * seconds):
                _, said = process.communicate()
                if process.returncode:
                    raise Failure(f"a scan ended with {process.returncode}: {said[-2000:]}")
                must_equal(facts(data / "run=mine"), wanted)
                done["datasets"] += 1
                shutil.rmtree(data)
                continue
            killed(process)
            done["parent killed"] += 1
            if lost := lose_unsynced(data / "run=mine", chance):
                done[lost] += 1
        last = arena.directory / f"data-{done['datasets']}"
        arena.finish(last)
        must_equal(facts(last / "run=mine"), wanted)
        if hidden := list(last.rglob(".tmp-*")):
            raise Failure(f"left behind: {hidden}")
        done["datasets"] += 1
    finally:
        reader.stop()
    rows = {table: len(lines) for table, lines in wanted.items()}
    took = {"undisturbed_s": round(seconds, 1), "seconds": round(time.monotonic() - begun)}
    return {"seed": seed, **dict(sorted(done.items())), "parts read meanwhile": reader.parts, "rows": rows, **took}


def _kill_a_worker(process: subprocess.Popen[str], chance: random.Random, seconds: float, done: Counter[str]) -> None:
    if _ends_within(process, chance.uniform(0.2, 0.8) * seconds):
        return
    if workers := family(process.pid):
        try:
            os.kill(chance.choice(workers), signal.SIGKILL)
        except ProcessLookupError:
            return
        done["worker killed"] += 1


def _ends_within(process: subprocess.Popen[str], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


# --- arenas ----------------------------------------------------------------------------------------


def fake_arena(directory: Path, lab: Path) -> Arena:
    """The network is made up, but for a resolver: every row follows from the name; a scan takes about two seconds."""
    settings = tomllib.loads((lab / "lab.toml").read_text())
    names = [f"name{n}.example" for n in range(700)]
    (directory / "list.txt").write_text("\n".join([*names, *names[:50], "NAME3.example.", "not a name"]) + "\n")
    config = directory / "scan.toml"
    config.write_text(
        f'resolver = {settings["resolver"]}\nca_file = "{lab / "ca.pem"}"\nehlo_name = "probe.example"\nworkers = 2\n'
        "[shards]\ndomains = 100\nhosts = 20\nendpoints = 20\n"
    )
    return Arena(directory, FAKE, directory / "list.txt", config, {"FAKE_DELAY": "0.002"})


def lab_arena(directory: Path, lab: Path) -> Arena:
    """The lab's list, in smaller shards."""
    config = lab / "scan.toml"
    settings = (lab / "lab.toml").read_text().partition("[shards]")[0]
    config.write_text(f"{settings}[shards]\ndomains = 50\nhosts = 50\nendpoints = 50\n")
    return Arena(directory, REAL, lab / "list.txt", config)


@contextmanager
def lab(directory: Path, domains: int) -> Iterator[Path]:
    """The lab in a process of its own; yields its directory."""
    command = [*REAL, "lab", "--domains", str(domains), "--dir", str(directory), "--until-eof"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise Failure("the lab did not start")
            yield directory
        finally:
            process.terminate()


def main() -> int:
    """Run as `python -m tools.chaos`."""
    parser = argparse.ArgumentParser(prog="python -m tools.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="(default: %(default)s)")
    parser.add_argument("--domains", type=int, default=300, help="domains of the lab (default: %(default)s)")
    parser.add_argument("--fake", action="store_true", help="scan a network that is made up instead of the lab")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos-") as name, lab(Path(name) / "lab", options.domains) as made:
        arena = fake_arena(Path(name), made) if options.fake else lab_arena(Path(name), made)
        try:
            summary = chaos(arena, options.kills, options.seed)
        except Failure as failure:
            sys.stderr.write(f"chaos: FAILED with --seed {options.seed}: {failure}\n")
            return 1
    sys.stdout.write(json.dumps(summary, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
