"""A policy list beside a run: the SQL against `crawler.policies.list_compliance`, the figures against a truth worked out by hand."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from analysis.figures.compute import ListFigures, figures, list_figures
from analysis.figures.policy_list import DEMANDS, load_policy_list, members
from analysis.figures.shares import Distribution, Share
from analysis.runs.run import Run
from crawler.model.errors import UsageError
from crawler.model.rows import Certificate, Domain, Host, Probe
from crawler.policies import list_compliance
from crawler.policies.policy_list import read_policy_list
from tests.kit.figure_runs import Page, run_report, run_stats, values
from tests.kit.small_runs import LEAF, certificate, domain, host, opened, probe, write_run


def listing(path: Path, policies: dict[str, Any], **top: Any) -> Path:
    """A policy list in a file."""
    file = path / "policy.json"
    file.write_text(json.dumps({"version": "0.1", "author": "Somebody", "policies": policies} | top), "utf-8")
    return file


@contextmanager
def held(tmp_path: Path, policies: dict[str, Any], *rows: Any, **top: Any) -> Iterator[tuple[Run, ListFigures]]:
    """A run of these rows, with the figures about the list."""
    with opened(*rows) as run:
        yield run, list_figures(run, load_policy_list(listing(tmp_path, policies, **top), run))


def share(listed: ListFigures, name: str) -> Share:
    """The share called `indicator.unit.rule`."""
    value = next(figure.value for figure in listed.figures if figure.id == name)
    assert isinstance(value, Share)
    return value


_KINDS = (
    *("strict", "self_signed", "wrong_name", "expired", "static_rsa", "not_offered", "greeting_timeout"),
    *("silent_after_tls", "connection_refused", "tls_alert", "opted_out", "not_run"),
)
_LEAVES = {
    LEAF: {"names": ["mx.example"]},
    "2a" * 32: {"names": ["*.LISTED.example", "x.example"]},
    "2b" * 32: {"names": ["m*.listed.example", "*.deep.listed.example"]},
    "2c" * 32: {"names": [], "common_name": "cn.listed.example"},
    "2d" * 32: {"names": [], "subject": "O=nobody"},
    "2f" * 32: {"names": []},
    "3a" * 32: {"names": ["x.listed.example"], "names_dropped": 3},
    "3b" * 32: {"names": ["else.example"], "names_dropped": 3},
    "2e" * 32: {"names": None, "parse_error": "junk"},
}
_POLICIES: tuple[dict[str, Any], ...] = (
    {"mode": "enforce", "mxs": [".listed.example", "cn.listed.example"]},
    {"mode": "enforce", "mxs": ["other.example"]},
    {"mode": "testing", "mxs": [".listed.example"], "min-tls-version": "TLSv1.3"},
    {"mode": "testing", "mxs": [".listed.example", ".example"], "pin": "somebody"},
)


@pytest.mark.parametrize("timestamp", ["2018-01-01T00:00:00Z", "2026-01-01T00:00:00Z"])
def test_the_sql_says_of_every_combination_what_the_stated_demands_say(tmp_path: Path, timestamp: str) -> None:
    rows: list[Any] = [certificate(sha256, **columns) for sha256, columns in _LEAVES.items()]
    hosts: dict[str, Host] = {}
    probes: dict[tuple[str, str], tuple[Probe, Certificate | None]] = {}
    for number, (kind, leaf, name_match) in enumerate(product(_KINDS, _LEAVES, (True, False, None))):
        name = f"h{number}.{'deep.' if number % 5 == 0 else ''}{'else' if number % 7 == 0 else 'listed'}.example"
        address = f"10.1.{number >> 8}.{number & 255}"
        made = probe(name, address, kind)
        if made.received_chain:
            made.received_chain, made.name_match = [leaf], name_match
        hosts[name] = host(name, address, dropped=1 if number % 11 == 0 else None)
        probes[name, address] = made, next((row for row in rows[: len(_LEAVES)] if row.sha256 == leaf), None)
        rows += [hosts[name], made]
    names = sorted(hosts)
    domains: dict[str, Domain] = {}
    policies: dict[str, Any] = {}
    for number, name in enumerate(names):
        for n, policy in enumerate(_POLICIES):
            mine = f"d{number}-{n}.example"
            more = [names[(number * 13 + n) % len(names)]] if number % 3 == 0 else []
            domains[mine] = domain(mine, name, *more, mx_dropped=1 if number % 17 == 0 else None)
            policies[mine] = policy
    domains["lost.example"] = domain("lost.example", route="unknown")
    policies["lost.example"] = _POLICIES[0]
    with held(tmp_path, policies, *rows, *domains.values(), timestamp=timestamp) as (run, listed):
        stated = read_policy_list(tmp_path / "policy.json").policies
        truth = {}
        for name, row in domains.items():
            found = list_compliance.of_domain(stated[name], row, hosts, probes)
            assert found is not None
            truth[name] = (found.host, found.tls, found.certificate, found.compliant)
        columns = ", ".join(f"{demand}_all, {demand}_all_observed" for demand in DEMANDS)
        members(run, "all")
        measured = {row[0]: row[1:] for row in values(run, f"SELECT domain, {columns} FROM members")}
    assert {name: row[::2] for name, row in measured.items()} == truth
    assert {name: row[1::2] for name, row in measured.items()} == truth, "all of it was observed"
    assert {verdicts[3] for verdicts in truth.values()} == {True, False, None}
    assert all({verdicts[n] for verdicts in truth.values()} == {True, False, None} for n in (1, 2))
    assert share(listed, "policy_list_members.domains").yes == len(domains)


def test_members_modes_and_promises_are_counted_with_what_is_not_known(tmp_path: Path) -> None:
    policies = {
        "kept.example": {"mode": "enforce", "mxs": ["mx.example"]},
        "broken.example": {"mode": "enforce", "mxs": ["bad.example"]},
        "elsewhere.example": {"mode": "enforce", "mxs": ["other.example"]},
        "silent.example": {"mode": "testing", "mxs": ["silent.example"]},
        "half.example": {"policy-alias": "both"},
        "no-mail.example": {"mode": "testing", "mxs": ["mx.example"]},
        "bücher.example": {"mode": "testing", "mxs": ["mx.example"]},
        "not-here.example": {"mode": "testing", "mxs": ["mx.example"]},
    }
    rows = [
        domain("kept.example", "mx.example"),
        domain("broken.example", "bad.example"),
        domain("elsewhere.example", "mx.example"),
        domain("silent.example", "silent.example"),
        domain("half.example", ("mx.example", 10), ("closed.example", 20)),
        domain("no-mail.example", route="null_mx"),
        domain("xn--bcher-kva.example", "mx.example"),
        domain("unlisted.example", "mx.example"),
        domain("kept.example.org", "mx.example"),
        *(host(name, f"192.0.2.{n}") for n, name in enumerate(["mx.example", "bad.example", "silent.example", "closed.example"])),
        probe("mx.example", "192.0.2.0"),
        probe("bad.example", "192.0.2.1", "expired"),
        probe("silent.example", "192.0.2.2", "greeting_timeout"),
        probe("closed.example", "192.0.2.3", "connection_refused"),
        certificate(LEAF, "mx.example"),
    ]  # fmt: skip
    alias = {"both": {"mode": "testing", "mxs": [".example"]}}
    with held(tmp_path, policies, *rows, **{"policy-aliases": alias}) as (run, listed):
        headline = {figure.id: figure.signature for figure in figures(run)}
    with opened(*rows) as run:
        assert {figure.id: figure.signature for figure in figures(run)} == headline, "no other figure changes"
    found = listed.listing
    assert (found.domains, found.counted, found.undeliverable, found.unmatched) == (8, 6, 1, 1)
    assert share(listed, "policy_list_members.domains") == Share(6, 2, 0)
    modes = next(figure.value for figure in listed.figures if figure.id == "policy_list_modes.domains")
    assert isinstance(modes, Distribution)
    assert ({row.label: row.count for row in modes.table()}, modes.total) == ({"enforce": 3, "testing": 3}, 6)
    assert share(listed, "policy_list_kept.members.all") == Share(2, 2, 2)
    assert share(listed, "policy_list_kept.members.worst") == Share(3, 2, 1), "a host that accepts nobody is left out"
    assert share(listed, "policy_list_kept_enforced.members.all") == Share(1, 2, 0)
    assert share(listed, "policy_list_hosts.members.all") == Share(5, 1, 0)
    assert share(listed, "policy_list_tls.members.all") == Share(4, 0, 2)
    assert share(listed, "policy_list_certificates.members.all") == Share(3, 1, 2)
    assert all(f"|policy_list:{found.sha256[:12]}|" in figure.signature for figure in listed.figures)
    assert len({figure.signature for figure in listed.figures}) == len(listed.figures)


def test_a_promise_judged_at_a_sampled_address_is_inferred_and_the_name_of_a_host_is_not(tmp_path: Path) -> None:
    policies = {"a.example": {"mxs": ["sampled.example"]}, "b.example": {"mxs": ["other.example"]}}
    with held(
        tmp_path, policies,
        domain("a.example", "sampled.example"), domain("b.example", "sampled.example"),
        host("sampled.example", "192.0.2.1"), host("probed.example", "192.0.2.1"),
        probe("probed.example", "192.0.2.1"),
        probe("sampled.example", "192.0.2.1", "sampled_out", representative_host="probed.example"),
        certificate(LEAF, "*.example", "sampled.example"),
    ) as (_, listed):  # fmt: skip
        assert share(listed, "policy_list_kept.members.all") == Share(1, 1, 0, inferred=1)
        assert share(listed, "policy_list_hosts.members.all") == Share(1, 1, 0, inferred=0)
        assert share(listed, "policy_list_certificates.members.all") == Share(2, 0, 0, inferred=2)


def test_a_hundred_thousand_domains_are_joined_and_a_shared_policy_is_kept_once(tmp_path: Path) -> None:
    policies = {f"n{number}.example": {"policy-alias": "one"} for number in range(100_000)}
    alias = {"one": {"mode": "enforce", "mxs": ["mx.example"]}}
    rows = [domain("n7.example", "mx.example"), host("mx.example", "192.0.2.1"), probe("mx.example", "192.0.2.1")]
    with held(tmp_path, policies, *rows, **{"policy-aliases": alias}) as (run, listed):
        assert values(run, "SELECT count(*) FROM listed_policies") == [(1,)]
    assert (listed.listing.domains, listed.listing.counted) == (100_000, 1)
    assert share(listed, "policy_list_kept.members.all") == Share(1, 0, 0)


ROWS = [
    domain("a.example", "mx.example", rank=1),
    domain("b.example", "mx.example", rank=2),
    host("mx.example", "192.0.2.1"),
    probe("mx.example", "192.0.2.1"),
    certificate(LEAF, "mx.example"),
]
EXPIRED = {"timestamp": "2025-12-01T00:00:00Z", "expires": "2025-12-15T00:00:00Z"}


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    """Arguments for a run and a list that expired before it."""
    write_run(tmp_path / "data", ROWS)
    file = listing(tmp_path, {"a.example": {"mode": "enforce", "mxs": ["mx.example"]}}, **EXPIRED)
    return ["--data", str(tmp_path / "data"), "--policy-list", str(file)]


def test_every_format_shows_the_file_beside_its_figures_and_says_that_it_has_expired(
    given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    sha256 = read_policy_list(Path(given[-1])).sha256
    assert run_stats(*given) == 0
    out, err = capsys.readouterr()
    assert err.count("\n") == 1 and "expired 2025-12-15 00:00 UTC" in err
    section = out[out.index("Policy list ") :]
    assert section.startswith("Policy list policy.json, of 2025-12-01, expired 2025-12-15\n")
    assert "by Somebody; in no other figure" in section and f"sha256 {sha256}" in section
    assert "1 domains: 1 counted here, 0 that take no mail or were not asked, 0 not in this run" in section
    assert "policy" not in out[: out.index("Policy list ")].lower().replace("mta-sts policies", "")
    run_stats(*given, "--format", "json")
    document = json.loads(capsys.readouterr().out)["policy_list"]
    assert {name: document[name] for name in ("sha256", "author", "timestamp", "expires", "expired")} == {
        "sha256": sha256, "author": "Somebody", "expired": True,
        "timestamp": "2025-12-01T00:00:00+00:00", "expires": "2025-12-15T00:00:00+00:00",
    }  # fmt: skip
    assert document["shares"]["policy_list_kept.members.all"]["numerator"] == 1
    assert document["distributions"]["policy_list_modes.domains"]["values"][0]["label"] == "enforce"
    run_stats(*given, "--format", "csv", "--by", "tld")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    line = next(row for row in rows if row["figure"] == "policy_list_members.domains")
    assert (line["numerator"], line["denominator"], line["group"]) == ("1", "2", "")


def test_without_a_list_nothing_is_said_of_one(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    run_stats(*given[:2], "--format", "json")
    document = json.loads(capsys.readouterr().out)
    assert document["policy_list"] is None
    assert not [name for name in document["shares"] if "policy_list" in name]


def test_the_report_has_a_section_about_the_list_only_where_one_is_given(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, wanted in ((given, True), (given[:2], False)):
        assert run_report(*arguments, "--out", str(tmp_path / "site")) == 0
        html = (tmp_path / "site" / "index.html").read_text("utf-8")
        page = Page(html)
        assert ("policy-list" in page.values("id")) is wanted
        assert str(tmp_path) not in html, "where files lie on this machine is nobody's business"
        assert ("expired 2025-12-15 00:00 UTC, so no sender acted on it" in page.text) is wanted
        assert ("policy_list_kept.members.all" in (tmp_path / "site" / "figures.csv").read_text("utf-8")) is wanted
    assert "expired" in capsys.readouterr().err


def test_hostile_text_in_a_list_stays_text(tmp_path: Path) -> None:
    write_run(tmp_path / "data", ROWS)
    hostile = "<script>alert(1)</script>"
    file = listing(tmp_path, {"a.example": {"mxs": ["mx.example"], hostile: 1}}, author=hostile)
    assert (
        run_report("--data", str(tmp_path / "data"), "--policy-list", str(file), "--out", str(tmp_path / "site")) == 0
    )
    page = Page((tmp_path / "site" / "index.html").read_text("utf-8"))
    assert page.tags["script"] == 0 and page.text.count(hostile) == 2


def test_a_file_that_is_no_list_is_one_clear_line(given: list[str]) -> None:
    Path(given[-1]).write_text("{", "utf-8")
    with pytest.raises(UsageError, match="is not a policy list") as caught:
        run_stats(*given)
    assert "\n" not in str(caught.value)


def test_a_second_list_takes_the_place_of_the_first(tmp_path: Path) -> None:
    rows = [domain("a.example", "mx.a.example"), host("mx.a.example", "192.0.2.1"), probe("mx.a.example", "192.0.2.1")]
    with opened(*rows) as run:
        for patterns, kept in ((["mx.a.example"], 1), (["mx.other.example"], 0)):
            policies = {"a.example": {"mode": "enforce", "mxs": patterns}}
            listed = list_figures(run, load_policy_list(listing(tmp_path, policies), run))
            assert share(listed, "policy_list_hosts.members.all").yes == kept
