"""`starttls-crawler doctor`: can this machine measure, and what stands in the way?

This module contacts the resolver, and a mail host only if one is named by --connect.  What
cannot be found out without contacting others is `unknown`, never `ok`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.reversename

from crawler.certificates.trust_store import TrustStore
from crawler.model.errors import UsageError
from crawler.model.visible import visible
from crawler.politeness.exclusions import Exclusions
from crawler.preflight.checks import Resolver, ask_resolver, check_identity, check_source_addresses
from crawler.preflight.machine_checks import FAILED, OK, UNKNOWN, WARNING, Check, clock, disk, open_files
from crawler.preflight.named_host import Declined, check_name, greeting_of
from crawler.preflight.routes import source_towards, wanted_families, without_a_way
from crawler.settings.config import Config, server_address
from crawler.tls.handshake import offered

_PATIENCE = 3.0


@dataclass(frozen=True, slots=True)
class Questions:
    """Names for the questions that need one."""

    secure_name: str = "."
    bogus_name: str = "dnssec-failed.org"  #: signed wrongly on purpose, by Comcast, since 2012
    connect: str | None = None


def run(config: Config, data: Path, questions: Questions, *, as_json: bool) -> int:
    """Print every check; returns 1 if something stands in the way of a scan.  Raises `UsageError` for a name that is none."""
    check_name("--secure-name", questions.secure_name)
    check_name("--bogus-name", questions.bogus_name)
    if questions.connect is not None:
        check_name("--connect", questions.connect, or_address=True)
    checks = list(examine(config, data, questions))
    ready = all(check.state != FAILED for check in checks)
    if as_json:
        document = {"ready": ready, "checks": [asdict(check) for check in checks]}
        sys.stdout.write(visible(json.dumps(document, indent=2) + "\n"))
    else:
        for check in checks:
            sys.stdout.write(visible(f"{check.state:<8} {check.name:<15} {check.finding}\n"))
            if check.advice and check.state != OK:
                sys.stdout.write(visible(f"{'':<24} -> {check.advice}\n"))
        sys.stdout.write(visible("ready to scan\n" if ready else "not ready: see what failed\n"))
    return 0 if ready else 1


def examine(config: Config, data: Path, questions: Questions) -> Iterator[Check]:
    """All checks, in the order in which a scan would meet their subjects."""
    resolvers = [ask_resolver(text, config) for text in config.resolver]
    exclusions: Exclusions | UsageError
    try:
        exclusions = Exclusions(config)  # once, as it may be a pipe
    except UsageError as error:
        exclusions = error
    yield from map(_answers, resolvers)
    alive = next((resolver for resolver in resolvers if resolver.answers), None)
    yield _validates(alive, questions)
    yield _identity(config)
    yield _forward_confirmed(config, alive)
    yield _settled("source address", lambda: check_source_addresses(config), _sources(config))
    yield from _routes(config)
    yield _port_25(config, questions.connect, exclusions)
    yield open_files(config)
    yield _opt_outs(config, exclusions)
    yield _allowed(config)
    yield _settled("trust anchors", lambda: TrustStore(config.ca_file), config.ca_file or "certifi's")
    yield Check("TLS library", OK, offered()["library"])
    yield clock()
    yield disk(data)


# --- resolver --------------------------------------------------------------------------------------


def _answers(resolver: Resolver) -> Check:
    if not resolver.answers:
        advice = "start a validating resolver there (docs/unbound.conf), or name one by --resolver"
        return Check("resolver", FAILED, f"{resolver.address} {resolver.problem}", advice)
    if not resolver.trusted:
        advice = "use a resolver on this machine, or --trust-ad if the way to it is secure"
        return Check("resolver", WARNING, f"{resolver.address} answers, but is remote and not trusted", advice)
    return Check("resolver", OK, f"{resolver.address} answers")


def _validates(resolver: Resolver | None, questions: Questions) -> Check:
    """AD for a name that is signed, and no answer for one that is signed wrongly."""
    name = "validation"
    if resolver is None:
        return Check(name, UNKNOWN, "no resolver answers")
    advice = "switch validation on (docs/unbound.conf); without it DANE and DNSSEC are unknown throughout"
    secure = _ask(resolver, questions.secure_name, dns.rdatatype.NS)
    if secure is None or secure.rcode() != dns.rcode.NOERROR:
        return Check(name, UNKNOWN, f"no answer for the signed name {questions.secure_name}")
    if not secure.flags & dns.flags.AD:
        return Check(name, FAILED, f"{questions.secure_name} is signed and the answer does not say so", advice)
    bogus = _ask(resolver, questions.bogus_name, dns.rdatatype.A)
    if bogus is None:
        return Check(
            name, UNKNOWN, f"no answer for {questions.bogus_name}", "name a wrongly signed name by --bogus-name"
        )
    if bogus.rcode() == dns.rcode.SERVFAIL:
        return Check(name, OK, f"{questions.secure_name} is secure, {questions.bogus_name} is refused")
    if bogus.rcode() == dns.rcode.NOERROR:
        return Check(name, FAILED, f"{questions.bogus_name} is wrongly signed and was answered", advice)
    word = dns.rcode.to_text(bogus.rcode())
    return Check(name, UNKNOWN, f"{questions.bogus_name} gave {word}", "name a wrongly signed name by --bogus-name")


def _ask(resolver: Resolver, name: str, kind: dns.rdatatype.RdataType) -> dns.message.Message | None:
    host, port = server_address(resolver.address)
    query = dns.message.make_query(name, kind, want_dnssec=True)
    query.flags |= dns.flags.AD
    try:
        reply: dns.message.Message = dns.query.udp_with_fallback(query, host, timeout=_PATIENCE, port=port)[0]
    except (dns.exception.DNSException, OSError):
        return None
    return reply


def _texts(reply: dns.message.Message | None, kind: dns.rdatatype.RdataType) -> set[str]:
    """The records of one type in an answer, as text."""
    if reply is None:
        return set()
    return {record.to_text().lower() for rrset in reply.answer if rrset.rdtype == kind for record in rrset}


# --- who we are ------------------------------------------------------------------------------------


def _identity(config: Config) -> Check:
    return _settled("EHLO name", lambda: check_identity(config), config.ehlo_name)


def _forward_confirmed(config: Config, resolver: Resolver | None) -> Check:
    """The EHLO name has an address, whose reverse name is the EHLO name; it should be the one we send from."""
    name = "reverse DNS"
    if resolver is None or not config.ehlo_name:
        return Check(name, UNKNOWN, "needs a resolver and --ehlo-name")
    addresses = set()
    for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
        addresses |= _texts(_ask(resolver, config.ehlo_name, kind), kind)
    if not addresses:
        advice = "publish the address that we send from under this name; many hosts turn others away"
        return Check(name, WARNING, f"{config.ehlo_name} has no address", advice)
    wanted = config.ehlo_name.lower().rstrip(".") + "."
    for address in sorted(addresses):
        pointer = _ask(resolver, dns.reversename.from_address(address).to_text(), dns.rdatatype.PTR)
        if wanted not in _texts(pointer, dns.rdatatype.PTR):
            advice = f"have whoever gave you {address} set its PTR record to {wanted}"
            return Check(name, WARNING, f"{config.ehlo_name} is {address}, which has another reverse name", advice)
    ours = {source for family in ("IPv4", "IPv6") if (source := source_towards(family))}
    ours |= set(config.source_address)
    if not addresses & ours:
        advice = "fine behind address translation, if the address that hosts see is the one named"
        finding = f"{config.ehlo_name} is {', '.join(sorted(addresses))}, and this machine sends from others"
        return Check(name, WARNING, finding, advice)
    return Check(name, OK, f"{config.ehlo_name} is {', '.join(sorted(addresses))} and back")


def _sources(config: Config) -> str:
    return ", ".join(config.source_address) or "left to the system"


# --- the way out -----------------------------------------------------------------------------------


def _routes(config: Config) -> Iterator[Check]:
    missing = dict(without_a_way(config))
    wanted = list(wanted_families(config))
    is_cut_off = len(missing) == len(wanted) and not config.allow_network
    for name in wanted:
        if name in missing:
            state = FAILED if is_cut_off else WARNING
            yield Check(f"{name} route", state, f"this machine has no way to {name} addresses", missing[name])
        else:
            yield Check(f"{name} route", OK, f"from {source_towards(name)}")


def _port_25(config: Config, host: str | None, exclusions: Exclusions | UsageError) -> Check:
    """Many networks block outgoing port 25, which would read as a world without mail hosts."""
    port = config.port_of("smtp")
    name = f"port {port} out"
    if host is None:
        advice = "name a mail host of your own, elsewhere, by --connect HOST"
        return Check(name, UNKNOWN, "cannot be told without contacting a mail host", advice)
    if isinstance(exclusions, UsageError):
        return Check(name, UNKNOWN, "nobody is contacted before the opt-outs can be read")
    try:
        greets = greeting_of(config, exclusions, host, port).startswith(b"220")
    except Declined:
        return Check(name, UNKNOWN, f"{host} asked not to be contacted", "name another by --connect HOST")
    except OSError as error:
        advice = "ask your network's operator whether outgoing port 25 is blocked; no scan is possible without it"
        return Check(name, FAILED, f"{host} cannot be reached ({error.strerror or error})", advice)
    if not greets:
        return Check(name, WARNING, f"{host} answers, but not with a greeting")
    return Check(name, OK, f"{host} greets")


# --- this machine ----------------------------------------------------------------------------------


def _opt_outs(config: Config, exclusions: Exclusions | UsageError) -> Check:
    name = "opt-outs"
    if not config.exclude:
        return Check(name, WARNING, "no file", "name the file of those who asked not to be probed by --exclude")
    if isinstance(exclusions, UsageError):
        return Check(name, FAILED, " ".join(str(exclusions).split()))
    found = exclusions.opt_outs
    if found.warnings:
        more = f" (and {len(found.warnings) - 1:,} more)" if len(found.warnings) > 1 else ""
        return Check(name, WARNING, str(found), found.warnings[0] + more)
    return Check(name, OK, str(found))


def _allowed(config: Config) -> Check:
    if not config.allow_network:
        return Check("address guard", OK, "no special-purpose address is contacted")
    networks = ", ".join(config.allow_network)
    return Check("address guard", WARNING, f"may be contacted: {networks}", "right in a lab, wrong on the Internet")


def _settled(name: str, check: Callable[[], Any], finding: str, state: str | None = None) -> Check:
    """A check that raises `UsageError` with all that is to be said."""
    try:
        check()
    except UsageError as error:
        return Check(name, FAILED, " ".join(str(error).split()))
    return Check(name, state or OK, finding)
