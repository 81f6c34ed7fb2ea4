"""A scan from its list to its dataset, and what it refuses before it begins."""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from crawler.dataset.parts import row_count
from crawler.dataset.run import RunDirectory
from crawler.dataset.steps import Step
from crawler.model.rows import TABLES
from crawler.scan import job as scan
from crawler.scan import plan
from crawler.settings.config import Config
from tests.kit.scan_runs import leftovers
from tests.kit.scans import Kit


def test_a_directory_of_runs_is_no_pattern_and_a_bomb_for_a_list_leaves_nothing(kit: Kit) -> None:
    (kit.path / "d1").mkdir()
    kit.scan("d[1]", "--limit", "20")
    kit.scan("d[1]", "--limit", "20", "--run", "second")
    assert not list((kit.path / "d1").iterdir())
    kit.list.write_bytes(gzip.compress(b"name1.example\n" * 100_000))
    with kit.config.open("a") as config:
        config.write("[lists]\nunpacked_bytes = 100000\nunpacked_ratio = 2\n")
    _, said = kit.scan("bomb", code=2)
    assert "unpacks to more than 100,000 bytes" in said and said.count("\n") == 1
    assert not (kit.path / "bomb").exists()


def test_a_scan_writes_every_name_once_and_says_so(kit: Kit, undisturbed: dict[str, list[dict[str, Any]]]) -> None:
    out, err = kit.scan("data", "--workers", "2")
    rows = kit.dataset("data")
    assert rows == undisturbed, "one worker or two"
    assert [row["domain"] for row in rows["domains"] if row["route"] != "invalid"] == sorted(kit.names)
    assert [row["input"] for row in rows["domains"] if row["route"] == "invalid"] == ["http://x/", "not a name"]
    hosts = {mx["host"] for row in rows["domains"] for mx in row["mx"] or ()}
    assert {row["host"] for row in rows["hosts"]} == hosts and len(rows["hosts"]) == len(hosts)
    endpoints = {(row["host"], address) for row in rows["hosts"] for address in row["addresses"]}
    assert [(row["host"], row["address"]) for row in rows["probes"]] == sorted(endpoints)
    chains = {key for row in rows["probes"] for key in row["received_chain"]}
    assert [row["sha256"] for row in rows["certificates"]] == sorted(chains)
    assert len(rows["policies"]) == 7
    manifest = kit.manifest("data")
    assert manifest["state"] == "finished"
    assert manifest["counts"]["rows"] == {table: len(rows[table]) for table in TABLES}
    assert manifest["counts"]["routes"]["invalid"] == 2
    assert manifest["counts"]["duplicates_dropped"] == 52
    assert manifest["counts"]["outcomes"] == {"ok": len(rows["probes"])}
    assert manifest["list"]["lines"] == 755
    assert "RESOLVE domains: 702 domains (52 duplicates dropped) in" in err and "PROBE" in err
    assert "finished" in out and "\r" not in out + err
    assert leftovers(kit.path / "data") == []


def test_a_quiet_scan_says_nothing_and_its_parts_say_whose_they_are(kit: Kit) -> None:
    assert kit.scan("data", "--quiet", "--run", "first") == ("", "")
    manifest = kit.manifest("data")
    for table in TABLES:
        for part in (kit.run("data") / table).glob("*.parquet"):
            metadata = pq.read_schema(part).metadata
            assert metadata[b"run"] == b"first"
            assert metadata[b"schema_version"] == str(manifest["schema_version"]).encode()
            assert metadata[b"config_sha256"] == manifest["config_sha256"].encode()


