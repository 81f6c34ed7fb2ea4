"""Signs that it is not the targets that are gone, but our own network, and that a finished run cannot be right.

Pure: what is seen is told to it, with the time.  A list may well have many dead hosts.  So a row of failures alone decides
nothing: it is a reason to ask again those that answered in this run, and only when they are gone too is it an outage.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from typing import Any

from crawler.config import Watch
from crawler.declared_limits import limit
from crawler.pacing import network_of
from crawler.records import Endpoint, Outcome, Probe, Stage

#: How a connection fails that never stood.
_GONE = frozenset({Outcome.CONNECTION_REFUSED, Outcome.TIMEOUT, Outcome.UNREACHABLE})
#: Endpoints that were not contacted.
_NOT_CONTACTED = frozenset(
    {
        Outcome.ADDRESS_NOT_ALLOWED,
        Outcome.OPTED_OUT,
        Outcome.SAMPLED_OUT,
        Outcome.OVER_BUDGET,
        Outcome.NOT_RUN,
        Outcome.GAVE_UP,
    }
)
_ANSWERED_KEPT = limit(
    64,
    "endpoints remembered by a process because they answered",
    protects="our memory",
    cut="the oldest are forgotten, which changes no finding",
)


class FailureWindow:
    """The last connections of a process, in how many networks they failed, and who answered.

    A window of failures alarms once; it begins anew when somebody answers, or after `calm`.
    """

    def __init__(self, settings: Watch) -> None:
        self._settings = settings
        self._recent: deque[tuple[bytes, bool]] = deque(maxlen=settings.connections)
        self._answered: OrderedDict[bytes, Endpoint] = OrderedDict()  # by network, those that answered last behind
        self.last_answer: float | None = None  #: time of the last connection that stood

    def note(self, endpoint: Endpoint, probe: Probe, now: float) -> bool:
        """A connection was tried; whether that is an alarm."""
        if probe.outcome in _NOT_CONTACTED:
            return False
        network = network_of(endpoint.address or "")
        failed = probe.stage is Stage.CONNECT and probe.outcome in _GONE
        if not failed:
            self.last_answer = now
            self._answered[network] = endpoint
            self._answered.move_to_end(network)
            if len(self._answered) > _ANSWERED_KEPT:
                self._answered.popitem(last=False)
        self._recent.append((network, failed))
        if not failed or len(self._recent) < self._settings.connections:
            return False
        failures = {network for network, is_failure in self._recent if is_failure}
        successes = sum(not is_failure for _, is_failure in self._recent)
        return len(failures) >= self._settings.networks and successes <= self._settings.answering * len(self._recent)

    def to_ask(self) -> list[Endpoint]:
        """Endpoints of different networks that answered in this run, the latest first; each is given once."""
        found = list(reversed(self._answered.values()))[: self._settings.asked_again]
        for endpoint in found:
            del self._answered[network_of(endpoint.address or "")]
        return found

    def calm(self) -> None:
        """It was the targets: begin anew."""
        self._recent.clear()


def suspicions(counts: Mapping[str, Any], settings: Watch) -> list[str]:
    """Why the counts of a finished run are implausible, in words; empty if they are not."""
    found = []
    routes = Counter(counts.get("routes") or {})
    asked = sum(routes.values()) - routes["invalid"] - routes["opted_out"]
    if asked >= settings.least and routes["unknown"] > settings.implausible * asked:
        found.append(f"DNS failed for {routes['unknown']:,} of {asked:,} domains")
    hosts = Counter(counts.get("host_lookups") or {})
    failed = sum(hosts[word] for word in ("servfail", "refused", "timeout", "malformed", "bogus", "gave_up"))
    looked_up = sum(hosts.values()) - hosts["not_asked"]
    if looked_up >= settings.least and failed > settings.implausible * looked_up:
        found.append(f"DNS failed for {failed:,} of {looked_up:,} mail hosts")
    outcomes = Counter(counts.get("outcomes") or {})
    contacted = sum(outcomes.values()) - sum(outcomes[outcome] for outcome in _NOT_CONTACTED)
    gone = sum(outcomes[outcome] for outcome in _GONE)
    if contacted >= settings.least and gone > settings.implausible_connections * contacted:
        found.append(
            f"{gone:,} of {contacted:,} endpoints could not be reached or said nothing; is port 25 open from here?"
        )
    return found
