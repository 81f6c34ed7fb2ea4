"""Shards and parts of a run, written and read by tests."""

from __future__ import annotations

from typing import Any

from crawler.dataset.parts import PartWriter, read_rows
from crawler.dataset.run import RunDirectory
from crawler.dataset.steps import Step

SIGNATURE = {"run": "test", "config_sha256": "00"}


def cut(run: RunDirectory, step: Step) -> dict[int, list[Any]]:
    return {shard: list(read_rows(run.shard_path(step, shard), step.row)) for shard in run.shards(step)}


def put(run: RunDirectory, table: str, name: str, row: type, rows: list[Any]) -> None:
    writer = PartWriter(run.path / table / f"{name}.parquet", row, SIGNATURE)
    for content in rows:
        writer.append(content)
    writer.close()
