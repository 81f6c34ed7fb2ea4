"""Compute the registered figures of a run: count in SQL, hand each indicator its frame, sign the answer.

This module knows units, rules and groups; what a figure *means* stands in `analysis.figures.indicators`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from analysis.figures.grouping import SMALLEST_GROUP
from analysis.figures.indicators import REGISTRY, Indicator
from analysis.figures.policy_list import ListedDomains
from analysis.figures.shares import Distribution, Share, plain
from analysis.figures.units import DOMAINS, MESSAGES, View, counted_by
from analysis.figures.weights import Weights
from analysis.runs.facts import RunFacts
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
        return figure_id(self.indicator, self.view)

    @property
    def population(self) -> str:
        """The units that were asked."""
        return self.indicator.population or self.view.population


def figure_id(indicator: Indicator, view: View) -> str:
    """The id of a figure, which needs no counting."""
    return ".".join(part for part in (indicator.name, view.unit, view.rule) if part)


@dataclass(frozen=True, slots=True)
class ListFigures:
    """What was asked for with a policy list: the file, and its figures, which are part of no others."""

    listing: ListedDomains
    figures: list[Figure]


@dataclass(frozen=True, slots=True)
class Computed:
    """All that was counted of a run: what tables, charts and the site are made of."""

    run: RunFacts
    figures: list[Figure]
    weights: Weights | None = None
    listed: ListFigures | None = None
    groups: dict[str, list[Figure]] = field(
        default_factory=dict
    )  #: by what domains are divided -> the figures of each group
    smallest_group: int = SMALLEST_GROUP


def compute(
    run: Run,
    weights: Weights | None = None,
    listing: ListedDomains | None = None,
    *,
    by: Iterable[str] = (),
    largest: int = 20,
    smallest_group: int = SMALLEST_GROUP,
) -> Computed:
    """Every figure of a run once: the registered ones, those of groups `by` which domains are divided, those of a policy list."""
    groups = {one: figures_by(run, one, weights, largest=largest, smallest=smallest_group) for one in by}
    listed = None if listing is None else list_figures(run, listing)
    return Computed(run, figures(run, weights), weights, listed, groups, smallest_group)


def figures(run: Run, weights: Weights | None = None, only: Container[str] | None = None) -> list[Figure]:
    """Every registered figure, in the order of the registry, the headline view of each first.

    With `only`, those whose ids it has, and nothing else is counted.  Those about a policy list are not among them:
    `list_figures` has them.
    """
    return _computed(run, [one for one in REGISTRY.values() if not one.on_request], weights, only=only)


def list_figures(run: Run, listing: ListedDomains) -> ListFigures:
    """The figures about the policy list that was loaded into the run."""
    return ListFigures(listing, _computed(run, [one for one in REGISTRY.values() if one.on_request], None, listing))


def _computed(
    run: Run,
    indicators: list[Indicator],
    weights: Weights | None,
    listing: ListedDomains | None = None,
    only: Container[str] | None = None,
) -> list[Figure]:
    frames = {}
    made = []
    for one in indicators:
        for view in one.views(weighted=weights is not None):
            if only is not None and figure_id(one, view) not in only:
                continue
            if view not in frames:
                frames[view] = view.count(run)
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
    frame = counted_by(run, view, by, largest=largest, smallest=smallest)
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
