"""Which run is continued, and what of it is done again."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from crawler.dataset.files import process_space, temporary_name
from crawler.dataset.run import RunDirectory
from crawler.dataset.steps import Step
from crawler.dataset.stored_manifest import Manifest
from crawler.dataset.workspace import sweep
from crawler.model.rows import SCHEMA_VERSION
from crawler.scan import job as scan
from tests.kit.scan_runs import comes_true
from tests.kit.scans import Kit


def test_two_scans_of_one_run_are_refused_and_a_crash_leaves_no_lock(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    with kit.start("data", "--run", "mine", environment={"FAKE_DELAY": "0.2"}) as process:
        assert comes_true((kit.path / "data" / "run=mine").exists)
        with monkeypatch.context() as impatient:
            impatient.setattr("crawler.scan.choose_run._LOCK_PATIENCE", 0.2)
            _, err = kit.scan("data", "--run", "mine", code=2)
        assert "another scan is working on this run" in err and err.count(": error: ") == 1
        process.kill()
        process.communicate()
    kit.scan("data", "--run", "mine")
    assert kit.manifest("data")["state"] == "finished"


def test_a_finished_run_is_left_alone_and_a_new_one_has_its_own_name(kit: Kit) -> None:
    kit.scan("data", "--run", "one")
    before = sorted(path.stat().st_mtime_ns for path in (kit.path / "data").rglob("*"))
    _, err = kit.scan("data", "--run", "one")
    assert "finished already" in err
    assert sorted(path.stat().st_mtime_ns for path in (kit.path / "data").rglob("*")) == before
    kit.scan("data")
    assert len(list((kit.path / "data").glob("run=*"))) == 2


def test_a_lost_or_short_part_is_made_again(kit: Kit, undisturbed: dict[str, list[dict[str, Any]]]) -> None:
    kit.scan("data", environment={"FAKE_FULL_DISK": "1"}, code=1)
    domains = sorted((kit.run("data") / "domains").glob("domains-*.parquet"))
    domains[0].unlink()
    domains[1].write_bytes(domains[1].read_bytes()[:-100])
    kit.scan("data")
    assert kit.dataset("data") == undisturbed


def test_a_run_over_another_list_or_with_other_settings_is_not_continued(kit: Kit) -> None:
    kit.scan("data", "--run", "one", environment={"FAKE_FULL_DISK": "1"}, code=1)
    _, err = kit.scan("data", "--run", "one", "--limit", "5", code=2)
    assert "other settings (limit)" in err and err.count(": error: ") == 1
    kit.list.write_text("other.example\n")
    _, err = kit.scan("data", "--run", "one", code=2)
    assert "another list" in err and err.count(": error: ") == 1
    kit.scan("data")
    assert len(list((kit.path / "data").glob("run=*"))) == 2


def test_a_part_that_was_changed_is_made_again(kit: Kit, undisturbed: dict[str, list[dict[str, Any]]]) -> None:
    kit.scan("data", environment={"FAKE_FULL_DISK": "1"}, code=1)
    part = min((kit.run("data") / "hosts").glob("hosts-*.parquet"))
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 0xFF
    part.write_bytes(content)
    _, err = kit.scan("data")
    assert f"{part}: is damaged; it is made again\n" in err
    assert kit.dataset("data") == undisturbed


def test_work_that_was_changed_ends_the_scan_with_one_line(kit: Kit) -> None:
    kit.scan("data", environment={"FAKE_FULL_DISK": "1"}, code=1)
    work = min((kit.run("data") / "_work" / "endpoints").glob("*.parquet"))
    content = bytearray(work.read_bytes())
    content[len(content) // 3] ^= 0xFF
    work.write_bytes(content)
    _, err = kit.scan("data", code=1)
    assert "Traceback" not in err and f"{work}: is damaged (" in err.splitlines()[-1]


def test_a_run_with_files_of_others_among_its_parts_is_not_continued(kit: Kit) -> None:
    kit.scan("data", "--run", "one", environment={"FAKE_FULL_DISK": "1"}, code=1)
    copy = kit.path / "data" / "run=one" / "domains" / "copy.parquet"
    copy.write_text("mine")
    (kit.path / "data" / ".tmp-notes").write_text("mine")
    (kit.path / "data" / "run=notes").write_text("mine")
    for options in ((), ("--run", "one")):
        _, err = kit.scan("data", *options, code=2)
        assert f"{copy}: is no part of this run" in err and err.count(": error: ") == 1
    copy.unlink()
    kit.scan("data")
    assert (kit.path / "data" / ".tmp-notes").exists() and (kit.path / "data" / "run=notes").exists()


def test_a_run_of_another_schema_is_refused_with_one_line(kit: Kit) -> None:
    kit.scan("data", "--run", "one", environment={"FAKE_FULL_DISK": "1"}, code=1)
    path = kit.run("data") / "manifest.json"
    path.write_text(json.dumps(kit.manifest("data") | {"schema_version": 99}))
    before = sorted((kit.path / "data").rglob("*"))
    _, err = kit.scan("data", "--run", "one", code=2)
    assert f"is of schema 99 and this version writes {SCHEMA_VERSION}" in err and err.count(": error: ") == 1
    assert sorted((kit.path / "data").rglob("*")) == before


@pytest.mark.parametrize(
    ("where", "advice"),
    [
        ("hosts/hosts-*.parquet", "the same command makes it again"),
        ("_work/endpoints/*.parquet", "begin another run by --run"),
    ],
)
def test_what_is_damaged_while_the_scan_goes_on_ends_it_with_what_to_do(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, where: str, advice: str, undisturbed: dict[str, list[dict[str, Any]]]
) -> None:
    genuine = scan._Scan._do

    def damage() -> None:
        for part in kit.run("data").glob(where):
            part.write_bytes(part.read_bytes()[:-4] + b"PARQ")

    async def damaging(self: scan._Scan, step: Step) -> None:
        if step.name == "probes":
            damage()
        await genuine(self, step)
        if step.name == "hosts":
            damage()

    with monkeypatch.context() as patch:
        patch.setattr(scan._Scan, "_do", damaging)
        _, err = kit.scan("data", code=1)
    assert "is damaged (" in err.splitlines()[-1] and advice in err.splitlines()[-1] and "Traceback" not in err
    if where.startswith("hosts"):
        kit.scan("data")
        assert kit.dataset("data") == undisturbed


def test_a_run_whose_last_word_cannot_be_written_is_not_finished(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[str, list[dict[str, Any]]]
) -> None:
    genuine = RunDirectory.write_manifest

    def full(run: RunDirectory, manifest: Manifest) -> None:
        if manifest.state == "finished":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        genuine(run, manifest)

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "write_manifest", full)
        out, err = kit.scan("data", code=1)
    last = err.splitlines()[-1]
    assert f"{kit.run('data')}: the manifest could not be written (No space left on device)" in last
    assert "finished" not in out and "Traceback" not in err
    assert kit.manifest("data")["state"] == "running"
    kit.scan("data")
    assert kit.manifest("data")["state"] == "finished" and kit.dataset("data") == undisturbed


@pytest.mark.parametrize(
    ("table", "advice"),
    [("certificates", "begin another run by --run"), ("incomplete_chains", "the same command makes it again")],
)
def test_a_merged_part_that_is_damaged_before_it_is_counted_is_one_line(
    kit: Kit,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    advice: str,
    undisturbed: dict[str, list[dict[str, Any]]],
) -> None:
    genuine = scan._Scan._work

    async def damaging(self: scan._Scan) -> None:
        await genuine(self)
        part = kit.run("data") / table / "merged-0000.parquet"
        part.write_bytes(part.read_bytes()[:-4] + b"PARQ")

    with monkeypatch.context() as patch:
        patch.setattr(scan._Scan, "_work", damaging)
        _, err = kit.scan("data", code=1)
    last = err.splitlines()[-1]
    assert "merged-0000.parquet: is damaged (" in last and advice in last and "Traceback" not in err
    assert kit.manifest("data")["state"] == "interrupted" and advice in kit.manifest("data")["problem"]
    if table == "certificates":
        _, err = kit.scan("data", code=1)
        assert "merged-0000.parquet: is damaged (" in err.splitlines()[-1] and advice in err.splitlines()[-1]
    else:
        kit.scan("data")
        assert kit.manifest("data")["state"] == "finished" and kit.dataset("data") == undisturbed


def test_only_what_nobody_writes_any_more_is_swept(tmp_path: Path) -> None:
    """A number of a process says nothing of another machine, or container, that works in the same directory."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    here, elsewhere = process_space(), "0" * 8
    assert here != elsewhere
    living, young = tmp_path / f".tmp-run=a-{here}-{os.getpid()}", tmp_path / f".tmp-run=a-{elsewhere}-{ended.pid}"
    gone, old = tmp_path / f".tmp-run=a-{here}-{ended.pid}", tmp_path / f".tmp-run=b-{elsewhere}-1"
    for path in (living, young, gone, old):
        path.mkdir()
    listed, strange = tmp_path / f".tmp-list-{here}-{ended.pid}", tmp_path / f".tmp-notes-{here}-{ended.pid}"
    for path in (listed, strange):
        path.touch()
    os.utime(old, (0, 0))
    sweep(tmp_path)
    assert set(tmp_path.iterdir()) == {living, young, strange}
    assert temporary_name(tmp_path / "run=a") == living
