"""The answer of each kind of sender to mail for the list's domains, by its own standard
(`crawler.policies.senders`)."""

from __future__ import annotations

import pandas as pd

from analysis.figures.indicators import indicator
from analysis.figures.shares import Distribution, Share, distribution_of, share_of
from crawler.policies.senders import WORDS, Sender

_MAIL = ("messages", "domains")

#: What a certificate may say of the peer, weakest first.
PEERS = {
    "no_tls": "no TLS",
    "unauthenticated": "TLS, unauthenticated",
    "mx_name": "authenticated as the MX name",
    "recipient_domain": "MX name inside the recipient's domain",
}


@indicator(title="An opportunistic sender", unit="mail")
def opportunistic_sender(parts: pd.DataFrame) -> Distribution:
    """What a sender does that takes TLS where it can be had, asks for no certificate, and else sends in the
    clear (RFC 7435).
    """
    return _deliveries(parts, Sender.OPPORTUNISTIC)


@indicator(title="A sender that demands a valid certificate", unit="mail")
def pkix_strict_sender(parts: pd.DataFrame) -> Distribution:
    """What a sender does that delivers only where the certificate is trusted, within its dates and names the
    mail host. Whether the mail host is the right one it does not ask.
    """
    return _deliveries(parts, Sender.PKIX_STRICT)


@indicator(title="A DANE sender", unit="mail")
def dane_sender(parts: pd.DataFrame) -> Distribution:
    """What a sender does that follows TLSA records (RFC 7672): usable ones must match, unusable ones demand
    TLS, bogus ones stop mail, and without secure ones it is opportunistic. A match at a mail host that an
    insecure MX record named is encryption, no authentication (§2.2.1).
    """
    return _deliveries(parts, Sender.DANE)


@indicator(title="A sender that enforces MTA-STS", unit="mail")
def mta_sts_sender(parts: pd.DataFrame) -> Distribution:
    """What a sender does that follows MTA-STS policies (RFC 8461) and has none cached: mode `enforce` demands
    a mail host of the policy with a valid certificate; otherwise it is opportunistic.
    """
    return _deliveries(parts, Sender.MTA_STS_ENFORCING)


@indicator(title="Whom the certificate authenticates (Bider 2015)", unit="mail")
def authentication(parts: pd.DataFrame) -> Distribution:
    """Nobody, for want of TLS or of a valid certificate; the mail host that the MX record names; or a mail
    host inside the recipient's domain, which a forged MX record could not name.
    """
    return distribution_of(parts, "authentication", words=PEERS)


@indicator(title="Authenticated by DANE", unit=_MAIL)
def dane_authenticated(units: pd.DataFrame) -> Share:
    """A DANE sender would deliver encrypted and authenticated: the MX answer is secure, and the certificate is in
    the mail host's usable TLSA records. Dukhovni's rule is `primary_all`.
    """
    return share_of(units, "dane_authenticated")


@indicator(
    title="Authenticated by DANE, of DNSSEC-signed domains",
    population="mail domains whose MX answer is secure by DNSSEC; unknown where that is not known",
    unit=_MAIL,
)
def dane_authenticated_of_signed(units: pd.DataFrame) -> Share:
    """The same, of the domains that could have it: those whose MX answer is secure. By the rule `primary_all` it is
    what Dukhovni counts.
    """
    return share_of(units, "dane_authenticated", among="mx_secure")


@indicator(title="Authenticated by enforced MTA-STS", unit=_MAIL)
def mta_sts_authenticated(units: pd.DataFrame) -> Share:
    """The domain's MTA-STS policy is in mode `enforce`, the mail host matches it, and its certificate is strictly valid."""
    return share_of(units, "mta_sts_enforcing_authenticated")


@indicator(title="Authenticated by DANE or enforced MTA-STS", unit=_MAIL)
def downgrade_resistant(units: pd.DataFrame) -> Share:
    """A sender that follows the one or the other would deliver authenticated, and would notice if TLS were stripped on
    the way. A series of its own beside strict validation, which resists no downgrade.
    """
    return share_of(units, "downgrade_resistant")


@indicator(title="Refused by a DANE sender", unit=_MAIL)
def dane_refused(units: pd.DataFrame) -> Share:
    """TLSA records promise what the mail host does not keep: a DANE sender would not deliver to it."""
    return share_of(units, "dane_refused")


@indicator(title="Refused by a sender that enforces MTA-STS", unit=_MAIL)
def mta_sts_refused(units: pd.DataFrame) -> Share:
    """The domain's MTA-STS policy is in force and the mail host is not in it, or has no valid certificate."""
    return share_of(units, "mta_sts_enforcing_refused")


def _deliveries(parts: pd.DataFrame, sender: Sender) -> Distribution:
    return distribution_of(parts, f"by_{sender}", words=WORDS)
