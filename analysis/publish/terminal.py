"""Figures for a person at a terminal: aligned tables, in colour where there is a terminal, plain in a pipe.

Rule of this room: nothing is cut.  Names wrap; where a terminal is too narrow for all numbers, whole columns are
left out, and said to be.  A recipe stays on one line, as it is meant to be copied.
"""

from __future__ import annotations

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.dataset import Run
from analysis.figures import FACEBOOK, MAIN, Figure, facebook
from analysis.publish.words import certainty, count, folded, percent, span
from analysis.shares import Share
from analysis.units import HEADLINE_RULE
from analysis.weights import Weights

LABELS_SHOWN = 12

IN_A_PIPE = 10_000
"""Columns; no line is that long."""

NAME_WIDTH = 14
"""Columns that names have at least before numbers are left out."""

#: Labels are few, and some of them mean unknown.
_NEVER_FOLDED = ("outcomes", "routes")


def console(**options: object) -> Console:
    """Where tables go: the terminal as wide as it is, a pipe as wide as the table needs."""
    made = Console(highlight=False, emoji=False, markup=False, soft_wrap=False, **options)  # type: ignore[arg-type]
    if not made.is_terminal:
        made.width = IN_A_PIPE
    return made


def print_stats(
    out: Console, run: Run, figures: list[Figure], weights: Weights | None, groups: list[Figure] | None, by: str | None
) -> None:
    """The headline, then shares by unit, then distributions; or the groups if there are any."""
    out.print(Text(f"run {run.id} ({run.manifest.get('state', 'state unknown')}), list {run.list_hash[:12]}"))
    _print_headline(out, facebook(figures), weights)
    if groups is not None:
        title = f"By {by}: share of what is known, and in brackets how much of the group is unknown (?)"
        table = _groups_table(groups, by or "")
        if _least_width(table) > out.width:
            table = _groups_table(groups, by or "", between="\n")
        _print_table(out, title, table)
        return
    for title, unit in (
        ("Messages", "messages"),
        ("Domains", "domains"),
        ("Mail hosts", "hosts"),
        ("Addresses", "addresses"),
    ):
        chosen = [
            figure
            for figure in figures
            if figure.view.unit == unit and figure.indicator.name != FACEBOOK and isinstance(figure.value, Share)
        ]
        if chosen:
            _print_table(out, f"{title}: {chosen[0].population}", _shares_table(chosen))
    for figure in figures:
        if not isinstance(figure.value, Share):
            _print_table(out, f"{figure.indicator.title}: {figure.population}", _distribution_table(figure))


def _print_headline(out: Console, figure: Figure, weights: Weights | None) -> None:
    value = figure.value
    assert isinstance(value, Share)
    out.print()
    out.print(Text(f"{percent(value.share)}  {figure.indicator.title}", style="bold"))
    basis = "weighted by messages" if weights is not None else "per domain, by Facebook's criterion"
    out.print(Text(f"        {basis}; {figure.view.words}"))
    known = f"observed {count(value.observed)}, inferred {count(value.inferred)}"
    out.print(Text(f"        {certainty(value, figure.view.unit)}; {known}"))
    if weights is not None:
        out.print(
            Text(
                f"        weights: {count(weights.counted)} of {count(weights.messages)} messages counted, "
                f"{count(weights.unmatched)} to {weights.unmatched_domains:,} domains not in this run, "
                f"{count(weights.undeliverable)} to domains that take no mail; "
                f"{weights.domains_without_weight:,} domains have no weight"
            )
        )
    out.print(Text(f"        {figure.signature}", style="dim"), soft_wrap=True)
    out.print()


def _print_table(out: Console, title: str, table: Table) -> None:
    left_out: list[str] = []
    while table.columns[2:] and _least_width(table) > out.width:
        left_out.insert(0, str(table.columns.pop().header).replace("\n", " "))
    out.print(Text(title, style="bold"))
    out.print(table)
    if left_out:
        out.print(Text(f"(this terminal is too narrow for: {', '.join(left_out)})", style="dim"))
    out.print()


def _least_width(table: Table) -> int:
    """What the table takes with its names wrapped."""
    widths = []
    for column in table.columns:
        lines = [line for cell in (column.header, *column.cells) for line in str(cell).split("\n")]
        widest = max(map(cell_len, lines))
        widths.append(widest if column.no_wrap else min(widest, NAME_WIDTH))
    return sum(widths) + len(widths) - 1


def _shares_table(figures: list[Figure]) -> Table:
    made = _empty(("figure", "rule"), ("share", "bounds", "yes", "no", "unknown", "observed", "inferred"))
    above = None
    for figure in figures:
        value = figure.value
        assert isinstance(value, Share)
        made.add_row(
            Text(figure.indicator.title if figure.indicator is not above else ""),
            Text(figure.view.rule),
            Text(percent(value.share), style="bold" if figure.view.rule == HEADLINE_RULE else ""),
            span(value),
            *(count(getattr(value, name)) for name in ("yes", "no", "unknown", "observed", "inferred")),
        )
        above = figure.indicator
    return made


def _distribution_table(figure: Figure) -> Table:
    value = figure.value
    assert not isinstance(value, Share)
    made = _empty(("",), ("count", "share", "observed", "inferred"))
    rows = value.table()
    shown, rest = folded(rows, len(rows) if figure.indicator.name in _NEVER_FOLDED else LABELS_SHOWN)
    for row in shown:
        made.add_row(
            Text(row.label), count(row.count), percent(row.share), count(row.count - row.inferred), count(row.inferred)
        )
    if rest:
        made.add_row(Text(f"{len(rest)} more"), count(sum(row.count for row in rest)), "", "", "")
    if value.unknown:
        made.add_row(Text("unknown"), count(value.unknown), "", "", "")
    return made


def _groups_table(groups: list[Figure], by: str, between: str = " ") -> Table:
    """`between` a share and its unknown part, and the words of a header, may be a line break."""
    heads = [name.replace(" ", between) for name in MAIN.values()]
    made = _empty((by,), (groups[0].view.unit if groups else "domains", *heads))
    for start in range(0, len(groups), len(MAIN)):
        row = groups[start : start + len(MAIN)]
        values = [figure.value for figure in row if isinstance(figure.value, Share)]
        cells = [f"{percent(value.share)}{between}({percent(value.unknown_share)} ?)" for value in values]
        made.add_row(Text(str(row[0].group)), count(values[0].all), *cells)
    return made


def _empty(words: tuple[str, ...], numbers: tuple[str, ...]) -> Table:
    made = Table(box=None, pad_edge=False, header_style="dim")
    for name in words:
        made.add_column(name, overflow="fold", no_wrap=name != words[0])
    for name in numbers:
        made.add_column(name, justify="right", no_wrap=True)
    return made
