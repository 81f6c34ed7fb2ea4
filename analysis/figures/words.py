"""Numbers as people read them."""

from __future__ import annotations

from analysis.figures.shares import Labelled, Share


def percent(share: float | None) -> str:
    """One digit behind the point; never 0.0 % or 100.0 % for what is not exactly that."""
    if share is None:
        return "–"
    shown = f"{100 * share:.1f}"
    if shown == "100.0" and share < 1:
        shown = ">99.9"
    elif shown == "0.0" and share > 0:
        shown = "<0.1"
    return f"{shown} %"


def count(number: float) -> str:
    """With thousands separated; one digit behind the point only where a mean is not whole."""
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.1f}"


def span(value: Share) -> str:
    """Between which bounds the share lies, whatever the unknown units are."""
    if value.lower is None or value.upper is None:
        return "–"
    if not value.unknown:
        return "exact"
    return f"{100 * value.lower:.1f}–{100 * value.upper:.1f} %"


def certainty(value: Share, unit: str) -> str:
    """How sure a share is, as a sentence without its full stop."""
    if not value.all:
        return f"there are no {unit} to count, so there is no share"
    if not value.unknown:
        return f"all {count(value.all)} {unit} are known, so the share is exact"
    unknown = f"{percent(value.unknown_share)} of {count(value.all)} {unit} are unknown"
    if not value.decided:
        return f"{unknown}, so there is no share"
    return f"{unknown}, so the share of all lies in {span(value)}"


def folded(rows: list[Labelled], most: int) -> tuple[list[Labelled], list[Labelled]]:
    """The rows to show, and those to sum up in one: never a single one, and none that is unknown."""
    small = [row for row in rows[most:] if not is_unknown(row.label)]
    return ([row for row in rows if row not in small], small) if len(small) > 1 else (rows, [])


def is_unknown(label: str) -> bool:
    """Whether a label says that nothing was learnt (and perhaps why)."""
    return label.split(" ")[0] == "unknown"
