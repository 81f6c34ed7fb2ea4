"""Which hosts a domain names for a service: SRV answers to hosts and ports.

This module is pure; the answers are given.  RFC 2782 (SRV), RFC 6186 and RFC 8314 (mail clients).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from crawler.dns.client import Answer
from crawler.model.rows import LookupStatus, SrvStatus
from crawler.model.vocabulary import ABSENT


class Place(NamedTuple):
    """A host and port that offer a service, in the order in which they are to be tried."""

    priority: int
    weight: int
    host: str
    port: int


class Named(NamedTuple):
    """What the SRV records of a service say."""

    status: SrvStatus
    places: list[Place]
    dropped: int = 0  #: records left out


def by_srv(records: Iterable[tuple[int, int, int, str]], most: int) -> Named:
    """What SRV records (priority, weight, port, target) name, `most` places at most; at least one record is needed.

    A place named twice counts once, where it comes first.  Port 0 is no port.  The target `.` says that the service is
    not available, where it stands alone; hosts beside it are named all the same, as beside a null MX.
    """
    first: dict[tuple[str, int], Place] = {}
    portless = 0
    for priority, weight, port, target in records:
        host = target.lower()
        if host == ".":
            continue
        if not port:
            portless += 1
            continue
        place = Place(priority, weight, host, port)
        known = first.setdefault((host, port), place)
        if _order(place) < _order(known):
            first[host, port] = place
    ordered = sorted(first.values(), key=_order)
    if not ordered and not portless:
        return Named(SrvStatus.NOT_AVAILABLE, [])
    return Named(SrvStatus.NAMED, ordered[:most], portless + max(0, len(ordered) - most))


def named_by(answer: Answer, most: int) -> Named:
    """What an answer says of a service, whatever became of the question."""
    if answer.status is LookupStatus.OK:
        found = by_srv(answer.records, most)
        if found.status is SrvStatus.NOT_AVAILABLE and answer.malformed:  # what cannot be read may name a host
            return Named(SrvStatus.LOOKUP_FAILED, [], answer.malformed)
        return found._replace(dropped=found.dropped + answer.malformed)
    if answer.status in ABSENT:
        return Named(SrvStatus.ABSENT, [])
    return Named(SrvStatus.BOGUS if answer.status is LookupStatus.BOGUS else SrvStatus.LOOKUP_FAILED, [])


def _order(place: Place) -> tuple[int, int, str, int]:
    """The heavier of two of one priority is the likelier to be tried first (RFC 2782)."""
    return place.priority, -place.weight, place.host, place.port
