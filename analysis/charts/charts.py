"""The charts of the report, one function each: figures in, `Chart` out.

Nothing is computed here that is not a figure already; unknown is always drawn.
"""

from __future__ import annotations

import textwrap
from collections.abc import Container

from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Patch

from analysis.charts.drawing import COLOURS, Chart, canvas, finished, percent_axis
from analysis.figures.compute import Figure
from analysis.figures.indicators.senders import PEERS
from analysis.figures.shares import Distribution, Share
from analysis.figures.units import HEADLINE_RULE
from analysis.figures.words import count, folded, is_unknown, percent
from crawler.model.rows import Outcome, Stage
from crawler.policies.senders import WORDS

WIDTH = 6.2
"""Inches: on a telephone the letters are still large enough."""

_STEPS = {
    "starttls_offered": "STARTTLS offered",
    "tls_negotiated": "TLS negotiated",
    "forward_secrecy": "Forward secrecy",
    "post_quantum": "Post-quantum",
    "strict_validation": "Strictly valid",
    "forward_secrecy_and_strict_validation": "Forward secrecy\nand strictly valid",
    "downgrade_resistant": "Authenticated by DANE\nor enforced MTA-STS",
}

#: The senders whose answers the chart has, and in which words.
SENDERS = {
    "opportunistic_sender": "Opportunistic",
    "pkix_strict_sender": "Demands a valid\ncertificate",
    "dane_sender": "DANE",
    "mta_sts_sender": "Enforces MTA-STS",
}
_DELIVERIES = dict(zip(WORDS.values(), ("yes", "weak", "no", "refused"), strict=True))


def steps(figures: list[Figure]) -> Chart:
    """How many domains pass each criterion, fail it, or are unknown."""
    chosen = {
        label: figure.value
        for name, label in _STEPS.items()
        for figure in figures
        if figure.indicator.name == name and (figure.view.unit, figure.view.rule) == ("domains", HEADLINE_RULE)
        if isinstance(figure.value, Share)
    }
    rows = {label: {"yes": value.yes, "no": value.no, "unknown": value.unknown} for label, value in chosen.items()}
    beside = {label: percent(value.share) for label, value in chosen.items()}
    made = _stacked(rows, {name: name for name in ("yes", "no", "unknown")}, beside)
    words = "; ".join(
        f"{label}: yes {percent(value.lower)}, unknown {percent(value.unknown_share)}, share of what is known "
        f"{percent(value.share)}".replace("\n", " ")
        for label, value in chosen.items()
    )
    return finished(made, "steps", "From offer to protection", f"Bars: of all domains that take mail. {words}.")


def senders(figures: dict[str, Figure]) -> Chart:
    """What each kind of sender would do with the mail, by the names in `SENDERS`."""
    rows = {}
    for name, label in SENDERS.items():
        value = figures[name].value
        assert isinstance(value, Distribution)
        rows[label] = {row.label: row.count for row in value.table()} | {"unknown": value.unknown}
    made = _stacked(rows, _DELIVERIES | {"unknown": "unknown"})
    words = "; ".join(
        f"{label}: ".replace("\n", " ")
        + ", ".join(f"{part} {percent(number / sum(row.values()))}" for part, number in row.items() if number)
        for label, row in rows.items()
    )
    return finished(made, "senders", "What senders would do", f"Of all {figures['dane_sender'].view.unit}. {words}.")


def _stacked(rows: dict[str, dict[str, float]], parts: dict[str, str], beside: dict[str, str] | None = None) -> Canvas:
    """A bar for each row, divided into parts of everything; `parts` gives the colour of each, in order.

    `beside` has each row's share of what is known, which is another number than the length of its bar.
    """
    with canvas(WIDTH, 0.62 * len(rows) + 0.9) as made:
        axes = made.add_subplot()
        for row, counts in enumerate(rows.values()):
            start, total = 0.0, sum(counts.values())
            for part, colour in parts.items():
                width = 100 * counts.get(part, 0.0) / total if total else 0.0
                axes.barh(row, width, left=start, height=0.62, color=COLOURS[colour], edgecolor=COLOURS["paper"])
                if width >= 9:
                    ink = COLOURS["ink"] if colour in ("unknown", "weak") else COLOURS["paper"]
                    axes.text(start + width / 2, row, f"{width:.0f} %", ha="center", va="center", color=ink)
                start += width
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.5, -0.5)
        percent_axis(axes)
        for row, share in enumerate((beside or {}).values()):
            axes.text(102, row, share, va="center", fontweight="bold")
        if beside:
            axes.text(102, -0.55, "share of\nknown", va="bottom", fontsize=8.5, color=COLOURS["quiet"])
        keys = [Patch(color=COLOURS[colour], label=part) for part, colour in parts.items()]
        made.legend(handles=keys, loc="outside upper left", ncols=3, frameon=False)
    return made


def peers(figure: Figure) -> Chart:
    """Bider's four ways, from the weakest to the strongest."""
    value = figure.value
    assert isinstance(value, Distribution)
    order = list(PEERS.values())
    kinds = dict(zip(order, ("no", "weak", "yes", "yes"), strict=True))
    rows = sorted((order.index(row.label), row.label, row.count) for row in value.table())
    words = f"Of {figure.population}, by the headline rule."
    return _rows(
        [(label, number, kinds[label]) for _, label, number in rows], value, "peers", figure.indicator.title, words
    )


