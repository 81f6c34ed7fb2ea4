"""How charts look, and how a matplotlib figure becomes SVG that follows the page's light or dark scheme.

Every colour of a chart has a name here, so that the page can give it another value.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

#: Name -> value in the light scheme. Told apart also without colour vision (after Okabe and Ito).
COLOURS = {
    "ink": "#1b2733",
    "quiet": "#5b6875",
    "rule": "#d5dbe1",
    "paper": "#fefefe",
    "yes": "#0b6e99",
    "no": "#d1652f",
    "unknown": "#a9b2bc",
    "weak": "#8cc3dc",
    "refused": "#5a4a78",
    "messages": "#7a3e9d",
    "domains": "#0b6f9a",
    "hosts": "#c7561f",
    "addresses": "#2e7d4f",
}

_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: readable, selectable, in the page's font
    "font.family": "sans-serif",
    "font.sans-serif": ["Inter", "Helvetica Neue", "Arial", "DejaVu Sans", "sans-serif"],
    "font.size": 10.5,
    "text.parse_math": False,
    "text.color": COLOURS["ink"],
    "axes.edgecolor": COLOURS["rule"],
    "axes.labelcolor": COLOURS["quiet"],
    "axes.titlecolor": COLOURS["ink"],
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": COLOURS["rule"],
    "grid.linewidth": 0.7,
    "xtick.color": COLOURS["rule"],
    "ytick.color": COLOURS["rule"],
    "xtick.labelcolor": COLOURS["quiet"],
    "ytick.labelcolor": COLOURS["ink"],
    "hatch.linewidth": 0.8,
}


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawn chart with the words for those who do not see it."""

    name: str
    title: str
    description: str
    svg: str  #: a whole SVG document in the light scheme

    @property
    def inline(self) -> str:
        """The same for inside a page: colours by name, names of parts its own, title and description."""
        svg = self.svg[self.svg.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
        svg = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{self.name}-", svg)
        for name, value in COLOURS.items():
            svg = svg.replace(value, f"var(--{name})")
        head, rest = svg.split(">", 1)
        head = re.sub(r'\s(width|height)="[^"]*"', "", head)
        words = f'<title id="{self.name}-t">{escape(self.title)}</title><desc id="{self.name}-d">{escape(self.description)}</desc>'
        return f'{head} role="img" aria-labelledby="{self.name}-t {self.name}-d">{words}{rest}'


@contextmanager
def canvas(width: float, height: float) -> Iterator[Canvas]:
    """An empty figure of so many inches, in our style."""
    with matplotlib.rc_context(_STYLE):
        yield Canvas(figsize=(width, height), layout="constrained")


def finished(figure: Canvas, name: str, title: str, description: str) -> Chart:
    """Write the figure as SVG; the same figure gives the same bytes."""
    text = io.StringIO()
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):  # the font type is looked up here, not when drawing
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    return Chart(name, title, description, text.getvalue())


def percent_axis(axes: Axes, *, upper: float = 100) -> None:
    """The horizontal axis is a share of everything."""
    axes.set_xlim(0, upper)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f} %")
    axes.grid(axis="y", visible=False)
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)
