"""What ends the process that measures it costs itself alone: it is found, given up, and everything else is measured."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.dataset.files import temporary_name
from crawler.dataset.run import RunDirectory
from crawler.dataset.steps import DOMAINS, PROBES, STEPS
from crawler.executors.quarantine import Quarantine
from crawler.politeness.pacing import network_of
from tests.kit.manifests import amended
from tests.kit.scans import Kit, answering_resolver, rows_of

POISON = "FAKE_POISON"
Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def resolver() -> Iterator[str]:
    with answering_resolver() as address:
        yield address


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, resolver: str) -> Rows:
    kit = Kit(tmp_path_factory.mktemp("undisturbed"), resolver)
    kit.scan("data")
    return kit.dataset("data")


@pytest.fixture
def kit(tmp_path: Any, resolver: str) -> Kit:
    return Kit(tmp_path, resolver)


def the_others(rows: list[dict[str, Any]], column: str, *names: str) -> list[dict[str, Any]]:
    return [row for row in rows if row[column] not in names]


def test_a_mail_host_that_ends_every_process_is_given_up_and_everybody_else_is_measured(
    kit: Kit, undisturbed: Rows
) -> None:
    evil = [row for row in undisturbed["probes"] if row["host"] == "mx3.example"]
    assert evil
    _, err = kit.scan("data", "--workers", "2", environment={POISON: "smtp:mx3.example"})
    found = kit.dataset("data")
    given_up = [row for row in found["probes"] if row["host"] == "mx3.example"]
    assert [(row["address"], row["outcome"], row["stage"], row["conclusive"]) for row in given_up] == [
        (row["address"], "gave_up", None, False) for row in evil
    ]
    assert the_others(found["probes"], "host", "mx3.example") == the_others(
        undisturbed["probes"], "host", "mx3.example"
    )
    for table in ("domains", "hosts", "tlsa", "policies"):
        assert found[table] == undisturbed[table]
    assert kit.manifest("data")["counts"]["outcomes"]["gave_up"] == len(evil)
    for row, entry in zip(evil, kit.manifest("data")["given_up"], strict=True):
        assert entry == {
            "step": "probes",
            "shard": entry["shard"],
            "name": f"mx3.example at {row['address']}",
            "problem": "its process ended with exit code 7",
        }
        assert f"gave up mx3.example at {row['address']}: its process ended with exit code 7" in err


def test_a_domain_and_a_mail_host_that_do_so_while_names_are_resolved_are_unknown(kit: Kit, undisturbed: Rows) -> None:
    kit.config.write_text(
        kit.config.read_text().replace("domains = 250", "domains = 50").replace("hosts = 50", "hosts = 5")
    )
    kit.scan("data", environment={POISON: "name7.example,mx5.example"})
    found = kit.dataset("data")
    (domain,) = (row for row in found["domains"] if row["domain"] == "name7.example")
    assert (domain["route"], domain["dns_error"], domain["mx"]) == ("unknown", "gave_up", None)
    (host,) = (row for row in found["hosts"] if row["host"] == "mx5.example")
    assert (host["ipv4_status"], host["ipv6_status"], host["addresses"]) == ("gave_up", "gave_up", None)
    (tlsa,) = (row for row in found["tlsa"] if row["host"] == "mx5.example")
    assert tlsa["status"] == "not_asked"
    assert the_others(found["domains"], "domain", "name7.example") == the_others(
        undisturbed["domains"], "domain", "name7.example"
    )
    assert the_others(found["hosts"], "host", "mx5.example") == the_others(undisturbed["hosts"], "host", "mx5.example")


@pytest.mark.parametrize("kind", ["stop", "spin"])
def test_a_process_that_is_stopped_or_stuck_is_ended_and_its_poison_given_up(
    kit: Kit, undisturbed: Rows, kind: str
) -> None:
    kit.config.write_text(kit.config.read_text().replace("endpoints = 30", "endpoints = 4") + "[watch]\nsilence = 5\n")
    host = next(row["host"] for row in undisturbed["probes"])
    environment = {POISON: f"smtp:{host}", "FAKE_POISON_KIND": kind}
    kit.scan("data", environment=environment)
    found = kit.dataset("data")["probes"]
    assert {row["outcome"] for row in found if row["host"] == host} == {"gave_up"}
    assert the_others(found, "host", host) == the_others(undisturbed["probes"], "host", host)
    assert kit.manifest("data")["given_up"][0]["problem"] == "its process was stuck or stopped for 5 s"


def test_what_raises_an_error_each_time_is_given_up_as_well(kit: Kit, undisturbed: Rows) -> None:
    kit.scan("data", environment={POISON: "name7.example", "FAKE_POISON_KIND": "raise"})
    found = kit.dataset("data")["domains"]
    assert [row["dns_error"] for row in found if row["domain"] == "name7.example"] == ["gave_up"]
    assert the_others(found, "domain", "name7.example") == the_others(undisturbed["domains"], "domain", "name7.example")


def test_what_was_given_up_is_not_tried_again_when_the_run_is_continued(kit: Kit) -> None:
    poison = {POISON: "name7.example", "FAKE_POISON_KIND": "raise"}
    kit.scan("data", environment=poison | {"FAKE_FULL_DISK": "1"}, code=1)
    run = RunDirectory(kit.run("data"))
    divided = run.divided(DOMAINS)
    assert divided and len(kit.manifest("data")["given_up"]) == 1
    kit.scan("data", environment=poison)
    assert run.divided(DOMAINS) == divided
    assert len(kit.manifest("data")["given_up"]) == 1
    assert kit.manifest("data")["state"] == "finished"


def test_a_run_cut_off_in_the_hunt_goes_on_with_what_was_divided(kit: Kit, undisturbed: Rows) -> None:
    """Rows lie either in the one shard or in the two, whatever the moment."""
    kit.config.write_text(kit.config.read_text() + "[watch]\ngiven_up = 0\n")
    kit.scan("data", "--run", "one", environment={POISON: "smtp:mx3.example"}, code=1)
    run = RunDirectory(kit.run("data"))
    divided = run.divided(PROBES)
    assert divided and not divided.keys() & set(run.shards(PROBES))
    kit.scan("data", "--run", "one")
    assert kit.dataset("data") == undisturbed


def test_files_of_a_division_without_its_marker_are_no_shards(kit: Kit, undisturbed: Rows) -> None:
    """As a process leaves them that was killed before it wrote the marker."""
    kit.scan("data", environment={"FAKE_FULL_DISK": "1"}, code=1)
    run = RunDirectory(kit.run("data"))
    shard = run.shards(PROBES)[0]
    for number in (5_000, 5_001):
        run.shard_path(PROBES, number).write_bytes(run.shard_path(PROBES, shard).read_bytes())
    kit.scan("data", environment={POISON: "smtp:mx3.example", "FAKE_POISON_KIND": "raise"})
    found = kit.dataset("data")["probes"]
    assert len(found) == len(undisturbed["probes"])
    assert the_others(found, "host", "mx3.example") == the_others(undisturbed["probes"], "host", "mx3.example")


def test_a_full_disk_while_a_shard_is_divided_ends_the_scan_with_one_line(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("crawler.executors.culprits.divide", full)
    _, err = kit.scan("data", environment={POISON: "name7.example", "FAKE_POISON_KIND": "raise"}, code=1)
    assert "cannot be written (No space left on device)" in err.splitlines()[-1]
    assert kit.manifest("data")["state"] == "interrupted"


def test_half_a_division_that_was_killed_is_cleared_away(kit: Kit) -> None:
    kit.scan("data", environment={"FAKE_FULL_DISK": "1"}, code=1)
    left = temporary_name(RunDirectory(kit.run("data")).shard_path(PROBES, 5_000))
    left.write_text("half")
    kit.scan("data")
    assert not left.exists()


def test_a_divided_shard_of_which_a_part_is_lost_ends_the_scan_with_one_line(kit: Kit) -> None:
    raises = {POISON: "name7.example", "FAKE_POISON_KIND": "raise"}
    kit.scan("data", environment=raises | {"FAKE_FULL_DISK": "1"}, code=1)
    run = RunDirectory(kit.run("data"))
    run.shard_path(DOMAINS, max(max(pair) for pair in run.divided(DOMAINS).values())).unlink()
    _, err = kit.scan("data", code=1)
    assert "is part of a divided shard, and gone" in err.splitlines()[-1] and "Traceback" not in err


def test_an_owner_of_many_such_hosts_is_given_up_as_a_whole(kit: Kit, undisturbed: Rows) -> None:
    """Each row found alone costs two processes; an owner of hundreds may not have hundreds of them."""
    kit.config.write_text(
        kit.config.read_text().replace("domains = 250", "domains = 1000") + "[watch]\ngiven_up_alone = 2\n"
    )
    names = [f"n{number}.evil.example" for number in range(40)]
    kit.list.write_text("\n".join(["first.example", *names, "last.example"]) + "\n")
    kit.scan("data", environment={POISON: ",".join(names), "FAKE_POISON_KIND": "raise"})
    rows = {row["domain"]: row["dns_error"] for row in kit.dataset("data")["domains"]}
    assert rows == dict.fromkeys(names, "gave_up") | {"first.example": None, "last.example": None}
    given_up = [entry["name"] for entry in kit.manifest("data")["given_up"]]
    assert 3 <= len(given_up) < 20 and any(name.endswith(" more") for name in given_up)


def test_when_too_much_is_given_up_the_scan_ends_and_says_why(kit: Kit) -> None:
    kit.config.write_text(kit.config.read_text() + "[watch]\ngiven_up = 2\n")
    names = [f"name{number}.example" for number in range(0, 700, 50)]
    _, err = kit.scan("data", environment={POISON: ",".join(names), "FAKE_POISON_KIND": "raise"}, code=1)
    last = err.strip().splitlines()[-1]
    assert "more than 2 domains had to be given up (watch.given_up), at last name" in last
    assert kit.manifest("data")["state"] == "interrupted" and "given up" in kit.manifest("data")["problem"]


@given(st.sets(st.integers(0, 40), min_size=1), st.data())
def test_quarantine_finds_the_one_that_ends_processes(shards: set[int], data: st.DataObject) -> None:
    evil = data.draw(st.sampled_from(sorted(shards)))
    quarantine, done = Quarantine(), set[int]()
    guilty = quarantine.suspect(shards)
    for _ in range(100):
        if guilty is not None:
            break
        group = quarantine.next(lambda shard: True)
        if evil in group:
            guilty = quarantine.suspect(group)
        else:
            done |= set(group)
    assert guilty == evil
    while quarantine:
        done |= set(quarantine.next(lambda shard: True))
    assert done == shards - {evil}


def test_one_accident_makes_no_shard_guilty() -> None:
    quarantine = Quarantine()
    assert quarantine.suspect([3]) is None
    assert quarantine.next(lambda shard: True) == (3,)
    assert not quarantine


def test_a_group_waits_while_one_of_its_shards_may_not_begin() -> None:
    quarantine = Quarantine()
    quarantine.suspect([1, 2, 3, 4])
    assert quarantine.next(lambda shard: shard != 1) == (3, 4)
    assert quarantine.next(lambda shard: shard != 1) == ()
    assert quarantine.next(lambda shard: True) == (1, 2)


def test_names_of_one_address_stay_together_until_nothing_else_is_left(kit: Kit) -> None:
    """As one of them may have to stand for the others."""
    kit.scan("data", environment={POISON: "smtp:mx3.example", "FAKE_POISON_KIND": "raise"})
    run = RunDirectory(kit.run("data"))
    pieces = [pq.read_table(run.shard_path(PROBES, piece)) for pair in run.divided(PROBES).values() for piece in pair]
    assert pieces
    for table in pieces:
        metadata = table.schema.metadata or {}
        assert metadata[b"lot"].startswith(b"divided.") and metadata[b"per_network"] == b"8"
        assert metadata[b"run"] == run.id.encode()
    for pair in run.divided(PROBES).values():
        first, second = (set(pq.read_table(run.shard_path(PROBES, piece))["address"].to_pylist()) for piece in pair)
        assert first and second
        assert not first & second or len(first | second) == 1
        words = pq.read_schema(run.shard_path(PROBES, pair[0])).metadata or {}
        assert (words[b"networks_shards"] > b"1") is (len(set(map(network_of, first | second))) == 1), (
            "else none is divided"
        )
    assert json.loads((run.path / "manifest.json").read_text())["divided_networks"] == []
    assert all(run.finished(step).keys() == set(run.shards(step)) for step in STEPS.values())


def killed_when(process: subprocess.Popen[str], holds: Callable[[], bool]) -> None:
    """Kill a scan as soon as something holds of what it has written."""
    give_up = time.monotonic() + 60
    while not holds():
        assert process.poll() is None and time.monotonic() < give_up, process.communicate()[1]
        time.sleep(0.02)
    process.kill()
    process.communicate()


def test_what_was_given_up_is_in_the_manifest_though_the_scan_is_killed(kit: Kit) -> None:
    def is_given_up() -> bool:
        runs = list((kit.path / "data").glob("run=*"))
        return any(row["dns_error"] == "gave_up" for run in runs for row in rows_of(run, "domains"))

    poison = {POISON: "name7.example", "FAKE_POISON_KIND": "raise"}
    killed_when(kit.start("data", environment=poison | {"FAKE_DELAY": "0.01"}), is_given_up)
    (entry,) = kit.manifest("data")["given_up"]
    assert (entry["step"], entry["name"]) == ("domains", "name7.example")
    kit.scan("data", environment=poison)
    assert kit.manifest("data")["state"] == "finished"
    assert kit.manifest("data")["given_up"] == [entry]


def test_what_was_recorded_as_given_up_and_is_measured_after_all_is_no_longer_recorded(kit: Kit) -> None:
    """As a scan leaves it that was killed between the record and the rows."""
    kit.scan("data", environment={"FAKE_FULL_DISK": "1"}, code=1)
    run = RunDirectory(kit.run("data"))
    unfinished, older = {"step": "probes", "shard": 0, "name": "mx3.example"}, {"step": "domains", "name": "x.example"}
    amended(run, given_up=[older, unfinished])
    kit.scan("data")
    assert kit.manifest("data")["given_up"] == [older]
