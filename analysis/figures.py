"""Compute the registered figures of a run: count in SQL, hand each indicator its frame, sign the answer.

Rule of this room: it knows units, rules and groups; what a figure *means* stands in `analysis.indicators`.
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis.dataset import Run
from analysis.indicators import REGISTRY, Indicator
from analysis.shares import Distribution, Share, plain
from analysis.units import DOMAINS, MESSAGES, View, counted
from analysis.weights import Weights
from crawler import __version__

FACEBOOK = "facebook_2014"

#: What `--by` breaks down, in the order of its columns, with a short name.
MAIN = {
    "starttls_offered": "offered",
    "tls_negotiated": "negotiated",
    "forward_secrecy": "forward secret",
    "strict_validation": "strictly valid",
    FACEBOOK: "both (Facebook)",
    "downgrade_resistant": "DANE or MTA-STS",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One published number with its words and its recipe."""

    indicator: Indicator
    view: View
    value: Share | Distribution
    signature: str
    group: str | None = None  #: with `--by`: the suffix, provider or band it is about

    @property
    def id(self) -> str:
        """Stable name: indicator, unit and rule, e.g. `starttls_offered.domains.primary`."""
        return ".".join(part for part in (self.indicator.name, self.view.unit, self.view.rule) if part)

    @property
    def population(self) -> str:
        """Who was asked."""
        return self.indicator.population or self.view.population


def figures(run: Run, weights: Weights | None = None) -> list[Figure]:
    """Every registered figure, in the order of the registry, the headline view of each first."""
    frames = {}
    made = []
    for one in REGISTRY.values():
        for view in one.views(weighted=weights is not None):
            if view not in frames:
                frames[view] = counted(run, view)
            made.append(_figure(run, one, view, one.compute(frames[view]), weights))
    return made


def figures_by(run: Run, by: str, weights: Weights | None = None, *, largest: int = 20) -> list[Figure]:
    """The main figures by the headline rule for each group of domains, the largest groups first."""
    view = DOMAINS if weights is None else MESSAGES
    frame = counted(run, view, by=by, largest=largest)
    sizes = frame.groupby("group")["weight"].sum().round(6)
    order = sorted(sizes.index, key=lambda group: (group.startswith("("), -sizes[group], group))
    return [
        _figure(run, REGISTRY[name], view, REGISTRY[name].compute(frame[frame["group"] == group]), weights, group)
        for group in order
        for name in MAIN
    ]


def facebook(made: list[Figure]) -> Figure:
    """The headline among figures."""
    return next(figure for figure in made if figure.indicator.name == FACEBOOK)


def _figure(
    run: Run,
    one: Indicator,
    view: View,
    value: Share | Distribution,
    weights: Weights | None,
    group: str | None = None,
) -> Figure:
    """Sign a value: whatever could make the number another number is in the signature, as sacrebleu does."""
    if isinstance(value, Share):
        counts = {name: plain(getattr(value, name)) for name in ("all", "yes", "no", "unknown", "inferred")}
    else:
        counts = {"all": plain(value.total), "unknown": plain(value.unknown)}
    recipe = {
        "run": run.id,
        "list": run.list_hash[:12],
        "state": str(run.manifest.get("state", "unknown")),
        "protocol": run.protocol,
        "unit": view.unit,
        "rule": view.rule,
        "group": group or "",
        "weights": weights.sha256[:12] if weights is not None and view.unit == "messages" else "",
        **counts,
        "measured": run.version,
        "counted": __version__,
    }
    signature = "|".join([one.name, *(f"{name}:{value}" for name, value in recipe.items() if value)])
    return Figure(one, view, value, signature, group)
