"""The use case PROBE: endpoints in, one `Probe` row for each out, kindly paced.

Every endpoint gets exactly one row, whatever happens.  An endpoint whose outcome may pass (421, 454, time-out, reset
…) is tried again late, and every attempt is on record. If the outcome persists, the row stays not conclusive.  A
handshake that fails is tried once more with classical groups only, for it may have been the size of our post-quantum
hello.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel

from crawler.model.names import suffixes
from crawler.model.rows import Endpoint, Outcome, Probe, Stage
from crawler.politeness.budgets import EffortBudget, StoredBudget, TimeBudget
from crawler.politeness.network_time import NetworkTime
from crawler.politeness.opt_out_file import OptOuts
from crawler.politeness.pacing import AddressQueues, ConcurrencyLimits, NetworkShare, RateLimit, network_of
from crawler.probe.attempt import HELLO_MAY_BE_TOO_LARGE, Attempts, Finding
from crawler.probe.sampling import Candidate, Candidates, in_turns_with, owners
from crawler.probe.shard_rows import (
    AddressLife,
    Emit,
    InDomains,
    Place,
    ProbedShard,
    in_turns,
    is_dead,
    is_deaf,
    place_of,
    unprobed,
)
from crawler.settings.config import Config
from crawler.settings.declared_limits import limit
from crawler.tls.handshake import Offer
from crawler.tls.refusals import DHE_REFUSED, DHE_TOO_LARGE, NO_ALPN

log = logging.getLogger(__name__)

Heard = Callable[[Endpoint, Probe], None]

_PASSING = frozenset({Outcome.TIMEOUT, Outcome.CLOSED, Outcome.RESET})
_STARTED_IN_ONE_GO = 20  # connections begun in one turn of the event loop; each takes about half a millisecond
#: names kept of an address for each that may be probed: strangers in front must not hide its owner
_CANDIDATES = limit(
    4,
    "names of an address kept for each that may be probed",
    protects="our memory",
    cut="the others are `sampled_out`, as most are",
)


@dataclass(slots=True)
class _Pending:
    """An endpoint that will be tried."""

    candidate: Candidate
    network: bytes  #: /24 or /48 of the address
    before: Probe | None = None  #: of the last attempt, whose certificates are stored already
    offer: Offer = Offer.MODERN
    offer_alpn: bool = True
    life: AddressLife | None = None  #: what the address did in the passes before

    endpoint: Endpoint = field(init=False)
    provider: str = field(init=False)  #: registrable domain of the host

    def __post_init__(self) -> None:
        self.endpoint, self.provider = self.candidate.endpoint, self.candidate.provider


class Prober:
    """PROBE for one process.

    Raises `ConfigError` when the trust anchors or the opt-outs cannot be read.
    """

    def __init__(
        self, config: Config, processes: int = 1, heard: Heard | None = None, opt_outs: OptOuts | None = None
    ) -> None:
        """`processes` share the limits that hold for the whole run; `heard` is told of every attempt.

        `opt_outs` are those that were read already.
        """
        self._heard = heard
        self._config = config
        self._usual_ports = frozenset(config.port_of(service.name) for service in config.all_services())
        self._budget = RateLimit(config.pacing, processes)
        self._room = ConcurrencyLimits(config.pacing, processes)
        self._providers = TimeBudget(config.pacing, processes)
        self._efforts = EffortBudget(config.limits, config.pacing)
        self._attempts = Attempts(config, self._budget, opt_outs)
        self.exclusions, self.trust = self._attempts.exclusions, self._attempts.trust
        self.probe_one = self._attempts.once

    async def probe_endpoints(
        self, endpoints: Iterable[Endpoint], emit: Emit, lot: NetworkShare | None = None
    ) -> InDomains:
        """Probe the endpoints of one shard; several shards may run at once and share the budget.

        Returns how many listed domains the probed endpoints stand for.  `endpoints` are gone through twice, so that it
        need not be known at once who at an address is not probed.
        """
        if iter(endpoints) is endpoints:
            raise TypeError("endpoints that can be gone through once only")
        stored = StoredBudget(self._config.limits, self._config.pacing)
        shard = ProbedShard(emit, lot, NetworkTime(self._config.pacing, lot.shards if lot else 1), stored)
        try:
            pending = await self._chosen(endpoints, shard)
            for number in range(1, self._config.pacing.attempts + 1):
                last = number == self._config.pacing.attempts
                if number > 1:
                    await anyio.sleep(self._config.pacing.retry_delay)
                pending = await self._pass(pending, shard, last)
                if not pending:
                    break
        finally:
            self._providers.forget(shard.parts)
        if len(shard.done) < shard.expected:
            await shard.finish_others(endpoints, self.exclusions)
        return shard.in_domains

    async def _chosen(self, endpoints: Iterable[Endpoint], shard: ProbedShard) -> list[_Pending]:
        """The endpoints that may be probed: at each address the best, and more than will be, as it may show who owns it."""
        most = _CANDIDATES * self._config.pacing.names_per_address
        at: dict[Place, Candidates] = {}
        rrsets: dict[tuple[str | None, int | None], Any] = {}  # TLSA of each host, held once for all its addresses
        async for endpoint in in_turns(endpoints):
            shard.expected += 1
            if endpoint.tlsa:
                endpoint.tlsa = rrsets.setdefault((endpoint.host, endpoint.port), endpoint.tlsa)
            host = endpoint.host or ""
            if not endpoint.over_budget and not self.exclusions.endpoint(endpoint):
                names = at.setdefault(place_of(endpoint), Candidates(most))
                names.add(Candidate(endpoint, suffixes(host)[0] or host))
        pending = [
            _Pending(candidate, network_of(candidate.endpoint.address or ""))
            for _, names in sorted(at.items(), key=self._usual_first)
            for candidate in names.best()
        ]
        self._allow(pending, shard)
        return pending

    def _usual_first(self, place: tuple[Place, Candidates]) -> tuple[bool, float]:
        """No name of the list may push the ports of the protocols out of those that are tried at an address."""
        (_, _, port, _), names = place
        return port not in self._usual_ports, -names.heaviest

    async def _pass(self, pending: list[_Pending], shard: ProbedShard, last: bool) -> list[_Pending]:
        """Try every pending endpoint once; returns those to be tried again."""
        items = ((item.endpoint.address or "", item.provider, item) for item in pending)
        lanes = AddressQueues(items, self._room, shard.lot, shard.networks.is_spent)
        again: list[_Pending] = []

        async def take() -> None:
            while (lane := await lanes.take()) is not None:
                try:
                    async with self._budget.slots:
                        again.extend(await self._lane(lane.items, shard, last))
                finally:
                    lanes.done(lane)

        # A fixed set of takers: a task for each lane would cost more than the lane's own Python.
        try:
            async with anyio.create_task_group() as takers:
                for number in range(min(len(lanes), self._config.pacing.in_flight)):
                    if number % _STARTED_IN_ONE_GO == 0:
                        await anyio.lowlevel.checkpoint()
                    takers.start_soon(take)
        finally:
            lanes.close()
        return again

    async def _lane(self, lane: list[_Pending], shard: ProbedShard, last: bool) -> list[_Pending]:
        """Probe names and ports of one address one after the other, with a pause between them, and as many as may be.

        A port that does not answer is not asked again under its next name, an address that takes no connection not on
        its next port, and no address on more ports than `address_ports`.
        """
        again = []
        most = self._config.pacing.names_per_address
        spoken: Counter[Place] = Counter()
        silent: set[Place] = set()
        life = next((item.life for item in lane if item.life), None) or AddressLife(self._config.pacing.silent_ports)
        waiting = deque(lane)
        while waiting:
            item = waiting.popleft()
            endpoint = item.endpoint
            place = place_of(endpoint)
            if item.before is None and (life.is_gone or place in silent or spoken[place] >= most):
                continue  # its row comes with those of all others that were not probed
            if item.before is None and place not in spoken and len(spoken) >= self._config.pacing.address_ports:
                shard.given_up.setdefault(place, Outcome.OVER_BUDGET)
                continue
            if item.before is not None and is_dead(item.before) and spoken and life.is_gone:
                # One port was asked again, and it is as dead as before.
                shard.finish(item.before, endpoint, item.provider)
                continue
            if self.exclusions.endpoint(endpoint):  # since the pass began
                row = unprobed(endpoint, Outcome.OPTED_OUT)
                row.attempts = item.before.attempts if item.before else None
                shard.finish(row, endpoint, item.provider)
                continue
            if (reason := self._reason_to_stop(item, shard)) is not None:
                shard.give_up(item.endpoint, item.before, reason, item.provider)
                continue
            if spoken:
                await anyio.sleep(self._config.pacing.address_pause)
            spoken[place] += 1
            if item.before is None:
                shard.probed.setdefault(place, []).append(item.candidate)
            probe, chain = await self._attempt(item, shard)
            if self._heard is not None:
                self._heard(endpoint, probe)
            if probe.greeting_code is not None:
                self._room.note(item.provider, refused=probe.outcome is Outcome.REJECTED)
            life.note(probe)
            if is_deaf(probe):
                silent.add(place)
            if spoken[place] == 1 and len(waiting) >= most:
                waiting = _owners_first(owners(probe, chain), waiting, place)
            if not last and probe.tls_alert == NO_ALPN and item.offer_alpn:
                again.append(_Pending(item.candidate, item.network, probe, item.offer, offer_alpn=False, life=life))
            elif not last and (offer := self._second_try(probe, item)) is not None:
                again.append(_Pending(item.candidate, item.network, probe, offer, item.offer_alpn, life))
            else:
                shard.finish(probe, endpoint, item.provider)
            shard.store(chain, item.provider)
        return again

    def _reason_to_stop(self, item: _Pending, shard: ProbedShard) -> Outcome | None:
        """Why an endpoint is not connected to any more; None: it may be."""
        if self._room.given_up(item.provider):
            return Outcome.NOT_RUN
        if self._providers.is_spent(item.provider) or not shard.networks.may_begin(item.network, item.provider):
            return Outcome.OVER_BUDGET
        return None

    def _allow(self, pending: Iterable[_Pending], shard: ProbedShard) -> None:
        """Give networks and providers the time and bytes due to them."""
        for item in pending:
            weight, chance = item.endpoint.network_weight or 0.0, item.endpoint.chance or 0.0
            shard.networks.allow(item.network, item.provider, weight, chance)
        here = Counter(item.provider for item in pending)
        for provider, endpoint in {item.provider: item.endpoint for item in pending}.items():
            weight = 1.0 if endpoint.provider_weight is None else endpoint.provider_weight
            everywhere = endpoint.provider_endpoints or here[provider]
            part = here[provider] / everywhere
            shard.parts[provider] = part
            self._providers.allow(provider, weight)
            shard.stored.allow(provider, weight, part)

    async def _attempt(self, item: _Pending, shard: ProbedShard) -> Finding:
        """One more attempt; the row holds all of them."""

        def took(seconds: float) -> None:
            shard.networks.take(item.network, item.provider, seconds)
            self._providers.take(item.provider, seconds)

        afford = partial(self._efforts.may_spend, item.endpoint)
        try:
            if item.offer is Offer.CLASSICAL:
                probe, chain = await self._attempts.compared(
                    item.endpoint, self._config.pacing.address_pause, took, afford, offer_alpn=item.offer_alpn
                )
            else:
                probe, chain = await self._attempts.once(
                    item.endpoint, took, offer=item.offer, afford=afford, offer_alpn=item.offer_alpn
                )
        except Exception:  # our bug: it goes into the log, and never costs another endpoint
            log.exception("probing %s at %s failed", item.endpoint.host, item.endpoint.address)
            probe, chain = unprobed(item.endpoint, Outcome.INTERNAL_ERROR), []
        if probe.tls_version is not None and self._config.post_quantum and item.offer is not Offer.CLASSICAL:
            probe.pq_intolerant = False
        if item.before is not None:
            attempts = (item.before.attempts or []) + (probe.attempts or [])
            if item.offer is Offer.WITHOUT_DHE and not probe.negotiated:
                probe = item.before  # what the host does with DHE is what is not known; this is no answer to it
            probe.attempts = attempts
        return probe, chain

    def _second_try(self, probe: Probe, item: _Pending) -> Offer | None:
        """What to offer in another try.  None: leave it.

        Permanent refusals (5yz) and refused connections are left; our own limits and faults too.
        """
        outcome = probe.outcome
        if probe.stage is Stage.HANDSHAKE and probe.tls_reason in (*DHE_REFUSED, DHE_TOO_LARGE):
            return None if item.offer is Offer.WITHOUT_DHE else Offer.WITHOUT_DHE
        if probe.stage is Stage.HANDSHAKE and outcome in HELLO_MAY_BE_TOO_LARGE:
            if self._config.post_quantum:
                return Offer.CLASSICAL
            return Offer.MODERN if outcome in _PASSING else None
        if outcome in _PASSING or outcome is Outcome.UNREACHABLE:
            return item.offer
        code = (probe.attempts or [{}])[-1].get("reply_code")
        is_for_now = not probe.conclusive if code is None else 400 <= code < 500
        return item.offer if outcome in (Outcome.REJECTED, Outcome.UPGRADE_REFUSED) and is_for_now else None


def _owners_first(own: set[str], waiting: Iterable[_Pending], place: Place) -> deque[_Pending]:
    """The names at this place, an owner's and another's in turns, then what waits for the other ports."""
    sides: tuple[list[_Pending], list[_Pending]] = [], []
    for item in waiting:
        sides[place_of(item.endpoint) != place].append(item)
    return deque([*in_turns_with(own, sides[0], lambda other: other.provider), *sides[1]])
