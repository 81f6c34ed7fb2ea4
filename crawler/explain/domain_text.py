"""The promises of a domain and its mail hosts (DANE, MTA-STS, TLSRPT) and the answers of senders, for a person.

The rules of `text.py` hold here too. `senders.py` has the rules of senders; this module only reads the reason for each
answer off the same rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from rich.text import Text

from crawler.certificates.verdicts import does_tls
from crawler.explain.endpoint_text import DANE_ERRORS, first_line, marked
from crawler.model.rows import (
    Dnssec,
    Domain,
    Fallback,
    Form,
    Host,
    MtaStsFetch,
    MtaStsMode,
    MtaStsRecord,
    Outcome,
    Probe,
    SrvStatus,
    Stage,
    Tlsa,
    TlsaStatus,
    TlsrptStatus,
)
from crawler.policies.mta_sts import is_allowed
from crawler.policies.senders import NO_POLICY, WORDS, Delivery, Sender, mta_sts_enforced

_DNSSEC: dict[Dnssec | None, str] = {
    Dnssec.SECURE: "signed",
    Dnssec.INSECURE: "not signed",
    Dnssec.BOGUS: "validation fails",
}
_TLSA: dict[TlsaStatus | None, str] = {
    TlsaStatus.ABSENT: "no records",
    TlsaStatus.INSECURE: "not signed, so nobody looks at it",
    TlsaStatus.BOGUS: "validation fails, so DANE senders stay away",
    TlsaStatus.LOOKUP_FAILED: "could not be looked up",
    TlsaStatus.UNUSABLE: "no record of a kind that SMTP knows: DANE senders demand TLS, of anybody",
    TlsaStatus.USABLE: "DANE senders demand TLS, and one of these records to match",
}
_MODES: dict[MtaStsMode, str] = {
    MtaStsMode.ENFORCE: "enforced",
    MtaStsMode.TESTING: "in testing, which demands nothing",
    MtaStsMode.NONE: "withdrawn (mode none)",
}
_SERVICES: dict[str, str] = {
    SrvStatus.NAMED: "at the hosts of its SRV records",
    SrvStatus.NOT_AVAILABLE: "not available, say its SRV records",
    SrvStatus.ABSENT: "no SRV records, while the other form has some",
    SrvStatus.LOOKUP_FAILED: "unknown, as the lookup failed",
    SrvStatus.BOGUS: "unknown, as validation fails",
    SrvStatus.OPTED_OUT: "its host asked not to be probed",
    Fallback.FOUND: "no SRV records; looked for at a customary name or the first MX host",
    Fallback.NONE: "neither SRV records nor a customary name nor an MX host",
}
_SHOWN = 8  # records or patterns; the rest is counted


def about_domain(row: Domain) -> Iterator[Text]:
    """What the domain promises, a line each."""
    yield _line("MX answer", _DNSSEC.get(row.dnssec, "unknown whether signed"))
    for state in row.srv or ():
        form = "begun with TLS" if state["form"] == Form.IMPLICIT else "upgraded"
        yield _line(state["protocol"], f"{form}: {_SERVICES[state['fallback'] or state['status']]}")
    yield _line("MTA-STS", _policy(row))
    if row.mta_sts_cnames:
        yield _line("", f"at a provider's: its policy host is an alias of {row.mta_sts_cnames[-1]}")
    yield _line("TLSRPT", _reporting(row))


def about_host(host: Host, tlsa: Tlsa | None, domain: Domain | None) -> Iterator[Text]:
    """What is promised of one mail host."""
    yield _line("addresses", _DNSSEC.get(host.dnssec, "unknown whether signed"))
    yield _line("TLSA", _TLSA.get(tlsa.status, "unknown") if tlsa else "unknown")
    records = (tlsa and tlsa.records) or []
    for number, record in enumerate(records[:_SHOWN], 1):
        digest = record["data"].hex()
        short = digest[:32] + (" …" if len(digest) > 32 else "")
        unusable = "" if record["usable"] else "  (not usable)"
        yield _line("", f"{number}: {record['usage']} {record['selector']} {record['matching']} {short}{unusable}")
    if len(records) > _SHOWN:
        yield _line("", f"and {len(records) - _SHOWN} more")
    if domain is not None and domain.mta_sts_mode in (MtaStsMode.ENFORCE, MtaStsMode.TESTING):
        named = is_allowed(host.host or "", domain.mta_sts_mx or ())
        yield marked(named, f"{'named' if named else 'not named'} by the domain's MTA-STS policy", "  ")


def summary(
    domain: Domain, tlsa: dict[str, Tlsa], answered: Iterable[tuple[Probe, dict[Sender, Delivery | None]]]
) -> Iterator[str]:
    """A line for each sender: its answers at the domain's best-preference endpoints that accept connections, and why."""
    best = min((mx["preference"] for mx in domain.mx or ()), default=None)
    hosts = {mx["host"] for mx in domain.mx or () if mx["preference"] == best}
    reached = [
        (probe, answers)
        for probe, answers in answered
        if answers
        and probe.host in hosts
        and probe.stage != Stage.CONNECT
        and probe.outcome != Outcome.ADDRESS_NOT_ALLOWED
    ]
    if not reached:
        yield "unknown: no mail host of the best preference accepts connections from here"
        return
    for sender, name in _NAMES.items():
        counts = Counter(
            _answer(sender, one[sender], domain, tlsa.get(probe.host or ""), probe) for probe, one in reached
        )
        shares = [words if len(counts) == 1 else f"at {n} of {len(reached)} {words}" for words, n in counts.items()]
        yield f"{name:<14}{'; '.join(shares)}"


