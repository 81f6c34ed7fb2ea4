"""Whether the counts of a finished run can be right.

This module reads counts alone.  Shares are taken of the listed domains that mail hosts and endpoints stand for: each
domain is divided among what it names, so one domain decides nothing, however many hosts it names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from crawler.executors.outages import GONE, NOT_CONTACTED
from crawler.model.rows import LookupStatus, Outcome
from crawler.model.vocabulary import FAILED
from crawler.protocols.registry import protocol
from crawler.settings.config import Watch


class _Part(NamedTuple):
    """Some of the rows that were asked for something."""

    some: int
    all: int
    share: float  #: of the listed domains that all of them stand for, as far as that is known; else of the rows

    def __str__(self) -> str:
        return f"{self.some:,} of {self.all:,}"


def suspicions(counts: Mapping[str, Any], settings: Watch) -> list[str]:
    """Why the counts of a finished run are implausible, in words; empty if they are not.

    `counts` are those of the manifest, with its entries `outages` and `host_lookups_in_domains`.
    """
    return [*_outages(counts, settings), *_names(counts, settings), *_connections(counts, settings)]


def _outages(counts: Mapping[str, Any], settings: Watch) -> Iterator[str]:
    if stand := sum(outage.get("stand") or 0 for outage in counts.get("outages") or ()):
        yield f"what {stand:,} shards found in outages stands, as they were done again {settings.withdrawals} times before"


def _names(counts: Mapping[str, Any], settings: Watch) -> Iterator[str]:
    routes = Counter(counts.get("routes") or {})
    asked = sum(routes.values()) - routes["invalid"] - routes["opted_out"]
    if asked >= settings.least and routes["unknown"] > settings.implausible * asked:
        yield f"DNS failed for {routes['unknown']:,} of {asked:,} domains"
    in_domains = counts.get("host_lookups_in_domains") or {}
    failed = _part(counts.get("host_lookups") or {}, in_domains, FAILED, {LookupStatus.NOT_ASKED})
    if failed.all >= settings.least and failed.share > settings.implausible:
        yield f"DNS failed for {failed} mail hosts"


def _connections(counts: Mapping[str, Any], settings: Watch) -> Iterator[str]:
    outcomes = counts.get("outcomes") or {}
    by_protocol = counts.get("outcomes_in_domains") or {}
    everywhere: Counter[str] = Counter()
    promised: Counter[str] = Counter()
    for name, in_domains in by_protocol.items():
        everywhere.update(in_domains)
        if protocol(name).by_mx:
            promised.update(in_domains)
    faults = _part(outcomes, everywhere, {Outcome.INTERNAL_ERROR}, NOT_CONTACTED)
    if faults.all >= settings.least and faults.share > settings.implausible_faults:
        yield f"{faults} endpoints were not measured for a fault on our side (`internal_error`); the log says which"
    # Mail hosts that an MX record names speak SMTP; nobody said that they speak IMAP as well.
    gone = _part(outcomes, promised, GONE, NOT_CONTACTED)
    if by_protocol and not promised:
        gone = _part(outcomes, everywhere, GONE, NOT_CONTACTED)
        is_suspect = gone.some == gone.all
    else:
        is_suspect = gone.share > settings.implausible_connections
    if gone.all >= settings.least and is_suspect:
        yield f"{gone} endpoints could not be reached or said nothing; {_advice(promised, by_protocol)}"


def _advice(promised: Mapping[str, float], by_protocol: Mapping[str, object]) -> str:
    return "is port 25 open from here?" if promised or not by_protocol else "are these ports open from here?"


def _part(
    counts: Mapping[str, int], in_domains: Mapping[str, float], words: Collection[str], apart: Collection[str]
) -> _Part:
    """Those whose word is one of `words`, of all whose word is not `apart`."""
    some, every = _sums(counts, words, apart)
    some_domains, every_domain = _sums(in_domains, words, apart)
    if every_domain > 0:
        return _Part(int(some), int(every), some_domains / every_domain)
    return _Part(int(some), int(every), some / every if every else 0.0)


def _sums(counts: Mapping[str, float], words: Collection[str], apart: Collection[str]) -> tuple[float, float]:
    every = {word: count for word, count in counts.items() if word not in apart}
    return sum(count for word, count in every.items() if word in words), sum(every.values())
