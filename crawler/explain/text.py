"""What `probe` found, in sentences for a person.

Every sentence is read off a row, and what a server says goes in as it is stored, escaped,
never as markup.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.text import Text

from crawler.certificates.parsing import ParsedCertificate
from crawler.explain.domain_text import about_domain, about_host, summary
from crawler.explain.endpoint_text import about_probe
from crawler.explain.list_text import ListedDomain
from crawler.model.rows import Domain, FoundBy, Host, Probe, Route, Tlsa
from crawler.policies.senders import Delivery, Sender, deliveries, takes_deliveries

ROUTES: dict[Route, str] = {
    Route.EXPLICIT: "takes mail at the hosts of its MX records",
    Route.IMPLICIT: "has no MX records but an address: it is its own mail host (RFC 5321 §5.1)",
    Route.NULL_MX: "says that it takes no mail: null MX (RFC 7505)",
    Route.NULL_MX_INVALID: "publishes a malformed null MX (RFC 7505)",
    Route.NO_MAIL_HOST: "has neither MX records nor an address",
    Route.NXDOMAIN: "does not exist",
    Route.UNKNOWN: "could not be looked up, so where its mail goes is unknown",
    Route.OPTED_OUT: "opted out of being measured",
    Route.HOST: "is asked as a host, whatever mail goes there",
}
_WAYS: dict[str, str] = {
    FoundBy.LISTED: "mail host",
    FoundBy.MX: "mail host",
    FoundBy.SRV: "named by SRV records",
    FoundBy.SRV_OTHER_FORM: "named by SRV records of the other form",
    FoundBy.FALLBACK: "found by custom",
}
_STYLES: dict[bool | None, str] = {True: "green", False: "red", None: ""}
WITHOUT_MAIL = (Route.NULL_MX, Route.NO_MAIL_HOST, Route.NXDOMAIN)
"""The domain takes no mail, and its DNS says so: that is an answer."""

_WITHOUT_PROMISES = (Route.OPTED_OUT, Route.INVALID, Route.NXDOMAIN, Route.UNKNOWN)


@dataclass
class Findings:
    """All rows about one name."""

    name: str
    domain: Domain | None = None
    hosts: list[Host] = field(default_factory=list)
    tlsa: dict[str, Tlsa] = field(default_factory=dict)  #: of each mail host, for the port on which mail is delivered
    other_tlsa: list[Tlsa] = field(default_factory=list)  #: for the other ports that were asked about
    probes: list[tuple[Probe, list[ParsedCertificate]]] = field(default_factory=list)
    listing: ListedDomain | None = None  #: where a policy list was given


def lines(findings: Findings) -> Iterator[Text]:
    """The whole explanation; text of servers goes in as it is stored, escaped, never as markup."""
    if findings.domain is not None:
        yield from _about_domain(findings.domain)
    if findings.listing is not None:
        yield Text(f"  {findings.listing.sentence()}", style=_STYLES[findings.listing.compliant])
    for host in findings.hosts:
        yield Text()
        yield from _about_host(host, findings)
        for probe, chain in findings.probes:
            if probe.host == host.host:
                yield from about_probe(probe, chain)
    if findings.domain is not None and any(takes_deliveries(probe) for probe, _ in findings.probes):
        yield Text(f"\nWhat senders would do with mail for {findings.name}:", style="bold")
        yield from (Text(f"  {line}") for line in summary(findings.domain, findings.tlsa, judged(findings)))


def _about_domain(row: Domain) -> Iterator[Text]:
    yield Text.assemble((row.domain or "", "bold"), " ", ROUTES.get(row.route or Route.UNKNOWN, str(row.route)))
    if row.dns_error:
        yield Text(f"  DNS: {row.dns_error} {row.rcode or ''} {' '.join(row.ede or ())}".rstrip(), style="yellow")
    if row.route not in _WITHOUT_PROMISES:
        yield from about_domain(row)


def _about_host(host: Host, findings: Findings) -> Iterator[Text]:
    mx = (findings.domain and findings.domain.mx) or ()
    preference = next((f"preference {entry['preference']}" for entry in mx if entry["host"] == host.host), _ways(host))
    yield Text.assemble((host.host or "", "bold"), f"  {preference}")
    if not host.addresses:
        yield Text(f"  no address: IPv4 {host.ipv4_status}, IPv6 {host.ipv6_status}", style="yellow")
        return
    yield from about_host(host, findings.tlsa.get(host.host or ""), findings.domain)


def _ways(host: Host) -> str:
    """How a host was found, in words; each way once."""
    ways = dict.fromkeys(_WAYS[way] for entry in host.asked or () for way in entry["found_by"])
    return ", ".join(ways) or _WAYS[FoundBy.MX]


def judged(findings: Findings) -> Iterator[tuple[Probe, dict[Sender, Delivery | None]]]:
    """What each sender would do at each probe's endpoint; nothing where only a host was asked about, or no mail arrives."""
    for probe, chain in findings.probes:
        tlsa = findings.tlsa.get(probe.host or "")
        if findings.domain is None or not takes_deliveries(probe):
            yield probe, {}
        else:
            yield probe, deliveries(findings.domain, tlsa, probe, chain[0] if chain else None)
