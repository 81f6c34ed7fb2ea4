"""Figures about senders, by name."""

from __future__ import annotations

from analysis.figures.compute import Figure
from analysis.figures.shares import Distribution, Share

USABLE = {"dane": "match"}


ENFORCED = {"mta_sts_record": "valid", "mta_sts_fetch": "ok", "mta_sts_mode": "enforce"}


def share(made: list[Figure], name: str) -> Share:
    """The share called `indicator.unit.rule`."""
    value = next(figure.value for figure in made if figure.id == name)
    assert isinstance(value, Share)
    return value


def distribution(made: list[Figure], name: str) -> Distribution:
    """The distribution called `indicator.unit.rule`."""
    value = next(figure.value for figure in made if figure.id == name)
    assert isinstance(value, Distribution)
    return value


def labels(made: list[Figure], name: str) -> dict[str, float]:
    """Counts by label of a distribution."""
    return {row.label: row.count for row in distribution(made, name).table() if row.count}
