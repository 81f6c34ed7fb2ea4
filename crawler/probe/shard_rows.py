"""What a shard of PROBE has come to, and where its rows go.

This module contacts nobody.  A certificate goes out once, as far as its provider's budget of bytes allows. Beyond the
budget a row without the certificate goes out, which another provider's evidence may still complete.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from typing import Any

import anyio

from crawler.certificates.parsing import ParsedCertificate
from crawler.model.names import suffixes
from crawler.model.row_weights import WEIGHTS
from crawler.model.rows import Certificate, Endpoint, Form, Outcome, Probe, Stage
from crawler.politeness.budgets import StoredBudget
from crawler.politeness.exclusions import Exclusions
from crawler.politeness.network_time import NetworkTime
from crawler.politeness.pacing import NetworkShare
from crawler.probe.sampling import Candidate, representative_of

Emit = Callable[[Any], None]
Place = tuple[str | None, Form, int | None, str | None]  #: protocol, its form, port and address
InDomains = dict[str, dict[str, float]]  #: protocol -> outcome -> listed domains, each divided among its endpoints
EndpointKey = tuple[Place, str | None]  #: and the host asked for

_ROWS_IN_ONE_GO = 500  # rows made without a connection before the event loop gets its turn


class ProbedShard:
    """The endpoints of a shard that have their row, and what is known of the others."""

    def __init__(self, emit: Emit, lot: NetworkShare | None, networks: NetworkTime, stored: StoredBudget) -> None:
        self.emit = emit
        self.lot = lot
        self.networks = networks
        self.expected = 0  #: endpoints of the shard
        self.done: set[EndpointKey] = set()  #: endpoints that have their row, as they were probed or were to be
        self.probed: dict[Place, list[Candidate]] = {}  #: in their order
        self.given_up: dict[Place, Outcome] = {}  #: why at an address nobody was probed
        self.parts: dict[str, float] = {}  #: of the endpoints of each provider, those of this shard
        self.stored = stored
        self.in_domains: InDomains = {}  #: by protocol and outcome: listed domains that endpoints stand for
        self._whole: set[str | None] = set()
        self._cut: set[str | None] = set()

    def finish(self, probe: Probe, endpoint: Endpoint, provider: str) -> None:
        """The endpoint's one row; what is stapled to it is within the provider's budget of bytes."""
        self.done.add(key_of(probe))
        outcomes, outcome = self.in_domains.setdefault(endpoint.protocol or "", {}), probe.outcome or ""
        outcomes[outcome] = outcomes.get(outcome, 0.0) + (endpoint.share or 0.0)
        if probe.ocsp_staple and not self.stored.afford(provider, len(probe.ocsp_staple)):
            probe.ocsp_staple = None
        self.emit(probe)

    def store(self, chain: Iterable[ParsedCertificate], provider: str) -> None:
        """The certificates of an attempt, at once: held until the last, those of a shard could fill the memory."""
        for row in (known.row for known in chain):
            if row.sha256 in self._whole:
                continue
            if self.stored.afford(provider, WEIGHTS[Certificate](row)):
                self._whole.add(row.sha256)
                self.emit(row)
            elif row.sha256 not in self._cut:
                self._cut.add(row.sha256)
                self.emit(without_text(row))

    def give_up(self, endpoint: Endpoint, before: Probe | None, outcome: Outcome, provider: str) -> None:
        """Leave an endpoint with what was found before; with nothing, the outcome says why."""
        self.given_up.setdefault(place_of(endpoint), outcome)
        self.finish(before or unprobed(endpoint, outcome), endpoint, provider)

    async def finish_others(self, endpoints: Iterable[Endpoint], exclusions: Exclusions) -> None:
        """The rows of all that were not probed, each with the reason."""
        async for endpoint in in_turns(endpoints):
            if key_of(endpoint) in self.done:
                continue
            host = endpoint.host or ""
            place = place_of(endpoint)
            if exclusions.endpoint(endpoint):
                self.emit(unprobed(endpoint, Outcome.OPTED_OUT))
            elif endpoint.over_budget:
                self.emit(unprobed(endpoint, Outcome.OVER_BUDGET))
            elif probed := self.probed.get(place):
                provider = suffixes(host)[0] or host
                chosen = representative_of(provider, probed)
                row = unprobed(endpoint, Outcome.SAMPLED_OUT)
                row.representative_host = chosen.endpoint.host
                row.representative_related = chosen.provider == provider
                self.emit(row)
            else:
                self.emit(unprobed(endpoint, self.given_up.get(place, Outcome.NOT_RUN)))


def without_text(row: Certificate) -> Certificate:
    """The row of a certificate beyond the budget: nothing of any length that its maker chose."""
    return replace(
        row, over_budget=True, der=None, names=None, names_dropped=None, parse_error=None,
        subject=None, issuer=None, issuer_organization=None, common_name=None,
    )  # fmt: skip


class AddressLife:
    """Whether an address is worth another port, by what its ports did so far.

    One that cannot be reached at all is not.  One whose ports are silent is not after some of them, unless another port
    took a connection or refused it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._silent: set[int | None] = set()
        self._is_alive = False
        self._is_unreachable = False

    @property
    def is_gone(self) -> bool:
        """Whether another port would be asked in vain."""
        return not self._is_alive and (self._is_unreachable or len(self._silent) >= self._most)

    def note(self, probe: Probe) -> None:
        """One more attempt at the address."""
        if is_dead(probe):
            self._silent.add(probe.port)
            self._is_unreachable = self._is_unreachable or probe.outcome is Outcome.UNREACHABLE
        elif probe.stage is not None:
            self._is_alive = True


def is_dead(probe: Probe) -> bool:
    """Whether an address took no connection on a port, and did not refuse it either."""
    return probe.stage is Stage.CONNECT and probe.outcome in (Outcome.TIMEOUT, Outcome.UNREACHABLE)


def is_deaf(probe: Probe) -> bool:
    """Whether an address did not answer at all on a port, so that it is not asked there under another name."""
    is_mute = probe.stage is Stage.GREETING and probe.tls_version is None and probe.outcome is Outcome.TIMEOUT
    return is_dead(probe) or is_mute


def place_of(row: Endpoint | Probe) -> Place:
    """Where an endpoint is: what its names at one address share."""
    return row.protocol, row.form or Form.STARTTLS, row.port, row.address


def key_of(row: Endpoint | Probe) -> EndpointKey:
    """What tells the endpoints of a shard apart."""
    return place_of(row), row.host


def unprobed(endpoint: Endpoint, outcome: Outcome) -> Probe:
    """The row of an endpoint that was not contacted."""
    return Probe(
        protocol=endpoint.protocol, form=endpoint.form or Form.STARTTLS, host=endpoint.host,
        address=endpoint.address, port=endpoint.port, found_by=endpoint.found_by, reference_names=endpoint.reference_names,
        outcome=outcome, conclusive=False,
    )  # fmt: skip


async def in_turns(endpoints: Iterable[Endpoint]) -> AsyncIterator[Endpoint]:
    """The endpoints, however many, with turns for the rest of the event loop between them."""
    for number, endpoint in enumerate(endpoints):
        if number % _ROWS_IN_ONE_GO == 0:
            await anyio.lowlevel.checkpoint()
        yield endpoint
