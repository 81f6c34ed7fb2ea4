"""What `probe` found, in sentences for a person.

Rule of this room: every sentence is read off a row, and what a server says goes in as it is stored, escaped,
never as markup.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.text import Text

from crawler.certificates import Known
from crawler.records import (
    DaneStatus,
    Domain,
    Host,
    Outcome,
    Probe,
    Route,
    Stage,
    Tlsa,
)
from crawler.senders import Delivery, Sender, deliveries, summary

ROUTES: dict[Route, str] = {
    Route.EXPLICIT: "takes mail at the hosts of its MX records",
    Route.IMPLICIT: "has no MX records but an address: it is its own mail host (RFC 5321 §5.1)",
    Route.NULL_MX: "says that it takes no mail: null MX (RFC 7505)",
    Route.NULL_MX_INVALID: "publishes a malformed null MX (RFC 7505)",
    Route.NO_MAIL_HOST: "has neither MX records nor an address",
    Route.NXDOMAIN: "does not exist",
    Route.UNKNOWN: "could not be looked up, so where its mail goes is unknown",
    Route.OPTED_OUT: "opted out of being measured",
}

OUTCOMES: dict[Outcome, str] = {
    Outcome.OK: "answered inside TLS",
    Outcome.NOT_OFFERED: "STARTTLS is not offered: mail arrives here in the clear",
    Outcome.CONNECTION_REFUSED: "the connection was refused; whether it does TLS is unknown",
    Outcome.UNREACHABLE: "the address could not be reached; whether it does TLS is unknown",
    Outcome.TIMEOUT: "no answer in time; the rest is unknown",
    Outcome.CLOSED: "the host hung up; the rest is unknown",
    Outcome.RESET: "the connection was reset; the rest is unknown",
    Outcome.REJECTED: "the host will not talk to us; whether it does TLS for others is unknown",
    Outcome.UPGRADE_REFUSED: "STARTTLS was offered, then refused",
    Outcome.PROTOCOL_ERROR: "the answer is outside the protocol's grammar",
    Outcome.WRONG_PROTOCOL: "another protocol answers at this port",
    Outcome.LIMIT_EXCEEDED: "the host sent more than we take (our limit)",
    Outcome.TLS_ALERT: "the host broke the handshake off with an alert",
    Outcome.TLS_ERROR: "what came was not acceptable TLS",
    Outcome.TLS_UNSUPPORTED_BY_US: "only TLS that our library no longer speaks",
    Outcome.BLOCKED_ADDRESS: "special-purpose address, not contacted (--allow-network permits it)",
    Outcome.OPTED_OUT: "opted out, not contacted",
    Outcome.SAMPLED_OUT: "not probed; another name was, at the same address",
    Outcome.NOT_RUN: "not probed",
    Outcome.INTERNAL_ERROR: "our own fault; the log has the trace",
}

_WIDEST = 160  # characters of a server's line that are shown


@dataclass
class Findings:
    """All rows about one name."""

    name: str
    domain: Domain | None = None
    hosts: list[Host] = field(default_factory=list)
    tlsa: dict[str, Tlsa] = field(default_factory=dict)
    probes: list[tuple[Probe, list[Known]]] = field(default_factory=list)


def lines(findings: Findings) -> Iterator[Text]:
    """The whole explanation; text of servers goes in as it is stored, escaped, never as markup."""
    if findings.domain is not None:
        yield from _about_domain(findings.domain)
    for host in findings.hosts:
        yield Text()
        yield from _about_host(host, findings)
        for probe, chain in findings.probes:
            if probe.host == host.host:
                yield from _about_probe(probe, chain)
    if findings.probes and findings.domain is not None:
        yield Text(f"\nWhat senders would do with mail for {findings.name}:", style="bold")
        yield from (Text(f"  {line}") for line in summary(findings.domain, judged(findings)))


def _about_domain(row: Domain) -> Iterator[Text]:
    yield Text.assemble((row.domain or "", "bold"), " ", ROUTES.get(row.route or Route.UNKNOWN, str(row.route)))
    if row.dns_error:
        yield Text(f"  DNS: {row.dns_error} {row.rcode or ''} {' '.join(row.ede or ())}".rstrip(), style="yellow")
    if row.route not in (Route.OPTED_OUT, Route.INVALID):
        known = {
            "DNSSEC": row.dnssec,
            "MTA-STS": row.mta_sts_mode or _first_line(row.mta_sts_problem) or row.mta_sts_record,
            "TLSRPT": row.tlsrpt,
        }
        yield Text("  " + "   ".join(f"{name}: {value or 'unknown'}" for name, value in known.items()))


def _about_host(host: Host, findings: Findings) -> Iterator[Text]:
    mx = (findings.domain and findings.domain.mx) or ()
    preference = next((f"preference {entry['preference']}" for entry in mx if entry["host"] == host.host), "mail host")
    tlsa = findings.tlsa.get(host.host or "")
    yield Text.assemble(
        (host.host or "", "bold"),
        f"  {preference}   DNSSEC: {host.dnssec}   TLSA: ",
        tlsa.status if tlsa and tlsa.status else "unknown",
    )
    if not host.addresses:
        yield Text(f"  no address: IPv4 {host.ipv4_status}, IPv6 {host.ipv6_status}", style="yellow")


def _about_probe(probe: Probe, chain: list[Known]) -> Iterator[Text]:
    yield Text(f"  {probe.address} port {probe.port}", style="cyan")
    told: dict[Stage, str] = {
        Stage.CONNECT: f"from {probe.source_address}" if probe.source_address else "",
        Stage.GREETING: _first_line(probe.greeting),
        Stage.CAPABILITIES: _capabilities(probe),
        Stage.UPGRADE: str(probe.starttls_code or ""),
        Stage.HANDSHAKE: _handshake(probe),
        Stage.AFTER_TLS: f"{len(probe.capabilities_after_tls)} keywords inside TLS" if probe.capabilities_after_tls is not None else "",
    }  # fmt: skip
    for stage, words in told.items():
        took = getattr(probe, f"{stage}_ms")
        if took is None:
            continue
        failed = stage is probe.stage
        yield Text.assemble(
            ("    ✗ " if failed else "    ✓ ", "red" if failed else "green"),
            f"{stage:<13}{took:>6} ms  {words}".rstrip(),
        )
    outcome = probe.outcome or Outcome.INTERNAL_ERROR
    style = "green" if outcome is Outcome.OK else "red" if probe.conclusive else "yellow"
    yield Text(f"    {OUTCOMES[outcome]}", style=style)
    if outcome is not Outcome.OK and probe.last_reply:
        yield Text(f"    it said: {_first_line(probe.last_reply)}")
    if probe.tls_reason:
        yield Text(f"    OpenSSL says: {probe.tls_reason}")
    if probe.starttls_masked:
        yield Text(f"    {probe.starttls_masked} looks like STARTTLS masked on the way", style="red")
    if probe.plaintext_after_upgrade:
        yield Text(f"    {len(probe.plaintext_after_upgrade)} bytes of plaintext behind the go-ahead", style="red")
    if chain:
        yield from _about_chain(probe, chain)


def _about_chain(probe: Probe, chain: list[Known]) -> Iterator[Text]:
    leaf = chain[0].row
    until = f"until {leaf.not_after:%Y-%m-%d}" if leaf.not_after else leaf.parse_error or ""
    names = ", ".join((leaf.names or [])[:4]) + (" …" if len(leaf.names or ()) > 4 else "")
    yield Text(
        f"    certificate of {names or 'nobody (no DNS names)'}, by {leaf.issuer_organization or leaf.issuer}, {until}"
    )
    verdicts = [
        (probe.chain_trusted, "trusted", f"not trusted: {probe.chain_error} at depth {probe.chain_error_depth}"),
        (probe.name_match, "names the host", "does not name the host"),
        (probe.unexpired, "within its dates", "outside its dates"),
    ]
    if probe.dane in (DaneStatus.MATCH, DaneStatus.MISMATCH):
        matches = probe.dane is DaneStatus.MATCH
        verdicts.append((matches, "as its TLSA records say", f"not as its TLSA records say: {probe.dane_error}"))
    for verdict, yes, no in verdicts:
        words = {True: yes, False: no, None: "could not be read off the certificate"}[verdict]
        yield Text.assemble((f"      {_MARKS[verdict]} ", _STYLES[verdict]), words)
    yield Text(f"    {_STRICT[probe.strict_valid]}", style=_STYLES[probe.strict_valid])


_MARKS: dict[bool | None, str] = {True: "✓", False: "✗", None: "?"}
_STYLES: dict[bool | None, str] = {True: "green", False: "red", None: "yellow"}
_STRICT: dict[bool | None, str] = {
    True: "a strict sender would have delivered",
    False: "a strict sender would have refused",
    None: "whether a strict sender would have delivered is unknown",
}


def judged(findings: Findings) -> Iterator[tuple[Probe, dict[Sender, Delivery | None]]]:
    """What each sender would do at each probe's endpoint; nothing where only a host was asked about."""
    for probe, chain in findings.probes:
        tlsa = findings.tlsa.get(probe.host or "")
        yield probe, deliveries(findings.domain, tlsa, probe, chain[0] if chain else None) if findings.domain else {}


def _first_line(text: str | None) -> str:
    first, _, rest = (text or "").partition("\n")
    return first[:_WIDEST] + (" …" if rest or len(first) > _WIDEST else "")


def _capabilities(probe: Probe) -> str:
    if probe.capabilities is None:
        return _first_line(probe.hello_reply)
    offered = "STARTTLS offered" if probe.starttls_offered else "STARTTLS not offered"
    return f"{(probe.hello or '').upper()}: {len(probe.capabilities)} keywords, {offered}"


def _handshake(probe: Probe) -> str:
    if probe.tls_version is None:
        return probe.tls_alert or probe.tls_reason or ""
    kinds = [
        word
        for word, holds in (("forward secret", probe.forward_secret), ("post-quantum", probe.post_quantum))
        if holds
    ]
    return f"{probe.tls_version}, {probe.tls_cipher}, {probe.tls_group or 'no group'} ({', '.join(kinds) or 'no forward secrecy'})"
