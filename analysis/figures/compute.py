"""Compute the registered figures of a run: count in SQL, hand each indicator its frame, sign the answer.

This module knows units, rules and groups; what a figure *means* stands in `analysis.figures.indicators`.
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis.figures.grouping import SMALLEST_GROUP
from analysis.figures.indicators import REGISTRY, Indicator
from analysis.figures.policy_list import ListedDomains
from analysis.figures.shares import Distribution, Share, plain
from analysis.figures.units import DOMAINS, MESSAGES, View, counted
from analysis.figures.weights import Weights
from analysis.runs.run import Run
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


@dataclass(frozen=True, slots=True)
class ListFigures:
    """What was asked for with a policy list: the file, and its figures, which are part of no others."""

    listing: ListedDomains
    figures: list[Figure]


def figures(run: Run, weights: Weights | None = None) -> list[Figure]:
    """Every registered figure, in the order of the registry, the headline view of each first.

    Those about a policy list are not among them: `list_figures` has them.
    """
    return _computed(run, [one for one in REGISTRY.values() if not one.on_request], weights)


def list_figures(run: Run, listing: ListedDomains) -> ListFigures:
    """The figures about the policy list that was loaded into the run."""
    return ListFigures(listing, _computed(run, [one for one in REGISTRY.values() if one.on_request], None, listing))


def _computed(
    run: Run, indicators: list[Indicator], weights: Weights | None, listing: ListedDomains | None = None
) -> list[Figure]:
    frames = {}
    made = []
    for one in indicators:
        for view in one.views(weighted=weights is not None):
            if view not in frames:
                frames[view] = counted(run, view)
            made.append(_figure(run, one, view, one.compute(frames[view]), weights, listing=listing))
    return made


def figures_by(
    run: Run, by: str, weights: Weights | None = None, *, largest: int = 20, smallest: int = SMALLEST_GROUP
) -> list[Figure]:
    """Every figure that the headline rule has, for each group of domains, the largest groups first.

    Groups of fewer than `smallest` domains are one, so that no figure is about a few named hosts.  Within a group the main figures come first, then the others in the order of the registry.
    """
    view = DOMAINS if weights is None else MESSAGES
    chosen = [one for one in REGISTRY.values() if view in one.views(weighted=weights is not None)]
    chosen.sort(key=lambda one: list(MAIN).index(one.name) if one.name in MAIN else len(MAIN))
    frame = counted(run, view, by=by, largest=largest, smallest=smallest)
    sizes = frame.groupby("group")["weight"].sum().round(6)
    order = sorted(sizes.index, key=lambda group: (group.startswith("("), -sizes[group], group))
    of_group = dict(iter(frame.groupby("group")))
    grouping = f"{by},{smallest}"
    return [
        _figure(run, one, view, one.compute(of_group[group]), weights, group, grouping=grouping)
        for group in order
        for one in chosen
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
    listing: ListedDomains | None = None,
    grouping: str = "",
) -> Figure:
    """Sign a value: whatever could make the number another number is in the signature, as sacrebleu does."""
    if isinstance(value, Share):
        counts = {name: plain(getattr(value, name)) for name in ("all", "yes", "no", "unknown", "inferred")}
    else:
        counts = {"all": plain(value.total), "unknown": plain(value.unknown)}
    recipe = {
        "run": run.id,
        "list": run.list_hash[:12],
        "limit": "" if run.limit is None else str(run.limit),
        "state": run.stored.state,
        "protocol": run.protocol,
        "rejudged": run.judged_by,
        "unit": view.unit,
        "rule": view.rule,
        "by": grouping,
        "group": group or "",
        "weights": weights.sha256[:12] if weights is not None and view.unit == "messages" else "",
        "policy_list": listing.sha256[:12] if listing is not None else "",
        **counts,
        "measured": run.version,
        "counted": __version__,
    }
    signature = "|".join([one.name, *(f"{name}:{value}" for name, value in recipe.items() if value)])
    return Figure(one, view, value, signature, group)
