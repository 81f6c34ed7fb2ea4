"""`lab` as a person starts and stops it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crawler.policies.policy_list import read_policy_list
from crawler.preflight.doctor import Questions, examine
from crawler.settings.config import Config

ROOT = Path(__file__).resolve().parent.parent.parent


@contextmanager
def running(directory: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A lab that listens."""
    command = [sys.executable, "-m", "crawler", "lab", "--dir", str(directory), *options]
    lab = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        while not (directory / "lab.toml").exists():
            assert lab.poll() is None, lab.stderr and lab.stderr.read()
            time.sleep(0.02)
        yield lab
    finally:
        lab.kill()
        lab.communicate()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_lab_in_good_order(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with running(tmp_path / "lab", "--domains", "20") as lab:
        lab.send_signal(number)
        said, complaints = lab.communicate(timeout=20)
        assert (lab.returncode, complaints) == (code, "")
        assert len(said.splitlines()) == 1
        assert f"--config {tmp_path}/lab/lab.toml" in said
    assert not (tmp_path / "lab" / "lab.toml").exists()


def test_a_second_lab_in_the_same_directory_is_refused_and_costs_the_first_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "lab"
    with running(directory, "--domains", "20") as lab:
        before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
        command = [sys.executable, "-m", "crawler", "lab", "--domains", "30", "--dir", str(directory)]
        second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
        assert (second.returncode, second.stdout) == (2, "")
        assert second.stderr.splitlines() == [
            f"starttls-crawler: error: {directory}: in use by process {lab.pid}; end that lab, or give another --dir"
        ]
        assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before
        assert lab.poll() is None
    assert (directory / "lab.toml").exists(), "it was killed, and could not tidy up"
    (directory / "lab.toml").unlink()  # `running` waits for it
    with running(directory, "--domains", "20") as third:
        assert (directory / "lab.lock").read_text() == f"{third.pid}\n"
        third.send_signal(signal.SIGTERM)
        third.communicate(timeout=20)
    assert not (directory / "lab.lock").exists() and not (directory / "lab.toml").exists()


def test_a_lab_that_shall_ends_with_its_standard_input(tmp_path: Path) -> None:
    with running(tmp_path / "lab", "--domains", "20", "--until-eof") as lab:
        lab.communicate(timeout=20)
        assert lab.returncode == 0


def test_its_settings_load_and_name_everything_a_scan_needs(tmp_path: Path) -> None:
    with running(tmp_path / "lab", "--domains", "20"):
        config = Config.load(tmp_path / "lab" / "lab.toml", {})
        assert Path(config.ca_file).read_text().startswith("-----BEGIN CERTIFICATE-----")
        assert Path(config.exclude).exists()
        assert config.port["smtp"] > 1_024
        assert config.ehlo_name
        assert (tmp_path / "lab" / "list.txt").read_text().count("\n") == 20


def test_it_writes_a_policy_list_of_its_domains(tmp_path: Path) -> None:
    with running(tmp_path / "lab", "--domains", "150"):
        listed = read_policy_list(tmp_path / "lab" / "policy.json")
        names = set((tmp_path / "lab" / "list.txt").read_text().split())
    assert (listed.author, listed.is_expired(datetime.now(UTC))) == ("starttls-crawler lab", False)
    assert len(listed.policies) > 10 and names.issuperset(listed.policies)


def test_doctor_finds_a_lab_ready_to_be_scanned(tmp_path: Path) -> None:
    with running(tmp_path / "lab", "--domains", "20"):
        config = Config.load(tmp_path / "lab" / "lab.toml", {})
        checks = {check.name: check for check in examine(config, tmp_path, Questions())}
    assert (checks["validation"].state, checks["validation"].finding) == (
        "ok", ". is secure, dnssec-failed.org is refused",
    )  # fmt: skip
    assert [name for name, check in checks.items() if check.state == "failed"] == []


def test_ports_can_be_chosen(tmp_path: Path) -> None:
    port = 40_000 + os.getpid() % 20_000
    with running(tmp_path / "lab", "--domains", "5", "--smtp-port", str(port)):
        assert Config.load(tmp_path / "lab" / "lab.toml", {}).port == {"smtp": port}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--list", "nowhere.txt"], "nowhere.txt"),
        (["--domains", "0"], "--domains"),
        (["--domains", "5", "--dir", "/proc/nothing"], "/proc/nothing"),
        (["--domains", "5", "--smtp-port", "70000"], "--smtp-port"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(options: list[str], words: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "crawler", "lab", "--dir", str(tmp_path / "lab"), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    assert words in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_one_clear_line(tmp_path: Path) -> None:
    with running(tmp_path / "one", "--domains", "5"):
        port = Config.load(tmp_path / "one" / "lab.toml", {}).port["smtp"]
        command = [sys.executable, "-m", "crawler", "lab", "--domains", "60", "--smtp-port", str(port)]
        done = subprocess.run(
            [*command, "--dir", str(tmp_path / "two")], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert str(port) in done.stderr
        assert not (tmp_path / "two" / "lab.toml").exists()
