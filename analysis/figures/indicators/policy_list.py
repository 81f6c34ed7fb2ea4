"""The domains of a policy list that was given, and whether they keep its promises (`crawler.policies.list_compliance`).

These stand in a section of their own and are part of no other figure.
"""

from __future__ import annotations

import pandas as pd

from analysis.figures.indicators import indicator
from analysis.figures.shares import Distribution, Share, distribution_of, share_of

_ENFORCING = "members in mode enforce"


@indicator(title="On the policy list", unit="listed")
def policy_list_members(domains: pd.DataFrame) -> Share:
    """The list names the domain, whether or not the list has expired."""
    return share_of(domains, "listed")


@indicator(
    title="Mode on the policy list", population="those of these domains that the policy list names", unit="listed"
)
def policy_list_modes(domains: pd.DataFrame) -> Distribution:
    """What a sender is told to do where a promise is broken: `enforce`, not to deliver; `testing`, to deliver and report."""
    return distribution_of(domains, "mode", among="listed")


@indicator(title="Promise kept", unit="members")
def policy_list_kept(members: pd.DataFrame) -> Share:
    """Every mail host that the domain publishes is one of the list's, negotiates TLS of the version it demands (1.2),
    and has a certificate that is trusted, within its dates, and names the mail host or one of the list's.
    """
    return share_of(members, "compliant")


@indicator(title="Promise kept, of those in mode enforce", population=_ENFORCING, unit="members")
def policy_list_kept_enforced(members: pd.DataFrame) -> Share:
    """The same, of those to whom a sender of the list would not deliver otherwise."""
    return share_of(members, "compliant", among="enforced")


@indicator(title="Mail hosts are the list's", unit="members")
def policy_list_hosts(members: pd.DataFrame) -> Share:
    """The first of the three demands: every mail host that the domain publishes is one of the list's."""
    return share_of(members, "host")


@indicator(title="TLS as the list demands", unit="members")
def policy_list_tls(members: pd.DataFrame) -> Share:
    """The second: TLS is negotiated, in version 1.2 or later, or what the entry says."""
    return share_of(members, "tls")


@indicator(title="Certificate as the list demands", unit="members")
def policy_list_certificates(members: pd.DataFrame) -> Share:
    """The third: a valid certificate for the mail host or a name of the list. Unknown where the list demands certain
    keys as well and all else is in order.
    """
    return share_of(members, "certificate")
