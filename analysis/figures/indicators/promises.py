"""What domains and mail hosts publish about their TLS, and whether mail hosts keep it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pandas as pd

from analysis.figures.indicators import indicator
from analysis.figures.shares import Distribution, Share, distribution_of, share_of
from crawler.model.rows import DaneError, DaneStatus, MtaStsFetch, MtaStsRecord, TlsaStatus
from crawler.policies.senders import NO_POLICY


@indicator(title="DNSSEC of the MX answer", unit="published")
def dnssec(domains: pd.DataFrame) -> Distribution:
    """Secure or insecure, as a validating resolver says."""
    return distribution_of(domains, lambda domain: {"secure": "secure", "insecure": "insecure"}.get(domain["dnssec"]))


@indicator(title="MTA-STS policies", unit="published")
def mta_sts(domains: pd.DataFrame) -> Distribution:
    """No record; an invalid one, or several; a record without a policy; or the mode of the policy (RFC 8461 §3).
    Unknown: the record could not be looked up, or the policy host not be reached from here.
    """
    return distribution_of(domains, _mta_sts)


def _mta_sts(domain: dict[Hashable, Any]) -> str | None:
    record, fetch = domain["mta_sts_record"], domain["mta_sts_fetch"]
    if record == MtaStsRecord.VALID:
        if fetch == MtaStsFetch.OK:
            return f"mode {domain['mta_sts_mode']}"
        return "record without a policy" if fetch in NO_POLICY else None
    if pd.isna(record):
        return None
    return "no record" if record == MtaStsRecord.ABSENT else "invalid record"


@indicator(title="TLSRPT records", unit="published")
def tlsrpt(domains: pd.DataFrame) -> Distribution:
    """Whether the domain asks for reports on failed TLS (RFC 8460 §3)."""
    return distribution_of(domains, "tlsrpt")


@indicator(title="Certificate in the TLSA records", unit=("hosts", "addresses"))
def dane_match(units: pd.DataFrame) -> Share:
    """TLS was negotiated and the certificate is in the mail host's usable TLSA records, whoever's mail it takes."""
    return share_of(units, "dane_match")


_WITHOUT_TLS = "usable records, but no TLS"

_TLSA = {
    TlsaStatus.ABSENT: "no records",
    TlsaStatus.INSECURE: "no DNSSEC",
    TlsaStatus.UNUSABLE: "unusable records",
    TlsaStatus.BOGUS: "bogus",
}

_MISMATCH = {
    DaneError.NO_MATCH: "mismatch: certificate in no record",
    DaneError.PATH: "mismatch: no path to the anchor",
    DaneError.EXPIRED: "mismatch: expired",
    DaneError.NAME: "mismatch: names another host",
}


@indicator(title="TLSA records held against certificates", unit="endpoints")
def tlsa(endpoints: pd.DataFrame) -> Distribution:
    """Whether the certificate is in the host's TLSA records (RFC 7672), and why not. Unknown where the records were
    not asked for, or the host gave no conclusive answer.
    """
    return distribution_of(endpoints, _tlsa)


def _tlsa(endpoint: dict[Hashable, Any]) -> str | None:
    if endpoint["tlsa"] != TlsaStatus.USABLE:
        return _TLSA.get(endpoint["tlsa"])
    if endpoint["negotiated"] is False:
        return _WITHOUT_TLS
    if endpoint["dane"] == DaneStatus.MATCH:
        return "match" if endpoint["negotiated"] is True else None
    return _MISMATCH.get(endpoint["dane_error"]) if endpoint["dane"] == DaneStatus.MISMATCH else None
