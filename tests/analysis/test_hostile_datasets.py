"""Datasets that somebody else made or damaged: every command says one line, and waits for nobody."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.runs.run import Run
from crawler.chains.rejudge import Rule, rejudge
from crawler.commands.main import main
from crawler.dataset.run import RunDirectory
from crawler.dataset.stored_manifest import read_manifest, time_of
from crawler.dataset.stored_runs import choose_run
from crawler.model.errors import UsageError
from crawler.policies.policy_list import read_policy_list
from tests.kit.chain_runs import INTERMEDIATE, LEAF, stored
from tests.kit.small_runs import domain, host, probe, write_run


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return stored(tmp_path / "data" / "run=one", [[LEAF, INTERMEDIATE], [LEAF]])


def change(run: RunDirectory, table: str, **columns: Any) -> None:
    """Set columns of each part to one value, or drop them where it is None."""
    for path in (run.path / table).glob("*.parquet"):
        read = pq.read_table(path, partitioning=None)
        for name, value in columns.items():
            read = read.drop_columns([name])
            if value is not None:
                read = read.append_column(name, pa.array([value] * len(read), pa.list_(pa.string())))
        pq.write_table(read, path)


def change_manifest(run: RunDirectory, **entries: Any) -> None:
    path = run.path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def test_a_chain_with_gaps_is_unknown_when_it_is_judged_again(run: RunDirectory, tmp_path: Path) -> None:
    change(run, "probes", received_chain=[None])
    rejudge(run.path.parent, None, tmp_path / "out", Rule(intermediates="known"))
    with Run.open(tmp_path / "out") as opened:
        assert opened.frame("SELECT DISTINCT name_match FROM probes")["name_match"].isna().all()


@pytest.mark.parametrize("schema", [1, 2])
@pytest.mark.parametrize(("table", "column"), [("probes", "outcome"), ("probes", "conclusive")])
def test_a_column_that_is_not_there_is_null(
    run: RunDirectory, tmp_path: Path, table: str, column: str, schema: int
) -> None:
    change(run, table, **{column: None})
    change_manifest(run, schema_version=schema)
    rejudge(run.path.parent, None, tmp_path / "out", Rule())
    for data in (run.path.parent, tmp_path / "out"):
        with Run.open(data) as opened:
            assert opened.frame(f"SELECT DISTINCT {column} AS word FROM {table}")["word"].isna().all()


def test_a_run_of_schema_1_without_a_column_that_has_another_name_or_other_words_now_is_read(tmp_path: Path) -> None:
    rows = [domain("a.example", "mx.example"), host("mx.example", "192.0.2.1"), probe("mx.example", "192.0.2.1")]
    path = write_run(tmp_path, rows, schema_version=1)
    change(RunDirectory(path), "domains", mta_sts_fetch=None, input=None)
    with Run.open(tmp_path) as opened:
        assert opened.frame("SELECT domain, mta_sts_fetch, input FROM domains").isna().to_numpy().tolist() == [
            [False, True, True]
        ]


def test_a_start_without_a_zone_is_in_utc(run: RunDirectory, tmp_path: Path) -> None:
    change_manifest(run, started_at="2026-01-01T00:00:00")
    rejudge(run.path.parent, None, tmp_path / "out", Rule())
    assert time_of("2026-01-01T00:00:00") == time_of("2026-01-01T01:00:00+01:00")


def test_a_manifest_that_is_no_regular_file_is_not_waited_for(run: RunDirectory) -> None:
    other = run.path.parent / "run=other"
    other.mkdir()
    os.mkfifo(other / "manifest.json")
    assert "no regular file" in " ".join(choose_run(run.path.parent).notes())
    with pytest.raises(UsageError, match="no regular file"):
        read_manifest(other)
    with pytest.raises(UsageError, match="no regular file"):
        RunDirectory(other).manifest()


def test_trust_anchors_that_are_no_regular_file_are_not_waited_for(run: RunDirectory, tmp_path: Path) -> None:
    run.trust_anchors.unlink()
    os.mkfifo(run.trust_anchors)
    with pytest.raises(UsageError, match="no regular file"):
        rejudge(run.path.parent, None, tmp_path / "out", Rule())


def test_half_a_surrogate_pair_is_no_author(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text('{"version": "0.1", "author": "\\ud800", "policies": {}}')
    with pytest.raises(UsageError, match=r"`author` .* is no text"):
        read_policy_list(path)


# --- times: what is written can be read again --------------------------------------------------------------


@pytest.mark.parametrize(
    "at", ["1969-01-01", "9500-01-01", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00", "never"]
)
def test_a_time_that_no_manifest_may_have_is_refused(
    at: str, run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rejudge", "--data", str(run.path.parent), "--out", str(tmp_path / "out"), "--at", at]) == 2
    assert "is no time of the years 1970 to 8999" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_manifest_is_written_that_could_not_be_read(run: RunDirectory) -> None:
    before = read_manifest(run.path)
    with pytest.raises(UsageError, match=r"`started_at` .* is not a time"):
        run.write_manifest(replace(before, started_at="9500-01-01T00:00:00+00:00"))
    assert read_manifest(run.path) == before


@pytest.mark.parametrize("place", ["run=zz", "run=zz/below", "run=one/below"])
def test_a_run_is_not_judged_again_into_what_would_be_a_run(place: str, run: RunDirectory) -> None:
    with pytest.raises(UsageError, match="--out"):
        rejudge(run.path.parent, None, run.path.parent / place, Rule())
    assert not (run.path.parent / "run=zz").exists()
    shutil.rmtree(run.path.parent)


# --- options ---------------------------------------------------------------------------------------------------


def test_weights_that_add_up_to_no_number_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, [domain("a.example", "mx.example"), host("mx.example", "192.0.2.1")])
    (tmp_path / "w.csv").write_text("domain,messages\na.example,1e308\nb.example,1e308\n")
    code = main(["stats", "--data", str(tmp_path), "--weights", str(tmp_path / "w.csv")])
    assert code == 2 and "add up to more than a number can hold" in capsys.readouterr().err


@pytest.mark.parametrize(("size", "is_fine"), [("999999999TB", False), ("999999TiB", True)])
def test_a_memory_limit_that_is_no_size_is_refused(
    size: str, is_fine: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path, [domain("a.example", "mx.example"), host("mx.example", "192.0.2.1")])
    assert main(["stats", "--data", str(tmp_path), "--memory-limit", size]) == (0 if is_fine else 2)
    assert ("is no size" in capsys.readouterr().err) is not is_fine
