"""Why certificates fail strict validation: each reason apart, as one certificate may have several."""

from __future__ import annotations

import pandas as pd

from analysis.figures.indicators import EVERY_UNIT, indicator
from analysis.figures.shares import Distribution, Share, is_false, is_true, overlapping, share_of


@indicator(
    title="Why certificates are not strictly valid",
    population="endpoints that negotiated TLS; unknown: those that may have",
    unit="endpoints",
)
def certificate_problems(endpoints: pd.DataFrame) -> Distribution:
    """Self-signed, trusted but for an intermediate that was not sent and that other hosts sent, otherwise untrusted,
    naming another host, outside its dates (expired or not yet valid). An endpoint may have several of these; it is unknown where we could not judge the certificate.
    """
    tls = endpoints[~is_false(endpoints["negotiated"])]
    judged = is_true(tls["negotiated"])
    untrusted = judged & is_false(tls["chain_trusted"])
    self_signed = is_true(tls["self_signed"])
    incomplete = untrusted & is_true(tls["trusted_with_known"])
    return overlapping(
        tls,
        {
            "none: strictly valid": is_true(tls["strict_valid"]),
            "self-signed": untrusted & self_signed,
            "intermediate not sent": incomplete,
            "untrusted issuer": untrusted & ~self_signed & ~incomplete,
            "names another host": judged & is_false(tls["name_match"]),
            "outside its dates": judged & is_false(tls["within_validity"]),
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
