"""Signs that it is not the targets that are gone, but our own network, and that a finished run cannot be right.

Pure: what is seen is told to it, with the time.  A list may well have many dead hosts.  So a row of failures alone decides
nothing: it is a reason to ask again some that answered in this run (`lookout`), and only when they are gone too is it an outage.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

from crawler.executors.witnesses import provider_of
from crawler.model.rows import Endpoint, Outcome, Probe, Stage
from crawler.politeness.pacing import network_of
from crawler.settings.config import Watch

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


class FailureWindow:
    """The last connections of a process, in how many networks they failed, and how many listed domains these failures stand for.

    One listed domain can name hosts in any number of networks and registrable domains, but all of them together have its weight.
    A window of failures alarms once; it begins anew when somebody answers, or after `calm`.
    """

    def __init__(self, settings: Watch) -> None:
        self._settings = settings
        self._recent: deque[tuple[bytes, Endpoint, bool]] = deque(maxlen=settings.connections)
        self.last_answer: float | None = None  #: when the last connection that stood was made

    def note(self, endpoint: Endpoint, probe: Probe, now: float) -> bool:
        """A connection was tried; whether that is an alarm."""
        if probe.outcome in _NOT_CONTACTED:
            return False
        failed = is_gone(probe)
        if not failed:
            made = now if probe.started_at is None else probe.started_at.timestamp() + (probe.connect_ms or 0) / 1_000
            self.last_answer = max(made, self.last_answer or 0.0)
        self._recent.append((network_of(endpoint.address or ""), endpoint, failed))
        if not failed or len(self._recent) < self._settings.connections:
            return False
        failures = {network for network, _, is_failure in self._recent if is_failure}
        successes = sum(not is_failure for _, _, is_failure in self._recent)
        return (
            len(failures) >= self._settings.networks
            and successes <= self._settings.answering * len(self._recent)
            and self._domains() >= self._settings.failing_domains * len(self._recent)
        )

    def _domains(self) -> float:
        """Listed domains that the failures stand for: the weight of each host, and at most one for each provider."""
        weights: dict[str, dict[str | None, float]] = {}
        for _, endpoint, is_failure in self._recent:
            if is_failure:
                weights.setdefault(provider_of(endpoint), {})[endpoint.host] = endpoint.weight or 0.0
        return sum(min(1.0, sum(hosts.values())) for hosts in weights.values())

    def calm(self) -> None:
        """It was the targets: begin anew."""
        self._recent.clear()


def is_gone(probe: Probe) -> bool:
    """Whether a connection never stood."""
    return probe.stage is Stage.CONNECT and probe.outcome in _GONE


def suspicions(counts: Mapping[str, Any], settings: Watch) -> list[str]:
    """Why the counts of a finished run are implausible, in words; empty if they are not."""
    found = []
    if stand := sum(outage.get("stand") or 0 for outage in counts.get("outages") or ()):
        found.append(
            f"what {stand:,} shards found in outages stands, as they were done again {settings.withdrawals} times before"
        )
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
