"""A worker process from within: what it says of itself, and that nobody who talks to a host waits for a disk."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anyio
import pytest

from crawler import worker
from crawler.config import Config
from crawler.dns.client import DnsClient
from crawler.parts import PartWriter
from crawler.records import MailHost
from crawler.storage import HOSTS, Run
from crawler.worker import busy_time
from tests import fake_worker

SIGNATURE = {"run": "test", "config_sha256": "00"}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run(tmp_path / "run=test")
    made.path.mkdir()
    made.make_directories(SIGNATURE)
    made.write_manifest(SIGNATURE)
    (made.work / "hosts").mkdir()
    for shard in range(2):
        writer = PartWriter(made.shard_path(HOSTS, shard), MailHost, SIGNATURE)
        for n in range(30):
            writer.append(MailHost(f"mx{n}.shard{shard}.example"))
        writer.close()
    return made


def test_a_shard_is_closed_beside_the_event_loop_however_slow_the_disk(
    run: Run, monkeypatch: pytest.MonkeyPatch
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

    monkeypatch.setattr(worker, "resolve_hosts", resolve)
    began = time.monotonic()
    anyio.run(main)
    assert time.monotonic() - began > 1.5, "the disk was slow"
    assert syncing and threading.get_ident() not in syncing, "no sync in the thread of the event loop"
    assert turns > 20, "which had its turns meanwhile"
    assert sorted(run.finished(HOSTS)) == [0, 1]


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
