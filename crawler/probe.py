"""The use case PROBE: endpoints in, one `Probe` row for each out, kindly paced.

Every endpoint gets exactly one row, whatever happens.  Outcomes that may pass (421, 454, time-out,
reset …) are tried again late, with every attempt on record; if they persist the row stays not
conclusive.  A handshake that fails is tried once more with classical groups only, for it may have
been the size of our post-quantum hello.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import anyio

from crawler import dane
from crawler.certificates import Known, common_name_match, name_match
from crawler.config import Config
from crawler.conversation import Conversation, Identity
from crawler.dialogs import protocol
from crawler.exclusions import Exclusions
from crawler.names import suffixes
from crawler.network import converse
from crawler.pacing import Budget, Lanes, Room
from crawler.records import Certificate, Endpoint, Outcome, Probe, Stage
from crawler.tls import TlsClient, TlsContexts
from crawler.trust import TrustStore

log = logging.getLogger(__name__)

Emit = Callable[[Any], None]

_PASSING = frozenset({Outcome.TIMEOUT, Outcome.CLOSED, Outcome.RESET})
_HELLO_MAY_BE_TOO_LARGE = _PASSING | {Outcome.TLS_ALERT, Outcome.TLS_ERROR}


@dataclass(slots=True)
class _Pending:
    """An endpoint that will be tried again."""

    endpoint: Endpoint
    provider: str  #: registrable domain of the host
    before: tuple[Probe, list[Known]] | None = None  #: row and chain of the last attempt
    classical: bool = False  #: offer classical groups only


class Prober:
    """What one process needs to probe: identity, trust, TLS contexts, exclusions, budget.

    Raises `ConfigError` when the trust anchors or the opt-outs cannot be read.
    """

    def __init__(self, config: Config, processes: int = 1) -> None:
        """`processes` share the limits that hold for the whole run."""
        self.exclusions = Exclusions(config)
        self.trust = TrustStore(config.ca_file)
        self._config = config
        self._contexts = TlsContexts()
        self._budget = Budget(config.pacing, processes)
        self._room = Room(config.pacing, processes)
        self._sources = {":" in source: source for source in config.source_address}

    async def probe_endpoints(self, endpoints: Iterable[Endpoint], emit: Emit) -> None:
        """Probe the endpoints of one shard; several shards may run at once and share the budget."""
        shard = _Shard(emit)
        pending = [
            _Pending(endpoint, suffixes(endpoint.host or "")[0] or endpoint.host or "") for endpoint in endpoints
        ]
        for number in range(1, self._config.pacing.attempts + 1):
            last = number == self._config.pacing.attempts
            if number > 1:
                await anyio.sleep(self._config.pacing.retry_delay)
            pending = await self._pass(pending, shard, last)
            if not pending:
                break

    async def probe_one(self, endpoint: Endpoint, *, classical: bool = False) -> tuple[Probe, list[Known]]:
        """One attempt at one endpoint: its row with verdicts, and the certificates received."""
        probe = Probe(
            protocol=endpoint.protocol, host=endpoint.host, address=endpoint.address, port=endpoint.port,
            vantage=self._config.vantage or None, started_at=datetime.now(UTC),
        )  # fmt: skip
        host, address, port = endpoint.host or "", endpoint.address or "", endpoint.port or 0
        context = self._contexts.classical if classical or not self._config.post_quantum else self._contexts.modern
        conversation = Conversation(
            probe,
            protocol(endpoint.protocol or "smtp"),
            Identity(self._config.ehlo_name.encode(), host.encode("ascii", "replace") or None),
            self._config.limits,
            lambda name: TlsClient(context, name),
            time.monotonic,
        )
        await converse(
            conversation, address, port,
            timeouts=self._config.timeouts, guard=self.exclusions.address, source=self._sources.get(":" in address),
        )  # fmt: skip
        chain = self._judge(probe, conversation)
        self._hold_against_tlsa(probe, endpoint, chain)
        probe.attempts = [
            {
                "started_at": probe.started_at,
                "stage": probe.stage,
                "outcome": probe.outcome,
                "reply_code": conversation.reply_code,
            }
        ]
        return probe, chain

    # --- one pass over a shard ---

    async def _pass(self, pending: list[_Pending], shard: _Shard, last: bool) -> list[_Pending]:
        """Try every pending endpoint once; returns those to be tried again."""
        lanes = Lanes(((item.endpoint.address or "", item.provider, item) for item in pending), self._room)
        again: list[_Pending] = []

        async def take() -> None:
            while (lane := await lanes.take()) is not None:
                try:
                    async with self._budget.slots:
                        again.extend(await self._lane(lane.items, shard, last))
                finally:
                    lanes.done(lane)

        # A fixed set of takers: a task for each lane would cost more than the lane's own Python.
        async with anyio.create_task_group() as takers:
            for _ in range(min(len(lanes), self._config.pacing.in_flight)):
                takers.start_soon(take)
        return again

    async def _lane(self, lane: list[_Pending], shard: _Shard, last: bool) -> list[_Pending]:
        """Probe the names of one address one after the other, with a pause between them."""
        again = []
        probed: str | None = None
        for number, item in enumerate(lane):
            endpoint = item.endpoint
            if (verdict := self._spared(item, number)) is not None:
                if verdict is Outcome.NOT_RUN and item.before is not None:
                    shard.emit_with_chain(*item.before)
                    continue
                row = _unprobed(item, verdict)
                row.representative_host = probed if verdict is Outcome.SAMPLED_OUT else None
                shard.emit(row)
                continue
            if probed is not None:
                await anyio.sleep(self._config.pacing.address_pause)
            probed = probed or endpoint.host
            await self._budget.turn()
            probe, chain = await self._attempt(item)
            self._room.note(item.provider, refused=probe.outcome is Outcome.REJECTED)
            if not last and (classical := _second_try(probe, item)) is not None:
                again.append(_Pending(endpoint, item.provider, (probe, chain), classical))
            else:
                shard.emit_with_chain(probe, chain)
        return again

    def _spared(self, item: _Pending, number: int) -> Outcome | None:
        """Why the endpoint, number so-and-so of its address, is not contacted; None if it is."""
        if self.exclusions.host(item.endpoint.host or ""):
            return Outcome.OPTED_OUT
        if number >= self._config.pacing.names_per_address:
            return Outcome.SAMPLED_OUT
        return Outcome.NOT_RUN if self._room.given_up(item.provider) else None

    async def _attempt(self, item: _Pending) -> tuple[Probe, list[Known]]:
        """One more attempt; the row holds all of them."""
        try:
            probe, chain = await self._compared(item) if item.classical else await self.probe_one(item.endpoint)
        except Exception:  # our bug: it goes into the log, and never costs another endpoint
            log.exception("probing %s at %s failed", item.endpoint.host, item.endpoint.address)
            probe, chain = _unprobed(item, Outcome.INTERNAL_ERROR), []
        if probe.tls_version is not None and probe.pq_intolerant is None and not item.classical:
            probe.pq_intolerant = False
        if item.before is not None:
            probe.attempts = (item.before[0].attempts or []) + (probe.attempts or [])
        if probe.outcome in (Outcome.BLOCKED_ADDRESS, Outcome.OPTED_OUT):
            probe.stage = probe.started_at = probe.attempts = probe.connect_ms = None  # never contacted
        return probe, chain

    async def _compared(self, item: _Pending) -> tuple[Probe, list[Known]]:
        """An attempt with classical groups; if it gets further than the hybrid hello did, that one once more.

        Only a host that fails with one hello, answers to the other and fails with the first again
        is intolerant of it; one that merely had a bad moment is not.
        """
        probe, chain = await self.probe_one(item.endpoint, classical=True)
        if not probe.negotiated:
            return probe, chain
        await anyio.sleep(self._config.pacing.address_pause)
        again, chain_again = await self.probe_one(item.endpoint)
        attempts = (probe.attempts or []) + (again.attempts or [])
        if again.negotiated:
            probe, chain = again, chain_again
            probe.pq_intolerant = False
        elif again.stage is Stage.HANDSHAKE:
            probe.pq_intolerant = True
        probe.attempts = attempts
        return probe, chain

    def _judge(self, probe: Probe, conversation: Conversation) -> list[Known]:
        """Write the three verdicts on the chain received, each for itself."""
        if not conversation.chain:
            return []
        chain = [self.trust.known(certificate) for certificate in conversation.chain]
        verdict = self.trust.judge(chain)
        probe.received_chain = [known.row.sha256 or "" for known in chain]
        probe.chain_trusted = verdict.trusted
        probe.chain_error_code, probe.chain_error = verdict.error_code, verdict.error
        probe.chain_error_depth = verdict.error_depth
        probe.unexpired = verdict.unexpired(probe.started_at or datetime.now(UTC))
        probe.chain_ordered = verdict.ordered
        probe.name_match = name_match(chain[0], probe.host or "")
        probe.common_name_match = common_name_match(chain[0], probe.host or "")
        probe.strict_valid = probe.chain_trusted and probe.name_match and probe.unexpired
        return chain

    def _hold_against_tlsa(self, probe: Probe, endpoint: Endpoint, chain: list[Known]) -> None:
        names = {endpoint.base_domain or "", endpoint.host or ""}
        at = probe.started_at or datetime.now(UTC)
        verdict = dane.verdict(endpoint.tlsa_status, endpoint.tlsa or [], chain, names, at, self.trust.path_to)
        probe.dane, probe.dane_error = verdict.status, verdict.error
        probe.dane_record, probe.dane_depth = verdict.record, verdict.depth


class _Shard:
    """Where a shard's rows go; a certificate goes there once."""

    def __init__(self, emit: Emit) -> None:
        self.emit = emit
        self._seen: set[str] = set()

    def emit_with_chain(self, probe: Probe, chain: list[Known]) -> None:
        self.emit(probe)
        for known in chain:
            row: Certificate = known.row
            if row.sha256 is not None and row.sha256 not in self._seen:
                self._seen.add(row.sha256)
                self.emit(row)


def _unprobed(item: _Pending, outcome: Outcome) -> Probe:
    """The row of an endpoint that was not contacted."""
    endpoint = item.endpoint
    return Probe(
        protocol=endpoint.protocol, host=endpoint.host, address=endpoint.address, port=endpoint.port,
        outcome=outcome, conclusive=False,
    )  # fmt: skip


def _second_try(probe: Probe, item: _Pending) -> bool | None:
    """Whether to try again, and if so whether with classical groups only.  None: leave it.

    Permanent refusals (5yz) and refused connections are left; our own limits and faults too.
    """
    outcome = probe.outcome
    if probe.stage is Stage.HANDSHAKE and outcome in _HELLO_MAY_BE_TOO_LARGE:
        return True
    if outcome in _PASSING or outcome is Outcome.UNREACHABLE:
        return item.classical
    code = (probe.attempts or [{}])[-1].get("reply_code")
    if outcome in (Outcome.REJECTED, Outcome.UPGRADE_REFUSED) and code is not None and 400 <= code < 500:
        return item.classical
    return None
