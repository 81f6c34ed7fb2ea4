"""Shares over every unit: STARTTLS offered, TLS negotiated, and the protection that it gives."""

from __future__ import annotations

import pandas as pd

from analysis.figures.indicators import EVERY_UNIT, indicator
from analysis.figures.shares import Share, share_of


@indicator(
    title="Forward secrecy and strict certificate validation (Facebook 2014)",
    unit="messages",
)
def facebook_2014(units: pd.DataFrame) -> Share:
    """Share of messages that would be sent with forward secrecy to a mail host whose certificate is strictly
    valid, the figure that Facebook put at 95 % on 19 August 2014. Without message weights each domain
    counts once: per domain, by Facebook's criterion.

    Facebook counted messages delivered; a scan forecasts them: the mean over the best-preference
    endpoints that accept connections, because senders choose among equal preferences at random.
    """
    return share_of(units, "forward_secret_and_strict")


@indicator(title="STARTTLS offered", unit=EVERY_UNIT)
def starttls_offered(units: pd.DataFrame) -> Share:
    """STARTTLS is among the capabilities that the host gave us (RFC 3207 §4)."""
    return share_of(units, "offered")


@indicator(title="TLS negotiated", unit=EVERY_UNIT)
def tls_negotiated(units: pd.DataFrame) -> Share:
    """The protocol was answered inside TLS, whatever the certificate."""
    return share_of(units, "negotiated")


@indicator(title="Forward secrecy", unit=EVERY_UNIT)
def forward_secrecy(units: pd.DataFrame) -> Share:
    """TLS was negotiated with (EC)DHE key exchange; TLS 1.3 always is here (RFC 9325 §4.1)."""
    return share_of(units, "forward_secret")


@indicator(title="Post-quantum hybrid key exchange", unit=EVERY_UNIT)
def post_quantum(units: pd.DataFrame) -> Share:
    """TLS was negotiated with a hybrid of a classical and a post-quantum group, such as X25519MLKEM768."""
    return share_of(units, "post_quantum")


@indicator(title="Strict certificate validation", unit=EVERY_UNIT)
def strict_validation(units: pd.DataFrame) -> Share:
    """TLS was negotiated and the certificate is trusted, names the mail host and is within its dates. A valid
    certificate alone resists no downgrade: without DANE or enforced MTA-STS a sender cannot know that TLS was due.
    """
    return share_of(units, "strict_valid")


@indicator(title="Forward secrecy and strict validation together", unit=EVERY_UNIT)
def forward_secrecy_and_strict_validation(units: pd.DataFrame) -> Share:
    """Both at once, on the same endpoint: Facebook's criterion of 2014 over each unit."""
    return share_of(units, "forward_secret_and_strict")
