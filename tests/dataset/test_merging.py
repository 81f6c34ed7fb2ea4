"""Each certificate once, none too few, whatever stops a merge, damages a part or makes a shard be done again."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.dataset import merging
from crawler.dataset.counts import counts_of
from crawler.dataset.files import Damaged
from crawler.dataset.merging import merge
from crawler.dataset.parts import PartWriter, read_rows
from crawler.dataset.run import RunDirectory
from crawler.dataset.shard_output import ShardOutput
from crawler.dataset.steps import PROBES
from crawler.dataset.verify import verify_parts
from crawler.model.rows import Certificate, Endpoint, Probe

SIGNATURE = {"run": "test", "config_sha256": "00"}
SHARDS = 3


def key(n: int) -> str:
    return sha256(bytes([n])).hexdigest()


def made(path: Path, shards: int = SHARDS) -> RunDirectory:
    """A run whose endpoints are cut and not yet probed."""
    run = RunDirectory(path / "run=test")
    run.path.mkdir(parents=True)
    run.make_directories(SIGNATURE)
    (run.work / PROBES.folder).mkdir()
    for shard in range(shards):
        PartWriter(run.shard_path(PROBES, shard), Endpoint, SIGNATURE).close()
    return run


def probe(run: RunDirectory, shard: int, keys: Iterable[int]) -> None:
    """Do a shard whose hosts send these certificates."""
    output = ShardOutput(run, PROBES, shard, SIGNATURE)
    for n in keys:
        output.emit(Certificate(sha256=key(n), der=bytes([n])))
        output.emit(Probe(received_chain=[key(n)]))
    output.commit({"duplicates": 0})


def merged(run: RunDirectory) -> None:
    merge(run, "certificates", SIGNATURE, lambda rows: None)


def stored(run: RunDirectory) -> Counter[int]:
    """How often readers see each certificate."""
    return Counter(row.der[0] for part in run.parts("certificates") for row in read_rows(part, Certificate))


def flip(path: Path) -> None:
    """Change one byte; the size stays."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


class Stopped(Exception):
    """As when the process is killed."""


@contextmanager
def stopping(after: int | None) -> Iterator[None]:
    """Stop before so many changes of the disk; None for never."""
    left = [after]
    genuine = {name: getattr(os, name) for name in ("fsync", "unlink", "rename")}

    def counted(change: Callable[..., None]) -> Callable[..., None]:
        def one(*arguments: object, **options: object) -> None:
            if left[0] is not None:
                left[0] -= 1
                if left[0] < 0:
                    raise Stopped
            change(*arguments, **options)

        return one

    with pytest.MonkeyPatch.context() as patch:
        for name, change in genuine.items():
            patch.setattr(os, name, counted(change))
        try:
            yield
        except Stopped:
            pass


@pytest.mark.parametrize(("keys_at_once", "parts"), [(1_000_000, 1), (7, 8)])
def test_merged_certificates_are_there_once_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys_at_once: int, parts: int
) -> None:
    monkeypatch.setattr(merging, "KEYS_AT_ONCE", keys_at_once)
    run = made(tmp_path, 5)
    for shard in range(5):
        probe(run, shard, range(shard, shard + 10))
    ticks: list[int] = []
    for _ in range(2):  # done twice is done once
        merge(run, "certificates", SIGNATURE, ticks.append)
    assert stored(run) == Counter(range(14))
    assert [part.stem for part in run.parts("certificates")] == ["empty", *(f"merged-{n:04d}" for n in range(parts))]
    filled = [part for part in run.parts("certificates") if list(read_rows(part, Certificate))]
    assert len(filled) > parts / 2, "each pass takes its share"
    assert len(run.finished(PROBES)) == 5  # parts that were merged are not missed
    assert sum(ticks) >= 50


def test_a_merge_that_was_interrupted_and_has_less_to_do_leaves_nothing_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "KEYS_AT_ONCE", 7)
    run = made(tmp_path)
    for shard in range(SHARDS):
        probe(run, shard, range(10))
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(RunDirectory, "mark_merged", lambda *_: (_ for _ in ()).throw(Stopped))
        merged(run)
    assert len(list((run.path / "certificates").glob("merged-*"))) == 5
    probe(run, 2, [3])
    merged(run)
    assert stored(run) == Counter(range(10))
    assert len(list((run.path / "certificates").glob("merged-*"))) == 4


def test_what_a_shard_finds_that_is_done_again_after_the_merge_is_added(tmp_path: Path) -> None:
    run = made(tmp_path)
    for shard in range(SHARDS):
        probe(run, shard, [shard, 7])
    merged(run)
    flip(run.part_path("probes", PROBES, 1))
    assert verify_parts(run, lambda rows: None) == [run.part_path("probes", PROBES, 1)]
    probe(run, 1, [1, 8, 9])
    for _ in range(2):
        merged(run)
        assert stored(run) == Counter([0, 1, 2, 7, 8, 9])
        assert sorted(run.finished(PROBES)) == [0, 1, 2] and verify_parts(run, lambda rows: None) == []