_NAMES = {
    Sender.OPPORTUNISTIC: "opportunistic",
    Sender.PKIX_STRICT: "PKIX-strict",
    Sender.DANE: "DANE",
    Sender.MTA_STS_ENFORCING: "MTA-STS",
}


def _line(name: str, words: str) -> Text:
    return Text(f"  {name:<11}{words}")


def _policy(row: Domain) -> str:
    match row.mta_sts_record:
        case None:
            return "unknown"
        case MtaStsRecord.ABSENT:
            return "no policy"
        case MtaStsRecord.INVALID | MtaStsRecord.MULTIPLE:
            return f"no policy: its record is {'malformed' if row.mta_sts_record is MtaStsRecord.INVALID else 'there twice'}"
    if row.mta_sts_mode is None:
        problem = first_line(row.mta_sts_problem)
        if row.mta_sts_fetch is MtaStsFetch.SYNTAX:
            return f"announced, but what is there is no policy: {problem}"
        if row.mta_sts_fetch not in NO_POLICY:
            return f"announced; what it says is not known: {problem or row.mta_sts_fetch or 'not tried'}"
        return f"announced, but no policy was had: {problem or row.mta_sts_fetch or 'not tried'}"
    patterns = row.mta_sts_mx or []
    more = f" and {len(patterns) - _SHOWN} more" if len(patterns) > _SHOWN else ""
    hosts = f", for {', '.join(patterns[:_SHOWN])}{more}" if patterns else ""
    return f"policy {row.mta_sts_id}, {_MODES[row.mta_sts_mode]}{hosts}"


def _reporting(row: Domain) -> str:
    match row.tlsrpt:
        case TlsrptStatus.VALID:
            return f"reports to {', '.join(row.tlsrpt_rua or ())}"
        case TlsrptStatus.INVALID:
            return "a record that is malformed or there twice: nobody reports"
        case TlsrptStatus.ABSENT:
            return "nobody is asked for reports"
    return "unknown"


# --- why a sender does what it does ----------------------------------------------------------------


def _answer(sender: Sender, answer: Delivery | None, domain: Domain, tlsa: Tlsa | None, probe: Probe) -> str:
    match sender:
        case Sender.OPPORTUNISTIC:
            reason = "it looks at no certificate" if answer is Delivery.ENCRYPTED else ""
        case Sender.PKIX_STRICT:
            reason = _failing(probe) if answer is Delivery.REFUSED else ""
        case Sender.DANE:
            reason = _by_dane(answer, tlsa, probe)
        case Sender.MTA_STS_ENFORCING:
            reason = _by_mta_sts(answer, domain, probe)
    words = WORDS[answer] if answer else "unknown"
    return f"{words} ({reason})" if reason else words


def _failing(probe: Probe) -> str:
    """What keeps a sender that demands a valid certificate from delivering."""
    if does_tls(probe) is False:
        return "no TLS"
    verdicts = {
        "its certificate is not trusted": probe.chain_trusted,
        "its certificate is for another name": probe.name_match,
        "its certificate is outside its dates": probe.within_validity,
    }
    return ", ".join(words for words, verdict in verdicts.items() if verdict is False)


def _by_dane(answer: Delivery | None, tlsa: Tlsa | None, probe: Probe) -> str:
    match tlsa.status if tlsa else None:
        case TlsaStatus.USABLE if answer is Delivery.REFUSED:
            error = DANE_ERRORS.get(probe.dane_error) if probe.dane_error else None
            return "TLSA records demand TLS, and there is none" if does_tls(probe) is False else error or ""
        case TlsaStatus.USABLE if answer is Delivery.ENCRYPTED:
            return "a TLSA record matches, but who named the host is not signed"
        case TlsaStatus.USABLE if answer is Delivery.AUTHENTICATED:
            return "a TLSA record matches"
        case TlsaStatus.UNUSABLE if answer is Delivery.REFUSED:
            return "TLSA records demand TLS, and there is none"
        case TlsaStatus.UNUSABLE:
            return "its TLSA records demand TLS, but are of no usable kind"
        case TlsaStatus.ABSENT | TlsaStatus.INSECURE:
            return "nothing to go by, so as an opportunistic one"
        case TlsaStatus.BOGUS:
            return "validation of its TLSA records fails"
    return "its TLSA records are not known"


def _by_mta_sts(answer: Delivery | None, domain: Domain, probe: Probe) -> str:
    match mta_sts_enforced(domain):
        case None:
            return "whether a policy is in force is not known"
        case False:
            return "no policy is in force, so as an opportunistic one"
    if answer is Delivery.REFUSED and not is_allowed(probe.host or "", domain.mta_sts_mx or ()):
        return "the policy does not name the host"
    return _failing(probe) if answer is Delivery.REFUSED else ""
