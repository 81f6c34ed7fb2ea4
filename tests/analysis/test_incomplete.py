"""What would be trusted if senders knew the intermediates: three values over endpoints, hosts and domains."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.figures.compute import Figure, figures
from analysis.figures.shares import Distribution, Share
from analysis.runs.run import Run
from crawler.model.rows import Probe
from tests.kit.small_runs import certificate, domain, host, incomplete, opened, probe, write_run

DAY = datetime(2026, 6, 1, tzinfo=UTC)
SCENE = [domain("a.example", "mx.example"), host("mx.example", "192.0.2.1"), certificate()]


def lacking(**columns: Any) -> Probe:
    return probe("mx.example", "192.0.2.1", "incomplete", **{"started_at": DAY, **columns})


def judged(*rows: Any, **manifest: Any) -> tuple[Any, Any]:
    """The two criteria of the one endpoint."""
    with opened(*SCENE, *rows, **manifest) as run:
        ((trusted, strict),) = (
            run.frame("SELECT trusted_if_known, strict_valid_if_known FROM candidates").astype(object).to_numpy()
        )
    return (None if pd.isna(trusted) else bool(trusted), None if pd.isna(strict) else bool(strict))


@pytest.mark.parametrize(("word", "wanted"), [(True, True), (False, False), (None, None)])
def test_a_chain_that_lacks_an_issuer_is_what_the_table_says(word: bool | None, wanted: bool | None) -> None:
    assert judged(lacking(), incomplete(word)) == (wanted, wanted)


@pytest.mark.parametrize(("word", "wanted"), [(True, True), (False, None), (None, None)])
def test_a_chain_that_was_cut_is_unknown_where_no_known_intermediate_completes_it(
    word: bool | None, wanted: bool | None
) -> None:
    cut = lacking(chain_dropped=1, chain_trusted=None, within_validity=None)
    assert judged(cut, incomplete(word)) == (wanted, wanted)


def test_a_run_without_the_table_does_not_know(tmp_path: Path) -> None:
    """An older one: what was not judged is unknown, and everything else is as it was."""
    path = write_run(tmp_path, [*SCENE, lacking()])
    shutil.rmtree(path / "incomplete_chains", ignore_errors=True)
    counts = {"rows": {"probes": 1, "certificates": 1}}
    assert not (path / "incomplete_chains").exists()
    assert judged(lacking(), counts=counts) == (None, None)
    with Run.open(tmp_path) as run:
        assert run.frame("SELECT count(*) AS n FROM incomplete_chains")["n"].tolist() == [0]
        (share,) = shares(
            figures(run, only={"trusted_if_intermediates_known.hosts.any"}), "trusted_if_intermediates_known.hosts.any"
        )
        assert (share.yes, share.no, share.unknown) == (0, 0, 1)
        (share,) = shares(figures(run, only={"strict_validation.hosts.any"}), "strict_validation.hosts.any")
        assert (share.yes, share.no, share.unknown) == (0, 1, 0)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("strict", (True, True)),
        ("wrong_name", (True, False)),
        ("expired", (True, False)),
        ("self_signed", (False, False)),
        ("untrusted", (False, False)),
        ("not_offered", (False, False)),
        ("tls_alert", (False, False)),
        ("greeting_timeout", (None, None)),
        ("silent_after_tls", (None, None)),
        ("opted_out", (None, None)),
    ],
)
def test_where_no_issuer_is_lacking_the_probe_decides(kind: str, wanted: tuple[bool | None, bool | None]) -> None:
    assert judged(probe("mx.example", "192.0.2.1", kind, started_at=DAY)) == wanted


def test_the_name_counts_for_strict_validation_and_not_for_trust() -> None:
    assert judged(lacking(name_match=False), incomplete(True)) == (True, False)
    assert judged(lacking(name_match=None), incomplete(True)) == (True, None)


def test_dates_are_those_of_the_completed_path_at_the_time_of_the_probe() -> None:
    """What `within_validity` says is of the chain as sent, and the known intermediate may have expired."""
    assert judged(lacking(within_validity=True), incomplete(True, valid_until=datetime(2026, 3, 1, tzinfo=UTC))) == (
        True,
        False,
    )
    assert judged(lacking(started_at=datetime(2025, 6, 1, tzinfo=UTC)), incomplete(True)) == (True, False)


def test_a_run_that_was_judged_again_for_a_time_has_the_dates_of_that_time() -> None:
    again = [{"judged_for": "2028-01-01T00:00:00+00:00"}]
    assert judged(lacking(), incomplete(True), rejudged=again) == (True, False)
    assert judged(lacking(), incomplete(True), rejudged=[{"judged_for": None}]) == (True, True)


def test_the_figures_count_hosts_and_domains_and_the_reason_at_endpoints() -> None:
    rows = [
        *SCENE,
        domain("b.example", "other.example"),
        host("other.example", "192.0.2.2"),
        probe("other.example", "192.0.2.2", started_at=DAY),
        lacking(),
        incomplete(True),
    ]
    with opened(*rows) as run:
        made = figures(run)
    for unit, rule in (("hosts", "any"), ("domains", "primary")):
        before, trusted, after = shares(
            made,
            f"strict_validation.{unit}.{rule}",
            f"trusted_if_intermediates_known.{unit}.{rule}",
            f"strict_validation_if_intermediates_known.{unit}.{rule}",
        )
        assert [(share.yes, share.no, share.unknown) for share in (before, trusted, after)] == [
            (1, 1, 0), (2, 0, 0), (2, 0, 0),
        ]  # fmt: skip
    (problems,) = (figure.value for figure in made if figure.id == "certificate_problems.endpoints")
    assert isinstance(problems, Distribution)
    assert {row.label: row.count for row in problems.table()} == {
        "none: strictly valid": 1, "intermediate not sent": 1, "self-signed": 0, "untrusted issuer": 0,
        "names another host": 0, "outside its dates": 0,
    }  # fmt: skip


def shares(made: list[Figure], *names: str) -> list[Share]:
    """The shares of these figures."""
    found = {figure.id: figure.value for figure in made}
    values = [found[name] for name in names]
    assert all(isinstance(value, Share) for value in values)
    return values  # type: ignore[return-value]
