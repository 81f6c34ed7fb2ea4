"""RESOLVE: a mail host to its rows.

It uses DNS only.  Every mail host gives one `Host` and one `Tlsa` for each port that it is asked on, whatever happens.
A question that was not asked or not answered leaves null, and a status says why.  An address in place of a name is its
own address, and no question is asked.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime

from crawler.dns.client import Answer, DnsClient
from crawler.dns.codec import CNAME, TLSA
from crawler.model.rows import Host, LookupStatus, MailHost, Tlsa, TlsaStatus
from crawler.model.vocabulary import ABSENT, ANSWERED
from crawler.policies import dane
from crawler.politeness.exclusions import is_address
from crawler.resolve.asked import by_mx, owner_ports, within_limits
from crawler.resolve.lookups import Emit, ask_addresses, dnssec_of, for_each
from crawler.settings.config import Config, DnsSettings

log = logging.getLogger(__name__)


async def resolve_hosts(hosts: Iterable[MailHost], dns: DnsClient, config: Config, emit: Emit) -> None:
    """Emit one `Host`, and one `Tlsa` for each port, for each mail host."""

    async def resolve(mail_host: MailHost) -> None:
        row, tlsa = unasked(mail_host, config)
        try:
            assert mail_host.host is not None
            await _fill_host(row, tlsa, mail_host.host, dns, config)
        except Exception:
            log.exception("%s: our bug; the rows say what was learnt before it", mail_host.host)
        emit(row)
        for record in tlsa:
            emit(record)

    await for_each(hosts, resolve, config.dns.domains_in_flight)


def unasked(mail_host: MailHost, config: Config) -> tuple[Host, list[Tlsa]]:
    """The rows of a mail host as they are before anything is asked about it."""
    kept, dropped = (by_mx(config), 0) if mail_host.asked is None else within_limits(mail_host.asked, config)
    row = Host(host=mail_host.host, asked=kept, asked_dropped=dropped or None)
    ports = owner_ports(kept, config)
    return row, [Tlsa(host=mail_host.host, port=port, status=TlsaStatus.NOT_ASKED) for port in ports]


async def _fill_host(row: Host, tlsa: list[Tlsa], host: str, dns: DnsClient, config: Config) -> None:
    if config.hosts and is_address(host):  # an MX record may not name an address (RFC 5321 §5.1)
        row.ipv4_status = row.ipv6_status = LookupStatus.NOT_ASKED
        row.addresses = [host] if (config.ipv6 if ":" in host else config.ipv4) else []
        return
    both = await ask_addresses(host, dns, config)
    row.resolved_at = datetime.now(UTC)
    row.ipv4_status, row.ipv6_status = (answer.status for answer in both)
    row.dnssec = dnssec_of(both)
    found = [answer for answer in both if answer.status is LookupStatus.OK]
    families = [sorted(set(answer.records)) for answer in found]
    row.addresses = [address for family in families for address in family[: config.dns.max_addresses]]
    unreadable = sum(answer.malformed for answer in both)
    row.addresses_dropped = sum(map(len, families)) - len(row.addresses) + unreadable
    aliases = max((answer.cnames for answer in both), key=len)
    # The families may be led through different aliases, and each is a name under which somebody is met.
    row.cnames = list(dict.fromkeys([*aliases, *(name for answer in both for name in answer.cnames)]))
    row.ttl = min((answer.ttl for answer in found if answer.ttl is not None), default=None)
    if not config.tlsa or not found or any(answer.secure is None for answer in found):
        return  # switched off, nothing to connect to, or a resolver that cannot tell secure from not
    bases = await _base_domains(aliases, host, all(answer.secure for answer in found), dns)
    for record in tlsa:
        if isinstance(bases, TlsaStatus):
            record.status, record.base_domain = bases, host
        else:
            await _fill_tlsa(record, bases, dns, config.dns)


async def _base_domains(aliases: list[str], host: str, secure: bool, dns: DnsClient) -> list[str] | TlsaStatus:
    """Names to ask for TLSA, the better first (RFC 7672 §2.2.2, §2.2.3); else what stands in for an RRset.

    A secure alias into an insecure zone still leaves the alias's own name; whether the alias is
    secure is then a question of its own, and no answer to it is no *insecure* (§2.1.2).
    """
    if secure:
        return [aliases[-1], host] if aliases else [host]
    if not aliases:
        return TlsaStatus.INSECURE
    alias = await dns.ask(host, CNAME)
    if alias.status in ANSWERED:
        return [host] if alias.secure else TlsaStatus.INSECURE
    return _without_answer(alias)


async def _fill_tlsa(row: Tlsa, bases: list[str], dns: DnsClient, limits: DnsSettings) -> None:
    """Ask at each base domain until one has a secure RRset, or fails, which is no absence (RFC 7672 §2.1.2).

    Only a part is kept of a set larger than `max_tlsa` or `max_tlsa_bytes`. A chain can be found to match it, but
    never found not to match.
    """
    row.base_domain = bases[0]
    row.status = TlsaStatus.ABSENT
    for base in bases:
        answer = await dns.ask(f"_{row.port}._tcp.{base}", TLSA)
        if answer.status in ABSENT:
            continue
        row.base_domain, row.records, row.records_dropped = base, None, None
        if answer.status is LookupStatus.OK or answer.malformed:
            rrset = set(answer.records)
            row.records = dane.records_of(dane.most_telling(rrset, limits.max_tlsa, limits.max_tlsa_bytes))
            row.records_dropped = len(rrset) - len(row.records)
            row.status = dane.status_of(row.records, row.records_dropped) if answer.secure else TlsaStatus.INSECURE
        else:
            row.status = _without_answer(answer)
        if row.status is not TlsaStatus.INSECURE:
            return


def _without_answer(answer: Answer) -> TlsaStatus:
    """What a lookup on the way to a TLSA RRset leaves of it when it fails."""
    return TlsaStatus.BOGUS if answer.status is LookupStatus.BOGUS else TlsaStatus.LOOKUP_FAILED
