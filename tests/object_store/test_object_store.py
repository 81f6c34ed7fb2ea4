"""What is put into an object store and when, and what is brought from it; `tests/real` asks servers."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow.fs
import pytest

from analysis.runs.remote import opened_run
from crawler.commands.main import main
from crawler.commands.progress import Progress
from crawler.dataset.files import write_json
from crawler.dataset.run import Run
from crawler.model.errors import ScanFailed, UsageError
from crawler.model.rows import TABLES
from crawler.object_store import lease, session
from crawler.object_store.checkout import bring_manifests, copy_of, place
from crawler.object_store.client import LANES, Store, StoreError
from crawler.object_store.lease import Note, ensure_abandoned, of_this_process, read_note, write_note
from crawler.object_store.sync import Mirror
from crawler.object_store.url import parse_location
from tests.kit.small_runs import domain, write_run

BUCKET = parse_location("s3://bucket/scans?region=x")


class Objects(Store):
    """A store that is a directory, remembers what was done to it, and fails when told to."""

    def __init__(self, directory: Path) -> None:
        super().__init__(BUCKET)
        self.directory = directory / "bucket" / "scans"
        self.log: list[str] = []
        self.fails: Callable[[str], bool] = lambda name: False

    def names(self) -> list[str]:
        return sorted(str(p.relative_to(self.directory)) for p in self.directory.rglob("*") if p.is_file())

    def remove(self, name: str) -> None:
        super().remove(name)
        self.log.append(f"-{name}")

    def _put(self, name: str, data: Any) -> None:
        if self.fails(name):
            raise StoreError(f"{self.name}: cannot be written (no route to host)")
        (self.directory / name).parent.mkdir(parents=True, exist_ok=True)
        super()._put(name, data)
        self.log.append(name)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Objects:
    (tmp_path / "store" / "bucket").mkdir(parents=True)
    files = pyarrow.fs.SubTreeFileSystem(str(tmp_path / "store"), pyarrow.fs.LocalFileSystem())
    monkeypatch.setattr("crawler.object_store.client._filesystem", lambda uri: (files, "bucket/scans"))
    monkeypatch.setattr("analysis.runs.remote._filesystem", lambda uri: (files, "bucket/scans"))
    return Objects(tmp_path / "store")


@pytest.fixture
def progress() -> Progress:
    return Progress(quiet=True)


def half_done(data: Path) -> Run:
    """A run of which one shard is finished and another is being written, locked."""
    run = Run(data / "run=a")
    for name in ("domains/domains-0000.parquet", "certificates/probes-0000.parquet", "_work/targets/0000.parquet",
                 "_work/targets/0001.parquet", "_work/.tmp-domains-domains-0001-7", "_work/done/domains-0000.json",
                 *(f"{table}/empty.parquet" for table in TABLES)):  # fmt: skip
        (run.path / name).parent.mkdir(parents=True, exist_ok=True)
        (run.path / name).write_bytes(name.encode())
    run.trust_anchors.write_bytes(b"pem")
    run.write_manifest({"state": "running"})
    assert run.lock()
    return run


def pushed(store: Store, run: Run) -> Mirror:
    mirror = Mirror(store, run)
    mirror.push(lambda files: None)
    return mirror


# --- what is put, and in what order ----------------------------------------------------------------


def test_parts_come_before_markers_and_the_manifest_is_last(store: Objects, tmp_path: Path) -> None:
    pushed(store, half_done(tmp_path))
    names = [name.removeprefix("run=a/") for name in store.log]
    assert names[-3:] == ["_work/targets.whole", "_work/done/domains-0000.json", "manifest.json"]
    assert set(names[:-3]) == {
        "domains/domains-0000.parquet", "certificates/probes-0000.parquet", "_work/targets/0000.parquet",
        "_work/targets/0001.parquet", "trust-anchors.pem", *(f"{table}/empty.parquet" for table in TABLES),
    }  # fmt: skip


def test_what_has_not_changed_is_not_put_again_by_this_process_or_the_next(store: Objects, tmp_path: Path) -> None:
    run = half_done(tmp_path)
    mirror = pushed(store, run)
    store.log.clear()
    mirror.push(lambda files: None)
    assert store.log == []
    run.write_manifest({"state": "stopped"})  # as long as before
    following = Mirror(store, run)
    following.look()
    following.push(lambda files: None)
    assert store.log == ["run=a/manifest.json"]


def test_merged_parts_are_there_before_what_they_replace_is_removed(store: Objects, tmp_path: Path) -> None:
    run = half_done(tmp_path)
    mirror = pushed(store, run)
    store.log.clear()
    (run.path / "certificates" / "merged-0000.parquet").write_bytes(b"merged")
    (run.path / "certificates" / "merged-0001.parquet").write_bytes(b"merged")
    write_json(run.done / "merged-certificates.json", {"passes": 2})
    (run.path / "certificates" / "probes-0000.parquet").unlink()
    store.fails = lambda name: name.endswith("merged-0001.parquet")
    with pytest.raises(StoreError):
        mirror.push(lambda files: None)
    assert "run=a/certificates/probes-0000.parquet" in store.names()  # twice, but not too few
    store.fails = lambda name: False
    mirror.push(lambda files: None)
    assert store.log == [
        "run=a/certificates/merged-0000.parquet", "run=a/certificates/merged-0001.parquet",
        "run=a/_work/done/merged-certificates.json", "-run=a/certificates/probes-0000.parquet",
    ]  # fmt: skip


def test_a_merge_that_ends_while_files_are_put_removes_nothing_too_early(store: Objects, tmp_path: Path) -> None:
    run = half_done(tmp_path)
    mirror = pushed(store, run)
    (run.path / "certificates" / "merged-0000.parquet").write_bytes(b"merged")

    def go_on(files: int) -> None:
        (run.path / "certificates" / "merged-0001.parquet").write_bytes(b"merged")
        (run.path / "certificates" / "probes-0000.parquet").unlink(missing_ok=True)

    mirror.push(go_on)
    assert "run=a/certificates/probes-0000.parquet" in store.names()
    mirror.push(go_on)
    assert "run=a/certificates/probes-0000.parquet" not in store.names()
    assert "run=a/certificates/merged-0001.parquet" in store.names()


def test_no_marker_goes_up_without_the_part_that_a_merge_took_away(
    store: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = half_done(tmp_path)
    write_json(run.done / "probes-0000.json", {"rows": {}})
    monkeypatch.setattr(store, "in_lanes", map)  # one after another

    def merge(files: int) -> None:
        (run.path / "certificates" / "merged-0000.parquet").write_bytes(b"merged")
        write_json(run.done / "merged-certificates.json", {"passes": 1})
        (run.path / "certificates" / "probes-0000.parquet").unlink(missing_ok=True)

    mirror = Mirror(store, run)
    mirror.push(merge)
    assert "run=a/certificates/probes-0000.parquet" not in store.names()
    assert not [name for name in store.names() if "/done/" in name]
    mirror.push(merge)
    assert {"run=a/certificates/merged-0000.parquet", "run=a/_work/done/merged-certificates.json",
            "run=a/_work/done/probes-0000.json", "run=a/manifest.json"} <= set(store.names())  # fmt: skip


def test_a_part_that_a_shard_done_again_lacks_is_gone_before_its_marker_says_so(store: Objects, tmp_path: Path) -> None:
    run = half_done(tmp_path)
    mirror = pushed(store, run)
    store.log.clear()
    (run.path / "certificates" / "probes-0000.parquet").unlink()
    write_json(run.done / "probes-0000.json", {"rows": {}})
    mirror.push(lambda files: None)
    assert store.log == ["-run=a/certificates/probes-0000.parquet", "run=a/_work/done/probes-0000.json"]


def test_what_could_not_be_put_is_put_later(store: Objects, tmp_path: Path) -> None:
    store.fails = lambda name: True
    run = half_done(tmp_path)
    mirror = Mirror(store, run)
    with pytest.raises(StoreError):
        mirror.push(lambda files: None)
    store.fails = lambda name: False
    mirror.push(lambda files: None)
    assert {"run=a/manifest.json", "run=a/domains/domains-0000.parquet"} <= set(store.names())
    assert mirror.pending() == 0


# --- what is brought -------------------------------------------------------------------------------


def stub(store: Objects, data: Path) -> Run:
    bring_manifests(store, data, None)
    run = Run(data / "run=a")
    assert run.lock()
    return run


def test_another_machine_brings_everything_and_only_what_is_ours(
    store: Objects, tmp_path: Path, progress: Progress
) -> None:
    pushed(store, half_done(tmp_path / "here"))
    mine = set(store.names())
    for strange in ("run=a/notes.txt", "run=a/_work/done/readme", "run=a/domains/deep/x.parquet"):
        (store.directory / strange).parent.mkdir(exist_ok=True)
        (store.directory / strange).write_bytes(b"?")
    run = stub(store, tmp_path / "there")
    assert {path.name for path in run.path.iterdir()} == {"_work", "manifest.json", "trust-anchors.pem"}
    with session.working_copy(store, run, progress):
        brought = {str(p.relative_to(tmp_path / "there")) for p in run.path.rglob("*") if p.is_file()}
        ours = {"run=a/_work/copy", "run=a/_work/lock", "run=a/_work/pushed.json"}
        assert brought - ours == {name for name in mine if not name.endswith(".whole")}
        assert {path.name for path in run.path.iterdir() if path.is_dir()} == {"_work", *TABLES}


def test_a_plan_that_was_put_in_part_is_not_brought(store: Objects, tmp_path: Path, progress: Progress) -> None:
    pushed(store, half_done(tmp_path / "here"))
    store.remove("run=a/_work/targets.whole")
    store.remove("run=a/_work/targets/0001.parquet")
    run = stub(store, tmp_path / "there")
    with session.working_copy(store, run, progress):
        assert not (run.work / "targets").exists()
        assert (run.path / "domains" / "domains-0000.parquet").exists()


def test_somebodys_parquet_among_the_parts_is_refused(store: Objects, tmp_path: Path, progress: Progress) -> None:
    pushed(store, half_done(tmp_path / "here"))
    (store.directory / "run=a" / "domains" / "mine.parquet").write_bytes(b"?")
    with pytest.raises(UsageError, match=r"s3://bucket/scans/run=a/domains/mine\.parquet: is no part of this run"):
        session.WorkingCopy(store, stub(store, tmp_path / "there"), progress).take()


def test_of_finished_runs_only_the_one_asked_for_is_brought_and_not_its_parts(store: Objects, tmp_path: Path) -> None:
    run = half_done(tmp_path / "here")
    run.write_manifest({"state": "finished"})
    pushed(store, run)
    bring_manifests(store, tmp_path / "there", None)
    assert not (tmp_path / "there").exists()
    bring_manifests(store, tmp_path / "there", "a")
    assert json.loads((tmp_path / "there" / "run=a" / "manifest.json").read_text())["state"] == "finished"
    assert not (tmp_path / "there" / "run=a" / "domains").exists()


def test_a_copy_left_behind_by_a_run_that_was_finished_elsewhere_goes(store: Objects, tmp_path: Path) -> None:
    run = half_done(tmp_path / "here")
    pushed(store, run)
    run.unlock()
    (store.directory / "run=a" / "manifest.json").write_text('{"state": "finished"}')
    bring_manifests(store, tmp_path / "here", None)
    assert not run.path.exists()


def test_a_copy_cut_off_before_the_store_heard_that_it_is_finished_is_continued(
    store: Objects, tmp_path: Path, progress: Progress
) -> None:
    run = half_done(tmp_path)
    with session.working_copy(store, run, progress):
        pass
    run.write_manifest({"state": "finished"})
    run.unlock()
    bring_manifests(store, tmp_path, None)
    assert run.manifest()["state"] == "interrupted"


# --- the life of a copy ----------------------------------------------------------------------------


def test_a_finished_run_leaves_neither_a_copy_nor_what_it_would_be_continued_from(
    store: Objects, tmp_path: Path, progress: Progress
) -> None:
    run = half_done(tmp_path)
    with session.working_copy(store, run, progress) as copy:
        copy.settle(lambda files: None)
        run.write_manifest({"state": "finished"})
        copy.finish()
    assert not run.path.exists() and not copy.is_behind
    assert not [name for name in store.names() if "_work" in name]
    assert json.loads((store.directory / "run=a" / "manifest.json").read_text())["state"] == "finished"


def test_what_the_store_lost_or_kept_meanwhile_is_set_right_in_the_end(
    store: Objects, tmp_path: Path, progress: Progress
) -> None:
    run = half_done(tmp_path)
    with session.working_copy(store, run, progress) as copy:
        copy.settle(lambda files: None)
        (store.directory / "run=a" / "domains" / "domains-0000.parquet").unlink()
        (store.directory / "run=a" / "hosts" / "hosts-0009.parquet").write_bytes(b"of another's try")
        assert copy.pending() == 0
        copy.settle(lambda files: None)
    assert "run=a/domains/domains-0000.parquet" in store.names()
    assert "run=a/hosts/hosts-0009.parquet" not in store.names()


def test_if_the_last_word_is_not_heard_the_run_is_not_finished(
    store: Objects, tmp_path: Path, progress: Progress
) -> None:
    run = half_done(tmp_path)
    with session.working_copy(store, run, progress) as copy:
        copy.settle(lambda files: None)
        run.write_manifest({"state": "finished"})
        store.fails = lambda name: True
        with pytest.raises(ScanFailed, match=r"no route to host.*kept in .*run=a, the same command continues"):
            copy.finish()
    assert copy.is_behind and run.manifest()["state"] == "interrupted"


def test_the_last_files_are_tried_for_a_while_and_then_the_scan_fails(
    store: Objects, tmp_path: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(session, "LAST_TRIES", 0.3)
    tries = []
    with session.working_copy(store, half_done(tmp_path), progress) as copy:
        store.fails = lambda name: tries.append(name) is None
        with pytest.raises(ScanFailed, match="the same command continues"):
            copy.settle(lambda files: None)
    assert len(tries) > 1 and copy.is_behind
    assert caplog.text.count("it is tried again") == 1


def test_what_cannot_be_put_after_an_interruption_is_said(
    store: Objects, tmp_path: Path, progress: Progress, caplog: pytest.LogCaptureFixture
) -> None:
    run = half_done(tmp_path)
    with session.working_copy(store, run, progress) as copy:
        store.fails = lambda name: True
    assert copy.is_behind and "the same command continues" in caplog.text
    assert (run.path / "domains" / "domains-0000.parquet").exists()


@pytest.mark.parametrize("full", ["crawler.object_store.sync.write_json", "crawler.object_store.sync.Mirror._put"])
def test_a_full_disk_at_the_end_does_not_hide_why_the_scan_failed(
    store: Objects, tmp_path: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    def fails(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run = half_done(tmp_path)
    with pytest.raises(ScanFailed, match="the real reason"), session.working_copy(store, run, progress) as copy:
        monkeypatch.setattr(full, fails)
        raise ScanFailed("the real reason")
    # A record that cannot be kept costs nothing but time; what could not be read is missing.
    assert copy.is_behind is (full != "crawler.object_store.sync.write_json")
    assert ("run=a/domains/domains-0000.parquet" in store.names()) is not copy.is_behind


def test_a_run_taken_over_is_left_alone(store: Objects, tmp_path: Path, progress: Progress) -> None:
    run = half_done(tmp_path)
    with session.working_copy(store, run, progress) as copy:
        write_note(store, "run=a", Note("another", "elsewhere", 7, "now", is_resting=False))
        store.log.clear()
        with pytest.raises(ScanFailed, match=r"elsewhere \(process 7, now\) has taken over this run"):
            copy.settle(lambda files: None)
    assert store.log == []
    assert (note := read_note(store, "run=a")) and note.copy == "another"


@pytest.mark.parametrize("left", [False, True])
def test_what_another_machine_has_finished_meanwhile_stays_as_it_is(
    store: Objects, tmp_path: Path, progress: Progress, *, left: bool
) -> None:
    run = half_done(tmp_path)
    with session.working_copy(store, run, progress) as copy:
        copy.settle(lambda files: None)
        (store.directory / "run=a" / "certificates" / "merged-0000.parquet").write_bytes(b"of the other")
        (store.directory / "run=a" / "manifest.json").write_text('{"state": "finished"}')
        if not left:  # else our own note, written too late over the other's
            shutil.rmtree(store.directory / "run=a" / "_work")
        before = {name: (store.directory / name).read_bytes() for name in store.names()}
        run.write_manifest({"state": "finished", "more": 1})
        for put in (copy.settle, lambda tick: copy.finish()):
            with pytest.raises(ScanFailed, match="another scan has finished this run"):
                put(lambda files: None)
        assert run.manifest()["state"] == "interrupted"
    assert {name: (store.directory / name).read_bytes() for name in store.names()} == before


def test_a_run_finished_while_its_note_was_watched_is_not_scanned_again(
    store: Objects, tmp_path: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "PATIENCE", 0.4)
    pushed(store, half_done(tmp_path / "here"))
    write_note(store, "run=a", Note("one", "host", 1, "12:00", is_resting=False))
    run = stub(store, tmp_path / "there")

    def finish(said: str) -> None:
        (store.directory / "run=a" / "manifest.json").write_text('{"state": "finished"}')
        shutil.rmtree(store.directory / "run=a" / "_work")

    monkeypatch.setattr(progress, "say", finish)
    with pytest.raises(UsageError, match=r"run=a: was finished by host \(process 1, 12:00\) meanwhile"):
        session.WorkingCopy(store, run, progress).take()
    assert not run.path.exists() and not [name for name in store.names() if "_work" in name]


def test_a_run_deleted_from_the_store_of_which_only_the_manifest_is_here_is_begun_anew(
    store: Objects, tmp_path: Path, progress: Progress
) -> None:
    pushed(store, half_done(tmp_path / "here"))
    run = stub(store, tmp_path / "there")
    shutil.rmtree(store.directory / "run=a")
    with pytest.raises(UsageError, match=r"run=a: is in the store no more.* the same command begins another"):
        session.WorkingCopy(store, run, progress).take()
    assert not run.path.exists() and store.names() == []


def test_a_copy_with_content_outlives_a_run_deleted_from_the_store(
    store: Objects, tmp_path: Path, progress: Progress
) -> None:
    run = half_done(tmp_path)
    with session.working_copy(store, run, progress):
        pass
    shutil.rmtree(store.directory / "run=a")
    write_note(store, "run=a", Note("another", "elsewhere", 7, "now", is_resting=True))
    with session.working_copy(store, run, progress) as copy:
        copy.settle(lambda files: None)
    assert "run=a/domains/domains-0000.parquet" in store.names()


def test_where_neither_note_nor_manifest_is_found_nothing_is_put(
    store: Objects, tmp_path: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "LAST_TRIES", 0.2)
    run = half_done(tmp_path)
    with session.working_copy(store, run, progress) as copy:
        copy.settle(lambda files: None)
        run.write_manifest({"state": "running", "more": 1})
        store.remove("run=a/_work/copy.json")
        copy.settle(lambda files: None)  # a note alone that is not found says nothing
        store.remove("run=a/_work/copy.json")
        store.remove("run=a/manifest.json")
        store.log.clear()
        with pytest.raises(ScanFailed, match=r"whose run this is cannot be read.* the same command continues"):
            copy.settle(lambda files: None)
    assert store.log == []
    with session.working_copy(store, run, progress) as copy:
        copy.settle(lambda files: None)
    assert "run=a/manifest.json" in store.names()


def test_a_takeover_is_heeded_between_two_files_too(
    store: Objects, tmp_path: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = half_done(tmp_path)
    with session.working_copy(store, run, progress) as copy:
        copy.settle(lambda files: None)
        for name in ("certificates/probes-0000.parquet", "domains/domains-0000.parquet"):
            (run.path / name).unlink()
        run.write_manifest({"state": "running", "more": 1})
        (run.path / "hosts" / "hosts-0000.parquet").write_bytes(b"found before it slept")
        store.log.clear()
        now = time.time()

        def sleep(files: int) -> None:
            if files:
                write_note(store, "run=a", Note("another", "elsewhere", 7, "now", is_resting=False))
                monkeypatch.setattr(time, "time", lambda: now + 1000)

        with pytest.raises(ScanFailed, match="has taken over this run"):
            copy.settle(sleep)
    assert store.log == ["run=a/hosts/hosts-0000.parquet", "run=a/_work/copy.json"]


def test_a_run_begun_elsewhere_in_the_same_moment_is_not_mixed_with(
    store: Objects, tmp_path: Path, progress: Progress
) -> None:
    pushed(store, half_done(tmp_path / "there"))
    with pytest.raises(UsageError, match="begun elsewhere in the same moment"):
        session.WorkingCopy(store, half_done(tmp_path / "here"), progress).take()


def test_a_note_that_is_written_again_is_heeded_and_one_that_is_not_is_passed_over(
    store: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "PATIENCE", 0.4)
    said: list[str] = []
    first = Note("one", "host", 1, "12:00", is_resting=False)
    write_note(store, "run=a", first)
    ensure_abandoned(store, "run=a", first, said.append)
    assert len(said) == 1 and "host (process 1, 12:00) worked on it" in said[0]
    write_note(store, "run=a", Note("one", "host", 1, "12:01", is_resting=False))
    with pytest.raises(UsageError, match=r"host \(process 1, 12:01\) is working on this run"):
        ensure_abandoned(store, "run=a", first, said.append)
    ensure_abandoned(store, "run=a", of_this_process("two", is_resting=True), said.append)
    assert len(said) == 2


def test_a_new_copy_has_a_name_that_the_store_knows(store: Objects, tmp_path: Path, progress: Progress) -> None:
    run = half_done(tmp_path)
    with session.working_copy(store, run, progress):
        note = read_note(store, "run=a")
        assert note and note.copy == copy_of(run) and not note.is_resting
    assert (note := read_note(store, "run=a")) and note.is_resting


# --- objects, addresses, commands ------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("ftp://host/x", "ftp: is no store that is known here"),
        ("s3:/bucket/x", "s3: is no store that is known here"),
        ("s3://key:hush@bucket/x", "must hold no credentials"),
        ("s3://bucket/x?endpoint_override=https://key:hush@host", "must hold no credentials"),
        ("gs://key:hush@bucket/x", "must hold no credentials"),
        ("s3://bucket/x?region=x&endpoint_override=https://key:hush%40127.0.0.1:9", "must hold no credentials"),
        ("s3://bucket/x?region=x&endpoint_override=https%3A%2F%2Fkey%3Ahush%2540127.0.0.1", "must hold no credentials"),
        ("s3://key:hush%40bucket/x", "must hold no credentials"),
        ("gs://anonymous%3Ahush%40bucket/x", "must hold no credentials"),
        ("s3://bucket/x?key:hush%40host", "must hold no credentials"),
        ("s3://bucket/x?key:hush=1", "an option of the address is unknown"),
        ("s3://bucket/x?endpoint_override=https://key:hush", "endpoint_override of the address must be HOST"),
        ("s3://bucket/x?endpoint_override=https://host/?key=hush", "endpoint_override of the address must be HOST"),
        ("s3://bucket/x?secret_key=hush", "option 'secret_key' of the address is unknown"),
        ("s3:///x", "names no bucket"),
        ("s3://", "names no bucket"),
    ],
)
@pytest.mark.parametrize("command", ["scan", "stats"])
def test_a_bad_address_is_one_line_without_secrets(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data: str, said: str, command: str
) -> None:
    (tmp_path / "list.txt").write_text("a.example\n")
    assert main([command, *[str(tmp_path / "list.txt")][: command == "scan"], "--data", data]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and "hush" not in error


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:9000", "http%3A%2F%2F127.0.0.1%3A9000", "host", "host:80", "https://[::1]:1/s3/x"]
)
def test_an_endpoint_may_be_written_in_every_form_that_holds_no_secret(endpoint: str) -> None:
    assert f"endpoint_override={endpoint}" in parse_location(f"s3://bucket/x?endpoint_override={endpoint}").uri


@pytest.mark.parametrize("data", ["s3://bucket/pre#fix?region=x", "gs://bucket/a/pre%20fix", "s3://bucket/pre fix"])
def test_a_prefix_that_would_be_read_as_another_is_refused(data: str) -> None:
    with pytest.raises(UsageError, match=r"--data: the prefix holds '[#% ]', which an address cannot say"):
        parse_location(data)


def test_a_directory_for_copies_is_for_stores_and_stores_are_for_scans(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["scan", "list.txt", "--data", str(tmp_path), "--work-dir", str(tmp_path)]) == 2
    assert "--work-dir: is for" in capsys.readouterr().err
    assert main(["doctor", "--data", "s3://bucket/x"]) == 2
    assert "s3: is no directory, and this command takes no other" in capsys.readouterr().err


def test_each_store_has_copies_of_its_own(store: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one, _ = place("s3://bucket/scans?endpoint_override=http://one", None)
    two, _ = place("s3://bucket/scans?endpoint_override=http://two", None)
    assert one != two and one.parent == tmp_path / "starttls-crawler"
    assert place("s3://bucket/scans/?endpoint_override=http://one", None)[0] == one
    assert place("here", None) == (Path("here"), None)
    assert parse_location("gs://anonymous@bucket/a/b/").name == "gs://bucket/a/b"
