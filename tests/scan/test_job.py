"""A scan survives whatever ends it: the same command continues, and the dataset is that of an undisturbed one."""

from __future__ import annotations

import errno
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import pyarrow.parquet as pq
import pytest

from crawler.dataset.files import process_space, temporary_name
from crawler.dataset.parts import row_count
from crawler.dataset.run import Run
from crawler.dataset.steps import Step
from crawler.dataset.workspace import sweep
from crawler.model.rows import SCHEMA_VERSION, TABLES
from crawler.scan import job as scan
from crawler.scan import plan
from crawler.settings.config import Config
from tests.kit.scans import Kit, answering_resolver


@pytest.fixture(scope="module")
def resolver() -> Iterator[str]:
    with answering_resolver() as address:
        yield address


@pytest.fixture
def kit(tmp_path: Path, resolver: str) -> Kit:
    return Kit(tmp_path, resolver)


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


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, resolver: str) -> dict[str, list[dict[str, Any]]]:
    kit = Kit(tmp_path_factory.mktemp("undisturbed"), resolver)
    kit.scan("data")
    return kit.dataset("data")


def leftovers(data: Path) -> list[Path]:
    return [path for path in data.rglob("*") if path.name.startswith(".tmp")]


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


def test_a_killed_worker_is_replaced(kit: Kit, undisturbed: dict[str, list[dict[str, Any]]]) -> None:
    kit.scan("data", "--workers", "2", environment={"FAKE_DIE_ONCE": str(kit.path / "died")})
    assert (kit.path / "died").exists()
    assert kit.dataset("data") == undisturbed
    assert leftovers(kit.path / "data") == []


def line_that_begins(words: str, stream: IO[str]) -> bool:
    """Read on to the line that begins so."""
    return any(line.startswith(words) for line in stream)


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


def test_opt_outs_are_said_and_read_again_in_mid_run_with_what_was_read_in_the_manifest(
    kit: Kit, undisturbed: dict[str, list[dict[str, Any]]]
) -> None:
    opt_outs = kit.path / "opt-outs.txt"
    digests = []

    def write(content: str) -> None:
        opt_outs.write_text(content)
        digests.append(sha256(content.encode()).hexdigest())

    write("nobody.invalid\n192.0.2.0/24\n")
    with kit.start("data", "--exclude", str(opt_outs), environment={"FAKE_DELAY": "0.003"}) as process:
        assert process.stderr is not None
        assert line_that_begins(
            f"opt-outs: 1 domain, 1 network, from {opt_outs}, sha256 {digests[0][:12]}", process.stderr
        )
        assert line_that_begins("RESOLVE domains", process.stderr)
        opt_outs.write_text("what is this\n")
        process.send_signal(signal.SIGHUP)
        assert line_that_begins(f"{opt_outs}:1: 'what' is no domain", process.stderr)
        write("nobody.invalid\nnowhere.invalid\n")
        process.send_signal(signal.SIGHUP)
        assert line_that_begins("opt-outs: 2 domains, 0 networks", process.stderr)
        process.communicate(timeout=30)
    assert process.returncode == 0
    manifest = kit.manifest("data")
    assert manifest["opt_outs"] == {"path": str(opt_outs), "sha256": digests[0], "domains": 1, "networks": 1}
    (reloaded,) = manifest["opt_outs_reloaded"]
    assert (reloaded["sha256"], reloaded["domains"], reloaded["networks"]) == (digests[1], 2, 0)
    assert manifest["opt_outs_that_reach_far"] == []
    assert kit.dataset("data") == undisturbed


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


def test_opt_outs_are_read_once_and_a_process_that_comes_later_uses_those_that_were_announced(kit: Kit) -> None:
    """By a pipe, which cannot be read a second time; a process dies and is replaced."""
    reader, writer = os.pipe()
    os.write(writer, b"name3.example\nmx1.example\nmx2.example\nmx3.example\nmx4.example\n")
    os.close(writer)
    _, err = kit.scan("data", "--exclude", f"/dev/fd/{reader}", environment={"FAKE_DIE_ONCE": str(kit.path / "died")})
    os.close(reader)
    assert (kit.path / "died").exists() and "Traceback" not in err
    dataset, gone = kit.dataset("data"), {f"mx{n}.example" for n in range(1, 5)}
    assert {row["route"] for row in dataset["domains"] if row["domain"] == "name3.example"} == {"opted_out"}
    assert {row["outcome"] for row in dataset["probes"] if row["host"] in gone} == {"opted_out"}
    assert {row["outcome"] for row in dataset["probes"] if row["host"] not in gone} == {"ok"}


