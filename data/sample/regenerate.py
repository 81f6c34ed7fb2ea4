"""Make the sample run anew: start the lab, scan it, keep the dataset.  `make sample`

The names are reserved ones and the hosts are pretend ones, so the figures describe nobody.  The lab is the
same each time (its seed is fixed); times, keys and certificates are not.
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RUN = "sample"
DOMAINS = 240
PATIENCE = 60.0  #: seconds for the lab to listen


def main() -> int:
    """Lab, scan, dataset; returns the exit code of the scan."""
    with tempfile.TemporaryDirectory(prefix="sample-") as name:
        work = Path(name)
        lab = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "crawler",
                "lab",
                "--domains",
                str(DOMAINS),
                "--seed",
                "1",
                "--dir",
                str(work / "lab"),
            ],
            cwd=ROOT,
        )
        try:
            names = _names(work / "lab", lab)
            with (work / "list.csv").open("w", newline="") as file:
                csv.writer(file).writerows(enumerate(names, start=1))
            settings = ("--config", str(work / "lab" / "lab.toml"), "--run", RUN, "--workers", "1")
            scanned = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "crawler",
                    "scan",
                    str(work / "list.csv"),
                    "--data",
                    str(work / "data"),
                    *settings,
                ],
                cwd=ROOT,
                check=False,
            )
        finally:
            lab.terminate()
            lab.wait()
        if scanned.returncode == 0:
            _keep(work, names)
        return scanned.returncode


def _names(directory: Path, lab: subprocess.Popen[bytes]) -> list[str]:
    """The lab's list, once the lab has written its settings, which it does last."""
    give_up = time.monotonic() + PATIENCE
    while not (directory / "lab.toml").exists():
        if lab.poll() is not None or time.monotonic() > give_up:
            raise SystemExit("the lab did not start")
        time.sleep(0.2)
    return (directory / "list.txt").read_text("utf-8").split()


def _keep(work: Path, names: list[str]) -> None:
    """Replace the stored sample: tables and manifest without what is between the stages, weights beside it."""
    kept = HERE / f"run={RUN}"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(work / "data" / f"run={RUN}", kept, ignore=shutil.ignore_patterns("_work"))
    manifest = (kept / "manifest.json").read_text("utf-8")
    document = json.loads(manifest.replace(f"{work.resolve()}/", "").replace(f"{work}/", ""))
    document["host_name"] = "laboratory"
    (kept / "manifest.json").write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")
    with (HERE / "weights.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("domain", "messages"))
        # Volumes fall off with the rank, as they do on the Internet (Zipf); made up like everything here.
        writer.writerows((name, 1_000_000 // rank) for rank, name in enumerate(names, start=1))


if __name__ == "__main__":
    sys.exit(main())
