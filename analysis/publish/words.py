"""Numbers as people read them."""

from __future__ import annotations

from analysis.shares import Share


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