def test_opt_outs_that_cannot_be_read_end_a_scan_before_anything_is_there(kit: Kit) -> None:
    opt_outs = kit.path / "opt-outs.txt"
    opt_outs.write_text("a.example\n???\nb.example\n!!!\n")
    _, err = kit.scan("data", "--exclude", str(opt_outs), code=2)
    assert len(err.splitlines()) == 1 and "opt-outs.txt:2: '???'" in err and "and 1 more such line" in err
    assert not (kit.path / "data").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_the_scan_in_time_and_keeps_what_is_finished(
    kit: Kit, undisturbed: dict[str, list[dict[str, Any]]], number: signal.Signals, code: int
) -> None:
    with kit.start("data", environment={"FAKE_DELAY": "0.003"}) as process:
        assert process.stderr is not None
        assert line_that_begins("RESOLVE domains", process.stderr)
        process.send_signal(number)
        started = time.monotonic()
        out, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert time.monotonic() - started < 4
    assert "Traceback" not in err and "the same command continues" in err
    assert "interrupted" in out
    assert kit.manifest("data")["state"] == "interrupted"
    assert kit.manifest("data")["counts"]["rows"]["domains"] == 702
    _, err = kit.scan("data")
    assert "(754 before)" in err
    assert kit.dataset("data") == undisturbed
    assert len(kit.manifest("data")["resumed_at"]) == len(kit.manifest("data")["resumed_with"]) == 1


def test_no_worker_outlives_a_killed_scan(kit: Kit) -> None:
    with kit.start("data", environment={"FAKE_DELAY": "0.01"}) as process:
        assert comes_true(lambda: children_of(process.pid))
        time.sleep(0.5)
        children = children_of(process.pid)
        process.kill()
        process.communicate()
    assert children and comes_true(lambda: not any(Path("/proc", str(child)).exists() for child in children))


def comes_true(condition: Callable[[], object]) -> bool:
    """Whether it does within twenty seconds."""
    deadline = time.monotonic() + 20
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(met)


def children_of(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(child) for child in text.split()]


def test_time_is_up_and_the_same_command_continues(kit: Kit, undisturbed: dict[str, list[dict[str, Any]]]) -> None:
    out, err = kit.scan("data", "--max-runtime", "1.5s", environment={"FAKE_DELAY": "0.01"}, code=3)
    assert "time is up" in err and "interrupted" in out
    kit.scan("data", "--workers", "2")  # neither may differ from what the run was started with, and yet it is the same
    assert kit.dataset("data") == undisturbed


