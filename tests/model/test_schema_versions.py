"""A stored run of schema 1 is read by the names of today, and means what it meant."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from analysis.figures.compute import figures
from analysis.runs.run import Run
from crawler.commands.main import main
from crawler.model.rows import SCHEMA_VERSION
from crawler.model.schema_versions import RENAMED, REWORDED

STORED = Path(__file__).parent.parent / "stored" / "schema-1"
PARTS = {
    table: STORED / "run=sample" / table / name
    for table, name in {
        "domains": "domains-0000.parquet", "probes": "probes-0000.parquet", "incomplete_chains": "merged-0000.parquet",
    }.items()
}  # fmt: skip


@pytest.mark.parametrize("table", RENAMED)
def test_a_renamed_column_holds_what_the_stored_one_held(table: str) -> None:
    stored = pq.read_table(PARTS[table])
    with Run.open(STORED) as run:
        for before, now in RENAMED[table].items():
            batches = run.batches(f"SELECT {now} FROM {table}")
            found = [value for batch in batches for value in batch.column(0).to_pylist()]
            expected = stored[before].to_pylist()
            assert set(expected) - {None}, "the stored run says something here"
            assert Counter(found) == Counter(expected)


@pytest.mark.parametrize("table", REWORDED)
def test_a_word_of_schema_1_is_read_as_that_of_today(table: str) -> None:
    column, words = REWORDED[table]
    stored = pq.read_table(PARTS[table])[column].to_pylist()
    with Run.open(STORED) as run:
        for before, now in words.items():
            found = run.frame(
                f"SELECT count(*) FILTER ({column} = '{now}') AS now, count(*) FILTER ({column} = '{before}') AS before FROM {table}"
            )
            assert (found["now"][0], found["before"][0]) == (stored.count(before), 0)
            assert stored.count(before) > 0 or table == "domains", "the stored run has no policy host in private space"


def test_strict_valid_of_schema_1_is_read_as_what_the_figures_mean_by_it() -> None:
    """There it was a verdict on the certificate alone: true where the session broke inside TLS, null without TLS."""
    stored = pq.read_table(PARTS["probes"]).to_pylist()
    told = {(row["host"], row["address"]): row["strict_valid"] for row in stored}
    with Run.open(STORED) as run:
        frame = run.frame("""
            SELECT host, address, probes.strict_valid, facts.strict_valid AS counted
            FROM probes JOIN endpoint_facts AS facts USING (host, address)
        """)
    assert frame["strict_valid"].equals(frame["counted"].rename("strict_valid"))
    before = pd.Series([told[key] for key in zip(frame["host"], frame["address"], strict=True)], dtype="boolean")
    assert (before.eq(True) & frame["strict_valid"].isna()).any() and (
        before.isna() & frame["strict_valid"].eq(False)
    ).any()


def test_every_figure_of_a_stored_run_of_schema_1_can_be_made() -> None:
    with Run.open(STORED) as run:
        assert len(figures(run)) > 100


def test_a_run_of_schema_1_is_judged_again_into_one_of_today(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rejudge", "--data", str(STORED), "--out", str(tmp_path / "out")]) == 0
    assert "no verdict has changed" in capsys.readouterr().out
    made = tmp_path / "out" / "run=sample"
    assert json.loads((made / "manifest.json").read_text())["schema_version"] == SCHEMA_VERSION
    for table, columns in RENAMED.items():
        names = {name for part in (made / table).glob("*.parquet") for name in pq.read_schema(part).names}
        assert names.issuperset(columns.values()) and names.isdisjoint(columns)
    rows = [row for part in (made / "probes").glob("*.parquet") for row in pq.read_table(part).to_pylist()]
    with Run.open(tmp_path / "out") as after:
        counted = after.frame("SELECT host, address, strict_valid FROM endpoint_facts")
        verdicts = {(row.host, row.address): row.strict_valid for row in counted.itertuples()}
    for row in rows:
        verdict = verdicts[row["host"], row["address"]]
        assert row["strict_valid"] is (None if pd.isna(verdict) else bool(verdict)), "stored as it is counted"
    with Run.open(STORED) as before, Run.open(tmp_path / "out") as after:
        question = "SELECT host, address, outcome, within_validity, strict_valid FROM probes ORDER BY ALL"
        assert before.frame(question).equals(after.frame(question))


def test_stats_and_report_read_a_run_of_schema_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", "--data", str(STORED), "--format", "json"]) == 0
    ends = json.loads(capsys.readouterr().out)["distributions"]["outcomes.endpoints"]["values"]
    assert "address_not_allowed" in {row["label"] for row in ends}
    assert main(["report", "--data", str(STORED), "--out", str(tmp_path / "site")]) == 0
    page = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert "address not allowed" in page and "blocked address" not in page
