"""One attempt at one endpoint: a conversation, and the verdicts on what it brought, in one row.

This module knows nothing of other endpoints, of tries before or after, or of when.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

import anyio
import anyio.lowlevel

from crawler.certificates.constraint_work import path_work
from crawler.certificates.guard import Unreadable
from crawler.certificates.limits import LARGE
from crawler.certificates.parsing import ParsedCertificate
from crawler.certificates.trust_store import TrustStore
from crawler.certificates.verdicts import conclude, judge_chain, judge_names
from crawler.model.names import InvalidName, a_label
from crawler.model.rows import DaneStatus, Endpoint, Form, Outcome, Probe, Stage
from crawler.policies import dane
from crawler.politeness.exclusions import Exclusions, is_address
from crawler.politeness.opt_out_file import OptOuts
from crawler.politeness.pacing import RateLimit
from crawler.probe.connection import run_conversation
from crawler.probe.conversation import Conversation, Identity
from crawler.probe.long_handshakes import LongHandshakes
from crawler.protocols.registry import protocol
from crawler.settings.config import Config
from crawler.tls.handshake import Afford, Offer, TlsClient, TlsContexts

log = logging.getLogger(__name__)

#: Ends of a handshake that the size of a hello with a hybrid key share may cause.
HELLO_MAY_BE_TOO_LARGE = frozenset(
    {Outcome.TIMEOUT, Outcome.CLOSED, Outcome.RESET, Outcome.TLS_ALERT, Outcome.TLS_ERROR}
)

Finding = tuple[Probe, list[ParsedCertificate]]  #: a row, and the certificates received, leaf first
Took = Callable[[float], None]


_LONG = 2_000.0  # from which on, by `effort`, a verdict has a turn of the event loop for itself; usual ones cost 200


def _ignore(seconds: float) -> None:
    """Do nothing: the callback of a caller who keeps no account of time."""


class Attempts:
    """The things that every attempt of a process needs: identity, trust, TLS contexts, exclusions, budget.

    Raises `ConfigError` when the trust anchors or the opt-outs cannot be read.
    """

    def __init__(self, config: Config, budget: RateLimit, opt_outs: OptOuts | None = None) -> None:
        self.exclusions = Exclusions(config, opt_outs)
        self.trust = TrustStore(config.ca_file)
        self._config = config
        self._budget = budget
        self._contexts = TlsContexts(post_quantum=config.post_quantum)
        self._sources = {":" in source: source for source in config.source_address}
        self._long = LongHandshakes(config.limits.long_handshakes)
        self._ehlo_name = _ascii(config.ehlo_name)

    async def once(
        self,
        endpoint: Endpoint,
        took: Took = _ignore,
        *,
        offer: Offer = Offer.MODERN,
        afford: Afford | None = None,
        offer_alpn: bool = True,
    ) -> Finding:
        """Talk to the endpoint once, when the rate allows it.

        `offer_alpn` is false after a host refused the handshake for the protocol's name in ALPN.
        `took` is told the seconds of the connection, without the time that we waited before it; `afford` is asked
        about a large prime for DHE.
        Never raises for anything the host or the network does; a fault of ours is `internal_error`,
        with its trace in the log.
        """
        await self._budget.turn()
        probe = Probe(
            protocol=endpoint.protocol, form=endpoint.form or Form.STARTTLS, host=endpoint.host,
            address=endpoint.address, port=endpoint.port, found_by=endpoint.found_by, reference_names=endpoint.reference_names,
            vantage=self._config.vantage or None, started_at=datetime.now(UTC),
        )  # fmt: skip
        address = endpoint.address or ""
        context, spoken = self._contexts[offer], protocol(endpoint.protocol or "smtp")
        alpn = spoken.alpn if offer_alpn else ""
        conversation = Conversation(
            probe,
            spoken,
            Identity(self._ehlo_name, None if is_address(endpoint.host or "") else _ascii(endpoint.host or "") or None),
            self._config.limits,
            lambda name: TlsClient(context, name, self._config.limits.dh_bits, afford, alpn),
            time.monotonic,
            self._long,
        )

        def guard(address: str) -> Outcome | None:
            """Consent, by every name and by the address: somebody may have opted out while a turn was waited for."""
            return Outcome.OPTED_OUT if self.exclusions.endpoint(endpoint) else self.exclusions.address(address)

        began = time.monotonic()
        await run_conversation(
            conversation, address, endpoint.port or 0,
            timeouts=self._config.timeouts, guard=guard, source=self._sources.get(":" in address),
        )  # fmt: skip
        took(time.monotonic() - began)
        if probe.outcome in (Outcome.ADDRESS_NOT_ALLOWED, Outcome.OPTED_OUT):
            probe.stage = probe.started_at = probe.connect_ms = None  # never contacted
            return probe, []
        self._leave_open(probe, offer)
        chain: list[ParsedCertificate] = []
        try:
            chain = await self._read(conversation)
            if chain:
                self._judge(probe, chain)
            if path_work(chain) > _LONG:
                await anyio.lowlevel.checkpoint()
            self._hold_against_tlsa(probe, endpoint, chain)
        except Exception:  # our bug, and it must not pass for a finding, nor cost another endpoint
            log.exception("judging %s at %s failed", endpoint.host, address)
            probe.outcome, probe.conclusive = Outcome.INTERNAL_ERROR, False
        conclude(probe)
        probe.attempts = [
            {
                "started_at": probe.started_at,
                "stage": probe.stage,
                "outcome": probe.outcome,
                "reply_code": conversation.reply_code,
            }
        ]
        return probe, chain

    async def compared(
        self,
        endpoint: Endpoint,
        pause: float,
        took: Took = _ignore,
        afford: Afford | None = None,
        *,
        offer_alpn: bool = True,
    ) -> Finding:
        """An attempt with classical groups; if it gets further than the hybrid hello did, that one once more.

        Only a host that fails with one hello, answers to the other and fails with the first again
        is intolerant of it; one that merely had a bad moment is not.
        """
        probe, chain = await self.once(endpoint, took, offer=Offer.CLASSICAL, afford=afford, offer_alpn=offer_alpn)
        if not probe.negotiated:
            return probe, chain
        await anyio.sleep(pause)
        again, chain_again = await self.once(endpoint, took, afford=afford, offer_alpn=offer_alpn)
        attempts = (probe.attempts or []) + (again.attempts or [])
        if again.negotiated:
            probe, chain = again, chain_again
            probe.pq_intolerant = False
        elif again.stage is Stage.HANDSHAKE and again.outcome in HELLO_MAY_BE_TOO_LARGE:
            probe.pq_intolerant, probe.post_quantum = True, False
        probe.attempts = attempts
        return probe, chain

    def _leave_open(self, probe: Probe, offer: Offer) -> None:
        """Make unknown what a host did not do that it was not offered: it may do it with others."""
        if offer is Offer.WITHOUT_DHE and not probe.forward_secret:
            probe.forward_secret = None
        if (offer is Offer.CLASSICAL or not self._config.post_quantum) and not probe.post_quantum:
            probe.post_quantum = None

    async def _read(self, conversation: Conversation) -> list[ParsedCertificate]:
        """The certificates received with their facts; of large ones in several turns of the event loop."""
        chain, size = [], 0
        try:
            for certificate in conversation.chain:
                chain.append(self.trust.known(certificate))
                size += len(chain[-1].der)
                if size > LARGE:
                    size = 0
                    await anyio.lowlevel.checkpoint()
        except Unreadable:  # then nobody can say what was received
            return []
        return chain

    def _judge(self, probe: Probe, chain: list[ParsedCertificate]) -> None:
        """Write the three verdicts on the chain received, each for itself."""
        probe.received_chain = [known.row.sha256 or "" for known in chain]
        judge_chain(probe, chain, self.trust.judge, probe.started_at or datetime.now(UTC))
        judge_names(probe, chain[0])

    def _hold_against_tlsa(self, probe: Probe, endpoint: Endpoint, chain: list[ParsedCertificate]) -> None:
        names = {endpoint.base_domain or "", endpoint.host or ""}
        at = probe.started_at or datetime.now(UTC)
        verdict = dane.verdict(
            endpoint.tlsa_status, endpoint.tlsa or [], chain, names, at, self.trust.path_to,
            dropped=endpoint.tlsa_dropped or 0,
        )  # fmt: skip
        if probe.chain_dropped and verdict.status is DaneStatus.MISMATCH:
            verdict = dane.Verdict(DaneStatus.UNKNOWN)  # what was left out may match
        probe.dane, probe.dane_error = verdict.status, verdict.error
        probe.dane_record, probe.dane_depth = verdict.record, verdict.depth


def _ascii(name: str) -> bytes:
    """A name as it goes over the wire: its A-label."""
    try:
        return a_label(name).encode()
    except InvalidName:  # a name of a mail host may be anything; what is no A-label is sent escaped
        return name.encode("ascii", "backslashreplace")
