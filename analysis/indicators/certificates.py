"""Why certificates fail strict validation: each reason apart, as one certificate may have several."""

from __future__ import annotations

import pandas as pd

from analysis.indicators import EVERY_UNIT, indicator
from analysis.shares import Distribution, Share, overlapping, share_of


@indicator(
    title="Why certificates are not strictly valid",
    population="endpoints that negotiated TLS; unknown: those that may have",
    unit="endpoints",
)
def certificate_problems(endpoints: pd.DataFrame) -> Distribution:
    """Self-signed, trusted but for an intermediate that was not sent and that other hosts sent, otherwise untrusted,
    naming another host, outside its dates (expired or not yet valid). An endpoint may have several of these; it is unknown where we could not judge the certificate.
    """
    tls = endpoints[~endpoints["negotiated"].eq(False)]
    judged = tls["negotiated"].eq(True)
    untrusted = judged & tls["chain_trusted"].eq(False)
    self_signed = tls["self_signed"].eq(True)
    incomplete = untrusted & tls["trusted_with_known"].eq(True)
    return overlapping(
        tls,
        {
            "none: strictly valid": tls["strict_valid"].eq(True),
            "self-signed": untrusted & self_signed,
            "intermediate not sent": incomplete,
            "untrusted issuer": untrusted & ~self_signed & ~incomplete,
            "names another host": judged & tls["name_match"].eq(False),
            "outside its dates": judged & tls["within_validity"].eq(False),
        },
        unknown=~judged | tls["strict_valid"].isna(),
    )


@indicator(title="Trusted, if senders knew the intermediates", unit=EVERY_UNIT)
def trusted_if_intermediates_known(units: pd.DataFrame) -> Share:
    """TLS was negotiated under a chain that leads to a trust anchor, given the intermediates that any host of
    the run sent: some senders fetch or remember what a host forgets to send. Names and dates do not count here.
    """
    return share_of(units, "trusted_if_known")


@indicator(title="Strict certificate validation, if senders knew the intermediates", unit=EVERY_UNIT)
def strict_validation_if_intermediates_known(units: pd.DataFrame) -> Share:
    """The same with name and dates: what strict certificate validation would be if no host's missing intermediate
    were held against it. The difference is what senders lose for want of intermediates.
    """
    return share_of(units, "strict_valid_if_known")