def test_two_scans_of_one_run_are_refused_and_a_crash_leaves_no_lock(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    with kit.start("data", "--run", "mine", environment={"FAKE_DELAY": "0.2"}) as process:
        assert comes_true((kit.path / "data" / "run=mine").exists)
        with monkeypatch.context() as impatient:
            impatient.setattr("crawler.scan.choose_run._LOCK_PATIENCE", 0.2)
            _, err = kit.scan("data", "--run", "mine", code=2)
        assert "another scan is working on this run" in err and err.count(": error: ") == 1
        process.kill()
        process.communicate()
    kit.scan("data", "--run", "mine")
    assert kit.manifest("data")["state"] == "finished"


def test_a_finished_run_is_left_alone_and_a_new_one_has_its_own_name(kit: Kit) -> None:
    kit.scan("data", "--run", "one")
    before = sorted(path.stat().st_mtime_ns for path in (kit.path / "data").rglob("*"))
    _, err = kit.scan("data", "--run", "one")
    assert "finished already" in err
    assert sorted(path.stat().st_mtime_ns for path in (kit.path / "data").rglob("*")) == before
    kit.scan("data")
    assert len(list((kit.path / "data").glob("run=*"))) == 2


def test_a_lost_or_short_part_is_made_again(kit: Kit, undisturbed: dict[str, list[dict[str, Any]]]) -> None:
    kit.scan("data", environment={"FAKE_FULL_DISK": "1"}, code=1)
    domains = sorted((kit.run("data") / "domains").glob("domains-*.parquet"))
    domains[0].unlink()
    domains[1].write_bytes(domains[1].read_bytes()[:-100])
    kit.scan("data")
    assert kit.dataset("data") == undisturbed


def test_a_run_over_another_list_or_with_other_settings_is_not_continued(kit: Kit) -> None:
    kit.scan("data", "--run", "one", environment={"FAKE_FULL_DISK": "1"}, code=1)
    _, err = kit.scan("data", "--run", "one", "--limit", "5", code=2)
    assert "other settings (limit)" in err and err.count(": error: ") == 1
    kit.list.write_text("other.example\n")
    _, err = kit.scan("data", "--run", "one", code=2)
    assert "another list" in err and err.count(": error: ") == 1
    kit.scan("data")
    assert len(list((kit.path / "data").glob("run=*"))) == 2


def test_a_part_that_was_changed_is_made_again(kit: Kit, undisturbed: dict[str, list[dict[str, Any]]]) -> None:
    kit.scan("data", environment={"FAKE_FULL_DISK": "1"}, code=1)
    part = min((kit.run("data") / "hosts").glob("hosts-*.parquet"))
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 0xFF
    part.write_bytes(content)
    _, err = kit.scan("data")
    assert f"{part}: is damaged; it is made again\n" in err
    assert kit.dataset("data") == undisturbed


def test_work_that_was_changed_ends_the_scan_with_one_line(kit: Kit) -> None:
    kit.scan("data", environment={"FAKE_FULL_DISK": "1"}, code=1)
    work = min((kit.run("data") / "_work" / "endpoints").glob("*.parquet"))
    content = bytearray(work.read_bytes())
    content[len(content) // 3] ^= 0xFF
    work.write_bytes(content)
    _, err = kit.scan("data", code=1)
    assert "Traceback" not in err and f"{work}: is damaged (" in err.splitlines()[-1]


def test_a_run_with_files_of_others_among_its_parts_is_not_continued(kit: Kit) -> None:
    kit.scan("data", "--run", "one", environment={"FAKE_FULL_DISK": "1"}, code=1)
    copy = kit.path / "data" / "run=one" / "domains" / "copy.parquet"
    copy.write_text("mine")
    (kit.path / "data" / ".tmp-notes").write_text("mine")
    (kit.path / "data" / "run=notes").write_text("mine")
    for options in ((), ("--run", "one")):
        _, err = kit.scan("data", *options, code=2)
        assert f"{copy}: is no part of this run" in err and err.count(": error: ") == 1
    copy.unlink()
    kit.scan("data")
    assert (kit.path / "data" / ".tmp-notes").exists() and (kit.path / "data" / "run=notes").exists()


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


def test_a_run_of_another_schema_is_refused_with_one_line(kit: Kit) -> None:
    kit.scan("data", "--run", "one", environment={"FAKE_FULL_DISK": "1"}, code=1)
    path = kit.run("data") / "manifest.json"
    path.write_text(json.dumps(kit.manifest("data") | {"schema_version": 99}))
    before = sorted((kit.path / "data").rglob("*"))
    _, err = kit.scan("data", "--run", "one", code=2)
    assert f"is of schema 99 and this version writes {SCHEMA_VERSION}" in err and err.count(": error: ") == 1
    assert sorted((kit.path / "data").rglob("*")) == before


def test_the_largest_shards_are_begun_first(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """One begun last would be waited for alone."""
    begun: dict[str, list[int]] = {}
    genuine = scan.Pool.do

    async def do(pool: scan.Pool, step: Step, shards: Sequence[int], *more: Any) -> None:
        begun[step.name] = [row_count(pool_run[0].shard_path(step, shard)) for shard in shards]
        await genuine(pool, step, shards, *more)

    pool_run: list[Run] = []
    original = scan.Pool.__init__

    def init(pool: scan.Pool, run: Run, *more: Any, **options: Any) -> None:
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


def test_a_second_signal_ends_the_scan_at_once_and_nothing_visible_is_half(
    kit: Kit, undisturbed: dict[str, list[dict[str, Any]]]
) -> None:
    with kit.start("data", environment={"FAKE_DELAY": "0.003", "FAKE_DEAF": str(kit.path / "heard")}) as process:
        assert process.stderr is not None
        assert line_that_begins("RESOLVE domains", process.stderr)
        children = children_of(process.pid)
        process.send_signal(signal.SIGINT)
        assert comes_true((kit.path / "heard").exists)  # that they shall end, which the scan waits for
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        process.wait(timeout=20)
        assert time.monotonic() - started < 1
        assert process.returncode == 130
        for child in children:  # they would end in ten seconds
            os.kill(child, signal.SIGKILL)
        process.communicate()
    for part in kit.run("data").glob("[a-z]*/*.parquet"):
        assert pq.ParquetFile(part).read() is not None
    kit.scan("data")
    assert kit.dataset("data") == undisturbed


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


@pytest.mark.parametrize(
    ("where", "advice"),
    [
        ("hosts/hosts-*.parquet", "the same command makes it again"),
        ("_work/endpoints/*.parquet", "begin another run by --run"),
    ],
)
def test_what_is_damaged_while_the_scan_goes_on_ends_it_with_what_to_do(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, where: str, advice: str, undisturbed: dict[str, list[dict[str, Any]]]
) -> None:
    genuine = scan._Scan._do

    def damage() -> None:
        for part in kit.run("data").glob(where):
            part.write_bytes(part.read_bytes()[:-4] + b"PARQ")

    async def damaging(self: scan._Scan, step: Step) -> None:
        if step.name == "probes":
            damage()
        await genuine(self, step)
        if step.name == "hosts":
            damage()

    with monkeypatch.context() as patch:
        patch.setattr(scan._Scan, "_do", damaging)
        _, err = kit.scan("data", code=1)
    assert "is damaged (" in err.splitlines()[-1] and advice in err.splitlines()[-1] and "Traceback" not in err
    if where.startswith("hosts"):
        kit.scan("data")
        assert kit.dataset("data") == undisturbed


def test_a_run_whose_last_word_cannot_be_written_is_not_finished(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[str, list[dict[str, Any]]]
) -> None:
    genuine = Run.write_manifest

    def full(run: Run, manifest: dict[str, Any]) -> None:
        if manifest["state"] == "finished":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        genuine(run, manifest)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "write_manifest", full)
        out, err = kit.scan("data", code=1)
    last = err.splitlines()[-1]
    assert f"{kit.run('data')}: the manifest could not be written (No space left on device)" in last
    assert "finished" not in out and "Traceback" not in err
    assert kit.manifest("data")["state"] == "running"
    kit.scan("data")
    assert kit.manifest("data")["state"] == "finished" and kit.dataset("data") == undisturbed


@pytest.mark.parametrize(
    ("table", "advice"),
    [("certificates", "begin another run by --run"), ("incomplete_chains", "the same command makes it again")],
)
def test_a_merged_part_that_is_damaged_before_it_is_counted_is_one_line(
    kit: Kit,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    advice: str,
    undisturbed: dict[str, list[dict[str, Any]]],
) -> None:
    genuine = scan._Scan._work

    async def damaging(self: scan._Scan) -> None:
        await genuine(self)
        part = kit.run("data") / table / "merged-0000.parquet"
        part.write_bytes(part.read_bytes()[:-4] + b"PARQ")

    with monkeypatch.context() as patch:
        patch.setattr(scan._Scan, "_work", damaging)
        _, err = kit.scan("data", code=1)
    last = err.splitlines()[-1]
    assert "merged-0000.parquet: is damaged (" in last and advice in last and "Traceback" not in err
    assert kit.manifest("data")["state"] == "interrupted" and advice in kit.manifest("data")["problem"]
    if table == "certificates":
        _, err = kit.scan("data", code=1)
        assert "merged-0000.parquet: is damaged (" in err.splitlines()[-1] and advice in err.splitlines()[-1]
    else:
        kit.scan("data")
        assert kit.manifest("data")["state"] == "finished" and kit.dataset("data") == undisturbed


def test_only_what_nobody_writes_any_more_is_swept(tmp_path: Path) -> None:
    """A number of a process says nothing of another machine, or container, that works in the same directory."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    here, elsewhere = process_space(), "0" * 8
    assert here != elsewhere
    living, young = tmp_path / f".tmp-run=a-{here}-{os.getpid()}", tmp_path / f".tmp-run=a-{elsewhere}-{ended.pid}"
    gone, old = tmp_path / f".tmp-run=a-{here}-{ended.pid}", tmp_path / f".tmp-run=b-{elsewhere}-1"
    for path in (living, young, gone, old):
        path.mkdir()
    listed, strange = tmp_path / f".tmp-list-{here}-{ended.pid}", tmp_path / f".tmp-notes-{here}-{ended.pid}"
    for path in (listed, strange):
        path.touch()
    os.utime(old, (0, 0))
    sweep(tmp_path)
    assert set(tmp_path.iterdir()) == {living, young, strange}
    assert temporary_name(tmp_path / "run=a") == living
