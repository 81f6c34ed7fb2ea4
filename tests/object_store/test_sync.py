"""What is put into a store and brought from it, and in what order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crawler.commands.progress import Progress
from crawler.dataset.files import write_json
from crawler.dataset.stored_manifest import Manifest
from crawler.model.errors import UsageError
from crawler.model.rows import TABLES
from crawler.object_store import session
from crawler.object_store.checkout import bring_manifests
from crawler.object_store.client import StoreError
from crawler.object_store.sync import Mirror
from tests.kit.stores import Objects, half_done, pushed, stub


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
    run.write_manifest(Manifest.of({"state": "stopped"}))  # as long as before
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
    run.write_manifest(Manifest.of({"state": "finished"}))
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
    run.write_manifest(Manifest.of({"state": "finished"}))
    run.unlock()
    bring_manifests(store, tmp_path, None)
    assert run.manifest().state == "interrupted"
