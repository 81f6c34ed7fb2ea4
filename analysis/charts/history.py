"""The chart that sets a run beside what others published since 2013.

Colour is the unit, filling is the confidence; what is not comparable is not drawn.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.charts.drawing import COLOURS, Chart, canvas, finished
from analysis.charts.reference import COMPARABLE, UNITS, Published, published
from analysis.figures.compute import Figure
from analysis.figures.shares import Share
from analysis.figures.words import percent

_PANELS = {
    "starttls_offered": "STARTTLS offered",
    "tls_negotiated": "TLS negotiated",
    "forward_secrecy": "Forward secrecy",
    "strict_validation": "Strict validation",
    "forward_secrecy_and_strict_validation": "Both together (Facebook's 95 %)",
    "post_quantum": "Post-quantum hybrid",
}

_RULES = {"messages": "primary", "domains": "primary", "hosts": "any", "addresses": "any"}

_SHORT = {
    "Google": "Google",
    "Facebook": "Facebook",
    "UMich / Google / UIUC": "IMC 2015",
    "D. Bider / Bitvise": "Bider",
    "Twitter": "Twitter",
    "MailChannels": "MailChannels",
    "systemli.org": "systemli",
    "Forum Standaardisatie (NL)": "Dutch government",
    "University of Toronto (CS)": "U Toronto",
    "netmeister.org": "Schaumann",
}


def history(figures: list[Figure], started_at: str, name: str = "history", columns: int = 2) -> Chart:
    """Six criteria over time: published points, and this run's shares with their bounds at the right.

    With one column the panels stand below each other, for a narrow page.
    """
    today = _day(started_at)
    comparable = [row for row in published() if row.metric in COMPARABLE and row.of_all and row.unit in UNITS]
    described = []
    lines = len(_PANELS) // columns
    with canvas(4.7 * columns, 0.8 + 2.6 * lines) as made:
        grid = made.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        for axes, (indicator, title) in zip(grid.flat, _PANELS.items(), strict=True):
            axes.set_title(title)
            rows = [row for row in comparable if COMPARABLE[row.metric] == indicator]
            for row in rows:
                _point(axes, row)
            _labels(axes, rows)
            ours = [
                (figure.view.unit, figure.value)
                for figure in figures
                if figure.indicator.name == indicator and _RULES.get(figure.view.unit) == figure.view.rule
                if isinstance(figure.value, Share)
            ]
            _this_run(axes, ours, today)
            shares = ", ".join(f"{percent(value.share)} of {unit}" for unit, value in ours)
            described.append(f"{title}: this run {shares}; {len(rows)} published figures")
        axes = grid[0, 0]
        axes.set_ylim(-4, 106)
        axes.set_xlim(date(2013, 1, 1), today + timedelta(days=10))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0f} %")
        for axes in grid.flat:
            axes.tick_params(length=0)
            axes.grid(axis="x", visible=False)
            axes.axvline(today, color=COLOURS["rule"], linewidth=6, zorder=0)
        _legend(made, 2 * columns)
    return finished(made, name, "This run beside published figures", ". ".join(described) + ".")


def _day(started_at: str) -> date:
    return datetime.fromisoformat(started_at).date() if started_at else date.today()


def _point(axes: Axes, row: Published) -> None:
    colour = COLOURS[UNITS[row.unit]]
    filled = row.confidence in ("quoted-from-source", "derived-from-source")
    axes.plot(
        row.day,  # type: ignore[arg-type]  # dates are numbers to matplotlib
        row.value_percent,
        marker="s" if row.off_a_chart else "o",
        markersize=6,
        color=colour,
        markerfacecolor=colour if filled else COLOURS["paper"],
        markeredgewidth=1.4,
        linestyle="none",
        zorder=3,
    )


def _labels(axes: Axes, rows: list[Published]) -> None:
    """Name each publisher once, at its latest point, where no other name stands already."""
    latest: dict[str, Published] = {}
    for row in rows:
        latest[f"{row.publisher} {row.unit}"] = row
    taken: list[tuple[int, float]] = []
    for row in sorted(latest.values(), key=lambda row: (-row.value_percent, row.day)):
        late = row.day.year >= 2022  # no room at the right
        x, y = row.day.toordinal() - (1500 if late else 0), row.value_percent
        heights = (y, y + 6, y - 6)
        free = next((height for height in heights if _free(x, height, taken, rows)), None)
        if free is None:
            continue  # a name far from its point would mislead; the table has it
        y = free
        taken.append((x, y))
        name = _SHORT.get(row.publisher, row.publisher)
        axes.annotate(
            f"{name} {_sign(row)}{row.value_percent:.3g} %{', read off a chart' if row.off_a_chart else ''}",
            (row.day, y),
            xytext=(-7 if late else 7, 0),
            textcoords="offset points",
            ha="right" if late else "left",
            va="center",
            fontsize=8.2,
            color=COLOURS["quiet"],
        )


def _sign(row: Published) -> str:
    return "≥ " if row.is_lower_bound else "≈ " if row.off_a_chart else ""


def _free(x: int, y: float, taken: list[tuple[int, float]], rows: list[Published]) -> bool:
    """Whether a name that starts at this day and height would cover no other name and no point."""
    names = any(abs(x - other_x) < 1700 and abs(y - other_y) < 6 for other_x, other_y in taken)
    points = any(60 < row.day.toordinal() - x < 1400 and abs(y - row.value_percent) < 4.5 for row in rows)
    return not names and not points


def _this_run(axes: Axes, ours: list[tuple[str, Share]], today: date) -> None:
    """All at the day of the run; where shares are near each other the smaller mark lies on the larger."""
    for place, (unit, value) in enumerate(ours):
        if value.share is None or value.lower is None or value.upper is None:
            continue
        at: Any = [today, today]
        size = len(ours) - place
        axes.plot(
            at, [100 * value.lower, 100 * value.upper], color=COLOURS[unit], linewidth=2 * size, clip_on=False,
            solid_capstyle="butt", zorder=2 + 0.1 * place,
        )  # fmt: skip
        axes.plot(
            at[:1], [100 * value.share], marker="D", markersize=4 + 2 * size, color=COLOURS[unit], clip_on=False,
            markeredgecolor=COLOURS["paper"], markeredgewidth=0.8, zorder=4 + 0.1 * place,
        )  # fmt: skip


def _legend(made: Any, columns: int) -> None:
    def key(label: str, colour: str, face: str, marker: str = "o") -> Line2D:
        return Line2D([], [], marker=marker, linestyle="none", color=colour, markerfacecolor=face, label=label)

    quiet, paper = COLOURS["quiet"], COLOURS["paper"]
    keys = [key(unit, COLOURS[unit], COLOURS[unit]) for unit in ("messages", "domains", "hosts", "addresses")]
    keys += [
        key("quoted or computed from the source", quiet, quiet),
        key("as reported by others", quiet, paper),
        key("read off a chart by others", quiet, paper, "s"),
        key("this run, with bounds", quiet, quiet, "D"),
    ]
    made.legend(
        handles=keys,
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        fontsize=9 if columns > 2 else 7.6,
        handletextpad=0.3,
    )