def test_standard_input_is_a_list_too(
    kit: Kit, undisturbed: dict[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with kit.list.open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        kit.list = Path("-")
        kit.scan("data", "--quiet")
    assert kit.dataset("data") == undisturbed
    assert leftovers(kit.path / "data") == []


def test_what_was_understood_of_list_and_opt_outs_is_said_and_kept(kit: Kit) -> None:
    kit.list.write_text("name,url\nACME,https://www.acme.example/\nFoo,b.example\nBar,b.example\nBaz,nowhere!\n")
    (kit.path / "out.txt").write_text("@optout.example\n")
    _, err = kit.scan("data", "--exclude", str(kit.path / "out.txt"))
    assert err.splitlines()[:3] == [
        f"opt-outs: 1 domain, 0 networks, from {kit.path / 'out.txt'}, sha256 {kit.manifest('data')['opt_outs']['sha256'][:12]}…",
        "list: columns divided by `,`, names in column 2 (`url`); e.g. www.acme.example, b.example",
        "list: 3 names (1 from URLs), 1 of them duplicates, 1 line that is no name; e.g. 'nowhere!': character '!' is not allowed",
    ]
    source = kit.manifest("data")["list"]
    assert (source["valid"], source["invalid"], source["duplicates"], source["from_urls"]) == (3, 1, 1, 1)
    assert source["form"].startswith("columns divided by")
    assert {row["domain"] for row in kit.dataset("data")["domains"]} == {"www.acme.example", "b.example", None}


def test_a_list_of_bad_lines_is_a_dataset_too(kit: Kit) -> None:
    kit.list.write_text("not a name\nhttp://x/\n")
    _, err = kit.scan("data", code=2)
    assert "no line is a domain name" in err and not (kit.path / "data").exists()
    kit.scan("data", "--accept-invalid")
    assert [row["route"] for row in kit.dataset("data")["domains"]] == ["invalid", "invalid"]
    assert kit.manifest("data")["counts"]["rows"]["probes"] == 0


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"FAKE_DIE": "1"}, ": its process ended with exit code 7"),
        ({"FAKE_RAISE": "no such luck"}, ": RuntimeError: no such luck"),
        ({"FAKE_FULL_DISK": "1"}, "cannot be written (No space left on device)"),
    ],
)
def test_what_fails_again_and_again_ends_the_scan_with_one_line(
    kit: Kit, environment: dict[str, str], words: str
) -> None:
    kit.config.write_text(kit.config.read_text().replace("endpoints = 30", "endpoints = 4") + "[watch]\ngiven_up = 1\n")
    _, err = kit.scan("data", environment=environment, code=1)
    last = err.strip().splitlines()[-1]
    assert last.startswith("starttls-crawler: error: ") and words in last
    assert kit.manifest("data")["state"] == "interrupted"
    assert words in kit.manifest("data")["problem"]
    kit.scan("data")
    assert kit.manifest("data")["state"] == "finished"


