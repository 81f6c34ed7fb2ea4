"""RESOLVE: a domain to its row.

It uses DNS only and makes no connection to any mail host.  Every target gives one `Domain`, whatever happens; what
was not asked or not answered stays null, and a status says why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import anyio

from crawler.dns.client import Answer, DnsClient
from crawler.dns.codec import MX, TXT
from crawler.model.names import suffixes
from crawler.model.rows import Domain, LookupStatus, MtaStsRecord, Route, Target
from crawler.model.vocabulary import ANSWERED
from crawler.policies import mta_sts, tlsrpt
from crawler.policies.text_records import is_too_long
from crawler.resolve import routing
from crawler.resolve.lookups import Emit, FetchPolicy, ask_addresses, dnssec_of, for_each
from crawler.resolve.services import find_services
from crawler.settings.config import Config

log = logging.getLogger(__name__)


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

    At most `config.dns.domains_in_flight` are under way at once, and no more is taken from the iterable.  A domain
    that is `excluded` is not asked about.  `fetch_policy` is awaited for a domain with a valid `_mta-sts` record, to
    fill in the policy before the row goes out. Others are resolved meanwhile, until `config.https.waiting` rows wait
    so.
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
        await for_each(targets, resolve, config.dns.domains_in_flight)


async def _fill_domain(
    row: Domain, domain: str, dns: DnsClient, config: Config, excluded: Callable[[str], bool]
) -> None:
    answer = await dns.ask(domain, MX)
    row.resolved_at = datetime.now(UTC)
    row.rcode = answer.rcode
    row.ede = answer.ede
    row.dnssec = dnssec_of([answer])
    row.cnames = answer.cnames if answer.rcode is not None else None
    if any(map(excluded, answer.cnames)):
        row.route = Route.OPTED_OUT  # the domain is an alias of one that asked not to be probed
        return
    if answer.status not in (LookupStatus.OK, LookupStatus.NODATA):
        _note(row, routing.without_answer(answer.status))
        return  # below a name that does not exist there is nothing (RFC 8020); below a broken one, nothing to learn
    policy = dns.begin(f"_mta-sts.{domain}", TXT) if config.mta_sts else None
    reporting = dns.begin(f"_smtp._tls.{domain}", TXT) if config.tlsrpt else None
    if answer.status is LookupStatus.OK:
        _note(row, routing.by_mx(answer.records, config.dns.max_mx, answer.malformed))
    else:
        addresses = await ask_addresses(domain, dns, config)
        _note(row, routing.without_mx(domain, [address.status for address in addresses]))
    if config.looked_up():
        await find_services(row, domain, dns, config, excluded)
    most = config.dns.text_bytes
    if policy is not None and (texts := _texts(await policy, b"STSv1", most)) is not None:
        row.mta_sts_record, row.mta_sts_id, row.mta_sts_ambiguous = mta_sts.record_state(texts)
    if reporting is not None and (texts := _texts(await reporting, b"TLSRPTv1", most)) is not None:
        row.tlsrpt, row.tlsrpt_rua, row.tlsrpt_ambiguous = tlsrpt.record_state(texts)


def _note(row: Domain, found: routing.Routing) -> None:
    row.route, row.dns_error = found.route, found.error
    row.mx, row.mx_dropped, row.mx_unreadable = found.mx, found.mx_dropped, found.mx_unreadable


def _texts(answer: Answer, version: bytes, most: int) -> list[bytes] | None:
    """The TXT records; None if the lookup failed, one cannot be read, or one of that version is longer than we read."""
    if answer.status not in ANSWERED or answer.malformed:
        return None
    return None if is_too_long(answer.records, version, most) else answer.records