@pytest.mark.parametrize("damage", ["changed", "short", "gone"])
def test_a_part_that_is_damaged_before_it_is_added_makes_its_shard_be_done_again(tmp_path: Path, damage: str) -> None:
    run = made(tmp_path)
    for shard in range(SHARDS):
        probe(run, shard, [shard])
    merged(run)
    run.marker_path(PROBES, 1).unlink()
    probe(run, 1, [8])
    part = run.part_path("certificates", PROBES, 1)
    if damage == "changed":
        flip(part)
    elif damage == "short":
        part.write_bytes(part.read_bytes()[:-1])
    else:
        part.unlink()
    verify_parts(run, lambda rows: None)
    assert sorted(run.finished(PROBES)) == [0, 2]


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_merged_part_is_not_trusted_for_its_name(tmp_path: Path, damage: str) -> None:
    run = made(tmp_path)
    for shard in range(SHARDS):
        probe(run, shard, [shard])
    merged(run)
    part = run.path / "certificates" / "merged-0000.parquet"
    if damage == "changed":
        flip(part)
    else:
        part.unlink()
    with pytest.raises(Damaged, match=rf"{part}: is damaged \(it is not what was written\)"):
        verify_parts(run, lambda rows: None)


def test_a_source_that_came_back_after_the_merge_is_removed_unread(tmp_path: Path) -> None:
    """As from an object store that was left between the two."""
    run = made(tmp_path, 1)
    probe(run, 0, [1, 2])
    source = run.part_path("certificates", PROBES, 0)
    content = source.read_bytes()
    merged(run)
    marker, names = (run.done / "merged-certificates.json").read_bytes(), run.parts("certificates")
    source.write_bytes(content[:100])
    (run.path / "certificates" / "merged-0001.parquet").write_bytes(names[-1].read_bytes())
    merged(run)
    assert stored(run) == Counter([1, 2]) and run.parts("certificates") == names
    assert (run.done / "merged-certificates.json").read_bytes() == marker


def test_a_lost_word_of_the_merge_makes_its_shards_be_done_again(tmp_path: Path) -> None:
    run = made(tmp_path)
    for shard in range(SHARDS):
        probe(run, shard, [shard, 7])
    merged(run)
    (run.done / "merged-certificates.json").write_text("[")
    assert run.finished(PROBES) == {}
    for shard in range(SHARDS):
        probe(run, shard, [shard, 8])
    merged(run)
    assert stored(run) == Counter([0, 1, 2, 8])


def test_no_part_is_removed_unmerged_even_if_no_marker_counts_on_it(tmp_path: Path) -> None:
    run = made(tmp_path)
    for shard in range(SHARDS):
        probe(run, shard, [shard])
    run.marker_path(PROBES, 1).unlink()
    merged(run)
    assert stored(run) == Counter([0, 1, 2])


SETS = st.sets(st.integers(0, 12), max_size=6)
STEPS = st.one_of(
    st.tuples(st.just("probe"), st.integers(0, SHARDS - 1), SETS),
    st.tuples(st.just("merge"), st.none() | st.integers(0, 25), st.just(set())),
    st.tuples(st.just("damage"), st.integers(0, SHARDS - 1), st.just(set())),
)


@pytest.mark.timeout(240)  # it syncs thousands of small files
@given(st.lists(SETS, min_size=SHARDS, max_size=SHARDS), st.lists(STEPS, max_size=8), st.sampled_from([3, 100]))
def test_after_any_sequence_of_stops_and_damage_each_certificate_is_there_once(
    first: list[set[int]], steps: list[tuple[str, int | None, set[int]]], keys_at_once: int
) -> None:
    with TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "KEYS_AT_ONCE", keys_at_once)
        run = made(Path(directory))
        sent = dict(enumerate(first))
        for shard, keys in sent.items():
            probe(run, shard, keys)
        for what, number, keys in [*steps, ("merge", None, set())]:
            if what == "probe":
                assert number is not None
                probe(run, number, keys)
                sent[number] = keys
            elif what == "damage":
                assert number is not None
                for table in PROBES.tables:
                    if (part := run.part_path(table, PROBES, number)).exists():
                        flip(part)
            run.remove_leftovers()
            verify_parts(run, lambda rows: None)
            for shard in range(SHARDS):
                if shard not in run.finished(PROBES):
                    assert what == "damage" and shard == number
                    probe(run, shard, sent[shard])
            wanted = set().union(*sent.values())
            if what == "merge":
                with stopping(number):
                    merged(run)
            assert wanted <= stored(run).keys(), "none too few"
        assert set(stored(run).values()) <= {1}, "each once"
        assert not list((run.path / "certificates").glob("probes-*"))
        merged(run)
        assert set(stored(run).values()) <= {1}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_certificate_that_one_provider_could_not_afford_is_kept_whole_where_another_could(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    """Who spends his budget on the certificates of others must not take them away."""
    run = made(tmp_path)
    rows = {
        0: Certificate(sha256=key(1), over_budget=True),
        1: Certificate(sha256=key(1), der=b"\1"),
        2: Certificate(sha256=key(2), over_budget=True),
    }
    for shard, number in enumerate(order):
        output = ShardOutput(run, PROBES, shard, SIGNATURE)
        output.emit(rows[number])
        output.commit({"duplicates": 0})
    merged(run)
    found = [row for part in run.parts("certificates") for row in read_rows(part, Certificate)]
    assert sorted((row.sha256, row.der) for row in found) == sorted([(key(1), b"\1"), (key(2), None)])
    assert counts_of(run)["certificates_over_budget"] == 2
