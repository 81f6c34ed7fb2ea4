"""`starttls-crawler probe`: one domain or mail host, measured as a scan would, explained for a person.

This module measures nothing of its own; rows come from RESOLVE and PROBE as a scan stores
them, and `text` puts them in words.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio

from crawler.dns.client import DnsClient
from crawler.executors.instruments import Instruments
from crawler.explain.list_text import listed_domain_of
from crawler.explain.text import WITHOUT_MAIL, Findings, judged, lines
from crawler.model.errors import UsageError
from crawler.model.names import InvalidName, a_label, suffixes
from crawler.model.rows import Domain, Endpoint, Host, MailHost, Outcome, Probe, Target, Tlsa
from crawler.model.visible import visible
from crawler.model.visible_console import VisibleConsole
from crawler.policies.policy_list import read_policy_list
from crawler.politeness.budgets import TimeBudget
from crawler.preflight.checks import check_identity
from crawler.probe.shard_rows import Place, is_deaf, place_of, unprobed
from crawler.protocols.registry import service
from crawler.resolve.asked import mail_hosts_of
from crawler.resolve.endpoints import endpoints_of
from crawler.settings.config import Config


def run(
    config: Config,
    name: str,
    *,
    as_host: bool,
    address: str | None,
    as_json: bool,
    policy_list: Path | None = None,
) -> int:
    """Measure and print; 0 when every endpoint could be judged, 1 when something stayed unknown.

    Raises `UsageError` for a name or an address that is none, and for a policy list that cannot be used.
    """
    try:
        label = a_label(name)
    except InvalidName as error:
        raise UsageError(f"{name!r} is no domain name ({error}); give a name such as example.com") from error
    if not config.ehlo_name:
        raise UsageError("--ehlo-name is missing: say who is probing, with a full name of this machine")
    if policy_list is not None and as_host:
        raise UsageError("--policy-list is about domains; leave --host out, or the list")
    listed = None if policy_list is None else read_policy_list(policy_list)
    check_identity(config)
    if as_host:
        config = replace(config, hosts=True)
    findings = anyio.run(_measure, config, label, as_host, address, backend_options={"use_uvloop": True})
    if listed is not None:
        sys.stderr.writelines(visible(f"{line}\n") for line in listed.warnings(datetime.now(UTC)))
        findings.listing = listed_domain_of(findings, listed)
    if as_json:
        sys.stdout.write(visible(json.dumps(as_document(findings), indent=2, default=_plain) + "\n"))
    else:
        console = VisibleConsole(soft_wrap=True)
        for line in lines(findings):
            console.print(line)
    if not findings.probes:
        return 0 if findings.domain is not None and findings.domain.route in WITHOUT_MAIL else 1
    return 0 if all(probe.conclusive for probe, _ in findings.probes) else 1


async def _measure(config: Config, name: str, as_host: bool, address: str | None) -> Findings:
    findings = Findings(name)

    def emit(row: Any) -> None:
        match row:
            case Domain():
                findings.domain = row
            case Host():
                findings.hosts.append(row)
            case Tlsa():
                if row.port == service("smtp").port:
                    findings.tlsa[row.host or ""] = row
                else:
                    findings.other_tlsa.append(row)

    async with DnsClient(config) as dns:
        instruments = Instruments(config, dns)
        if not as_host:
            await instruments.resolve_domains([Target(name, name)], emit)
        hosts = [MailHost(name)] if as_host else mail_hosts_of(findings.domain or Domain(), config)
        names = [host.host for host in hosts]
        await instruments.resolve_hosts(hosts, emit)
    prober = instruments.prober
    findings.hosts.sort(key=lambda host: names.index(host.host))
    endpoints = list(_endpoints(findings, config, address))
    time = TimeBudget(config.pacing)
    time.allow(name, 1.0)

    def took(seconds: float) -> None:
        time.take(name, seconds)

    asked: dict[Place, list[Probe]] = {}
    visited: set[str | None] = set()  # addresses
    for number, endpoint in enumerate(endpoints, 1):
        here = asked.setdefault(place_of(endpoint), [])
        if endpoint.over_budget or time.is_spent(name):
            findings.probes.append((unprobed(endpoint, Outcome.OVER_BUDGET), []))
            continue
        if here and (len(here) >= config.pacing.names_per_address or is_deaf(here[-1])):
            findings.probes.append((_represented(endpoint, here[0]), []))
            continue
        if len(endpoints) > 1 and not prober.exclusions.endpoint(
            endpoint
        ):  # which may take a while, as silent ones are waited for
            say(f"{number} of {len(endpoints)}: {endpoint.host} at {endpoint.address}, port {endpoint.port}")
        if endpoint.address in visited:
            await anyio.sleep(config.pacing.address_pause)
        found = await prober.probe_one(endpoint, took)  # one after the other: this is no scan
        findings.probes.append(found)
        if found[0].stage is not None:  # it was contacted
            here.append(found[0])
            visited.add(endpoint.address)
    return findings


def _represented(endpoint: Endpoint, probe: Probe) -> Probe:
    """The row of a name at an address that was asked under as many names as may be, or does not answer; `probe` stands for it."""
    row = unprobed(endpoint, Outcome.SAMPLED_OUT)
    row.representative_host = probe.host
    row.representative_related = (suffixes(probe.host or "")[0] or probe.host) == (
        suffixes(endpoint.host or "")[0] or endpoint.host
    )
    return row


def say(line: str) -> None:
    """What is being done, on standard error, so that the answer stays by itself."""
    sys.stderr.write(visible(f"{line}\n"))
    sys.stderr.flush()


def _all_tlsa(findings: Findings) -> list[Tlsa]:
    return [*findings.tlsa.values(), *findings.other_tlsa]


def _endpoints(findings: Findings, config: Config, only: str | None) -> Iterator[Endpoint]:
    addresses = sorted({address for host in findings.hosts for address in host.addresses or ()})
    if only is not None and only not in addresses:
        raise UsageError(
            f"--address {only}: no mail host of {findings.name} has it; they have {', '.join(addresses) or 'none'}"
        )
    most = max(1, config.pacing.domain_endpoints // max(1, len(findings.hosts)))  # as `budgets` has it for one domain
    for host in findings.hosts:
        rrsets = {tlsa.port: tlsa for tlsa in _all_tlsa(findings) if tlsa.host == host.host and tlsa.port}
        places: Counter[int | None] = Counter()  # endpoints so far, of each port
        for endpoint in endpoints_of(host, rrsets, config):
            endpoint.over_budget = only is None and places[endpoint.port] >= most
            places[endpoint.port] += 1
            if only in (None, endpoint.address):
                yield endpoint


# --- for programs ---------------------------------------------------------------------------------


def as_document(findings: Findings) -> dict[str, Any]:
    """The rows as a scan stores them, under the names of their tables, and what senders make of them."""
    certificates = {known.row.sha256: asdict(known.row) for _, chain in findings.probes for known in chain}
    return {
        "name": findings.name,
        "domains": [asdict(findings.domain)] if findings.domain else [],
        "hosts": [asdict(host) for host in findings.hosts],
        "tlsa": [asdict(tlsa) for tlsa in _all_tlsa(findings)],
        "probes": [asdict(probe) for probe, _ in findings.probes],
        "certificates": list(certificates.values()),
        "senders": [
            {"protocol": probe.protocol, "form": probe.form, "host": probe.host, "address": probe.address, **answers}
            for probe, answers in judged(findings)
        ],
        "policy_list": findings.listing and findings.listing.as_document(),
    }


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)
