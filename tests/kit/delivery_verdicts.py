"""Verdicts on deliveries, by endpoint."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.runs.run import Run
from analysis.sql.deliveries import DOMAIN_RULES

Y, N, U = True, False, None


def values(run: Run, sql: str) -> list[tuple[Any, ...]]:
    """Rows of an answer, nulls as None."""
    return [tuple(None if pd.isna(value) else value for value in row) for row in run.frame(sql).itertuples(index=False)]


def verdicts(run: Run, name: str, criterion: str = "strict_valid") -> dict[str, bool | None]:
    """A domain's verdict on one criterion by each rule."""
    columns = ", ".join(f"{criterion}_{rule}" for rule in DOMAIN_RULES)
    (row,) = values(run, f"SELECT {columns} FROM domain_units WHERE domain = '{name}'")
    return dict(zip(DOMAIN_RULES, row, strict=True))
