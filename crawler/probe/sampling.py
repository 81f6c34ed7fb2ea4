"""Which names at one address are probed when it has more than may be.

Whoever runs a domain can point any number of names at an address of somebody else.  So no order that a name can choose
decides. Registrable domains take turns. Those to which more listed domains send mail come first, and chance decides
between equals. Once the host has shown a certificate, the names of its registrable domains have every second turn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import zip_longest
from typing import TypeVar

from crawler.certificates.parsing import ParsedCertificate
from crawler.model.names import InvalidName, a_label, suffixes
from crawler.model.rows import Endpoint, Probe
from crawler.settings.declared_limits import limit

NAMES_LOOKED_AT = limit(
    100,
    "names of a leaf whose registrable domains are compared to find its owner",
    protects="our processor time",
    cut="the names behind them are not looked at, which changes only the choice of names that are probed at an address",
)
"""Names of a leaf that are asked for their registrable domain; a certificate with more is no single owner's."""

_GREETED = re.compile(r"[0-9]{3}[ -](\S{1,253})").match


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Candidate:
    """An endpoint that may be probed."""

    endpoint: Endpoint
    provider: str  #: registrable domain of the host


class Candidates:
    """The best names at one address, of however many there are."""

    __slots__ = ("_kept", "_most", "heaviest")

    def __init__(self, most: int) -> None:
        self._most = most
        self.heaviest = 0.0  #: weight of the heaviest of them
        self._kept: list[Candidate] = []

    def add(self, candidate: Candidate) -> None:
        """One more name; with too many of them the worst are forgotten."""
        self._kept.append(candidate)
        self.heaviest = max(self.heaviest, candidate.endpoint.weight or 0.0)
        if len(self._kept) > 2 * self._most:
            self._kept = fair_order(self._kept)[: self._most]

    def best(self) -> list[Candidate]:
        """Those to be probed, in this order, as long as there is room."""
        return fair_order(self._kept)[: self._most] if len(self._kept) > 1 else self._kept


def fair_order(candidates: Iterable[Candidate]) -> list[Candidate]:
    """One name of each registrable domain, then a second of each, and so on; the domains by the mail that they take."""
    groups: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault(candidate.provider, []).append(candidate)
    by_mail = sorted(groups.values(), key=lambda group: min((-_weight_of(group), _chance(one)) for one in group))
    turns = [
        (turn, place, candidate)
        for place, group in enumerate(by_mail)
        for turn, candidate in enumerate(sorted(group, key=lambda one: (-(one.endpoint.weight or 0.0), _chance(one))))
    ]
    return [candidate for _, _, candidate in sorted(turns, key=lambda entry: entry[:2])]


def _weight_of(group: list[Candidate]) -> float:
    return sum(candidate.endpoint.weight or 0.0 for candidate in group)


def _chance(candidate: Candidate) -> float:
    return candidate.endpoint.chance or 0.0


def owners(probe: Probe, chain: list[ParsedCertificate]) -> set[str]:
    """The registrable domains that an address shows as its own: those of its certificate and of its greeting.

    A host could name others there; it would speak for them at its own address alone.
    """
    names = list((chain[0].row.names or ())[:NAMES_LOOKED_AT]) if chain else []
    if greeted := _GREETED(probe.greeting or ""):
        names.append(greeted[1])
    found = set()
    for name in names:
        try:
            found.add(suffixes(a_label(name.removeprefix("*.")))[0] or "")
        except InvalidName:
            continue
    return found - {""}


def in_turns_with(own: set[str], waiting: Iterable[T], provider_of: Callable[[T], str]) -> list[T]:
    """Names of the owners of an address and those of others in turns, an owner's first; each side in its order.

    The owners' names alone first would let a tenant of a host that has a certificate for each of its tenants push out
    all others, as the host shows the certificate of whom it is asked for.
    """
    sides: tuple[list[T], list[T]] = [], []
    for item in waiting:
        sides[provider_of(item) not in own].append(item)
    return [item for pair in zip_longest(*sides, fillvalue=None) for item in pair if item is not None]


def representative_of(provider: str, probed: list[Candidate]) -> Candidate:
    """The probed name that stands for another at the same address: one of its registrable domain, else the first."""
    return next((one for one in probed if one.provider == provider), probed[0])
