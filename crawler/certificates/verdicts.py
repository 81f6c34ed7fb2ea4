"""The verdicts on the certificates that a probe received, written into its row: chain, name and dates, each by itself.

This module is pure.  A scan judges a chain as it comes, and `rejudge` the same chain years later
from the stored certificates; both do so here, so that they cannot come to differ.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from crawler.certificates.chain_verdict import ChainVerdict
from crawler.certificates.name_match import common_name_match, name_match
from crawler.certificates.parsing import ParsedCertificate
from crawler.model.names import is_address_like
from crawler.model.rows import Probe
from crawler.model.three_valued import all_of

Judge = Callable[[list[ParsedCertificate], datetime], ChainVerdict]
"""The verdict on a chain at a time: `TrustStore.judge`, or `judge_with` and certain issuers."""


def judge_chain(probe: Probe, chain: list[ParsedCertificate], judge: Judge, at: datetime) -> None:
    """Write what a store says of the chain, and whether its dates hold at a time."""
    verdict = judge(chain, at)
    probe.chain_trusted = verdict.trusted
    probe.chain_error_code, probe.chain_error = verdict.error_code, verdict.error
    probe.chain_error_depth = verdict.error_depth
    probe.within_validity = verdict.within_validity(at)
    probe.chain_ordered = verdict.ordered
    if probe.chain_dropped:  # what was left out may have had the path
        probe.chain_ordered = probe.chain_ordered and None
        if not probe.chain_trusted:
            probe.chain_trusted = probe.within_validity = None


def judge_names(probe: Probe, leaf: ParsedCertificate) -> None:
    """Write whether the leaf names the host, and which of the names that it may bear for the domains that led there.

    Where the host is an address, no DNS-ID can name it, and that stays unknown.
    """
    if probe.reference_names is not None and leaf.names is not None:
        probe.reference_matches = [name for name in probe.reference_names if name_match(leaf, name)]
    if is_address_like(probe.host or ""):
        return
    probe.name_match = name_match(leaf, probe.host or "")
    probe.common_name_match = common_name_match(leaf, probe.host or "")


def conclude(probe: Probe) -> None:
    """Write whether the endpoint does TLS under a certificate that a strict sender accepts, as the figures count it."""
    probe.strict_valid = all_of(does_tls(probe), certificate_holds(probe))


def does_tls(probe: Probe) -> bool | None:
    """Whether the endpoint does TLS: false also where a probe ended conclusively without it."""
    if probe.negotiated:
        return True
    return False if probe.conclusive or probe.starttls_offered is False else None


def certificate_holds(probe: Probe) -> bool | None:
    """What the three verdicts on the certificate make together, whatever became of the session."""
    return all_of(probe.chain_trusted, probe.name_match, probe.within_validity)
