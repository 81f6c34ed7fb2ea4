"""RESOLVE: a domain to its row, a mail host to its rows.

It uses DNS only and makes no connection to any mail host.  Every target gives one `Domain`, every
mail host one `Host` and one `Tlsa` for each protocol's standard port, whatever happens; what was
not asked or not answered stays null, and a status says why.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import TypeVar

import anyio

from crawler import dane, mta_sts, route, tlsrpt
from crawler.config import STANDARD_PORTS, Config, DnsSettings
from crawler.dns.client import Answer, DnsClient
from crawler.dns.codec import AAAA, CNAME, MX, TLSA, TXT, A
from crawler.names import suffixes
from crawler.records import (
    Certificate,
    Dnssec,
    Domain,
    Host,
    LookupStatus,
    MailHost,
    MtaStsRecord,
    Policy,
    Probe,
    Route,
    Target,
    Tlsa,
    TlsaStatus,
)
from crawler.text_records import is_too_long

Item = TypeVar("Item")
Row = Domain | Host | Tlsa | Probe | Certificate | Policy
Emit = Callable[[Row], None]
FetchPolicy = Callable[[Domain, Emit], Awaitable[None]]

log = logging.getLogger(__name__)

_ABSENT = frozenset({LookupStatus.NODATA, LookupStatus.NXDOMAIN})


async def resolve_domains(
    targets: Iterable[Target],
    dns: DnsClient,
    config: Config,
    emit: Emit,
    *,
    excluded: Callable[[str], bool] = lambda name: False,
    fetch_policy: FetchPolicy | None = None,
) -> None:
    """Emit one `Domain` for each target.

    At most `config.dns.domains_in_flight` are under way at once, and no more is taken from the
    iterable.  A domain that is `excluded` is not asked about.  `fetch_policy` is awaited for a
    domain with a valid `_mta-sts` record, to fill in what the policy says before the row goes out;
    meanwhile others are resolved, until `config.https.waiting` rows are held up so.
    """
    room = anyio.Semaphore(config.https.waiting)

    async def with_policy(row: Domain, fetch: FetchPolicy) -> None:
        try:
            await fetch(row, emit)
        except Exception:
            log.exception("%s: our bug; the row says what was learnt before it", row.domain)
        finally:
            room.release()
        emit(row)

    async def resolve(target: Target) -> None:
        row = Domain(domain=target.domain, input=target.input, rank=target.rank)
        try:
            if target.domain is None or target.problem is not None:
                row.domain, row.route = None, Route.INVALID
            elif excluded(target.domain):
                row.registrable_domain, row.public_suffix = suffixes(target.domain)
                row.route = Route.OPTED_OUT
            else:
                row.registrable_domain, row.public_suffix = suffixes(target.domain)
                await _fill_domain(row, target.domain, dns, config, excluded)
        except Exception:
            log.exception("%s: our bug; the row says what was learnt before it", target.domain)
            row.route = row.route or Route.UNKNOWN
        if fetch_policy is not None and row.mta_sts_record is MtaStsRecord.VALID:
            await room.acquire()
            fetches.start_soon(with_policy, row, fetch_policy)
        else:
            emit(row)

    async with anyio.create_task_group() as fetches:
        await _each(targets, resolve, config.dns.domains_in_flight)


async def resolve_hosts(hosts: Iterable[MailHost], dns: DnsClient, config: Config, emit: Emit) -> None:
    """Emit one `Host`, and one `Tlsa` for each standard port, for each mail host."""
    ports = sorted({STANDARD_PORTS[protocol] for protocol in config.protocol})

    async def resolve(mail_host: MailHost) -> None:
        row = Host(host=mail_host.host)
        tlsa = [Tlsa(host=mail_host.host, port=port, status=TlsaStatus.NOT_ASKED) for port in ports]
        try:
            assert mail_host.host is not None
            await _fill_host(row, tlsa, mail_host.host, dns, config)
        except Exception:
            log.exception("%s: our bug; the rows say what was learnt before it", mail_host.host)
        emit(row)
        for record in tlsa:
            emit(record)

    await _each(hosts, resolve, config.dns.domains_in_flight)


async def _each(items: Iterable[Item], work: Callable[[Item], Awaitable[None]], at_once: int) -> None:
    """Do the work for every item; a fixed set of takers costs less than a task for each."""
    source = iter(items)

    async def take() -> None:
        for item in source:
            await work(item)

    async with anyio.create_task_group() as takers:
        for _ in range(at_once):
            takers.start_soon(take)


# --- a domain -----------------------------------------------------------------------------------


async def _fill_domain(
    row: Domain, domain: str, dns: DnsClient, config: Config, excluded: Callable[[str], bool]
) -> None:
    answer = await dns.ask(domain, MX)
    row.resolved_at = datetime.now(UTC)
    row.rcode = answer.rcode
    row.ede = answer.ede
    row.dnssec = _dnssec([answer])
    row.cnames = answer.cnames if answer.rcode is not None else None
    if any(map(excluded, answer.cnames)):
        row.route = Route.OPTED_OUT  # the domain is an alias of one that asked not to be probed
        return
    if answer.status not in (LookupStatus.OK, LookupStatus.NODATA):
        _note(row, route.without_answer(answer.status))
        return  # below a name that does not exist there is nothing (RFC 8020); below a broken one, nothing to learn
    policy = dns.begin(f"_mta-sts.{domain}", TXT) if config.mta_sts else None
    reporting = dns.begin(f"_smtp._tls.{domain}", TXT) if config.tlsrpt else None
    if answer.status is LookupStatus.OK:
        _note(row, route.by_mx(answer.records, config.dns.max_mx))
    else:
        addresses = await _addresses(domain, dns, config)
        _note(row, route.without_mx(domain, [address.status for address in addresses]))
    most = config.dns.text_bytes
    if policy is not None and (texts := _texts(await policy, b"STSv1", most)) is not None:
        row.mta_sts_record, row.mta_sts_id, row.mta_sts_ambiguous = mta_sts.record_state(texts)
    if reporting is not None and (texts := _texts(await reporting, b"TLSRPTv1", most)) is not None:
        row.tlsrpt, row.tlsrpt_rua, row.tlsrpt_ambiguous = tlsrpt.record_state(texts)


def _note(row: Domain, routing: route.Routing) -> None:
    row.route, row.dns_error = routing.route, routing.error
    row.mx, row.mx_dropped = routing.mx, routing.mx_dropped


def _texts(answer: Answer, version: bytes, most: int) -> list[bytes] | None:
    """The TXT records; None if the lookup failed, or a record of that version is longer than we read."""
    if answer.status is not LookupStatus.OK and answer.status not in _ABSENT:
        return None
    return None if is_too_long(answer.records, version, most) else answer.records


# --- a mail host --------------------------------------------------------------------------------


async def _addresses(name: str, dns: DnsClient, config: Config) -> tuple[Answer, Answer]:
    """The A and AAAA answers; `not_asked` for a family that is switched off."""
    ipv4 = dns.begin(name, A) if config.ipv4 else None
    ipv6 = dns.begin(name, AAAA) if config.ipv6 else None
    return (
        await ipv4 if ipv4 is not None else Answer(name, A, LookupStatus.NOT_ASKED),
        await ipv6 if ipv6 is not None else Answer(name, AAAA, LookupStatus.NOT_ASKED),
    )


async def _fill_host(row: Host, tlsa: list[Tlsa], host: str, dns: DnsClient, config: Config) -> None:
    both = await _addresses(host, dns, config)
    row.resolved_at = datetime.now(UTC)
    row.ipv4_status, row.ipv6_status = (answer.status for answer in both)
    row.dnssec = _dnssec(both)
    found = [answer for answer in both if answer.status is LookupStatus.OK]
    families = [sorted(set(answer.records)) for answer in found]
    row.addresses = [address for family in families for address in family[: config.dns.max_addresses]]
    row.addresses_dropped = sum(map(len, families)) - len(row.addresses)
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
    if alias.status is LookupStatus.OK or alias.status in _ABSENT:
        return [host] if alias.secure else TlsaStatus.INSECURE
    return _without_answer(alias)


async def _fill_tlsa(row: Tlsa, bases: list[str], dns: DnsClient, limits: DnsSettings) -> None:
    """Ask at each base domain until one has a secure RRset, or fails, which is no absence (RFC 7672 §2.1.2).

    Of a set larger than `max_tlsa` or `max_tlsa_bytes` only a part is kept, by which a chain can be found to match and no more.
    """
    row.base_domain = bases[0]
    row.status = TlsaStatus.ABSENT
    for base in bases:
        answer = await dns.ask(f"_{row.port}._tcp.{base}", TLSA)
        if answer.status in _ABSENT:
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


def _dnssec(answers: Iterable[Answer]) -> Dnssec:
    """The state of answers together: the worst of those asked (RFC 4033 §5)."""
    asked = [answer for answer in answers if answer.status is not LookupStatus.NOT_ASKED]
    if any(answer.status is LookupStatus.BOGUS for answer in asked):
        return Dnssec.BOGUS
    if any(answer.secure is False for answer in asked):
        return Dnssec.INSECURE
    return Dnssec.SECURE if asked and all(answer.secure for answer in asked) else Dnssec.UNKNOWN
