"""Figures for programs: one JSON document, one CSV table.

Names here are a contract (docs/figures.md); add freely, rename only with a new `FORMAT`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

import pandas as pd

from analysis.figures.compute import FACEBOOK, Computed, Figure, ListFigures, facebook
from analysis.figures.shares import Share
from analysis.tables.csv_text import csv_text
from crawler import __version__
from crawler.dataset.stored_runs import PassedOver

FORMAT = 1

COLUMNS = (
    "group",
    "figure",
    "title",
    "unit",
    "rule",
    "label",
    "share",
    "numerator",
    "denominator",
    "unknown",
    "all",
    "lower",
    "upper",
    "observed",
    "inferred",
    "population",
    "signature",
)


def document(computed: Computed, by: str | None = None) -> dict[str, Any]:
    """Everything that `stats --format json` prints; numbers that are not known are null."""
    run, figures, weights, listed = computed.run, computed.figures, computed.weights, computed.listed
    headline = facebook(figures)
    made: dict[str, Any] = {
        "format": FORMAT,
        "run": {
            "id": run.id,
            "state": run.stored.state,
            "finished": run.finished,
            "suspicions": list(run.stored.suspicions),
            "started_at": run.manifest.started_at,
            "ended_at": run.manifest.ended_at,
            "list_sha256": run.list_hash,
            "limit": run.limit,
            "vantage": run.stored.vantage,
            "protocol": run.protocol,
            "measured_with": run.version,
            "counted_with": __version__,
            "rejudged": run.rejudged or None,
            "passed_over": [_passed_over(other) for other in run.passed_over],
        },
        FACEBOOK: share_fields(headline)
        | {
            "weighted_by_messages": weights is not None,
            "words": headline.indicator.words,
        },
        "weights": None if weights is None else asdict(weights),
        **_by_kind((figure.id, figure) for figure in figures),
        "policy_list": None if listed is None else _policy_list(listed),
    }
    if by is not None:
        made["by"] = by
        made["smallest_group"] = computed.smallest_group
        made["groups"] = _grouped(computed.groups[by])
    return made


def _passed_over(other: PassedOver) -> dict[str, Any]:
    """A run that was not chosen, and why; what an unreadable manifest does not say is null."""
    stored = other.run
    return {
        "id": other.id,
        "why": list(other.why),
        "state": stored and stored.state,
        "started_at": stored and (stored.started_at or None),
        "list_sha256": stored and stored.list_sha256,
        "limit": stored and stored.limit,
        "vantage": stored and stored.vantage,
    }


def _by_kind(figures: Iterable[tuple[str, Figure]]) -> dict[str, dict[str, Any]]:
    made: dict[str, dict[str, Any]] = {"shares": {}, "distributions": {}}
    for name, figure in figures:
        if isinstance(figure.value, Share):
            made["shares"][name] = share_fields(figure)
        else:
            made["distributions"][name] = distribution_fields(figure)
    return made


def _policy_list(listed: ListFigures) -> dict[str, Any]:
    """What the file is, and its figures."""
    fields = asdict(listed.listing)
    times = {name: time and time.isoformat() for name, time in fields.items() if name in ("timestamp", "expires")}
    return fields | times | _by_kind((figure.id, figure) for figure in listed.figures)


def share_fields(figure: Figure) -> dict[str, Any]:
    """One share with its counts, bounds, words and recipe."""
    value = figure.value
    assert isinstance(value, Share)
    return {
        "title": figure.indicator.title,
        "unit": figure.view.unit,
        "rule": figure.view.rule,
        "share": _rounded(value.share),
        "numerator": _whole(value.yes),
        "denominator": _whole(value.decided),
        "unknown": _whole(value.unknown),
        "unknown_share": _rounded(value.unknown_share),
        "all": _whole(value.all),
        "bounds": [_rounded(value.lower), _rounded(value.upper)],
        "observed": _whole(value.observed),
        "inferred": _whole(value.inferred),
        "population": figure.population,
        "signature": figure.signature,
    }


def distribution_fields(figure: Figure) -> dict[str, Any]:
    """One distribution, most frequent label first."""
    value = figure.value
    assert not isinstance(value, Share)
    return {
        "title": figure.indicator.title,
        "unit": figure.view.unit,
        "rule": figure.view.rule,
        "exclusive": value.exclusive,
        "all": _whole(value.total),
        "unknown": _whole(value.unknown),
        "denominator": _whole(value.decided),
        "values": [
            {
                "label": row.label,
                "count": _whole(row.count),
                "share": _rounded(row.share),
                "observed": _whole(row.count - row.inferred),
                "inferred": _whole(row.inferred),
            }
            for row in value.table()
        ],
        "population": figure.population,
        "signature": figure.signature,
    }


def frame(figures: list[Figure]) -> pd.DataFrame:
    """The shares among the figures as a frame, one row each, for notebooks."""
    rows = [
        {"group": figure.group, "figure": figure.indicator.name, **share_fields(figure)}
        for figure in figures
        if isinstance(figure.value, Share)
    ]
    return pd.DataFrame(rows)


def table(figures: list[Figure]) -> str:
    """The same as CSV: a line for each share, and for each label of a distribution."""
    return csv_text(COLUMNS, (row for figure in figures for row in _lines(figure)))


def _lines(figure: Figure) -> Iterator[dict[str, Any]]:
    same = {"group": figure.group, "figure": figure.id}
    if isinstance(figure.value, Share):
        fields = share_fields(figure)
        lower, upper = fields["bounds"]
        yield fields | same | {"lower": lower, "upper": upper}
    else:
        fields = distribution_fields(figure)
        for row in fields["values"]:
            yield fields | same | row | {"numerator": row["count"]}


def _grouped(groups: list[Figure]) -> list[dict[str, Any]]:
    made: dict[str, list[Figure]] = {}
    for figure in groups:
        made.setdefault(str(figure.group), []).append(figure)
    return [
        {"group": name, **_by_kind((figure.indicator.name, figure) for figure in chosen)}
        for name, chosen in made.items()
    ]


def _whole(number: float) -> int | float:
    """A count: whole where it is, else to six digits (means and weights)."""
    return int(number) if float(number).is_integer() else round(float(number), 6)


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 6)
