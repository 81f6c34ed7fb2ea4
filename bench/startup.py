"""`make bench-start`: the CPU that commands take which do nearly nothing: start-up, of all processes.

`--against DIR` measures the source tree in that directory too, in turns with ours, by the same interpreter: then the
quotient counts, as whatever else the machine does hits both alike.  Both are run once before, so that no source has to be compiled.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

from bench import scan_world
from bench.scan_world import World
from bench.whole import whole

HERE = Path(__file__).resolve().parent.parent


def main() -> None:
    """Measure every command in turns, and print the medians."""
    parser = argparse.ArgumentParser(prog="python -m bench.startup", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="(default: %(default)s)")
    parser.add_argument("--against", type=Path, metavar="DIR", help="another source tree")
    options = parser.parse_args()
    trees = {"ours": HERE, **({"other": options.against.resolve()} if options.against else {})}
    with tempfile.TemporaryDirectory(prefix="bench-startup-") as name:
        directory = Path(name)
        with scan_world.running(directory, 100, 50) as world:
            took = _rounds(directory, world, trees, options.rounds)
    lines = [f"\nCPU seconds of all processes, medians of {options.rounds} rounds (least)"]
    lines.append(f"  {'':24}" + "".join(f"{tree:>18}" for tree in trees) + f"{'ours/other':>12}" * (len(trees) - 1))
    for scene in dict.fromkeys(scene for scene, _ in took):
        found = {tree: took[scene, tree] for tree in trees}
        line = f"  {scene:24}" + "".join(f"{median(cpu):10.3f} ({min(cpu):.3f})" for cpu in found.values())
        if len(trees) > 1:
            line += f"{median(a / b for a, b in zip(found['ours'], found['other'], strict=True)):12.2f}"
        lines.append(line)
    sys.stdout.write("\n".join(lines) + "\n")


def _rounds(directory: Path, world: World, trees: dict[str, Path], rounds: int) -> dict[tuple[str, str], list[float]]:
    (directory / "one.txt").write_text("domain0.test\n")
    config = directory / "start.toml"
    config.write_text(
        f'resolver = ["127.0.0.1:{world.dns}"]\nehlo_name = "probe.bench.example"\nallow_network = ["127.0.0.0/8"]\n'
        f'ca_file = "{world.ca_file}"\nport = {{ smtp = {world.smtp} }}\nmta_sts = false\ntlsa = false\ntlsrpt = false\nipv6 = false\n'
    )
    data = directory / "data"
    scenes = {
        "--help": ["--help"],
        "probe of one host": ["probe", scan_world.host_of(0), "--host", "--config", str(config)],
        "scan of one domain": [
            "scan", str(directory / "one.txt"), "--data", str(data), "--config", str(config), "--workers", "2", "--quiet",
        ],
    }  # fmt: skip
    took: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds + 1):
        for scene, words in scenes.items():
            for tree, path in trees.items():
                shutil.rmtree(data, ignore_errors=True)
                environment = {**os.environ, "PYTHONPATH": str(path)}
                environment.pop("PYTHONDONTWRITEBYTECODE", None)
                done = whole([sys.executable, "-P", "-m", "crawler", *words], environment=environment)
                if done.code not in (0, 1):  # 1: of a probe, something stayed unknown
                    raise SystemExit(f"bench: {scene} of {path} ended with {done.code}: {done.err}")
                if number:
                    took.setdefault((scene, tree), []).append(done.cpu)
    return took


if __name__ == "__main__":
    main()
