"""Parts appear whole or not at all, and a shard done twice is a shard done once."""

from __future__ import annotations

import os
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crawler.dataset.files import Damaged, write_json
from crawler.dataset.merging import merge
from crawler.dataset.parts import PartWriter, distinct, read_rows, row_count
from crawler.dataset.run import RunDirectory
from crawler.dataset.shard_output import ShardOutput
from crawler.dataset.steps import DOMAINS, HOSTS, PROBES
from crawler.dataset.verify import verify_parts
from crawler.model.rows import (
    TABLES,
    Certificate,
    Domain,
    Endpoint,
    Host,
    MailHost,
    Policy,
    Probe,
    Route,
    Stage,
    Target,
    Tlsa,
    TlsaStatus,
)
from tests.kit.plans import SIGNATURE, begun_run

NOW = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return begun_run(tmp_path)


def put_shards(run: RunDirectory, step: Any, rows: dict[int, list[Any]]) -> None:
    (run.work / step.folder).mkdir()
    for shard, content in rows.items():
        writer = PartWriter(run.shard_path(step, shard), step.row, SIGNATURE)
        for row in content:
            writer.append(row)
        writer.close()


@pytest.mark.parametrize(
    "row",
    [
        Target("example.com", "Example.com", 3),
        Target(None, "not a name\x00", None, "character ' ' is not allowed"),
        Domain(
            domain="example.com", route=Route.EXPLICIT, resolved_at=NOW, mx=[{"host": "mx.example", "preference": 10}],
            ede=[], cnames=["a.example"],
        ),
        Endpoint(
            "smtp", "mx.example", "2001:db8::1", 25, "mx.example", TlsaStatus.USABLE,
            [{"usage": 3, "selector": 1, "matching": 1, "data": b"\x00\xff", "usable": True}],
        ),
        Probe(stage=Stage.DONE, plaintext_after_upgrade=b"\xff\x00", connect_ms=12, started_at=NOW, received_chain=[]),
        Domain(), Host(), Tlsa(), Probe(), Certificate(), Policy(), MailHost(),
    ],
)  # fmt: skip
def test_a_row_comes_back_as_it_was(tmp_path: Path, row: Any) -> None:
    writer = PartWriter(tmp_path / "part", type(row), SIGNATURE)
    writer.append(row)
    writer.close()
    (back,) = read_rows(tmp_path / "part", type(row))
    assert back == row
    if isinstance(row, Domain) and row.route:
        assert back.route is Route.EXPLICIT  # a member of the vocabulary, not only its spelling


def test_memory_is_bounded_by_row_groups_and_order_is_kept(tmp_path: Path) -> None:
    writer = PartWriter(tmp_path / "part", MailHost, SIGNATURE, rows_at_once=10, group_bytes=200)
    for n in range(1000):
        writer.append(MailHost(f"mx{n}.example"))
    writer.close()
    assert pq.read_metadata(tmp_path / "part").num_row_groups > 10
    assert [row.host for row in read_rows(tmp_path / "part", MailHost)] == [f"mx{n}.example" for n in range(1000)]


def test_every_table_can_be_opened_from_the_start(run: RunDirectory) -> None:
    for table, row in TABLES.items():
        assert pq.read_table(run.path / table).num_rows == 0
        assert pq.read_schema(run.parts(table)[0]).names == [field.name for field in fields(row)]


def test_nothing_is_visible_before_the_commit_and_all_of_it_after(run: RunDirectory) -> None:
    put_shards(run, HOSTS, {3: [MailHost("mx.example")]})
    output = ShardOutput(run, HOSTS, 3, SIGNATURE)
    output.emit(Host(host="mx.example"))
    output.emit(Tlsa(host="mx.example"))
    assert output.rows() == {"hosts": 1, "tlsa": 1}
    assert [part.name for part in run.parts("hosts")] == ["empty.parquet"]
    assert run.finished(HOSTS) == {}
    output.commit({"duplicates": 0})
    assert [part.name for part in run.parts("hosts")] == ["empty.parquet", "hosts-0003.parquet"]
    assert run.finished(HOSTS)[3]["rows"] == {"hosts": 1, "tlsa": 1}
    assert not list(run.path.rglob(".tmp*"))


