"""The life of the copy in which a run is worked on: begun, taken over, finished, deleted."""

from __future__ import annotations

import errno
import json
import shutil
import time
from pathlib import Path

import pytest

from crawler.commands.progress import Progress
from crawler.dataset.stored_manifest import Manifest
from crawler.model.errors import ScanFailed, UsageError
from crawler.object_store import lease, session
from crawler.object_store.checkout import copy_of
from crawler.object_store.lease import Note, ensure_abandoned, of_this_process, read_note, write_note
from tests.kit.stores import Objects, half_done, pushed, stub


def test_a_finished_run_leaves_neither_a_copy_nor_what_it_would_be_continued_from(
    store: Objects, tmp_path: Path, progress: Progress
) -> None:
    run = half_done(tmp_path)
    with session.working_copy(store, run, progress) as copy:
        copy.settle(lambda files: None)
        run.write_manifest(Manifest.of({"state": "finished"}))
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
        run.write_manifest(Manifest.of({"state": "finished"}))
        store.fails = lambda name: True
        with pytest.raises(ScanFailed, match=r"no route to host.*kept in .*run=a, the same command continues"):
            copy.finish()
    assert copy.is_behind and run.manifest().state == "interrupted"


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
        run.write_manifest(Manifest.of({"state": "finished", "more": 1}))
        for put in (copy.settle, lambda tick: copy.finish()):
            with pytest.raises(ScanFailed, match="another scan has finished this run"):
                put(lambda files: None)
        assert run.manifest().state == "interrupted"
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
        run.write_manifest(Manifest.of({"state": "running", "more": 1}))
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
        run.write_manifest(Manifest.of({"state": "running", "more": 1}))
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
