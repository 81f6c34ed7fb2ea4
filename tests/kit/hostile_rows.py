"""The rows of a scan that are not about hostile domains, and where those of two scans differ.

Times may differ, and which of several names at one address was asked: that is drawn by lot in each run.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from analysis.runs.run import Run
from crawler.lab.adversary.names import is_hostile
from crawler.model.rows import TABLES
from tools.chaos import fact, forget_chance, varies

Rows = dict[str, Counter[str]]


def honest_rows(data: Path, run: str) -> Rows:
    """Every row of every table, and of `deliveries`, that is not about a hostile domain, as text."""
    folder = data / f"run={run}"
    tables = {table: list(_rows(folder / table)) for table in TABLES}
    with Run.open(data, run) as opened:
        tables["deliveries"] = json.loads(opened.frame("SELECT * FROM deliveries").to_json(orient="records"))
    kept = {table: [row for row in rows if not _is_about_hostile(row)] for table, rows in tables.items()}
    chains = [row["received_chain"] for row in kept["probes"] if row["received_chain"]]
    shown = {digest for chain in chains for digest in chain}
    leaves = {chain[0] for chain in chains}
    policies = {row["policy_sha256"] for row in kept["domains"]}
    kept["certificates"] = [row for row in kept["certificates"] if row["sha256"] in shown]
    kept["incomplete_chains"] = [row for row in kept["incomplete_chains"] if row["leaf_sha256"] in leaves]
    kept["policies"] = [row for row in kept["policies"] if row["sha256"] in policies]
    left = {(row["address"], row["port"]) for row in kept["probes"] if row["outcome"] == "sampled_out"}
    return {table: Counter(_text(row, left) for row in rows) for table, rows in kept.items()}


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    for part in sorted(folder.glob("*.parquet")):
        yield from pq.read_table(part, partitioning=None).to_pylist()


def _is_about_hostile(row: dict[str, Any]) -> bool:
    return any(is_hostile(row.get(column) or "") for column in ("domain", "host"))


def _text(row: dict[str, Any], left: set[tuple[str, int]]) -> str:
    forget_chance(row)
    if (row.get("address"), row.get("port")) in left:  # who of them was asked is drawn by lot
        row = {name: row[name] for name in ("address", "port")}
    return json.dumps({name: fact(value) for name, value in row.items() if not varies(name)}, default=repr)


def differences(found: Rows, wanted: Rows) -> list[str]:
    """A line for each row that is in one of them alone."""
    lines = []
    for table, rows in wanted.items():
        lines += [f"{table}: without the hostile domains alone: {row}" for row in (rows - found[table]).elements()]
        lines += [f"{table}: with them alone: {row}" for row in (found[table] - rows).elements()]
    return lines