def test_a_shard_done_again_replaces_what_it_wrote_even_where_it_finds_less(run: RunDirectory) -> None:
    put_shards(run, DOMAINS, {0: [Target("a.example")]})
    for policies in (2, 0):
        output = ShardOutput(run, DOMAINS, 0, SIGNATURE)
        output.emit(Domain(domain="a.example", route=Route.EXPLICIT))
        for n in range(policies):
            output.emit(Policy(sha256=f"{n:064x}"))
        output.commit({})
    assert [row.domain for part in run.parts("domains") for row in read_rows(part, Domain)] == ["a.example"]
    assert [row for part in run.parts("policies") for row in read_rows(part, Policy)] == []
    assert run.finished(DOMAINS)[0]["tallies"] == {"domains": {"explicit": 1}}


def flipped(path: Path, where: int) -> None:
    """Change one byte; the size stays."""
    content = bytearray(path.read_bytes())
    content[where] ^= 0xFF
    path.write_bytes(content)


def test_a_finished_shard_whose_part_holds_something_else_is_done_again(run: RunDirectory) -> None:
    put_shards(run, HOSTS, {0: [MailHost("a.example")], 1: [MailHost("b.example")]})
    for shard, host in enumerate(("a.example", "b.example")):
        output = ShardOutput(run, HOSTS, shard, SIGNATURE)
        output.emit(Host(host=host))
        output.emit(Tlsa(host=host))
        output.commit({})
    ticks: list[int] = []
    assert verify_parts(run, ticks.append) == [] and sum(ticks) == 2
    part = run.part_path("tlsa", HOSTS, 1)
    flipped(part, part.stat().st_size // 2)
    assert list(run.finished(HOSTS)) == [0, 1], "its size says nothing"
    assert verify_parts(run, ticks.append) == [part]
    assert list(run.finished(HOSTS)) == [0]


def test_a_changed_page_is_never_read_as_if_it_were_whole(tmp_path: Path) -> None:
    path = tmp_path / "part"
    rows = [MailHost(f"{n:064x}.example") for n in range(50)]
    writer = PartWriter(path, MailHost, SIGNATURE)
    for row in rows:
        writer.append(row)
    writer.close()
    column = pq.read_metadata(path).row_group(0).column(0)
    flipped(path, column.data_page_offset + column.total_compressed_size // 2)
    with pytest.raises(Damaged, match=rf"{path}: is damaged \("):
        list(read_rows(path, MailHost))
    path.write_bytes(b"PAR1" * 9)
    with pytest.raises(Damaged, match=rf"{path}: is damaged \("):
        list(read_rows(path, MailHost))
    path.unlink()
    with pytest.raises(FileNotFoundError):
        list(read_rows(path, MailHost))


def test_files_of_others_are_neither_read_nor_removed(run: RunDirectory) -> None:
    put_shards(run, PROBES, {0: []})
    output = ShardOutput(run, PROBES, 0, SIGNATURE)
    output.emit(Certificate(sha256="00" * 32, der=b"x"))
    output.commit({})
    table = run.path / "certificates"
    harmless = [table / name for name in ("probes-0000.parquet~", ".probes-0000.parquet.swp", "notes.txt", "#x#")]
    strange = [table / "copy.parquet", table / "probes-0000 (1).parquet"]
    for path in [*harmless, *strange]:
        path.write_text("mine")
    (table / "folder.parquet").mkdir()
    (table / "probes-0007.parquet").symlink_to("nowhere")
    (run.work / "endpoints" / "copy.parquet").write_text("mine")
    assert run.shards(PROBES) == [0]
    assert set(run.foreign_files()) == {*strange, table / "folder.parquet", table / "probes-0007.parquet"}
    (table / "probes-0007.parquet").unlink()
    merge(run, "certificates", SIGNATURE, lambda rows: None)
    assert all(path.read_text() == "mine" for path in [*harmless, *strange])
    assert [part.name for part in run.parts("certificates")] == ["empty.parquet", "merged-0000.parquet"]


def test_an_abandoned_shard_leaves_nothing(run: RunDirectory) -> None:
    output = ShardOutput(run, PROBES, 0, SIGNATURE)
    output.emit(Probe(host="mx.example"))
    output.abandon()
    assert not list(run.path.rglob(".tmp*"))


def test_leftovers_of_a_killed_process_are_removed(run: RunDirectory) -> None:
    ShardOutput(run, PROBES, 0, SIGNATURE).emit(Probe(host="mx.example"))
    (run.work / ".tmp-endpoints-1").mkdir()
    assert list(run.path.rglob(".tmp*"))
    run.remove_leftovers()
    assert not list(run.path.rglob(".tmp*"))


@pytest.mark.parametrize("damage", ["missing", "short", "marker"])
def test_a_marker_without_its_parts_does_not_count(run: RunDirectory, damage: str) -> None:
    put_shards(run, HOSTS, {0: [MailHost("mx.example")]})
    output = ShardOutput(run, HOSTS, 0, SIGNATURE)
    output.emit(Host(host="mx.example"))
    output.commit({})
    assert list(run.finished(HOSTS)) == [0]
    part = run.part_path("hosts", HOSTS, 0)
    if damage == "missing":
        part.unlink()
    elif damage == "short":
        part.write_bytes(part.read_bytes()[:-1])
    else:
        run.marker_path(HOSTS, 0).write_text("{")
    assert run.finished(HOSTS) == {}


def test_the_lock_keeps_others_out_and_is_gone_with_its_holder(run: RunDirectory) -> None:
    other = RunDirectory(run.path)
    assert run.lock()
    assert not other.lock()
    run.unlock()
    assert other.lock()
    other.unlock()


def test_the_lock_holds_as_long_as_an_heir_of_its_descriptor_lives(run: RunDirectory) -> None:
    assert run.lock()
    assert run.lock_descriptor is not None
    heir = os.dup(run.lock_descriptor)
    run.unlock()
    assert not RunDirectory(run.path).lock()
    os.close(heir)
    last = RunDirectory(run.path)
    assert last.lock()
    last.unlock()


def test_a_small_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": "ü"})
    write_json(path, [1])
    assert path.read_text() == "[\n  1\n]\n"
    assert list(tmp_path.iterdir()) == [path]


def test_distinct_keeps_the_first_and_counts_the_rest() -> None:
    dropped = [0]
    rows = [("a", 1), ("b", 2), ("a", 3), ("a", 4)]
    assert list(distinct(rows, lambda row: row[0], dropped)) == rows[:2]
    assert dropped == [2]


def test_a_value_that_does_not_fit_its_column_is_an_error_and_no_part(tmp_path: Path) -> None:
    writer = PartWriter(tmp_path / "part", Probe, SIGNATURE)
    writer.append(Probe(greeting_code=10**9))
    with pytest.raises(pa.ArrowInvalid):
        writer.close()
    writer.abandon()
    assert not (tmp_path / "part").exists()


def test_a_relative_path_that_begins_with_a_tilde_stays_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pyarrow would take it for the home directory, and the parts would lie elsewhere than their manifest."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    part = Path("~", "part.parquet")
    part.parent.mkdir()
    writer = PartWriter(part, Host, {})
    writer.append(Host(host="mx.example"))
    writer.close()
    assert row_count(part) == 1 and (tmp_path / "~" / "part.parquet").is_file()
