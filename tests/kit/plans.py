"""Shards and parts of a run, written and read by tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crawler.dataset.parts import PartWriter, read_rows
from crawler.dataset.run import RunDirectory
from crawler.dataset.steps import Step
from crawler.dataset.stored_manifest import Manifest

SIGNATURE = {"run": "test", "config_sha256": "00"}


def begun_run(folder: Path) -> RunDirectory:
    """A run in which nothing is done yet."""
    made = RunDirectory(folder / "run=test")
    made.path.mkdir()
    made.make_directories(SIGNATURE)
    made.write_manifest(Manifest.of({**SIGNATURE}))
    return made


def cut(run: RunDirectory, step: Step) -> dict[int, list[Any]]:
    return {shard: list(read_rows(run.shard_path(step, shard), step.row)) for shard in run.shards(step)}


def put(run: RunDirectory, table: str, name: str, row: type, rows: list[Any]) -> None:
    writer = PartWriter(run.path / table / f"{name}.parquet", row, SIGNATURE)
    for content in rows:
        writer.append(content)
    writer.close()
