"""`strict_valid` means one thing: in the row that a probe writes, in what readers make of it, and in the figures."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.runs.run import Run
from crawler.certificates.verdicts import certificate_holds, conclude
from crawler.model.rows import Outcome, Probe, Stage, schema_of
from crawler.model.schema_versions import as_now
from tests.kit.small_runs import domain, host, probe, write_run

VALUES = (True, False, None)
FACTS = ("negotiated", "conclusive", "starttls_offered", "chain_trusted", "name_match", "within_validity")
CASES = [dict(zip(FACTS, values, strict=True)) for values in product(VALUES, repeat=len(FACTS))]


def row(number: int, facts: dict[str, bool | None]) -> Probe:
    """An endpoint of its own with these facts, and with the verdict that schema 1 would have stored."""
    made = Probe(protocol="smtp", host=f"mx{number}.example", address=f"10.0.{number // 250}.{number % 250}", port=25)
    made.stage, made.outcome = Stage.AFTER_TLS, Outcome.CLOSED
    for name, value in facts.items():
        setattr(made, name, value)
    made.strict_valid = certificate_holds(made)
    return made


def concluded(made: Probe) -> bool | None:
    conclude(made)
    return made.strict_valid


def test_row_reader_and_figures_agree_on_every_combination_of_facts(tmp_path: Path) -> None:
    rows = [row(number, facts) for number, facts in enumerate(CASES)]
    names = [made.host or "" for made in rows]
    others = [domain("a.example", *names), *(host(made.host or "", made.address or "") for made in rows)]
    path = write_run(tmp_path, [*rows, *others])
    with Run.open(tmp_path) as run:
        read = {one[0]: one[1:] for one in values(run, "SELECT host, strict_valid FROM probes")}
        counted = {one[0]: one[1:] for one in values(run, "SELECT host, strict_valid FROM deliveries")}
    (batch,) = pa.Table.from_batches(pq_batches(path)).combine_chunks().to_batches()
    columns = as_now(batch, "probes", schema_of(Probe)).to_pydict()
    arrow = dict(zip(columns["host"], columns["strict_valid"], strict=True))
    truth = {made.host or "": concluded(made) for made in rows}
    assert {name: verdict for name, (verdict,) in read.items()} == truth
    assert {name: verdict for name, (verdict,) in counted.items()} == truth
    assert arrow == truth
    assert set(truth.values()) == set(VALUES)


def pq_batches(path: Path) -> list[pa.RecordBatch]:
    return list(pq.read_table(path / "probes" / "part-0.parquet", partitioning=None).to_batches())


def values(run: Run, sql: str) -> list[tuple[object, ...]]:
    return [row for batch in run.batches(sql) for row in zip(*batch.to_pydict().values(), strict=True)]


@pytest.mark.parametrize(
    ("kind", "columns", "verdict"),
    [
        ("strict", {}, True),
        ("wrong_name", {}, False),
        ("not_offered", {}, False),
        ("tls_alert", {}, False),
        ("greeting_timeout", {}, None),
        ("handshake_timeout", {}, None),
        ("silent_after_tls", {}, None),
        ("silent_after_tls", {"chain_trusted": False}, False),
        ("sampled_out", {}, None),
        ("opted_out", {}, None),
    ],
)
def test_it_is_true_only_of_what_was_answered_inside_tls(
    kind: str, columns: dict[str, bool], verdict: bool | None
) -> None:
    made = probe("mx.example", "192.0.2.1", kind, **columns)
    assert concluded(made) is verdict
    if kind == "silent_after_tls":
        assert certificate_holds(made) is (not columns), "the verdicts on the certificate stay"
