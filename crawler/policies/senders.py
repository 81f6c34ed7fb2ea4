"""What four kinds of sender would do with a domain's mail at one endpoint: the question that verdicts are for.

This module is pure, and states the senders' rules with their sources.  It reads the rows of one domain, mail host and
probe. `analysis` asks the same of a whole run in SQL, and is tested against this.

Every sender is asked for itself, and keeps to its one standard:

- **opportunistic** (RFC 7435 §3, RFC 3207): uses TLS if it can be had, looks at no certificate, and sends
  in the clear if STARTTLS is not offered or the handshake fails;
- **pkix_strict**: sends only where TLS is negotiated and the certificate is trusted, within its dates and
  names the mail host.  It asks no one whether the mail host is the right one: an MX record can be forged
  where it is not signed;
- **dane** (RFC 7672): does as the mail host's TLSA RRset says (§2.2).
  - *usable*: TLS, and a record that matches, or no mail.  Beside TLSA base domain and mail host, DANE-TA
    takes the next-hop domain, and what its CNAMEs lead to, as names of the certificate, but only if the MX
    answer is secure (§3.2.2).  If it is insecure, the records are used all the same (§2.2.1 allows it, and
    Postfix does so by default), but must not be taken for a secure way to the next-hop domain, whose MX
    answer may be forged: that counts as encrypted, not as authenticated;
  - *unusable* (secure records, none of a kind known): TLS, unauthenticated, or no mail;
  - *absent* or *insecure*: opportunistic;
  - *bogus*: no mail (§2.1.2).  A lookup that failed for us may have succeeded for them: unknown;
- **mta_sts_enforcing** (RFC 8461), meeting the domain for the first time, without a policy in its cache:
  - mode `enforce`: the mail host must match an `mx` pattern (§4.1) and the certificate be valid for the mail
    host (§4.2), or no mail (§5);
  - mode `testing` or `none` (§5), no valid record (§3.1), or a policy host that does not exist or answers
    with anything but a policy (§3.3): opportunistic;
  - a policy host that could not be reached from here, broke off, could not answer, or was not asked: unknown.

*Refused* is what happens at this mail host: a sender then tries the next, and keeps the message
for later if there is none.
"""

from __future__ import annotations

from enum import StrEnum

from crawler.certificates.name_match import names_any
from crawler.certificates.parsing import ParsedCertificate
from crawler.certificates.verdicts import does_tls
from crawler.model.rows import (
    DaneError,
    DaneStatus,
    Dnssec,
    Domain,
    Form,
    MtaStsFetch,
    MtaStsMode,
    MtaStsRecord,
    Probe,
    Tlsa,
    TlsaStatus,
)
from crawler.model.three_valued import all_of
from crawler.policies.mta_sts import is_allowed


class Sender(StrEnum):
    """A kind of sender, named after what it relies on."""

    OPPORTUNISTIC = "opportunistic"
    PKIX_STRICT = "pkix_strict"
    DANE = "dane"
    MTA_STS_ENFORCING = "mta_sts_enforcing"


class Delivery(StrEnum):
    """What a sender would do with a message; nothing (`None`) where we cannot know."""

    AUTHENTICATED = "authenticated"  #: delivers over TLS, to whom it means to
    ENCRYPTED = "encrypted"  #: delivers over TLS, to whoever answers
    CLEAR = "clear"  #: delivers without TLS
    REFUSED = "refused"  #: does not deliver here


#: The same for a person.
WORDS = {
    Delivery.AUTHENTICATED: "encrypted and authenticated",
    Delivery.ENCRYPTED: "encrypted, unauthenticated",
    Delivery.CLEAR: "in the clear",
    Delivery.REFUSED: "refused",
}

#: How fetching a policy ended where there is none to honour: no policy host, or one that gave something else.  A connection
#: that broke off and a host that is ill tell nothing of that, as another sender may have more luck.  A policy of more than
#: the 64 KiB that RFC 8461 §3.3 suggests as a limit is taken by no sender that keeps to it.
NO_POLICY = (MtaStsFetch.NO_HOST, MtaStsFetch.TLS, MtaStsFetch.HTTP, MtaStsFetch.TOO_LARGE, MtaStsFetch.SYNTAX)


