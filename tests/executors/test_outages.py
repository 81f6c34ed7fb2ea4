"""A night that went wrong says so: outages of mail hosts and of the resolver, in whole scans of the lab."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from crawler.lab.accuracy.compare import compare_run

ROOT = Path(__file__).resolve().parent.parent.parent


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


class Night:
    """A lab with outages, and scans of it by the command."""

    def __init__(self, folder: Path, domains: int = 260) -> None:
        self.folder, self._domains = folder, domains
        self._ports = free_port(), free_port(), free_port()

    @contextmanager
    def lab(self, *outages: str) -> Iterator[None]:
        options = [word for outage in outages for word in ("--outage", outage)]
        command = [
            sys.executable,
            "-m",
            "crawler",
            "lab",
            "--domains",
            str(self._domains),
            "--dir",
            str(self.folder / "lab"),
        ]
        smtp, dns, https = map(str, self._ports)
        lab = subprocess.Popen(
            [*command, "--smtp-port", smtp, "--dns-port", dns, "--https-port", https, "--until-eof", *options],
            cwd=ROOT,
            stdin=subprocess.PIPE,
        )
        try:
            give_up = time.monotonic() + 60
            while not (self.folder / "lab" / "lab.toml").exists():
                assert lab.poll() is None and time.monotonic() < give_up
                time.sleep(0.05)
            settings = (self.folder / "lab" / "lab.toml").read_text()
            watch = "\n[watch]\nconnections = 12\nnetworks = 6\npause = 0.2\npatience = 3.0\nresolver_every = 0.2\n"
            (self.folder / "night.toml").write_text(settings.replace('"opt-outs', f'"{self.folder}/lab/opt-outs').replace(
                '"ca.pem', f'"{self.folder}/lab/ca.pem') + watch)  # fmt: skip
            yield
        finally:
            assert lab.stdin is not None
            lab.stdin.close()
            lab.wait(20)

    def scan(self) -> tuple[int, str]:
        command = [sys.executable, "-m", "crawler", "scan", str(self.folder / "lab" / "list.txt"), "--run", "night"]
        options = ["--data", str(self.folder / "data"), "--config", str(self.folder / "night.toml"), "--workers", "2"]
        done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
        return done.returncode, done.stderr

    @property
    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "data" / "run=night" / "manifest.json").read_text())
        return found

    def disagreements(self) -> list[str]:
        """What in the dataset is not the truth."""
        return compare_run(self.folder / "data" / "run=night", self.folder / "lab" / "list.txt", seed=1).disagreements


@pytest.mark.timeout(180)
@pytest.mark.parametrize("outages", [("mail:60:2.5",), ("resolver:300:2.5",), ("resolver:200:2", "mail:80:2.5")])
def test_what_lay_in_an_outage_is_done_again_and_the_dataset_is_the_truth(
    tmp_path: Path, outages: tuple[str, ...]
) -> None:
    night = Night(tmp_path)
    with night.lab(*outages):
        code, err = night.scan()
    assert code == 0, err
    found = night.manifest["outages"]
    assert found and all(outage["until"] > outage["since"] for outage in found), err
    assert "waiting, and doing again" in err and "the outage is over" in err
    if outages == ("mail:60:2.5",):
        assert 3 <= len({address for _, address in found[0]["asked"]}) <= 20
    assert night.disagreements() == []


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("outage", "words"),
    [("mail:60:0", "mail hosts that answered before cannot be reached"), ("resolver:300:0", "no resolver answers")],
)
def test_an_outage_that_lasts_ends_the_scan_and_the_same_command_completes_it(
    tmp_path: Path, outage: str, words: str
) -> None:
    night = Night(tmp_path)
    with night.lab(outage):
        code, err = night.scan()
    assert code == 1 and words in err.splitlines()[-1] and "Traceback" not in err, err
    assert night.manifest["state"] == "interrupted" and words in night.manifest["problem"]
    with night.lab():
        code, err = night.scan()
    assert code == 0, err
    # The second lab has another root, and chains are judged by the run's own; everything else is the truth.
    # A chain that was cut, and that no longer ends in a known root, has no verdict at all.
    anchored = (
        "chain_trusted",
        "strict_valid",
        "dane",
        "mta_sts",
        "incomplete_chains",
        "policy_list",
        "many-certificates",
    )
    assert [line for line in night.disagreements() if not any(word in line for word in anchored)] == []


@pytest.mark.timeout(180)
def test_a_run_that_is_finished_and_cannot_be_right_is_suspect(tmp_path: Path) -> None:
    """Nobody ever answered, so that nobody can be asked again: a blocked port looks like that."""
    night = Night(tmp_path)
    with night.lab("mail:0:0"):
        code, err = night.scan()
        assert code == 1, err
        assert night.manifest["state"] == "suspect" and "is port 25 open" in night.manifest["suspicions"][0]
        assert "suspect, and is not read by default" in err
        assert night.scan()[0] == 1, "the same command does not take it for a good one"
