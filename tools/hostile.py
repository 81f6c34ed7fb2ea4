"""The lab is scanned with hostile domains and without them: all others must have the same rows; what it costs is compared.

`python -m tools.hostile` (`make hostile DOMAINS=1000 HOSTILE=10`) runs one lab and does everything twice: `scan`,
`stats`, `report`, `rejudge` and `probe`, once for the whole list and once for the list without the hostile domains.
It prints what each took and what differs.  The exit code is 1 when rows differ, when a command fails, or when the scan
takes more than `REACH` allows.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from crawler.lab.adversary.names import is_hostile
from crawler.settings.config import Config
from tests.kit.hostile_measure import LIMIT, ROOT, Taken, measured
from tests.kit.hostile_rows import differences, honest_rows

REACH = {"peak": 1.3, "cpu": 1.3, "wall": 1.5}
"""How many times what it takes without hostile domains a scan may take with them."""

LONGEST_TURN = 0.1
"""Seconds of processor time that one turn of a worker's event loop may take."""

SCALE = 0.1
"""Factor of all default times but those of the DNS, which are the lab's; at full length a scan would take an hour."""

_SHOWN = 20
_TIMES = {
    "timeouts": ("connect", "greeting", "reply", "handshake", "quit", "target"),
    "pacing": ("address_pause", "ordinary_seconds", "total_seconds", "total_seconds_per_domain", "retry_delay"),
    "https": ("timeout", "connect_timeout", "retry_delay", "ordinary_seconds"),
}


@dataclass
class Done:
    """What was done in one of the two worlds."""

    taken: dict[str, Taken] = field(default_factory=dict)  #: by command


@contextmanager
def lab(directory: Path, domains: int, hostile: int, size: float, seed: int) -> Iterator[Path]:
    """The lab in a process of its own; yields its directory."""
    command = [sys.executable, "-m", "crawler", "lab", "--domains", str(domains), "--hostile", str(hostile)]
    command += ["--hostile-size", str(size), "--seed", str(seed), "--dir", str(directory), "--until-eof"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment) as process:
        try:
            while not (directory / "lab.toml").exists():
                if process.poll() is not None:
                    raise SystemExit("hostile: the lab did not start; its words are above")
                time.sleep(0.05)
            yield directory
        finally:
            process.terminate()


def write_inputs(
    directory: Path, scale: float | None, pacing: Mapping[str, Any] | None = None
) -> tuple[Path, Path, Path]:
    """Settings, the whole list and the list without the hostile domains; `scale` None: the lab's own times."""
    settings = tomllib.loads((directory / "lab.toml").read_text("utf-8"))
    settings["ipv6"] = False  # all IPv6 hosts of the lab share one address, and who of them is asked is drawn by lot
    if scale is not None:
        defaults = asdict(Config())
        del settings["pacing"]["per_provider"]  # the default holds
        settings["dns"]["tries"] = defaults["dns"]["tries"]
        for group, names in _TIMES.items():
            settings[group] |= {name: defaults[group][name] * scale for name in names}
    settings["pacing"] |= pacing or {}
    config, whole, honest = (directory / name for name in ("scan.toml", "list.txt", "honest.txt"))
    config.write_text("".join(_toml(settings)), "utf-8")
    names = whole.read_text("utf-8").splitlines(keepends=True)
    honest.write_text("".join(name for name in names if not is_hostile(name.strip())), "utf-8")
    return config, whole, honest


def _toml(settings: dict[str, Any]) -> Iterator[str]:
    for name, value in settings.items():
        if not isinstance(value, dict):
            text = str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')
            yield f"{name} = {text}\n"
    for name, value in settings.items():
        if isinstance(value, dict):
            yield f"[{name}]\n"
            yield from _toml(value)


def do_all(directory: Path, config: Path, names: Path, world: str) -> Done:
    """Scan a list and do with the run what people do; the dataset is in `directory / world`."""
    done, data, run = Done(), directory / world, ("--run", "mine")
    listed = names.read_text("utf-8").splitlines()
    probed = next(filter(is_hostile, listed), listed[0])
    commands: dict[str, tuple[str | Path, ...]] = {
        "scan": ("scan", names, "--data", data, "--config", config, "--quiet", *run),
        "stats": ("stats", "--data", data, *run),
        "report": ("report", "--data", data, "--out", directory / f"{world}-site", *run),
        "rejudge": ("rejudge", "--data", data, "--out", directory / f"{world}-again", *run),
        "probe": ("probe", probed, "--config", config),
    }
    for name, arguments in commands.items():
        done.taken[name] = measured(*arguments, cwd=directory)
    return done