def bars(figure: Figure, name: str, *, most: int = 8) -> Chart:
    """A distribution as bars with their shares written at them; the rest and the unknown are rows too."""
    value = figure.value
    assert isinstance(value, Distribution)
    shown, rest = folded([row for row in value.table() if row.count], most)
    rows = [(row.label, row.count, "unknown" if is_unknown(row.label) else "yes") for row in shown]
    rows.sort(key=lambda row: row[2] == "unknown")
    if rest:
        more = (f"{len(rest)} more", sum(row.count for row in rest), "yes")
        rows.insert(sum(kind == "yes" for *_, kind in rows), more)
    return _rows(rows, value, name, figure.indicator.title, f"Of {figure.population}.")


def promises(figure: Figure, name: str, *, kept: str, none: Container[str]) -> Chart:
    """What was published: the one label that keeps it, those that promise nothing, and the rest, which break it."""
    value = figure.value
    assert isinstance(value, Distribution)
    rows = [
        (row.label, row.count, "yes" if row.label == kept else "weak" if row.label in none else "no")
        for row in value.table()
        if row.count
    ]
    rows.sort(key=lambda row: ("yes", "weak", "no").index(row[2]))
    words = (
        f"Of {figure.population}. Strong blue: {kept}. Faint: nothing is promised. Orange: published, and of no use."
    )
    return _rows(rows, value, name, figure.indicator.title, words)


def problems(figure: Figure) -> Chart:
    """Why certificates fail, each reason apart."""
    value = figure.value
    assert isinstance(value, Distribution)
    rows = [(row.label, row.count, "yes" if row.label.startswith("none") else "no") for row in value.table()]
    rows.sort(key=lambda row: row[2] != "yes")
    words = "Of endpoints that negotiated TLS; reasons may coincide, so they need not add up."
    return _rows(rows, value, "problems", figure.indicator.title, words)


def outcomes(figure: Figure, *, most: int = 16) -> Chart:
    """Where probes end, in the order of the conversation."""
    value = figure.value
    assert isinstance(value, Distribution)
    order = {stage.value: number for number, stage in enumerate(Stage)}
    table = [row for row in value.table() if row.count]
    kept, rest = table[:most], table[most:]
    kept.sort(key=lambda row: (-order.get(row.label.split(" ")[0], -1), -row.count))
    rows = [(_readable(row.label), row.count, _kind(row.label)) for row in kept]
    for kind, meaning in (("no", "no TLS"), ("unknown", "unknown")):
        alike = [row for row in rest if _kind(row.label) == kind]
        if len(alike) > 1:
            rows.append((f"{len(alike)} more kinds: {meaning}", sum(row.count for row in alike), kind))
        else:
            rows += [(_readable(row.label), row.count, kind) for row in alike]
    words = "Blue: answered inside TLS. Orange: no TLS, for certain. Grey: not known whether it does TLS."
    return _rows(rows, value, "outcomes", figure.indicator.title, words)


def _readable(label: str) -> str:
    stage, _, outcome = label.partition(" ")
    return f"{stage}: {outcome}".replace("_", " ") if outcome else stage.replace("_", " ")


def _kind(label: str) -> str:
    stage, _, outcome = label.partition(" ")
    if outcome == Outcome.OK:
        return "yes"
    certain = (Outcome.NOT_OFFERED, Outcome.TLS_ALERT, Outcome.TLS_ERROR, f"{Outcome.UPGRADE_REFUSED} for good")
    late = stage in (Stage.UPGRADE, Stage.AFTER_TLS) and outcome == Outcome.PROTOCOL_ERROR
    return "no" if outcome in certain or late else "unknown"


def _rows(rows: list[tuple[str, float, str]], value: Distribution, name: str, title: str, words: str) -> Chart:
    """Bars of what was decided, and one of what is unknown of all."""
    bars = [
        (label, number / value.decided, kind, f"({count(number)})") for label, number, kind in rows if value.decided
    ]
    if value.unknown:
        bars.append(("unknown", value.unknown / value.total, "unknown", f"of all ({count(value.unknown)})"))
    bars = bars or [("nothing measured", 0.0, "unknown", "")]
    with canvas(WIDTH, 0.36 * len(bars) + 0.55) as made:
        axes = made.add_subplot()
        axes.barh(
            range(len(bars)),
            [100 * share for _, share, *_ in bars],
            height=0.66,
            color=[COLOURS[bar[2]] for bar in bars],
        )
        for row, (_, share, _, behind) in enumerate(bars):
            axes.text(100 * share + 0.8, row, f"{percent(share)} {behind}", va="center", fontsize=9.5)
        axes.set_yticks(range(len(bars)), [_wrapped(label) for label, *_ in bars])
        axes.set_ylim(len(bars) - 0.5, -0.5)
        percent_axis(axes, upper=max(20.0, min(100.0, 110 * max(share for _, share, *_ in bars))) * 1.4)
        axes.set_xticks([tick for tick in axes.get_xticks() if tick <= 100])
    shares = "; ".join(f"{label}: {percent(share)} {behind}" for label, share, _, behind in bars)
    return finished(made, name, title, f"{words} {shares}.")


def _wrapped(label: str) -> str:
    """On two lines at most; what is longer is cut, and whole in the description."""
    lines = textwrap.wrap(label, 30, max_lines=2, placeholder="…", break_on_hyphens=False)
    return "\n".join(lines)
