"""Figures for a person at a terminal: aligned tables, in colour where there is a terminal, plain in a pipe.

Nothing is cut, so strangers' labels are made visible before a table is laid out.  Names wrap; where a terminal is too narrow for all numbers, whole columns are
left out, and said to be.  A recipe stays on one line, as it is meant to be copied.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.figures.compute import FACEBOOK, MAIN, Computed, Figure, ListFigures, facebook
from analysis.figures.shares import Share
from analysis.figures.units import HEADLINE_RULE
from analysis.figures.weights import Weights
from analysis.figures.words import certainty, count, folded, percent, span
from crawler.model.visible import visible
from crawler.model.visible_console import VisibleConsole
from crawler.settings.declared_limits import limit

LABELS_SHOWN = limit(
    12, "labels of a figure shown on a terminal", protects="the reader", cut="the rest is counted in a line"
)

IN_A_PIPE = 10_000
"""Columns; no line is that long."""

_GAP = 2
"""Columns between two columns of a table: what is on either side of each."""

NAME_WIDTH = 14
"""Columns that names have at least before numbers are left out."""

#: Main figures in the order in which a narrow terminal goes without them; the headline is the last.
_LEAST_IMPORTANT = tuple(
    MAIN[name]
    for name in ("tls_negotiated", "downgrade_resistant", "strict_validation", "forward_secrecy", "starttls_offered")
)

#: Labels are few, and some of them mean unknown.
_NEVER_FOLDED = ("outcomes", "routes")


def console(**options: object) -> Console:
    """Where tables go: the terminal as wide as it is, a pipe as wide as COLUMNS says, else as the table needs."""
    made = VisibleConsole(soft_wrap=False, **options)
    columns = os.environ.get("COLUMNS", "")
    if not made.is_terminal:
        made.width = int(columns) if columns.isdecimal() and 0 < int(columns) < IN_A_PIPE else IN_A_PIPE
    return made


def print_stats(out: Console, computed: Computed, by: str | None = None) -> None:
    """The headline, then shares by unit, then distributions; or the groups `by` something; a policy list last."""
    run = computed.run
    out.print(Text(f"run {run.id} ({run.stored.state}), {run.origin}"))
    if run.rejudged:
        out.print(Text(run.rejudged, style="yellow"), soft_wrap=True)
    if is_empty(computed):
        out.print(Text("nothing was measured yet: no domain of this run has a row"))
        return
    _print_headline(out, facebook(computed.figures), computed.weights)
    if by is not None:
        _print_groups(out, computed.groups[by], by)
    else:
        _print_figures(out, computed.figures)
    if computed.listed is not None:
        _print_list(out, computed.listed)


def is_empty(computed: Computed) -> bool:
    """Whether the run holds nothing that could be counted."""
    return not any(
        figure.value.all if isinstance(figure.value, Share) else figure.value.total or figure.value.unknown
        for figure in computed.figures
    )


def _print_figures(out: Console, figures: list[Figure]) -> None:
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
        if any(isinstance(figure.value, Share) and figure.value.all for figure in chosen):
            _print_table(out, f"{title}: {chosen[0].population}", _shares_table(chosen))
        elif chosen:  # such as the domains of a list of hosts
            out.print(Text(f"\n{title}: none in this run"))
    empty = []
    for figure in figures:
        if isinstance(figure.value, Share):
            continue
        if figure.value.total or figure.value.unknown:
            _print_table(out, f"{figure.indicator.title}: {figure.population}", _distribution_table(figure))
        else:
            empty.append(figure.indicator.title)
    if empty:
        out.print(Text(f"\nNothing to count in this run: {', '.join(empty)}"))


def _print_list(out: Console, listed: ListFigures) -> None:
    """A policy list under its own title, with what is needed to cite it."""
    listing = listed.listing
    out.print(Text(f"Policy list {listing.source}, {listing.state()}", style="bold"))
    out.print(Text(f"        by {listing.author or 'nobody who says so'}; in no other figure"))
    out.print(
        Text(
            f"        {count(listing.domains)} domains: {count(listing.counted)} counted here, "
            f"{count(listing.undeliverable)} that take no mail or were not asked, "
            f"{count(listing.unmatched)} not in this run"
        )
    )
    out.print(Text(f"        sha256 {listing.sha256}", style="dim"), soft_wrap=True)
    out.print()
    for unit in dict.fromkeys(figure.view.unit for figure in listed.figures):
        chosen = [figure for figure in listed.figures if figure.view.unit == unit and isinstance(figure.value, Share)]
        _print_table(out, f"{unit.capitalize()}: {chosen[0].view.population}", _shares_table(chosen))
        for figure in listed.figures:
            if figure.view.unit == unit and not isinstance(figure.value, Share):
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


def _print_table(out: Console, title: str, table: Table, least_important: Sequence[str] = ()) -> None:
    """`least_important` are headers in the order in which they are left out; then goes the last column."""
    left_out: list[str] = []
    while table.columns[2:] and _least_width(table) > out.width:
        headers = [str(column.header).replace("\n", " ") for column in table.columns]
        place = next((headers.index(name) for name in least_important if name in headers), -1)
        left_out.append(headers[place])
        table = _without(table, place)
    out.print(Text(title, style="bold"))
    out.print(table)
    if left_out:
        out.print(Text(f"(this terminal is too narrow for: {', '.join(left_out)})", style="dim"))
    out.print()


def _without(table: Table, place: int) -> Table:
    """The table without one of its columns."""
    columns = [column for column in table.columns if column is not table.columns[place]]
    made = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        made.add_column(column.header, justify=column.justify, overflow=column.overflow, no_wrap=column.no_wrap)
    for cells in zip(*(column.cells for column in columns), strict=True):
        made.add_row(*cells)
    return made


def _least_width(table: Table) -> int:
    """What the table takes with its names wrapped."""
    widths = []
    for column in table.columns:
        lines = [line for cell in (column.header, *column.cells) for line in str(cell).split("\n")]
        widest = max(map(cell_len, lines))
        widths.append(widest if column.no_wrap else min(widest, NAME_WIDTH))
    return sum(widths) + _GAP * (len(widths) - 1)


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
            Text(visible(row.label)),
            count(row.count),
            percent(row.share),
            count(row.count - row.inferred),
            count(row.inferred),
        )
    if rest:
        made.add_row(Text(f"{len(rest)} more"), count(sum(row.count for row in rest)), "", "", "")
    if value.unknown:
        made.add_row(Text("unknown"), count(value.unknown), "", "", "")
    return made


def _print_groups(out: Console, groups: list[Figure], by: str) -> None:
    """A table of the main figures, and one for each distribution, such as what a kind of sender would do."""
    main = [figure for figure in groups if figure.indicator.name in MAIN]
    title = f"By {by}: share of what is known, and in brackets how much of the group is unknown (?)"
    _print_widest(out, title, _main_table, main, by)
    tables: dict[str, list[Figure]] = {}
    for figure in groups:
        if not isinstance(figure.value, Share):
            tables.setdefault(figure.indicator.title, []).append(figure)
    for words, chosen in tables.items():
        _print_widest(out, f"{words}, by {by}: shares of what is known", _labels_table, chosen, by)


def _print_widest(
    out: Console, title: str, make: Callable[[list[Figure], str, str], Table], groups: list[Figure], by: str
) -> None:
    """The table on lines of one each, or with broken ones where the terminal is narrow."""
    table = make(groups, by, " ")
    _print_table(out, title, table if _least_width(table) <= out.width else make(groups, by, "\n"), _LEAST_IMPORTANT)


def _main_table(groups: list[Figure], by: str, between: str) -> Table:
    """`between` a share and its unknown part, and the words of a header, may be a line break."""
    heads = [name.replace(" ", between) for name in MAIN.values()]
    made = _empty((by,), (groups[0].view.unit if groups else "domains", *heads))
    for start in range(0, len(groups), len(MAIN)):
        row = groups[start : start + len(MAIN)]
        values = [figure.value for figure in row if isinstance(figure.value, Share)]
        cells = [f"{percent(value.share)}{between}({percent(value.unknown_share)} ?)" for value in values]
        made.add_row(Text(visible(str(row[0].group))), count(values[0].all), *cells)
    return made


def _labels_table(groups: list[Figure], by: str, between: str) -> Table:
    """One distribution for every group, its labels as columns, the most frequent first."""
    values = [(figure.group, figure.value) for figure in groups if not isinstance(figure.value, Share)]
    totals: dict[str, float] = {}
    for _, value in values:
        for row in value.table():
            totals[row.label] = totals.get(row.label, 0) + row.count
    labels = sorted(totals, key=lambda label: (-totals[label], label))
    made = _empty((by,), (groups[0].view.unit, *(visible(label).replace(" ", between) for label in labels), "unknown"))
    for group, value in values:
        unknown = value.unknown / value.total if value.total else None
        cells = [percent(value.share(label)) for label in labels]
        made.add_row(Text(visible(str(group))), count(value.total), *cells, f"({percent(unknown)} ?)")
    return made


def _empty(words: tuple[str, ...], numbers: tuple[str, ...]) -> Table:
    made = Table(box=None, pad_edge=False, header_style="dim")
    for name in words:
        made.add_column(name, overflow="fold", no_wrap=name != words[0])
    for name in numbers:
        made.add_column(name, justify="right", no_wrap=True)
    return made
