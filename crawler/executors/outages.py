"""Signs that it is not the targets that are gone, but our own network.

Pure: what is seen is told to it, with the time.  A list may well have many dead hosts.  So a row of failures alone decides
nothing: it is a reason to ask again some that answered in this run (`lookout`), and only when they are gone too is it an outage.
"""

from __future__ import annotations

from collections import deque

from crawler.executors.witnesses import provider_of
from crawler.model.rows import Endpoint, Outcome, Probe, Stage
from crawler.politeness.pacing import network_of
from crawler.settings.config import Watch

#: How a connection fails that never stood.
GONE = frozenset({Outcome.CONNECTION_REFUSED, Outcome.TIMEOUT, Outcome.UNREACHABLE})
#: Endpoints that were not contacted.
NOT_CONTACTED = frozenset(
    {
        Outcome.ADDRESS_NOT_ALLOWED,
        Outcome.OPTED_OUT,
        Outcome.SAMPLED_OUT,
        Outcome.OVER_BUDGET,
        Outcome.NOT_RUN,
        Outcome.GAVE_UP,
    }
)

_LONGEST_PATIENCE = 8
"""Windows of connections between two alarms, when those before were in vain."""


class FailureWindow:
    """The last connections of a process, in how many networks they failed, and how many listed domains these failures stand for.

    One listed domain can name hosts in any number of networks and registrable domains, but all of them together have
    its weight. After an alarm it begins anew with `calm`. After an alarm in vain it waits for twice as many
    connections, up to a limit. So a list of many dead hosts has the witnesses asked a few times, and not again and
    again.
    """

    def __init__(self, settings: Watch) -> None:
        self._settings = settings
        self._patience = 1  # windows of connections before the next alarm
        self._since = 0  # connections since the last
        self._recent: deque[tuple[bytes, Endpoint, bool]] = deque(maxlen=settings.connections)
        self.last_answer: float | None = None  #: when the last connection that stood was made

    def note(self, endpoint: Endpoint, probe: Probe, now: float) -> bool:
        """A connection was tried; whether that is an alarm."""
        if probe.outcome in NOT_CONTACTED:
            return False
        failed = is_gone(probe)
        if not failed:
            made = now if probe.started_at is None else probe.started_at.timestamp() + (probe.connect_ms or 0) / 1_000
            self.last_answer = max(made, self.last_answer or 0.0)
        self._recent.append((network_of(endpoint.address or ""), endpoint, failed))
        self._since += 1
        if not failed or self._since < self._patience * self._settings.connections:
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

    def calm(self, *, in_vain: bool = True) -> None:
        """Begin anew; `in_vain`: it was the targets."""
        self._recent.clear()
        self._since = 0
        self._patience = min(2 * self._patience, _LONGEST_PATIENCE) if in_vain else 1


def is_gone(probe: Probe) -> bool:
    """Whether a connection never stood, whatever the reason: a fault on our side is no answer either."""
    return probe.stage in (None, Stage.CONNECT)
