"""Runs that are unfinished, old, damaged or not whole: figures with a word, or one clear line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.runs.run import Run
from crawler.dataset.stored_runs import choose_run
from crawler.model.errors import UsageError
from tests.kit.figure_runs import run_stats
from tests.kit.small_runs import certificate, domain, write_run
from tests.kit.stats_rows import ROWS


def test_an_unfinished_run_gives_figures_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, [*ROWS, certificate()], state="running")  # a certificate met by two shards
    run_stats("--data", str(tmp_path), "--format", "json")
    out, err = capsys.readouterr()
    assert json.loads(out)["run"]["state"] == "running"
    assert json.loads(out)["distributions"]["certificate_problems.endpoints"]["all"] == 3
    assert err.count("\n") == 1 and "is not finished (state: running)" in err


def test_a_run_without_any_part_has_no_figures_but_no_error_either(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path, [], state="running")
    assert run_stats("--data", str(tmp_path), "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["facebook_2014"]["share"] is None
    assert run_stats("--data", str(tmp_path)) == 0
    assert run_stats("--data", str(tmp_path), "--by", "tld") == 0


def test_the_newest_finished_run_is_chosen_and_the_newest_of_all_if_none_is(tmp_path: Path) -> None:
    write_run(tmp_path, [], run="zz", started_at="2026-01-01T00:00:00+00:00")
    write_run(tmp_path, [], run="aa", started_at="2026-01-02T00:00:00+00:00")
    write_run(tmp_path, [], run="mm", started_at="2026-01-03T00:00:00+00:00", state="running")
    (tmp_path / "run=yy").mkdir()
    assert choose_run(tmp_path).run.path.name == "run=aa"
    assert choose_run(tmp_path, "mm").run.path.name == "run=mm"
    other = tmp_path / "other"
    write_run(other, [], run="1", started_at="2026-01-01T00:00:00+00:00", state="running")
    write_run(other, [], run="0", started_at="2026-01-02T00:00:00+00:00", state="interrupted")
    assert choose_run(other).run.path.name == "run=0"


def broken(path: Path, how: str) -> list[str]:
    """Make the data directory wrong in one way; returns the arguments."""
    data = path / "data"
    if how == "no such directory":
        return ["--data", str(data)]
    if how == "is not a directory":
        data.write_text("x", "utf-8")
    elif how == "holds no run; start with `scan`":
        data.mkdir()
    elif how == "give the directory above it":
        return ["--data", str(write_run(data, ROWS))]
    elif how == "runs here: 20260101T000000Z":
        write_run(data, ROWS)
        return ["--data", str(data), "--run", "nope"]
    elif how == "is not JSON":
        (write_run(data, ROWS) / "manifest.json").write_text("{", "utf-8")
    elif how == "is not the manifest of a run":
        (write_run(data, ROWS) / "manifest.json").write_text("[]", "utf-8")
    elif how == "is newer than this program reads":
        write_run(data, ROWS, schema_version=999)
    elif how == "cannot be read as a run":
        (write_run(data, ROWS) / "probes" / "part-1.parquet").write_bytes(b"junk" * 100)
    elif how == "without it this is no run":
        (write_run(data, ROWS) / "manifest.json").unlink()
        return ["--data", str(data), "--run", "20260101T000000Z"]
    return ["--data", str(data)]


@pytest.mark.parametrize(
    "how",
    [
        "no such directory",
        "is not a directory",
        "holds no run; start with `scan`",
        "give the directory above it",
        "runs here: 20260101T000000Z",
        "is not JSON",
        "is not the manifest of a run",
        "is newer than this program reads",
        "cannot be read as a run",
        "without it this is no run",
    ],
)
def test_what_cannot_be_read_as_a_run_is_one_clear_line(how: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=how) as error:
        run_stats(*broken(tmp_path, how))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("domains/part-0.parquet", "domains has 0 rows, its manifest says 4; the copy is incomplete"),
        ("probes/part-0.parquet", "probes has 0 rows, its manifest says 4; the copy is incomplete"),
        ("certificates/part-0.parquet", "certificates has 0 rows, its manifest says 1; the copy is incomplete"),
    ],
)
def test_a_finished_run_that_lacks_rows_gives_no_figures(lost: str, words: str, tmp_path: Path) -> None:
    path = write_run(tmp_path, ROWS)
    (path / lost).unlink()
    with pytest.raises(UsageError) as error:
        run_stats("--data", str(tmp_path))
    assert str(error.value) == f"{path}: {words}"


def test_a_finished_run_with_rows_too_many_gives_no_figures(tmp_path: Path) -> None:
    path = write_run(tmp_path, ROWS)
    (path / "hosts" / "part-1.parquet").write_bytes((path / "hosts" / "part-0.parquet").read_bytes())
    with pytest.raises(UsageError, match="hosts has 8 rows, its manifest says 4; it holds parts of something else"):
        run_stats("--data", str(tmp_path))


def test_a_run_whose_manifest_counted_nothing_is_read_as_it_is(tmp_path: Path) -> None:
    write_run(tmp_path, ROWS, counts=None)
    assert run_stats("--data", str(tmp_path)) == 0


def test_a_column_that_an_older_run_lacks_is_null(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    path = write_run(tmp_path, ROWS) / "probes" / "part-0.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["post_quantum"]), path)
    with Run.open(tmp_path) as run:
        assert run.frame("SELECT DISTINCT post_quantum FROM deliveries WHERE negotiated")["post_quantum"].isna().all()


def test_nothing_is_left_in_the_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    write_run(tmp_path / "data", ROWS)
    with Run.open(tmp_path / "data") as run:
        run.frame("SELECT * FROM domain_units")
        assert list(temporary.iterdir())
    (tmp_path / "data" / "run=20260101T000000Z" / "manifest.json").write_text("{", "utf-8")
    with pytest.raises(UsageError):
        Run.open(tmp_path / "data")
    assert list(temporary.iterdir()) == []


def test_who_has_seen_enough_of_a_pipe_ends_us_like_any_program(tmp_path: Path) -> None:
    write_run(tmp_path, [domain("a.example", "mx.a.example")])
    command = [sys.executable, "-m", "crawler", "stats", "--data", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert (process.wait(60), process.stderr.read()) == (128 + signal.SIGPIPE, "")
