"""What a figure is: a share or a distribution, with its counts, bounds and signature.

This module is pure.  It counts frames that `Run` hands over, and reads nothing.

A list is a census, not a sample, so there are no confidence intervals here.  What we do not know is
*unknown* units, and the bounds say how much it could matter: all of them no, all of them yes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True, slots=True)
class Share:
    """A share of units, three-valued.  Counts are whole unless units are weighted or averaged."""

    yes: float
    no: float
    unknown: float
    inferred: float = 0.0  #: how much of yes + no rests on another name at the same address

    @property
    def decided(self) -> float:
        """The denominator of the share."""
        return self.yes + self.no

    @property
    def observed(self) -> float:
        """How much of yes + no rests on the unit's own probes."""
        return self.decided - self.inferred

    @property
    def all(self) -> float:
        """Every unit of the population, the unknown ones too."""
        return self.decided + self.unknown

    @property
    def share(self) -> float | None:
        """yes / (yes + no); None if nothing was decided."""
        return self.yes / self.decided if self.decided else None

    @property
    def unknown_share(self) -> float | None:
        """unknown / all; None for an empty population."""
        return self.unknown / self.all if self.all else None

    @property
    def lower(self) -> float | None:
        """The share if every unknown unit were a no."""
        return self.yes / self.all if self.all else None

    @property
    def upper(self) -> float | None:
        """The share if every unknown unit were a yes."""
        return (self.yes + self.unknown) / self.all if self.all else None


@dataclass(frozen=True, slots=True)
class Labelled:
    """One row of a distribution; `share` is of the decided units."""

    label: str
    count: float
    inferred: float
    share: float | None


@dataclass(frozen=True, slots=True)
class Distribution:
    """Units by label, most frequent first.

    With `exclusive` the labels divide the decided units; without, a unit may carry several or none.
    """

    rows: pd.DataFrame  #: `label count inferred share`; share is of the decided units
    total: float  #: the population, and units that may belong to it
    unknown: float = 0.0  #: units whose label, or whose belonging to the population, is not known
    exclusive: bool = True

    @property
    def decided(self) -> float:
        """The denominator of the shares."""
        return self.total - self.unknown

    def share(self, label: str) -> float | None:
        """The share of one label; None if nothing was decided."""
        rows = self.rows["count"][self.rows["label"] == label]
        return float(rows.sum()) / self.decided if self.decided else None

    def table(self) -> list[Labelled]:
        """The rows one by one."""
        return [
            Labelled(label, float(count), float(inferred), None if pd.isna(share) else float(share))
            for label, count, inferred, share in self.rows.itertuples(index=False)
        ]


def is_true(verdicts: pd.Series[Any]) -> pd.Series[bool]:
    """Where a three-valued column is yes, as a mask without gaps."""
    return verdicts.eq(True).fillna(False).astype(bool)


def is_false(verdicts: pd.Series[Any]) -> pd.Series[bool]:
    """Where a three-valued column is no, as a mask without gaps."""
    return verdicts.eq(False).fillna(False).astype(bool)


def _plain_values(column: pd.Series[Any]) -> list[Any]:
    """The values of a column, None for null: `pd.NA` has no truth value, so rules of a row cannot compare it."""
    return [None if missing else value for value, missing in zip(column.tolist(), column.isna(), strict=True)]


def share_of(units: pd.DataFrame, criterion: str, *, among: str | None = None) -> Share:
    """Add up a criterion over counted units.

    A row of `units` stands for `weight` units that are alike; its columns `<criterion>_yes _no _unknown`
    divide each of them, and `_inferred` says which part of yes and no is decided by inference.  `among` names
    a three-valued column: units of which it is false are left out, those of which it is null are unknown.
    """
    known = units if among is None else units[is_true(units[among])]
    perhaps = units["weight"][units[among].isna()] if among is not None else pd.Series(dtype=float)

    def total(part: str) -> float:
        return math.fsum(known[f"{criterion}_{part}"] * known["weight"])

    yes, no, unknown, inferred = (total(part) for part in ("yes", "no", "unknown", "inferred"))
    return Share(*(round(sum_, 9) for sum_ in (yes, no, unknown + math.fsum(perhaps), inferred)))  # in any order


def distribution_of(
    counted: pd.DataFrame,
    label: str | Callable[[dict[Hashable, Any]], str | None],
    *,
    words: Mapping[Any, str] | None = None,
    among: str | None = None,
) -> Distribution:
    """Count by a column, put into `words` where there are some, or by a function of the row; a null label is unknown.

    A row of `counted` stands for `weight` units that are alike.  `among` names a three-valued column:
    rows where it is false are left out, rows where it is null may belong and are unknown.
    """
    rows = counted if among is None else counted[~is_false(counted[among])]
    if isinstance(label, str):
        labels = [words.get(value) if words is not None else value for value in _plain_values(rows[label])]
    else:
        columns = [_plain_values(rows[name]) for name in rows]
        labels = [label(dict(zip(rows, values, strict=True))) for values in zip(*columns, strict=True)]
    known = pd.Series(labels, index=rows.index, dtype="object").notna()
    if among is not None:
        known &= is_true(rows[among])
    # Not by pandas' groupby: with `--by` there are thousands of small frames, and it takes milliseconds for each.
    sums: dict[str, tuple[list[float], list[float]]] = {}
    for name, weight, inferred, counts in zip(labels, rows["weight"], rows["inferred"], known, strict=True):
        if counts:
            of_label = sums.setdefault(str(name), ([], []))
            of_label[0].append(weight)
            of_label[1].append(weight if inferred else 0.0)
    table = pd.DataFrame(
        [(name, math.fsum(count), math.fsum(inferred)) for name, (count, inferred) in sums.items()],
        columns=["label", "count", "inferred"],
    )
    return _ranked(table, total=math.fsum(rows["weight"]), unknown=math.fsum(rows["weight"][~known]))


def overlapping(counted: pd.DataFrame, labels: dict[str, pd.Series[bool]], *, unknown: pd.Series[bool]) -> Distribution:
    """Count each label apart; a row may carry several.  `labels` and `unknown` are masks over `counted`."""
    weight = counted["weight"]
    table = pd.DataFrame(
        {
            "label": list(labels),
            "count": [weight[mask].sum() for mask in labels.values()],
            "inferred": [weight[mask & is_true(counted["inferred"])].sum() for mask in labels.values()],
        }
    )
    return _ranked(table, total=weight.sum(), unknown=weight[unknown].sum(), exclusive=False)


def _ranked(table: pd.DataFrame, *, total: float, unknown: float, exclusive: bool = True) -> Distribution:
    table = table.round(9)  # parts of domains come in any order
    total, unknown = round(total, 9), round(unknown, 9)
    table = table.sort_values(["count", "label"], ascending=[False, True], ignore_index=True)
    table["share"] = table["count"] / (total - unknown) if total > unknown else None
    return Distribution(table, float(total), float(unknown), exclusive)


def plain(number: float) -> str:
    """A count without a trailing `.0`; six digits where it is not whole."""
    return str(int(number)) if float(number).is_integer() else f"{number:.6f}".rstrip("0")
