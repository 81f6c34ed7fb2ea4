"""Directories for what is not finished yet: those of dead processes go, those of living ones stay."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from analysis.figures.compute import compute
from analysis.runs.leftovers import working_directory
from analysis.runs.run import Run
from analysis.site.report import publish
from tests.kit.small_runs import domain, host, probe, write_run

LONG_AGO = time.time() - 3_600


def test_what_a_killed_process_left_goes_and_what_is_at_work_or_young_or_of_others_stays(tmp_path: Path) -> None:
    hold = (
        "import sys; from pathlib import Path; from analysis.runs.leftovers import working_directory\n"
        "with working_directory('.new-', Path(sys.argv[1])) as path: print(path, flush=True); sys.stdin.read()"
    )
    places = []
    processes = []
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", hold, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        places.append(Path(process.stdout.readline().strip()))
        processes.append(process)
    (dead, alive), (young, other) = places, (tmp_path / ".new-young", tmp_path / "site")
    processes[0].kill()
    for path in (young, other):
        path.mkdir()
    (dead / "page").write_text("half")
    try:
        processes[0].wait()
        for path in (dead, alive, other):
            os.utime(path, (LONG_AGO, LONG_AGO))
        with working_directory(".new-", tmp_path) as mine:
            assert mine.is_dir() and not dead.exists()
            assert alive.is_dir() and young.is_dir() and other.is_dir()
        assert not mine.exists()
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_a_report_removes_what_a_killed_one_left_in_the_site_and_in_the_temporary_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    left = (tmp_path / "site" / ".new-abc", tmp_path / "tmp" / "starttls-analysis-abc")
    for path in left:
        path.mkdir(parents=True)
        (path / "file").write_text("half")
        os.utime(path, (LONG_AGO, LONG_AGO))
    rows = [domain("a.example", "mx.example"), host("mx.example", "192.0.2.1"), probe("mx.example", "192.0.2.1")]
    write_run(tmp_path / "data", rows)
    with Run.open(tmp_path / "data") as run:
        publish(compute(run), tmp_path / "site")
    assert not any(path.exists() for path in left)
    assert list((tmp_path / "tmp").iterdir()) == [] and not list((tmp_path / "site").glob(".new-*"))
