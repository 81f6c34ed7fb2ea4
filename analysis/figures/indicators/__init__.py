"""The published figures, one function each, found by listing this folder.

A figure is a function of a frame of counted units (`analysis.figures.units.counted`); its decorator says what it
is called and who is asked.  `stats`, the report and the docs take what is registered, so a new figure is
one function and nothing else.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import pandas as pd

from analysis.figures.shares import Distribution, Share
from analysis.figures.units import DOMAINS, MESSAGES, ON_REQUEST, VIEWS, View

#: The units that a criterion of an endpoint can be counted over.
EVERY_UNIT = ("messages", "domains", "hosts", "addresses")


@dataclass(frozen=True, slots=True)
class Indicator:
    """A figure's words and its function."""

    name: str
    title: str
    population: str  #: who is asked; empty: whoever the view counts
    units: tuple[str, ...]
    words: str  #: first paragraph of the function's docstring
    compute: Callable[[pd.DataFrame], Share | Distribution]

    @property
    def on_request(self) -> bool:
        """Whether it is computed only where a policy list was given."""
        return all(unit in ON_REQUEST for unit in self.units)

    def views(self, *, weighted: bool) -> tuple[View, ...]:
        """The views to compute; without message weights a figure of messages alone is one of domains."""
        views = [view for unit in self.units for view in VIEWS[unit] if weighted or view is not MESSAGES]
        return tuple(views or [DOMAINS])


REGISTRY: dict[str, Indicator] = {}


def indicator(
    *, title: str, population: str = "", unit: str | tuple[str, ...]
) -> Callable[[Callable[[pd.DataFrame], Share | Distribution]], Callable[[pd.DataFrame], Share | Distribution]]:
    """Register a function as a published figure.

    `unit` is a key of `units.VIEWS`, or several, for each of which the figure is computed by each rule.
    """

    def register(
        compute: Callable[[pd.DataFrame], Share | Distribution],
    ) -> Callable[[pd.DataFrame], Share | Distribution]:
        name = compute.__name__
        if name in REGISTRY:
            raise ValueError(f"two indicators are called {name}")
        units = (unit,) if isinstance(unit, str) else unit
        words = " ".join((inspect.getdoc(compute) or "").split("\n\n")[0].split())
        REGISTRY[name] = Indicator(name, title, population, units, words, compute)
        return compute

    return register


#: Facts before what follows from them; the other modules come after these.
_FIRST = ("encryption", "senders", "promises", "sessions")

for _name in sorted(
    (module.name for module in pkgutil.iter_modules(__path__)),
    key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name),
):
    import_module(f"{__name__}.{_name}")
