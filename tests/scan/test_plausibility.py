"""Whether the counts of a finished run can be right, which one listed domain must not decide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crawler.dataset.run import RunDirectory
from crawler.dataset.shard_output import ShardOutput, lookup_of
from crawler.dataset.steps import HOSTS
from crawler.dataset.stored_manifest import Manifest
from crawler.model.rows import Host, LookupStatus
from crawler.scan.plausibility import suspicions
from crawler.settings.config import Watch


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"outcomes": {"connection_refused": 447, "ok": 7}}, "447 of 454 endpoints"),
        ({"outcomes": {"timeout": 60}}, "is port 25 open"),
        ({"outcomes": {"internal_error": 6, "ok": 94}}, "6 of 100 endpoints were not measured for a fault on our side"),
        ({"routes": {"unknown": 60, "explicit": 40}}, "60 of 100 domains"),
        ({"host_lookups": {"timeout": 60, "ok": 19}}, "60 of 79 mail hosts"),
        ({"outages": [{"stand": 2}, {"stand": 1}, {}]}, "what 3 shards found in outages stands"),
    ],
)
def test_counts_that_cannot_be_right_are_suspect_with_the_reason(counts: dict[str, Any], words: str) -> None:
    (reason,) = suspicions(counts, Watch())
    assert words in reason


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "lookup"),
    [
        ("not_asked", "servfail", "servfail"),
        ("ok", "timeout", "timeout"),
        ("bogus", "servfail", "bogus"),
        ("nodata", "ok", "ok"),
        ("ok", "nodata", "ok"),
        ("not_asked", "nodata", "nodata"),
        ("nxdomain", "nxdomain", "nxdomain"),
        ("not_asked", "not_asked", "not_asked"),
        ("gave_up", "gave_up", "gave_up"),
    ],
)
def test_a_lookup_of_a_host_failed_where_that_of_one_family_did(ipv4: str, ipv6: str, lookup: str) -> None:
    """A scan of IPv6 alone was called finished when every question for an AAAA record had failed."""
    assert lookup_of(LookupStatus(ipv4), LookupStatus(ipv6)) == lookup
    assert lookup_of(ipv4, ipv6) == lookup, "as they are stored"  # type: ignore[arg-type]


def test_a_run_whose_lookups_of_ipv6_all_failed_is_suspect(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run=test")
    run.path.mkdir()
    run.make_directories({})
    run.write_manifest(Manifest.of({"run": "test"}))
    shard = ShardOutput(run, HOSTS, 0, {})
    for number in range(60):
        shard.emit(
            Host(host=f"mx{number}.example", ipv4_status=LookupStatus.NOT_ASKED, ipv6_status=LookupStatus.SERVFAIL)
        )
    marker = shard.commit({"duplicates": 0})
    (reason,) = suspicions({"host_lookups": marker["tallies"]["hosts"]}, Watch())
    assert "60 of 60 mail hosts" in reason


@pytest.mark.parametrize(
    "counts",
    [
        {},
        {"outcomes": {"connection_refused": 20, "timeout": 20}},
        {"outcomes": {"timeout": 400, "ok": 600, "not_run": 9_000, "sampled_out": 9_000}},
        {"routes": {"unknown": 50, "explicit": 900, "invalid": 9_000}},
        {"host_lookups": {"nxdomain": 300, "ok": 700, "not_asked": 9_000}},
    ],
)
def test_an_ordinary_list_is_not_suspect(counts: dict[str, Any]) -> None:
    assert suspicions(counts, Watch()) == []


def test_a_domain_that_names_a_hundred_dead_hosts_makes_no_run_suspect() -> None:
    """200 domains on 20 hosts that answer, and one with 100 that do not: it is one domain of 201."""
    refused = {
        "outcomes": {"ok": 20, "connection_refused": 100},
        "outcomes_in_domains": {"smtp": {"ok": 200.0, "connection_refused": 1.0}},
    }
    unresolved = {
        "host_lookups": {"ok": 20, "servfail": 100},
        "host_lookups_in_domains": {"ok": 200.0, "servfail": 1.0},
    }
    assert suspicions(refused, Watch()) == suspicions(unresolved, Watch()) == []


def test_hosts_of_most_domains_make_a_run_suspect_however_few_they_are() -> None:
    counts = {
        "outcomes": {"timeout": 20, "ok": 100},
        "outcomes_in_domains": {"smtp": {"timeout": 200.0, "ok": 1.0}},
    }
    (reason,) = suspicions(counts, Watch())
    assert "20 of 120 endpoints" in reason


def test_mail_hosts_need_not_speak_imap_but_if_none_answers_at_all_the_run_is_suspect() -> None:
    counts: dict[str, Any] = {
        "outcomes": {"connection_refused": 90, "timeout": 9, "ok": 1},
        "outcomes_in_domains": {"imap": {"connection_refused": 90.0, "timeout": 9.0, "ok": 1.0}},
    }
    assert suspicions(counts, Watch()) == []
    both = {"smtp": {"ok": 50.0}, "imap": {"connection_refused": 50.0}}
    assert suspicions({"outcomes": {"ok": 50, "connection_refused": 50}, "outcomes_in_domains": both}, Watch()) == []
    del counts["outcomes"]["ok"]
    (reason,) = suspicions(counts, Watch())
    assert "99 of 99 endpoints" in reason and "are these ports open" in reason
