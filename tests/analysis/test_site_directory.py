"""The directory of a site: its files are replaced together, and a place among the runs is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.site import report as site
from crawler.commands.main import main
from crawler.model.errors import UsageError
from tests.kit.figure_runs import run_report
from tests.kit.report_rows import rows
from tests.kit.small_runs import write_run


def test_a_second_report_replaces_the_first_and_leaves_other_files_alone(tmp_path: Path) -> None:
    write_run(tmp_path / "data", rows())
    out = tmp_path / "site"
    run_report("--data", str(tmp_path / "data"), "--out", str(out))
    first = (out / "index.html").read_bytes()
    (out / "mine.txt").write_text("keep", "utf-8")
    run_report("--data", str(tmp_path / "data"), "--out", str(out))
    assert (out / "index.html").read_bytes() == first
    assert (out / "mine.txt").read_text("utf-8") == "keep"
    assert not list(out.glob(".new-*"))


def test_a_disk_that_fills_up_leaves_the_old_site_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "data", rows())
    out = tmp_path / "site"
    run_report("--data", str(tmp_path / "data"), "--out", str(out))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    write_run(tmp_path / "data", rows(), run="2", started_at="2026-02-01T00:00:00+00:00")
    monkeypatch.setattr(site.os, "fsync", _full_after(3))
    with pytest.raises(UsageError, match=r"site: cannot be written \(No space left"):
        run_report("--data", str(tmp_path / "data"), "--out", str(out))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert not list(out.glob(".new-*"))


def _full_after(writes: int) -> Callable[[int], None]:
    left = [writes]

    def fsync(_: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")

    return fsync


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("data", "is the directory of the runs"),
        ("data/site", "lies in the directory of the runs"),
        ("data/run=20260101T000000Z", "lies in the directory of the runs"),
        ("data/run=20260101T000000Z/site/deep", "lies in the directory of the runs"),
        (".", "holds the directory of the runs"),
        ("link", "is the directory of the runs"),
        ("link/site", "lies in the directory of the runs"),
        ("other/run=1/site", "lies in the run "),
        ("other", "holds runs"),
    ],
)
def test_a_site_among_the_runs_or_around_them_is_refused_and_nothing_is_written(
    out: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(Path("data"), rows())
    write_run(Path("other"), rows(), run="1")
    Path("link").symlink_to("data")
    before = sorted(tmp_path.rglob("*"))
    assert main(["report", "--data", "data", "--out", out]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"starttls-crawler: error: --out {out}: {words}") and said.err.count("\n") == 1
    assert said.out == "" and sorted(tmp_path.rglob("*")) == before


def test_a_demo_whose_site_would_lie_among_its_runs_is_refused_before_it_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    assert main(["demo", "--domains", "5", "--data", str(data), "--out", str(data / "site")]) == 2
    said = capsys.readouterr()
    assert "lies in the directory of the runs" in said.err and said.out == "" and not data.exists()


def test_a_site_that_is_a_file_is_refused_before_anything_is_counted(tmp_path: Path) -> None:
    write_run(tmp_path / "data", [])
    out = tmp_path / "site"
    out.write_text("x", "utf-8")
    with pytest.raises(UsageError, match="is not a directory"):
        run_report("--data", str(tmp_path / "data"), "--out", str(out))
    assert out.read_text("utf-8") == "x"
