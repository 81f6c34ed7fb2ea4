"""The stored sample, counted a second time in plain Python by the rules of docs/figures.md alone: the same numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from analysis.figures.compute import facebook, figures
from analysis.figures.shares import Share
from analysis.runs.run import Run
from analysis.sql.deliveries import DOMAIN_RULES
from analysis.sql.endpoints import CRITERIA
from crawler.model.rows import TABLES
from tools.golden import FIGURES, figures_page

DATA = Path(__file__).resolve().parents[2] / "data" / "sample"

Verdict = bool | None


def table(name: str) -> list[dict[str, Any]]:
    """Every row of a table of the sample."""
    return [row for part in (DATA / "run=sample" / name).glob("*.parquet") for row in pq.read_table(part).to_pylist()]


def both(*verdicts: Verdict) -> Verdict:
    """Kleene's AND."""
    return False if False in verdicts else None if None in verdicts else True


def one_of(verdicts: Iterable[Verdict]) -> Verdict:
    """Yes if one is yes, else unknown if one is, else no; unknown if there are none."""
    seen = list(verdicts)
    return True if True in seen else None if None in seen or not seen else False


def every(verdicts: Iterable[Verdict]) -> Verdict:
    """The mirror of `one_of`."""
    opposite = one_of(None if verdict is None else not verdict for verdict in verdicts)
    return None if opposite is None else not opposite


def with_known(probe: dict[str, Any]) -> tuple[Verdict, Verdict]:
    """Whether the chain is trusted, and within its dates, if senders know the run's intermediates."""
    if probe["chain_error_code"] not in (2, 20, 21):
        return probe["chain_trusted"], probe["within_validity"]
    (row,) = (row for row in table("incomplete_chains") if row["received_chain"] == probe["received_chain"])
    if not row["trusted_if_known"]:
        return row["trusted_if_known"], probe["within_validity"]
    return True, row["valid_from"] <= probe["started_at"] <= row["valid_until"]


def judged(probe: dict[str, Any] | None, tlsa: str | None = None) -> dict[str, Verdict]:
    """The criteria of one endpoint, and whether it accepts connections; `tlsa` is the status of its host's records."""
    if probe is None:
        return dict.fromkeys((*CRITERIA, "accepts"))
    offered = probe["starttls_offered"]
    tls = True if probe["negotiated"] else False if probe["conclusive"] or offered is False else None
    without = tlsa in ("absent", "insecure", "unusable", "bogus")
    trusted, within_validity = with_known(probe)
    certificate = probe["chain_trusted"], probe["name_match"], probe["within_validity"]
    accepts = None if probe["stage"] is None else probe["stage"] != "connect"
    return {
        "offered": offered,
        "negotiated": tls,
        "forward_secret": both(tls, probe["forward_secret"]),
        "post_quantum": both(tls, probe["post_quantum"]),
        "strict_valid": both(tls, *certificate),
        "forward_secret_and_strict": both(tls, probe["forward_secret"], *certificate),
        "trusted_if_known": both(tls, trusted),
        "strict_valid_if_known": both(tls, trusted, probe["name_match"], within_validity),
        "dane_match": both(tls, False if without else {"match": True, "mismatch": False}.get(probe["dane"])),
        "accepts": False if probe["outcome"] == "address_not_allowed" else accepts,
    }


def deliveries() -> dict[str, list[dict[str, Any]]]:
    """Domain -> its endpoints judged, each with `primary`; domains whose DNS failed have none."""
    hosts = {row["host"]: row for row in table("hosts")}
    probes = {(row["host"], row["address"]): row for row in table("probes")}
    tlsa = {row["host"]: row["status"] for row in table("tlsa")}
    answered = {"ok", "nodata", "nxdomain"}
    made: dict[str, list[dict[str, Any]]] = {}
    for row in table("domains"):
        if row["route"] == "unknown":
            made[row["domain"]] = []
        if row["route"] not in ("explicit", "implicit", "null_mx_invalid") or not row["mx"]:
            continue
        best = min(entry["preference"] for entry in row["mx"])
        ways = []
        for name in {entry["host"] for entry in row["mx"]}:
            preference = min(entry["preference"] for entry in row["mx"] if entry["host"] == name)
            host = hosts.get(name)
            found = [
                judged(probes.get((name, address)), tlsa.get(name)) for address in (host and host["addresses"]) or []
            ]
            if host is None or host["addresses_dropped"] or not {host["ipv4_status"], host["ipv6_status"]} <= answered:
                found.append(judged(None))
            ways += [{**one, "primary": preference == best} for one in found]
        if row["mx_dropped"]:
            ways.append({**judged(None), "primary": all(entry["preference"] == best for entry in row["mx"])})
        if ways:
            made[row["domain"]] = ways
    return made