def takes_deliveries(probe: Probe) -> bool:
    """Whether mail is delivered at that endpoint: between servers it is, by SMTP that upgrades (RFC 5321 §4.5.4.2, RFC 3207)."""
    return probe.protocol == "smtp" and probe.form is not Form.IMPLICIT


def deliveries(
    domain: Domain, tlsa: Tlsa | None, probe: Probe, leaf: ParsedCertificate | None
) -> dict[Sender, Delivery | None]:
    """What each sender would do with mail for `domain` at the endpoint of `probe`.

    `tlsa` is the RRset of the probe's host, `leaf` the first certificate received.
    """
    tls, valid = does_tls(probe), probe.strict_valid
    plain = _either(tls, Delivery.ENCRYPTED, Delivery.CLEAR)
    return {
        Sender.OPPORTUNISTIC: plain,
        Sender.PKIX_STRICT: _either(valid, Delivery.AUTHENTICATED, Delivery.REFUSED),
        Sender.DANE: _by_dane(domain, tlsa, probe, leaf, tls, plain),
        Sender.MTA_STS_ENFORCING: _by_mta_sts(domain, probe, valid, plain),
    }


def mta_sts_enforced(domain: Domain) -> bool | None:
    """Whether the domain has an MTA-STS policy in force, as far as a sender can see that met it now."""
    if domain.mta_sts_record in (MtaStsRecord.ABSENT, MtaStsRecord.INVALID, MtaStsRecord.MULTIPLE):
        return False
    if domain.mta_sts_fetch in NO_POLICY:
        return False
    return domain.mta_sts_mode == MtaStsMode.ENFORCE if domain.mta_sts_fetch == MtaStsFetch.OK else None


def _by_dane(
    domain: Domain,
    tlsa: Tlsa | None,
    probe: Probe,
    leaf: ParsedCertificate | None,
    tls: bool | None,
    plain: Delivery | None,
) -> Delivery | None:
    match tlsa.status if tlsa else None:
        case TlsaStatus.USABLE:
            secure = {Dnssec.SECURE: True, Dnssec.INSECURE: False}.get(domain.dnssec or Dnssec.UNKNOWN)
            matches = _tlsa_match(domain, probe, leaf, secure)
            if all_of(tls, matches):
                return _either(secure, Delivery.AUTHENTICATED, Delivery.ENCRYPTED)
            return Delivery.REFUSED if all_of(tls, matches) is False else None
        case TlsaStatus.UNUSABLE:
            return _either(tls, Delivery.ENCRYPTED, Delivery.REFUSED)
        case TlsaStatus.ABSENT | TlsaStatus.INSECURE:
            return plain
        case TlsaStatus.BOGUS:
            return Delivery.REFUSED
        case _:
            return None


def _tlsa_match(domain: Domain, probe: Probe, leaf: ParsedCertificate | None, secure: bool | None) -> bool | None:
    """The verdict of the probe, which knew no next-hop domain, with the names that it adds."""
    if probe.dane == DaneStatus.MATCH:
        return True
    if probe.dane != DaneStatus.MISMATCH:
        return None
    if probe.dane_error != DaneError.NAME:
        return False
    names = [name for name in (domain.domain, *(domain.cnames or [])[-1:]) if name]
    return all_of(secure, None if leaf is None else names_any(leaf, names))


def _by_mta_sts(domain: Domain, probe: Probe, valid: bool | None, plain: Delivery | None) -> Delivery | None:
    enforced = mta_sts_enforced(domain)
    if not enforced:
        return plain if enforced is False else None
    allowed = is_allowed(probe.host or "", domain.mta_sts_mx or ())
    return _either(all_of(allowed, valid), Delivery.AUTHENTICATED, Delivery.REFUSED)


def _either(verdict: bool | None, yes: Delivery, no: Delivery) -> Delivery | None:
    return None if verdict is None else yes if verdict else no
