"""A worker process from within: what it says of itself, and that nobody who talks to a host waits for a disk."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anyio
import pytest

from crawler.dataset.files import Damaged
from crawler.dataset.parts import PartWriter
from crawler.dataset.run import RunDirectory
from crawler.dataset.steps import HOSTS
from crawler.dataset.stored_manifest import Manifest
from crawler.dns.client import DnsClient
from crawler.executors import instruments, worker
from crawler.executors.lean_process import busy_time
from crawler.model.errors import UsageError
from crawler.model.rows import MailHost
from crawler.settings.config import Config
from tests.kit import fake_worker

SIGNATURE = {"run": "test", "config_sha256": "00"}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    made = RunDirectory(tmp_path / "run=test")
    made.path.mkdir()
    made.make_directories(SIGNATURE)
    made.write_manifest(Manifest.of(SIGNATURE))
    (made.work / "hosts").mkdir()
    for shard in range(2):
        writer = PartWriter(made.shard_path(HOSTS, shard), MailHost, SIGNATURE)
        for n in range(30):
            writer.append(MailHost(f"mx{n}.shard{shard}.example"))
        writer.close()
    return made


def test_a_shard_is_closed_beside_the_event_loop_however_slow_the_disk(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a second for each sync, as on a network file system: conversations go on, and no host seems to time out."""
    syncing: set[int] = set()
    stored = threading.Event()
    genuine = os.fsync

    def slow(descriptor: int) -> None:
        syncing.add(threading.get_ident())
        stored.wait(0.5)
        genuine(descriptor)

    async def resolve(hosts: Iterable[MailHost], *more: Any) -> None:
        await fake_worker.resolve_hosts(hosts, *more)

    said: list[dict[str, Any]] = []
    turns = 0

    async def main() -> None:
        nonlocal turns
        config = Config(ehlo_name="probe.example")
        async with DnsClient(config) as dns, anyio.create_task_group() as tasks:
            working = worker.Worker(run, config, 1, dns, said.append)
            monkeypatch.setattr(os, "fsync", slow)
            for shard in range(2):
                tasks.start_soon(working.work, HOSTS.name, shard)
            with anyio.fail_after(60):
                while len([message for message in said if message["event"] == "done"]) < 2:
                    await anyio.sleep(0.005)
                    turns += bool(syncing)

    monkeypatch.setattr(instruments, "resolve_hosts", resolve)
    began = time.monotonic()
    anyio.run(main)
    assert time.monotonic() - began > 1.5, "the disk was slow"
    assert syncing and threading.get_ident() not in syncing, "no sync in the thread of the event loop"
    assert turns > 20, "which had its turns meanwhile"
    assert sorted(run.finished(HOSTS)) == [0, 1]


def failure(run: RunDirectory, monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> dict[str, Any]:
    """What a shard says whose tasks raise these two groups deep, as in RESOLVE."""
    said: list[dict[str, Any]] = []

    async def resolve(*_: Any) -> None:
        raise ExceptionGroup("outer", [ExceptionGroup("inner", [error]) for error in errors])

    async def main() -> None:
        config = Config(ehlo_name="probe.example")
        async with DnsClient(config) as dns:
            await worker.Worker(run, config, 1, dns, said.append).work(HOSTS.name, 0)

    monkeypatch.setattr(instruments, "resolve_hosts", resolve)
    anyio.run(main)
    (message,) = said
    return message


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("errors", "problem", "fatal"),
    [
        ([FULL], "{run}: cannot be written (No space left on device)", True),
        ([ValueError("x"), FULL], "{run}: cannot be written (No space left on device)", True),
        ([Damaged(Path("part"), ValueError("x"))], "part: is damaged (x)", True),
        ([UsageError("ca_file: no such file")], "ca_file: no such file", True),
        ([OSError(errno.EMFILE, "Too many open files")], "[Errno 24] Too many open files", False),
        ([KeyError("x"), ValueError("y")], "KeyError: 'x'", False),
    ],
)
def test_of_what_fails_in_tasks_the_foremost_is_told(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, errors: list[Exception], problem: str, fatal: bool
) -> None:
    message = failure(run, monkeypatch, *errors)
    assert (message["event"], message["fatal"]) == ("failed", fatal)
    assert message["problem"] == problem.format(run=run.path)


# --- whether it has time to spare -------------------------------------------------------------------


def spin(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_computing_is_being_busy_and_so_is_being_kept_from_it_by_others() -> None:
    before = busy_time()
    spin(0.1)
    assert busy_time() - before >= 0.09


def test_where_the_system_does_not_say_the_time_of_the_thread_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert busy_time() == pytest.approx(time.thread_time(), abs=0.1)


def test_a_kernel_that_keeps_no_such_statistics_makes_no_worker_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_: "0 0 0\n")
    before = busy_time()
    spin(0.1)
    assert busy_time() - before >= 0.09


@pytest.mark.parametrize("what", ["opt-outs", "trust anchors"])
def test_a_process_that_cannot_begin_says_so_in_one_line(run: RunDirectory, what: str) -> None:
    config = Config(ehlo_name="probe.example", ca_file="/nowhere" if what == "trust anchors" else "").as_dict()
    entry = {"path": "opt-outs.txt", "kept": str(run.work / "opt-outs-00"), "sha256": "00"}
    greeting = {"run": str(run.path), "config": config, "processes": 1}
    greeting["opt_outs"] = entry if what == "opt-outs" else None
    done = subprocess.run(
        [sys.executable, "-m", "crawler.executors.worker"],
        input=json.dumps(greeting) + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    message = json.loads(done.stdout)
    assert message["event"] == "fatal" and f"{what} cannot be read" in message["problem"] and done.stderr == ""
