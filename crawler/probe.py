"""The use case PROBE: endpoints in, one `Probe` row for each out, kindly paced.

Every endpoint gets exactly one row, whatever happens.  Outcomes that may pass (421, 454, time-out,
reset …) are tried again late, with every attempt on record; if they persist the row stays not
conclusive.  A handshake that fails is tried once more with classical groups only, for it may have
been the size of our post-quantum hello.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.lowlevel

from crawler.attempt import Attempts, Finding
from crawler.budgets import TimeBudget
from crawler.certificates import Known
from crawler.config import Config
from crawler.names import suffixes
from crawler.pacing import Budget, Lanes, Lot, Room, network_of
from crawler.records import Endpoint, Outcome, Probe, Stage

log = logging.getLogger(__name__)

Emit = Callable[[Any], None]

_PASSING = frozenset({Outcome.TIMEOUT, Outcome.CLOSED, Outcome.RESET})
_HELLO_MAY_BE_TOO_LARGE = _PASSING | {Outcome.TLS_ALERT, Outcome.TLS_ERROR}
_DEAF = frozenset({Outcome.TIMEOUT, Outcome.UNREACHABLE})
_ROWS_IN_ONE_GO = 500  # rows made without a connection before the event loop gets its turn


@dataclass(slots=True)
class _Pending:
    """An endpoint that will be tried."""

    endpoint: Endpoint
    provider: str  #: registrable domain of the host
    network: bytes  #: /24 or /48 of the address
    before: Finding | None = None  #: of the last attempt
    classical: bool = False  #: offer classical groups only


class Prober:
    """PROBE for one process.

    Raises `ConfigError` when the trust anchors or the opt-outs cannot be read.
    """

    def __init__(self, config: Config, processes: int = 1) -> None:
        """`processes` share the limits that hold for the whole run."""
        self._config = config
        self._budget = Budget(config.pacing, processes)
        self._room = Room(config.pacing, processes)
        self._providers = TimeBudget(config.pacing, processes)
        self._attempts = Attempts(config, self._budget)
        self.exclusions, self.trust = self._attempts.exclusions, self._attempts.trust
        self.probe_one = self._attempts.once

    async def probe_endpoints(self, endpoints: Iterable[Endpoint], emit: Emit, lot: Lot | None = None) -> None:
        """Probe the endpoints of one shard; several shards may run at once and share the budget."""
        shard = _Shard(emit, lot, TimeBudget(self._config.pacing))
        pending = [item async for item in self._sampled(endpoints, shard)]
        for number in range(1, self._config.pacing.attempts + 1):
            last = number == self._config.pacing.attempts
            if number > 1:
                await anyio.sleep(self._config.pacing.retry_delay)
            pending = await self._pass(pending, shard, last)
            if not pending:
                break
        self._providers.forget(key for key, _ in shard.counted if isinstance(key, str))

    async def _sampled(self, endpoints: Iterable[Endpoint], shard: _Shard) -> AsyncIterator[_Pending]:
        """The endpoints to be probed; the rows of the others, however many, go out at once.

        Of the names at one address the first few are probed; the rest is represented by the first.
        """
        names: dict[tuple[str | None, str | None], list[str | None]] = {}
        for number, endpoint in enumerate(endpoints):
            if number % _ROWS_IN_ONE_GO == 0:
                await anyio.lowlevel.checkpoint()
            host = endpoint.host or ""
            if self.exclusions.host(host):
                shard.emit(_unprobed(endpoint, Outcome.OPTED_OUT))
                continue
            if endpoint.over_budget:
                shard.emit(_unprobed(endpoint, Outcome.OVER_BUDGET))
                continue
            probed = names.setdefault((endpoint.protocol, endpoint.address), [])
            if len(probed) < self._config.pacing.names_per_address:
                probed.append(host)
                item = _Pending(endpoint, suffixes(host)[0] or host, network_of(endpoint.address or ""))
                self._allow_time(item, shard)
                yield item
            else:
                shard.emit(_unprobed(endpoint, Outcome.SAMPLED_OUT, probed[0]))

    async def _pass(self, pending: list[_Pending], shard: _Shard, last: bool) -> list[_Pending]:
        """Try every pending endpoint once; returns those to be tried again."""
        lanes = Lanes(((item.endpoint.address or "", item.provider, item) for item in pending), self._room, shard.lot)
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
                for _ in range(min(len(lanes), self._config.pacing.in_flight)):
                    takers.start_soon(take)
        finally:
            lanes.close()
        return again

    async def _lane(self, lane: list[_Pending], shard: _Shard, last: bool) -> list[_Pending]:
        """Probe the names of one address one after the other, with a pause between them.

        An address that does not answer is not asked again under its next name.
        """
        again = []
        spoken = False
        deaf: str | None = None
        for item in lane:
            endpoint = item.endpoint
            if self.exclusions.host(endpoint.host or ""):  # since the pass began
                row = _unprobed(endpoint, Outcome.OPTED_OUT)
                row.attempts = item.before[0].attempts if item.before else None
                shard.emit(row)
                continue
            if deaf is not None and item.before is None:
                shard.emit(_unprobed(endpoint, Outcome.SAMPLED_OUT, deaf))
                continue
            if self._room.given_up(item.provider):
                shard.finish(*(item.before or (_unprobed(endpoint, Outcome.NOT_RUN), [])))
                continue
            if shard.networks.is_spent(item.network) or self._providers.is_spent(item.provider):
                shard.finish(*(item.before or (_unprobed(endpoint, Outcome.OVER_BUDGET), [])))
                continue
            if spoken:
                await anyio.sleep(self._config.pacing.address_pause)
            spoken = True
            probe, chain = await self._attempt(item, shard)
            if probe.greeting_code is not None:
                self._room.note(item.provider, refused=probe.outcome is Outcome.REJECTED)
            if probe.outcome in _DEAF and probe.stage in (Stage.CONNECT, Stage.GREETING):
                deaf = endpoint.host
            if not last and (classical := self._second_try(probe, item)) is not None:
                again.append(_Pending(endpoint, item.provider, item.network, (probe, chain), classical))
            else:
                shard.finish(probe, chain)
        return again

    def _allow_time(self, item: _Pending, shard: _Shard) -> None:
        """Give the endpoint's network and provider the time that is due to its host, which each counts once."""
        weight = item.endpoint.weight or 0.0
        for budget, key in ((shard.networks, item.network), (self._providers, item.provider)):
            if (key, item.endpoint.host) not in shard.counted:
                shard.counted.add((key, item.endpoint.host))
                budget.allow(key, weight)

    async def _attempt(self, item: _Pending, shard: _Shard) -> Finding:
        """One more attempt; the row holds all of them."""

        def took(seconds: float) -> None:
            shard.networks.take(item.network, seconds)
            self._providers.take(item.provider, seconds)

        try:
            if item.classical:
                probe, chain = await self._attempts.compared(item.endpoint, self._config.pacing.address_pause, took)
            else:
                probe, chain = await self._attempts.once(item.endpoint, took)
        except Exception:  # our bug: it goes into the log, and never costs another endpoint
            log.exception("probing %s at %s failed", item.endpoint.host, item.endpoint.address)
            probe, chain = _unprobed(item.endpoint, Outcome.INTERNAL_ERROR), []
        if probe.tls_version is not None and self._config.post_quantum and not item.classical:
            probe.pq_intolerant = False
        if item.before is not None:
            probe.attempts = (item.before[0].attempts or []) + (probe.attempts or [])
        return probe, chain

    def _second_try(self, probe: Probe, item: _Pending) -> bool | None:
        """Whether to try again, and if so whether with classical groups only.  None: leave it.

        Permanent refusals (5yz) and refused connections are left; our own limits and faults too.
        """
        outcome = probe.outcome
        if probe.stage is Stage.HANDSHAKE and outcome in _HELLO_MAY_BE_TOO_LARGE:
            if self._config.post_quantum:
                return True
            return False if outcome in _PASSING else None
        if outcome in _PASSING or outcome is Outcome.UNREACHABLE:
            return item.classical
        code = (probe.attempts or [{}])[-1].get("reply_code")
        if outcome in (Outcome.REJECTED, Outcome.UPGRADE_REFUSED) and code is not None and 400 <= code < 500:
            return item.classical
        return None


class _Shard:
    """Where a shard's rows go; a certificate goes there once."""

    def __init__(self, emit: Emit, lot: Lot | None, networks: TimeBudget) -> None:
        self.emit = emit
        self.lot = lot
        self.networks = networks
        self.counted: set[tuple[Hashable, str | None]] = set()  #: hosts whose time was given, by whom it was given to
        self._seen: set[str | None] = set()

    def finish(self, probe: Probe, chain: list[Known]) -> None:
        """The endpoint's one row, and what certificates came with it."""
        self.emit(probe)
        for known in chain:
            if known.row.sha256 not in self._seen:
                self._seen.add(known.row.sha256)
                self.emit(known.row)


def _unprobed(endpoint: Endpoint, outcome: Outcome, representative: str | None = None) -> Probe:
    """The row of an endpoint that was not contacted."""
    return Probe(
        protocol=endpoint.protocol, host=endpoint.host, address=endpoint.address, port=endpoint.port,
        outcome=outcome, conclusive=False, representative_host=representative,
    )  # fmt: skip
