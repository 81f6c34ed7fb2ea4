"""Why certificates fail strict validation: each reason apart, as one certificate may have several."""

from __future__ import annotations

import pandas as pd

from analysis.indicators import indicator
from analysis.shares import Distribution, overlapping


@indicator(
    title="Why certificates are not strictly valid",
    population="endpoints that negotiated TLS",
    unit="endpoints",
)
def certificate_problems(endpoints: pd.DataFrame) -> Distribution:
    """Self-signed or otherwise untrusted, naming another host, outside its dates (expired or not yet
    valid). An endpoint may have several of these; it is unknown where we could not judge the certificate.
    """
    tls = endpoints[~endpoints["negotiated"].eq(False)]
    judged = tls["negotiated"].eq(True)
    untrusted = judged & tls["chain_trusted"].eq(False)
    self_signed = tls["self_signed"].eq(True)
    return overlapping(
        tls,
        {
            "none: strictly valid": tls["strict_valid"].eq(True),
            "self-signed": untrusted & self_signed,
            "untrusted issuer": untrusted & ~self_signed,
            "names another host": judged & tls["name_match"].eq(False),
            "outside its dates": judged & tls["unexpired"].eq(False),
        },
        unknown=~judged | tls["strict_valid"].isna(),
    )
