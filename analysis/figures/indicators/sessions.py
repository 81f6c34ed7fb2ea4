"""What was negotiated, and where probes end: distributions over endpoints."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pandas as pd

from analysis.figures.indicators import indicator
from analysis.figures.shares import Distribution, distribution_of
from crawler.model.rows import Outcome

_NEGOTIATED = "endpoints that negotiated TLS"


@indicator(title="TLS versions", population=_NEGOTIATED, unit="endpoints")
def tls_versions(endpoints: pd.DataFrame) -> Distribution:
    """TLS version that our one ClientHello led to; hosts may support others."""
    return distribution_of(endpoints, "tls_version", among="negotiated")


@indicator(title="Ciphers", population=_NEGOTIATED, unit="endpoints")
def ciphers(endpoints: pd.DataFrame) -> Distribution:
    """Negotiated cipher, by OpenSSL's name."""
    return distribution_of(endpoints, "tls_cipher", among="negotiated")


@indicator(title="Key-exchange groups", population=_NEGOTIATED, unit="endpoints")
def groups(endpoints: pd.DataFrame) -> Distribution:
    """Negotiated group. `DHE` and `static RSA` stand for the key exchanges of TLS 1.2 that have no named group."""
    return distribution_of(endpoints, _group, among="negotiated")


def _group(endpoint: dict[Hashable, Any]) -> str | None:
    if pd.notna(endpoint["tls_group"]):
        return str(endpoint["tls_group"])
    if pd.isna(endpoint["forward_secret"]):
        return None
    return "DHE" if endpoint["forward_secret"] else "static RSA"


@indicator(title="Where probes end", population="endpoints: mail hosts times their addresses", unit="endpoints")
def outcomes(endpoints: pd.DataFrame) -> Distribution:
    """Stage and outcome of the last attempt: `done ok` is TLS, all else says how far it got and what stopped it.
    STARTTLS may be refused for good (5yz) or for now.
    """
    return distribution_of(endpoints, _outcome)


def _outcome(endpoint: dict[Hashable, Any]) -> str:
    if pd.isna(endpoint["stage"]):
        return str(endpoint["outcome"])
    words = f"{endpoint['stage']} {endpoint['outcome']}"
    if endpoint["outcome"] == Outcome.UPGRADE_REFUSED:
        return f"{words} for {'now' if pd.isna(endpoint['negotiated']) else 'good'}"
    return words