@pytest.fixture(scope="module")
def truth() -> dict[str, list[dict[str, Any]]]:
    assert not [row for row in table("probes") if row["outcome"] == "sampled_out"]  # not modelled here
    return deliveries()


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with Run.open(DATA) as opened:
        yield opened


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_domain_has_the_verdict_that_plain_python_finds(
    criterion: str, run: Run, truth: dict[str, list[dict[str, Any]]]
) -> None:
    expected = {}
    for domain, ways in truth.items():
        reachable = [way for way in ways if way["accepts"] is not False]
        primary = [way[criterion] for way in reachable if way["primary"]]
        expected[domain] = {
            "any": one_of(way[criterion] for way in ways),
            "all": every(way[criterion] for way in ways),
            "primary_any": one_of(primary),
            "primary_all": every(primary),
            "worst": every(way[criterion] for way in reachable),
        }
    columns = ", ".join(f"{criterion}_{rule}" for rule in DOMAIN_RULES)
    rows = run.frame(f"SELECT domain, {columns} FROM domain_units").itertuples(index=False)
    found = {
        name: {
            rule: None if pd.isna(verdict) else bool(verdict)
            for rule, verdict in zip(DOMAIN_RULES, verdicts, strict=True)
        }
        for name, *verdicts in rows
    }
    assert found == expected


def headline(frame: pd.DataFrame, parts: pd.Series[Any]) -> float:
    """The share of what is known, by `&` and `mean` as anybody would write it; a row is one part of its domain."""
    both = frame["forward_secret"] & frame["strict_valid"]
    assert (~both).equals(~frame["forward_secret"] | ~frame["strict_valid"]), "De Morgan, in three values"
    weight = 1 / parts.astype("Float64")
    return float((both.astype("Float64") * weight).sum() / weight[both.notna()].sum())


def test_the_headline_is_what_anybody_gets_who_joins_the_verdicts_by_and_and_not(run: Run) -> None:
    frame = run.frame("SELECT forward_secret, strict_valid, forward_secret_and_strict, parts FROM primary_parts")
    value = facebook(figures(run, only={"facebook_2014.domains.primary"})).value
    assert isinstance(value, Share)
    assert frame["strict_valid"].isna().any(), "or the test would show nothing"
    assert headline(frame, frame["parts"]) == pytest.approx(value.share)
    assert (frame["forward_secret"] & frame["strict_valid"]).equals(frame["forward_secret_and_strict"])


def test_a_frame_has_no_column_whose_nulls_are_taken_for_values(run: Run) -> None:
    """`object` holds lists only: `&` on booleans of that type takes null for false, and `~` fails or is wrong."""
    for table in (*TABLES, "deliveries", "domain_units", "host_units", "endpoint_facts", "primary_parts"):
        frame = run.frame(f"SELECT * FROM {table} LIMIT 200")
        for name in frame.columns[frame.dtypes == object]:
            assert all(value is None or isinstance(value, (bytes, Decimal, np.ndarray)) for value in frame[name]), name
        assert not [name for name in frame if frame[name].dtype in (np.bool_, np.float64)]


def test_the_facebook_figure_is_the_mean_that_plain_python_finds(
    run: Run, truth: dict[str, list[dict[str, Any]]]
) -> None:
    yes, no = Fraction(0), Fraction(0)
    for ways in truth.values():
        primary = [way["forward_secret_and_strict"] for way in ways if way["primary"] and way["accepts"] is not False]
        yes += Fraction(primary.count(True), len(primary) or 1)
        no += Fraction(primary.count(False), len(primary) or 1)
    value = facebook(figures(run, only={"facebook_2014.domains.primary"})).value
    assert isinstance(value, Share)
    assert (value.yes, value.no) == (pytest.approx(float(yes)), pytest.approx(float(no)))
    assert value.all == pytest.approx(len(truth))
    assert 0 < value.yes < value.all


def test_the_sample_has_an_endpoint_that_is_no_though_it_is_unknown_whether_it_negotiated() -> None:
    """So that the rule is put to the test: *no* as soon as it cannot be *yes*."""
    verdicts = [judged(probe) for probe in table("probes")]
    assert [one for one in verdicts if one["negotiated"] is None and one["forward_secret_and_strict"] is False]


def test_the_sample_has_records_of_each_kind_of_protection() -> None:
    assert {"match", "mismatch"} <= {row["dane"] for row in table("probes")}
    assert {"enforce", "testing", "none"} <= {row["mta_sts_mode"] for row in table("domains")}
    assert table("policies")
    assert {True, False} == {row["trusted_if_known"] for row in table("incomplete_chains")}


def test_the_sample_is_small_finished_complete_and_names_no_machine() -> None:
    files = [path for path in (DATA / "run=sample").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 300 * 1024
    assert {path.parent.name for path in files if path.suffix == ".parquet"} == set(TABLES)
    manifest = json.loads((DATA / "run=sample" / "manifest.json").read_text("utf-8"))
    assert manifest["state"] == "finished"
    settings = manifest["configuration"]
    assert not [path for path in (manifest["list"]["path"], settings["ca_file"], settings["exclude"]) if path[0] == "/"]


def test_the_page_of_figures_is_up_to_date() -> None:
    """`make golden` writes it."""
    assert figures_page() == FIGURES.read_text("utf-8")
