"""Whatever is killed, lost or full: the same command finishes the dataset, and nothing visible is ever half."""

from __future__ import annotations

import os
import random
import resource
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from crawler.dataset.parts import distinct, read_rows
from crawler.dataset.run import RunDirectory
from crawler.dataset.shard_output import ShardOutput
from crawler.dataset.steps import DOMAINS, HOSTS, Step
from crawler.scan import job as scan
from crawler.settings.config import Config
from tests.kit import fake_worker
from tests.kit.power_cut import Disk
from tools.chaos import Arena, chaos, facts, fake_arena, lab, must_equal

KILLS = int(os.environ.get("CHAOS_KILLS", "3"))


@pytest.fixture(scope="module")
def small_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A resolver that answers, so that a scan may begin."""
    with lab(tmp_path_factory.mktemp("lab"), 1) as directory:
        yield directory


@pytest.fixture
def arena(tmp_path: Path, small_lab: Path) -> Arena:
    return replace(fake_arena(tmp_path, small_lab), environment={})


def test_killed_again_and_again_the_dataset_is_that_of_an_undisturbed_scan(tmp_path: Path, small_lab: Path) -> None:
    summary = chaos(fake_arena(tmp_path, small_lab), KILLS, seed=time.time_ns() % 1_000_000)
    assert summary.get("parent killed", 0) + summary.get("worker killed", 0) >= KILLS
    assert summary["datasets"] >= 1 and summary["parts read meanwhile"] > 0


@pytest.mark.parametrize(("size", "code"), [(9_000, 2), (17_000, 1)], ids=["at once", "in a worker"])
def test_a_full_disk_ends_the_scan_with_one_line_and_with_room_it_goes_on(
    arena: Arena, tmp_path: Path, size: int, code: int
) -> None:
    arena.finish(tmp_path / "whole")
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size, size))
    with arena.start(tmp_path / "data", preexec_fn=limit) as process:
        _, said = process.communicate(timeout=50)
    assert process.returncode == code
    assert "cannot be written (File too large)" in said.splitlines()[-1] and "Traceback" not in said
    arena.finish(tmp_path / "data")
    must_equal(facts(tmp_path / "data" / "run=mine"), facts(tmp_path / "whole" / "run=mine"))
    assert not list((tmp_path / "data").rglob(".tmp-*"))


def test_a_directory_that_cannot_be_written_is_one_line(arena: Arena) -> None:
    with arena.start(Path("/sys/starttls-crawler")) as process:  # not even root may make directories there
        _, said = process.communicate(timeout=50)
    assert process.returncode == 2
    assert said.count("\n") == 1 and "/sys/starttls-crawler: cannot be written (" in said


# --- power cuts ------------------------------------------------------------------------------------


class PoolOfNone:
    """The shards are done here, so that every sync is seen."""

    def __init__(
        self,
        run: RunDirectory,
        config: Config,
        size: int,
        *,
        command: object,
        on_rows: Callable[[int], None],
        say: object,
        opt_outs: object = None,
        on_incident: object = None,
    ) -> None:
        self.size = size
        self._run = run

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        yield

    async def start(self, wanted: int) -> None:
        pass

    async def do(self, step: Step, shards: Sequence[int], rows_before: int, lots: object) -> None:
        for shard in shards:
            output = ShardOutput(self._run, step, shard, self._run.signature(self._run.manifest()))
            dropped = [0]
            rows: Iterator[Any] = read_rows(self._run.shard_path(step, shard), step.row)
            if step.key is not None:
                rows = distinct(rows, step.key, dropped)
            if step is DOMAINS:
                await fake_worker.resolve_domains(rows, None, None, output.emit)
            elif step is HOSTS:
                await fake_worker.resolve_hosts(rows, None, None, output.emit)
            else:
                await fake_worker.Prober(None, 1).probe_endpoints(rows, output.emit)
            output.commit({"duplicates": dropped[0], "seconds": 0.0})


def test_after_a_power_cut_at_any_moment_the_same_command_finishes_the_dataset(
    arena: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`CHAOS_CUTS=1` cuts after every sync, the default after one in ten; a failure names the moment."""
    monkeypatch.setattr(scan, "Pool", PoolOfNone)
    every, first = int(os.environ.get("CHAOS_CUTS", "10")), random.randrange(10)
    config = Config.load(arena.config, {"shards": {"domains": 300, "hosts": 60, "endpoints": 60}})
    root = tmp_path / "disk"
    root.mkdir()
    moments = 0

    def work(data: Path) -> None:
        assert scan.scan(scan.ScanJob(str(arena.list), data, config, "mine")) == 0

    def cut(disk: Disk) -> None:
        nonlocal moments
        moments += 1
        if moments % every == first % every:
            for newest_names in (False, True):
                disk.restore(tmp_path / f"cut-{moments}-{newest_names}", newest_names=newest_names)

    with Disk(root, cut):
        work(root / "data")
    wanted = facts(root / "data" / "run=mine")
    assert moments > 80 and len(wanted["domains"]) == 701
    for found in tmp_path.glob("cut-*/data"):
        for part in found.glob("run=*/[a-z]*/*.parquet"):
            assert pq.read_table(part, partitioning=None) is not None, part
        work(found)
        must_equal(facts(found / "run=mine"), wanted)
        assert not list(found.rglob(".tmp-*")), found