def table(without: Done, with_them: Done) -> Iterator[str]:
    """What each command took in both worlds."""
    yield f"{'':8} {'':>8} {'code':>4} {'CPU s':>8} {'wall s':>8} {'peak MiB':>9} {'longest turn ms':>16}"
    for name, one in without.taken.items():
        other = with_them.taken[name]
        for label, taken in (("without", one), ("with", other)):
            turn = f"{1000 * taken.longest_turn:16.0f}" if name == "scan" else ""
            yield f"{name:8} {label:>8} {taken.code:4} {taken.cpu:8.2f} {taken.wall:8.1f} {taken.peak:9.0f} {turn}"
        ratios = (other.cpu / one.cpu, other.wall / one.wall, other.peak / one.peak)
        yield f"{name:8} {'ratio':>8} {'':4} {ratios[0]:8.2f} {ratios[1]:8.2f} {ratios[2]:9.2f}"


def verdicts(without: Done, with_them: Done) -> dict[str, bool]:
    """Every demand, and whether it is met."""
    one, other = without.taken["scan"], with_them.taken["scan"]
    made = {
        f"{name} at most {most:g} times": getattr(other, name) <= most * getattr(one, name)
        for name, most in REACH.items()
    }
    made[f"no turn of the loop over {1000 * LONGEST_TURN:.0f} ms"] = other.longest_turn <= LONGEST_TURN
    failed = [name for done in (without, with_them) for name, taken in done.taken.items() if taken.code]
    made["no command fails"] = set(failed) <= {"probe"}  # its exit code says what it found
    return made


def main() -> int:
    """Run as `python -m tools.hostile`."""
    parser = argparse.ArgumentParser(prog="python -m tools.hostile", description=__doc__)
    parser.add_argument("--domains", type=int, default=1_000, help="honest domains (default: %(default)s)")
    parser.add_argument("--hostile", type=int, default=10, help="hostile domains (default: %(default)s)")
    parser.add_argument("--size", type=float, default=1.0, help="how much each sends (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="keep everything in this directory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hostile-") as name:
        directory = options.keep or Path(name)
        with lab(directory / "lab", options.domains, options.hostile, options.size, options.seed) as made:
            config, whole, honest = write_inputs(made, SCALE)
            done = {"with": do_all(directory, config, whole, "with")}  # first, so that the lab is as cold as it gets
            done["without"] = do_all(directory, config, honest, "without")
        found, wanted = (honest_rows(directory / world, "mine") for world in ("with", "without"))
    say = sys.stdout.write
    said = [
        taken.said for world in done.values() for name, taken in world.taken.items() if taken.code and name != "probe"
    ]
    say("".join(said))
    say(f"{options.domains} domains, {options.hostile} hostile ones; times at {SCALE:g} of the defaults\n")
    say(
        f"each process may have {LIMIT >> 20} MiB of address space; memory is the sum of PSS, looked at every 50 ms\n\n"
    )
    for line in table(done["without"], done["with"]):
        say(line + "\n")
    for world, did in done.items():
        for turn in did.taken["scan"].turns[:8]:
            say(
                f"\n{world}: {1000 * turn['cpu']:.0f} ms of processor time ({1000 * turn['wall']:.0f} ms): {turn['where']}"
            )
    differing = differences(found, wanted)
    say("\n\n" + ", ".join(f"{rows.total()} {name}" for name, rows in wanted.items()) + f": {len(differing)} differ\n")
    for line in differing[:_SHOWN]:
        say(line[:1_500] + "\n")
    demands = {"the rows of all others are the same": not differing, **verdicts(done["without"], done["with"])}
    for demand, is_met in demands.items():
        say(f"{'met   ' if is_met else 'MISSED'} {demand}\n")
    return 0 if all(demands.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