@pytest.mark.parametrize("how", ["rewritten", "replaced", "touched", "gone", "binary"])
def test_a_list_that_is_changed_after_it_was_looked_at_is_not_scanned_and_leaves_nothing_behind(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Or the manifest would vouch for another list than was scanned."""

    def change(*arguments: Any, **options: Any) -> Iterator[Any]:
        if how == "replaced":
            (kit.path / "other.txt").write_text("elsewhere.example\n")
            (kit.path / "other.txt").rename(kit.list)
        elif how == "rewritten":
            kit.list.write_text("elsewhere.example\n")
        elif how == "gone":
            kit.list.unlink()
        elif how == "binary":
            kit.list.write_bytes(bytes(1_000))
        yield from genuine(*arguments, **options)
        if how == "touched":
            os.utime(kit.list, ns=(0, 0))

    genuine = plan.read_targets
    monkeypatch.setattr(plan, "read_targets", change)
    _, err = kit.scan("data", code=1)
    assert "the list was changed while it was read" in err.splitlines()[-1] and "Traceback" not in err
    assert list((kit.path / "data").glob("run=*")) == [] and leftovers(kit.path / "data") == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--ca-file", "nosuch"), "nosuch"),
        (("--run", "../x"), "--run: '../x'"),
        (("--exclude", "nosuch"), "nosuch"),
        (("--source-address", "192.0.2.1"), "192.0.2.1 cannot be used"),
    ],
)
def test_nothing_is_left_behind_by_a_scan_that_cannot_begin(kit: Kit, options: tuple[str, str], words: str) -> None:
    _, err = kit.scan("a/b/data", *options, code=2)
    assert words in err and err.count(": error: ") == 1
    assert not (kit.path / "a").exists()


def test_nothing_is_left_behind_by_standard_input_that_is_no_list(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    (kit.path / "a").mkdir()
    kit.list.write_text("# nothing\n")
    with kit.list.open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        kit.list = Path("-")
        _, err = kit.scan("a/b/data", code=2)
    assert "standard input: the list is empty" in err
    assert list((kit.path / "a").iterdir()) == []


def test_the_largest_shards_are_begun_first(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """One begun last would be waited for alone."""
    begun: dict[str, list[int]] = {}
    genuine = scan.Pool.do

    async def do(pool: scan.Pool, step: Step, shards: Sequence[int], *more: Any) -> None:
        begun[step.name] = [row_count(pool_run[0].shard_path(step, shard)) for shard in shards]
        await genuine(pool, step, shards, *more)

    pool_run: list[RunDirectory] = []
    original = scan.Pool.__init__

    def init(pool: scan.Pool, run: RunDirectory, *more: Any, **options: Any) -> None:
        pool_run.append(run)
        original(pool, run, *more, **options)

    monkeypatch.setattr(scan.Pool, "do", do)
    monkeypatch.setattr(scan.Pool, "__init__", init)
    kit.scan("data")
    assert all(rows == sorted(rows, reverse=True) for rows in begun.values())
    assert all(len(set(rows)) > 1 for rows in begun.values())


def test_there_are_no_more_processes_than_a_provider_may_have_connections() -> None:
    """Each has its part of the limit, and none can be less than one."""
    assert scan.process_count(Config.from_mapping({"workers": 64})) == 32
    assert scan.process_count(Config.from_mapping({"workers": 3, "pacing": {"per_provider": 2}})) == 2
    assert scan.process_count(Config.from_mapping({"pacing": {"per_provider": 1}})) == 1


def test_a_clock_that_goes_back_and_files_of_the_future_change_nothing(
    kit: Kit, undisturbed: dict[str, list[dict[str, Any]]]
) -> None:
    future = datetime(2100, 1, 1, tzinfo=UTC)
    kit.scan("data", "--run", "21000101T000000Z", environment={"FAKE_FULL_DISK": "1"}, code=1)
    manifest = kit.run("data") / "manifest.json"
    manifest.write_text(json.dumps(kit.manifest("data") | {"started_at": future.isoformat()}))
    for path in (kit.path / "data").rglob("*"):
        os.utime(path, (future.timestamp(), future.timestamp()))
    _, err = kit.scan("data")
    assert "continuing run 21000101T000000Z" in err
    assert kit.dataset("data") == undisturbed
    assert kit.manifest("data")["ended_at"] < kit.manifest("data")["started_at"]
    kit.scan("data")
    assert len(list((kit.path / "data").glob("run=*"))) == 2, "a new run has a name of its own, whatever the clock says"


def test_two_processes_share_a_network_that_has_most_of_all_endpoints(kit: Kit) -> None:
    journal = kit.path / "journal"
    environment = {"FAKE_GIANT": str(journal), "FAKE_DELAY": "0.002"}
    kit.scan("data", "--workers", "2", environment=environment)
    done = Counter(line.split()[0] for line in journal.read_text().splitlines() if "2001:db8:ffff:" in line)
    rows = kit.dataset("data")["probes"]
    giant = [row["address"] for row in rows if row["address"].startswith("2001:db8:ffff:")]
    assert len(giant) == done.total() == 97 * 8 > len(rows) / 2
    assert len(done) == 2 and min(done.values()) > done.total() / 5
    divided = kit.manifest("data")["divided_networks"]
    assert [lot["per_network"] for lot in divided] == [4, 4], "of the eight that a network takes"
    assert sum(lot["endpoints"] for lot in divided) == len(giant)
    shards = [row_count(path) for path in (kit.run("data") / "_work" / "endpoints").glob("*.parquet")]
    assert max(shards) <= 2 * 30, "thirty endpoints a shard were asked for"
