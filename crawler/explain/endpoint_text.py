"""One endpoint's probe in sentences for a person: every step, what the host said, the verdicts and why.

The rules of `text.py` hold here too.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from crawler.certificates.parsing import ParsedCertificate
from crawler.model.rows import Certificate, DaneError, DaneStatus, Form, FoundBy, Outcome, Probe, Stage
from crawler.model.three_valued import all_of
from crawler.policies.senders import takes_deliveries
from crawler.tls.refusals import DHE_TOO_LARGE

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
    Outcome.STARTTLS_IMPOSSIBLE: "the host opened in a state that allows no upgrade to TLS",
    Outcome.PROTOCOL_ERROR: "the answer is outside the protocol's grammar",
    Outcome.WRONG_PROTOCOL: "another protocol answers at this port",
    Outcome.LIMIT_EXCEEDED: "the host sent more than we take (our limit)",
    Outcome.TLS_ALERT: "the host broke the handshake off with an alert",
    Outcome.TLS_ERROR: "what came was not acceptable TLS",
    Outcome.TLS_UNSUPPORTED_BY_US: "only TLS that our library no longer speaks",
    Outcome.ADDRESS_NOT_ALLOWED: "special-purpose address, not contacted (--allow-network permits it)",
    Outcome.OPTED_OUT: "opted out, not contacted",
    Outcome.SAMPLED_OUT: "not probed; another name was, at the same address",
    Outcome.OVER_BUDGET: "not probed; its domain or network has more endpoints than one may have, or took too long",
    Outcome.NOT_RUN: "not probed",
    Outcome.GAVE_UP: "given up; our process ended in the middle of it, each time it was tried",
    Outcome.INTERNAL_ERROR: "our own fault; the log has the trace",
}

DANE_ERRORS: dict[DaneError, str] = {
    DaneError.NO_MATCH: "no TLSA record in force is for a certificate received",
    DaneError.PATH: "no valid path leads from its certificate to the anchor of its TLSA record",
    DaneError.EXPIRED: "the path to the anchor of its TLSA record is outside its dates",
    DaneError.TOO_COSTLY: "whether its TLSA records match would cost too much to find out (our limit)",
    DaneError.NAME: "the anchor of its TLSA record is there, but the certificate names neither the host nor its TLSA base domain",
}

_REJECTED_INSIDE = "the host answered inside TLS that it will not talk to us"
_BY_SRV = frozenset({FoundBy.SRV, FoundBy.SRV_OTHER_FORM})
_WIDEST = 160  # characters of a server's line that are shown
_MARKS: dict[bool | None, tuple[str, str]] = {True: ("✓ ", "green"), False: ("✗ ", "red"), None: ("? ", "yellow")}
_STRICT: dict[bool | None, str] = {
    True: "the certificate would satisfy a strict sender",
    False: "the certificate would not satisfy a strict sender",
    None: "whether the certificate would satisfy a strict sender is unknown",
}


def marked(verdict: bool | None, words: str, indent: str) -> Text:
    """A line with the mark of its verdict."""
    return Text.assemble(indent, _MARKS[verdict], words)


def first_line(text: str | None) -> str:
    """The first line of what a server said, cut to a readable width."""
    first, _, rest = (text or "").partition("\n")
    return first[:_WIDEST] + (" …" if rest or len(first) > _WIDEST else "")


#: The stages of a connection that begins with TLS.
_IMPLICIT_ORDER = (
    Stage.CONNECT, Stage.HANDSHAKE, Stage.GREETING, Stage.CAPABILITIES, Stage.UPGRADE, Stage.AFTER_TLS,
)  # fmt: skip


def about_probe(probe: Probe, chain: list[ParsedCertificate]) -> Iterator[Text]:
    form = "with TLS at once" if probe.form is Form.IMPLICIT else "upgraded to TLS"
    spoken = "" if takes_deliveries(probe) else f": {probe.protocol}, {form}"
    yield Text(f"  {probe.address} port {probe.port}{spoken}", style="cyan")
    told: dict[Stage, str] = {
        Stage.CONNECT: f"from {probe.source_address}" if probe.source_address else "",
        Stage.GREETING: first_line(probe.greeting),
        Stage.CAPABILITIES: _capabilities(probe),
        Stage.UPGRADE: str(probe.starttls_code or ""),
        Stage.HANDSHAKE: _handshake(probe),
        Stage.AFTER_TLS: f"{len(probe.capabilities_after_tls)} keywords inside TLS" if probe.capabilities_after_tls is not None else "",
    }  # fmt: skip
    order = sorted(told, key=_IMPLICIT_ORDER.index) if probe.form is Form.IMPLICIT else list(told)
    for stage in order:
        words = told[stage]
        took = getattr(probe, f"{stage}_ms")
        if took is None:
            continue
        failed = stage is probe.stage
        yield Text.assemble(
            ("    ✗ " if failed else "    ✓ ", "red" if failed else "green"),
            f"{stage:<13}{took:>6} ms  {words}".rstrip(),
        )
    outcome = probe.outcome or Outcome.INTERNAL_ERROR
    words = _REJECTED_INSIDE if outcome is Outcome.REJECTED and probe.negotiated else OUTCOMES[outcome]
    if outcome is Outcome.NOT_OFFERED and not takes_deliveries(probe):
        words = "an upgrade to TLS is not offered"
    style = "green" if outcome is Outcome.OK else "red" if probe.conclusive else "yellow"
    yield Text(f"    {words}", style=style)
    if outcome is not Outcome.OK and probe.last_reply:
        yield Text(f"    it said: {first_line(probe.last_reply)}")
    if probe.tls_reason == DHE_TOO_LARGE:
        yield Text(
            "    its Diffie-Hellman prime is too much work for a measurement (limits.dh_bits, limits.dh_seconds)"
        )
    elif probe.tls_reason:
        yield Text(f"    OpenSSL says: {probe.tls_reason}")
    if probe.starttls_masked:
        yield Text(f"    {probe.starttls_masked} looks like STARTTLS masked on the way", style="red")
    if probe.plaintext_after_upgrade:
        place = "where TLS is due" if probe.form is Form.IMPLICIT else "behind the go-ahead"
        yield Text(f"    {len(probe.plaintext_after_upgrade)} bytes of plaintext {place}", style="red")
    if probe.stray_bytes:
        yield Text(
            "    an empty line stands in front of a reply; Postfix reads over it, Exim delivers nothing here",
            style="yellow",
        )
    if chain:
        yield from _about_chain(probe, chain)


def _about_chain(probe: Probe, chain: list[ParsedCertificate]) -> Iterator[Text]:
    leaf = chain[0].row
    until = f"until {leaf.not_after:%Y-%m-%d}" if leaf.not_after else leaf.parse_error or ""
    yield Text(f"    certificate of {_names(leaf)}, by {leaf.issuer_organization or leaf.issuer or 'unknown'}, {until}")
    untrusted = f"not trusted: {probe.chain_error} at depth {probe.chain_error_depth}"
    verdicts = [
        (probe.chain_trusted, "trusted", untrusted, "whether it is trusted could not be found out"),
        (probe.name_match, "names the host", _unnamed(probe), "whether it names the host could not be read"),
        (probe.within_validity, "within its dates", "outside its dates", "whether it is within its dates could not be read"),
    ]  # fmt: skip
    is_named = _is_named_for_domain(probe)
    if probe.reference_names and set(probe.found_by or ()) & _BY_SRV:
        names = " or ".join(probe.reference_names)
        no, unread = f"does not name {names}, as RFC 6186 §6 asks", f"whether it names {names} could not be read"
        verdicts.append((is_named, f"names {names}, as RFC 6186 §6 asks", no, unread))
    error = DANE_ERRORS.get(probe.dane_error, "") if probe.dane_error else ""
    if probe.dane in (DaneStatus.MATCH, DaneStatus.MISMATCH) or error:
        holds = {DaneStatus.MATCH: True, DaneStatus.MISMATCH: False}.get(probe.dane or DaneStatus.UNKNOWN)
        yes = f"as a TLSA record says{_which(probe)}"
        verdicts.append((holds, yes, error or "not as its TLSA records say", error))
    for verdict, yes, no, unknown in verdicts:
        yield marked(verdict, {True: yes, False: no, None: unknown}[verdict], "      ")
    holds = all_of(probe.chain_trusted, is_named, probe.within_validity)
    yield Text(f"    {_STRICT[holds]}", style=_MARKS[holds][1])


def _is_named_for_domain(probe: Probe) -> bool | None:
    """Whether the leaf bears the name that it must: the host's, or where SRV records led there the domain's."""
    if probe.reference_names and set(probe.found_by or ()) & _BY_SRV:
        return None if probe.reference_matches is None else bool(probe.reference_matches)
    return probe.name_match


def _names(leaf: Certificate) -> str:
    """The names of a certificate in words; names that could not be read are said to be so, not to be none."""
    if leaf.names is None:
        return "names that could not be read"
    return ", ".join(leaf.names[:4]) + (" …" if len(leaf.names) > 4 else "") or "nobody (no DNS names)"


def _unnamed(probe: Probe) -> str:
    by_cn = " (its CN does, which counts no more: RFC 9525 §2)" if probe.common_name_match else ""
    return f"does not name the host{by_cn}"


def _which(probe: Probe) -> str:
    depth = {None: "", 0: ", of the host itself"}.get(probe.dane_depth, ", of an issuer")
    return f": record {probe.dane_record + 1}{depth}" if probe.dane_record is not None else ""


def _capabilities(probe: Probe) -> str:
    if probe.capabilities is None:
        return first_line(probe.hello_reply)
    offered = "STARTTLS offered" if probe.starttls_offered else "STARTTLS not offered"
    return f"{(probe.hello_command or '').upper()}: {len(probe.capabilities)} keywords, {offered}"


def _handshake(probe: Probe) -> str:
    if probe.tls_version is None:
        return probe.tls_alert or probe.tls_reason or ""
    kinds = [
        word
        for word, holds in (("forward secret", probe.forward_secret), ("post-quantum", probe.post_quantum))
        if holds
    ]
    return f"{probe.tls_version}, {probe.tls_cipher}, {probe.tls_group or 'no group'} ({', '.join(kinds) or 'no forward secrecy'})"
