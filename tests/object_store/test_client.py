"""Whole objects there and back, and what is said when a store fails."""

from __future__ import annotations

import errno
import io
import os
import shutil
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from analysis.runs.remote import opened_run
from crawler.commands.progress import Progress
from crawler.model.errors import UsageError
from crawler.object_store import session
from crawler.object_store.client import LANES, StoreError
from tests.kit.small_runs import domain, write_run
from tests.kit.stores import Objects, half_done, pushed, stub


def test_whole_objects_go_there_and_back(store: Objects, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * (2 << 20))
    assert store.runs() == []
    assert [name for name, _ in store.put_files([("run=a/x", tmp_path / "large"), ("run=a/y", tmp_path / "gone")])] == [
        "run=a/x"
    ]
    assert store.objects("run=a") == {"x": 2 << 20} and store.runs() == ["run=a"]
    store.get("run=a/x", tmp_path / "here" / "x")
    assert (tmp_path / "here" / "x").read_bytes() == (tmp_path / "large").read_bytes()
    store.remove("run=a/x")
    store.remove("run=a/x")  # gone is gone
    assert store.read("run=a/x") is None
    with pytest.raises(StoreError, match="s3://bucket/scans: cannot be read"):
        store.get("run=a/x", tmp_path / "y")


def test_a_note_waits_behind_no_files(store: Objects, tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(b"x")
    all_busy, go_on = threading.Barrier(LANES + 1), threading.Event()

    def is_slow(name: str) -> bool:
        if name.startswith("run=a/x") and not go_on.is_set():
            all_busy.wait(5)
            assert go_on.wait(20)
        return False

    store.fails = is_slow
    with ThreadPoolExecutor(2) as threads:
        files = threads.submit(list, store.put_files([(f"run=a/x{n}", tmp_path / "part") for n in range(40)]))
        try:
            all_busy.wait(5)
            threads.submit(store.put, "run=a/note", b"").result(timeout=5)
            assert store.log == ["run=a/note"]
        finally:
            go_on.set()
        assert len(files.result(timeout=20)) == 40


def test_no_more_is_asked_for_than_keeps_the_lanes_busy(store: Objects) -> None:
    taken = count()
    done = store.in_lanes(lambda item: -item, (next(taken) for _ in range(10_000)))
    assert [next(done) for _ in range(3)] == [0, -1, -2]
    assert next(taken) <= 64
    done.close()  # type: ignore[attr-defined]


def test_nothing_is_under_way_any_more_when_a_failure_is_heard_of(store: Objects, tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(b"x")
    begun = threading.Event()

    def fails(name: str) -> bool:
        if name == "run=a/slow":
            begun.set()
            time.sleep(0.3)
            return False
        assert begun.wait(5)
        return True

    store.fails = fails
    with pytest.raises(StoreError):
        list(store.put_files([("run=a/bad", tmp_path / "part"), ("run=a/slow", tmp_path / "part")]))
    assert store.log == ["run=a/slow"]  # so it may be removed now, and stays so


def test_a_bucket_that_is_not_there_is_said(store: Objects) -> None:
    store.directory.parent.rmdir()
    with pytest.raises(StoreError, match="there is no such bucket"):
        store.runs()


def test_figures_are_read_from_a_store_and_what_is_wrong_is_said_of_its_address(store: Objects, tmp_path: Path) -> None:
    older, newer = "20260101T000000Z", "20260202T000000Z"
    write_run(store.directory, [domain("a.example")], run=older)
    path = write_run(
        store.directory, [domain("b.example")], run=newer, state="running", started_at="2026-02-02T00:00:00+00:00"
    )
    for chosen, name in ((None, "a.example"), (newer, "b.example")):  # the newest finished, or the one asked for
        with opened_run("s3://bucket/scans", chosen) as run:
            assert run.frame("SELECT domain FROM domains")["domain"].tolist() == [name]
            assert not str(run.path).startswith(str(tmp_path))
    shutil.copytree(path / "domains", store.directory / f"run={older}" / "hosts")
    with (
        pytest.raises(UsageError, match=r"^s3://bucket/scans/run=\w+: hosts has 1 rows, its manifest says 0") as wrong,
        opened_run("s3://bucket/scans"),
    ):
        pass
    assert tempfile.gettempdir() not in str(wrong.value)
    with pytest.raises(UsageError, match=r"^s3://bucket/scans: has no run 'x'"), opened_run("s3://bucket/scans", "x"):
        pass


class FullDisk(io.BytesIO):
    def write(self, data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_local_disk_is_not_said_of_the_store(
    store: Objects, tmp_path: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed(store, half_done(tmp_path / "here"))
    run = stub(store, tmp_path / "there")
    genuine = Path.open

    def opened(path: Path, mode: str = "r", *others: Any, **named: Any) -> Any:
        is_part = mode == "wb" and path.name.startswith((".tmp-empty", "manifest"))
        return FullDisk() if is_part else genuine(path, mode, *others, **named)

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(UsageError) as wrong:
        session.WorkingCopy(store, run, progress).take()
    assert str(wrong.value) == f"{run.path}: cannot be written (No space left on device); check --work-dir"
    with (
        pytest.raises(UsageError, match=rf"^{tempfile.gettempdir()}: cannot be written \(No space left on device\)"),
        opened_run("s3://bucket/scans"),
    ):
        pass
