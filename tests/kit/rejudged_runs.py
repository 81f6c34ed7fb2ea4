"""Runs to be judged again, and what comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from analysis.figures.compute import Figure
from analysis.figures.shares import Share
from crawler.chains.rejudge import Rule, rejudge
from crawler.dataset.run import RunDirectory
from crawler.model.rows import TABLES, schema_of
from tests.kit.chain_runs import (
    HOST,
    INTERMEDIATE,
    LEAF,
    LOWER_INTERMEDIATE,
    LOWER_LEAF,
    MIDDLE,
    OTHER,
    OTHER_ANCHOR,
    ROOT,
)  # fmt: skip
from tests.kit.chains import Subject

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"


SELF_SIGNED = Subject("leaf").root(names=[HOST])


EXPIRED = ROOT.issue(MIDDLE, ca=True, days=(-300, -10))


CHAINS = [
    [LEAF, INTERMEDIATE],
    [LEAF],
    [LEAF, EXPIRED],
    [LEAF, EXPIRED, INTERMEDIATE],
    [LOWER_LEAF, LOWER_INTERMEDIATE],
    [OTHER.leaf(HOST)],
    [OTHER.leaf("elsewhere.example"), OTHER_ANCHOR],
    [SELF_SIGNED],
    [MIDDLE.leaf("wrong.example"), INTERMEDIATE],
    [MIDDLE.leaf(HOST, days=(-60, -1)), INTERMEDIATE],
]


Rows = list[dict[str, Any]]


def rows_of(run: Path, table: str) -> Rows:
    """The rows of a table in an order of their own; a column that an older part lacks is null."""
    parts = sorted((run / table).glob("*.parquet"))
    rows = [row for part in parts for row in pq.read_table(part, partitioning=None).to_pylist()]
    return sorted(({name: row.get(name) for name in schema_of(TABLES[table]).names} for row in rows), key=repr)


def again(run: RunDirectory, out: Path, rule: Rule | None = None) -> Path:
    """The run, judged again."""
    rejudge(run.path.parent, run.id, out, rule or Rule())
    return out / run.path.name


def by_chain(run: Path, *columns: str) -> dict[tuple[str, ...], tuple[Any, ...]]:
    """Columns of the endpoints that sent something."""
    found = (row for row in rows_of(run, "probes") if row["received_chain"])
    return {tuple(row["received_chain"]): tuple(row[column] for column in columns) for row in found}


def counts(figure: Figure) -> tuple[float, float, float]:
    assert isinstance(figure.value, Share)
    return figure.value.yes, figure.value.no, figure.value.unknown
