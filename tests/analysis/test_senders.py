"""What senders would do, in SQL: the same as the stated rules."""

from __future__ import annotations

import hashlib
from itertools import combinations, product
from typing import Any

from analysis.figures.compute import figures
from analysis.figures.shares import Share
from analysis.figures.weights import load_weights
from analysis.sql.deliveries import DOMAIN_RULES
from crawler.certificates.chain_verdict import ChainVerdict
from crawler.certificates.parsing import ParsedCertificate
from crawler.certificates.validity import Window
from crawler.policies.dane import Rdata, records_of, status_of, verdict
from crawler.policies.senders import Delivery, Sender, deliveries
from tests.kit import chains
from tests.kit.figure_runs import values
from tests.kit.sender_figures import ENFORCED, USABLE, distribution, labels, share
from tests.kit.small_runs import LEAF, certificate, domain, host, known, opened, probe, tlsa

Y, N, U = True, False, None


def stored(leaf: ParsedCertificate, sha256: str) -> Any:
    """The row of a certificate under another key."""
    return certificate(sha256, *(leaf.row.names or ()), common_name=leaf.row.common_name)


_KINDS = (
    "strict",
    "self_signed",
    "not_offered",
    "greeting_timeout",
    "silent_after_tls",
    "connection_refused",
    "not_run",
)


_TLSA = ("absent", "insecure", "bogus", "lookup_failed", "not_asked", "unusable", "usable")


_DANE: tuple[dict[str, Any], ...] = (
    {"dane": "match"},
    {"dane": "mismatch", "dane_error": "no_match"},
    {"dane": "mismatch", "dane_error": "name"},
    {"dane": "unknown"},
    {},
)


_STS: tuple[dict[str, Any], ...] = (
    {},
    {"mta_sts_record": "absent"},
    {"mta_sts_record": "multiple"},
    {"mta_sts_record": "valid", "mta_sts_fetch": "tls"},
    {"mta_sts_record": "valid", "mta_sts_fetch": "timeout"},
    {"mta_sts_record": "valid"},
    *(
        {"mta_sts_record": "valid", "mta_sts_fetch": "ok", "mta_sts_mode": mode, "mta_sts_mx": [pattern]}
        for mode, pattern in (("enforce", "mx.{}"), ("enforce", "*.{}"), ("enforce", "{}"), ("testing", "mx.{}"))
    ),
)


def test_the_sql_says_of_every_combination_what_the_stated_rules_say() -> None:
    named = known("*.d1.example", "*.d2.example", "next-hop.example"), known(common_name="*.d3.example")
    leaves = {LEAF: named[0], "2e" * 32: named[1]}
    rows: list[Any] = [stored(leaf, sha256) for sha256, leaf in leaves.items()]
    truth = {}
    # An endpoint for each thing that may be known of it, a domain for each endpoint and each thing of a domain.
    endpoints = []
    for number, (kind, status, dane, sha256) in enumerate(product(_KINDS, _TLSA, _DANE, leaves)):
        mx = f"mx.e{number}.example"
        chain = {"received_chain": [sha256]} if kind in ("strict", "self_signed", "silent_after_tls") else {}
        endpoints.append((probe(mx, f"10.1.{number >> 8}.{number & 255}", kind, **dane, **chain), tlsa(mx, status)))
        rows += [host(mx, endpoints[-1][0].address), *endpoints[-1]]
    domains = [
        {"name": f"d{n % 4}.example", "cnames": ["next-hop.example"] if n % 5 == 0 else [], "dnssec": dnssec} | sts
        for n, (dnssec, sts) in enumerate(product(("secure", "insecure", "unknown", None), _STS))
    ]
    for number, (measured, rrset) in enumerate(endpoints):
        mx = measured.host or ""
        matters = rrset.status == "usable" and measured.negotiated
        for of_domain in domains if matters else (domains[number % 40], domains[(number * 7 + 3) % 40]):
            name = f"n{len(truth)}.{of_domain['name']}"
            patterns = [one.format(mx.removeprefix("mx.")) for one in of_domain.get("mta_sts_mx", ())] or None
            row = domain(name, mx, **{k: v for k, v in of_domain.items() if k != "name"} | {"mta_sts_mx": patterns})
            leaf = leaves.get((measured.received_chain or [""])[0])
            truth[name] = tuple(deliveries(row, rrset, measured, leaf).values())
            rows.append(row)
    with opened(*rows) as run:
        found = values(run, f"SELECT domain, {', '.join(f'by_{sender}' for sender in Sender)} FROM deliveries")
    assert {row[0]: row[1:] for row in found} == truth
    assert {answer for row in truth.values() for answer in row} == {*Delivery, None}


def test_a_domains_mail_hosts_are_judged_each_for_itself_and_together_by_every_rule() -> None:
    with opened(
        domain("a.example", ("mx1.example", 10), ("mx2.example", 10), ("mx3.example", 20), dnssec="secure"),
        *(host(f"mx{n}.example", f"192.0.2.{n}") for n in (1, 2, 3)),
        tlsa("mx1.example", "usable"),
        tlsa("mx2.example", "absent"),
        tlsa("mx3.example", "bogus"),
        probe("mx1.example", "192.0.2.1", "self_signed", **USABLE),
        probe("mx2.example", "192.0.2.2"),
        probe("mx3.example", "192.0.2.3"),
    ) as run:
        answers = values(run, "SELECT host, by_dane FROM deliveries ORDER BY host")
        names = [f"dane_{answer}_{rule}" for answer in Delivery for rule in DOMAIN_RULES]
        (row,) = values(run, f"SELECT {', '.join(names)} FROM domain_units")
        made = figures(run)
    assert answers == [("mx1.example", "authenticated"), ("mx2.example", "encrypted"), ("mx3.example", "refused")]
    found = dict(zip(names, row, strict=True))
    for answer, any_, primary_any in (("authenticated", Y, Y), ("encrypted", Y, Y), ("clear", N, N), ("refused", Y, N)):
        assert found[f"dane_{answer}_any"] == any_
        assert found[f"dane_{answer}_primary_any"] == primary_any
        assert not (found[f"dane_{answer}_all"] or found[f"dane_{answer}_primary_all"] or found[f"dane_{answer}_worst"])
    assert share(made, "dane_authenticated.domains.primary") == Share(0.5, 0.5, 0)
    assert labels(made, "dane_sender.domains.primary") == {
        "encrypted and authenticated": 0.5,
        "encrypted, unauthenticated": 0.5,
    }


def test_what_cannot_be_is_no_even_where_the_answer_itself_is_unknown() -> None:
    with opened(
        domain("insecure.example", "mx.example", dnssec="insecure", mta_sts_record="absent"),
        domain("secure.example", "mx.example", dnssec="secure", **ENFORCED, mta_sts_mx=["mx.example"]),
        host("mx.example", "192.0.2.1"),
        tlsa("mx.example", "usable"),
        probe("mx.example", "192.0.2.1", "connect_timeout"),
    ) as run:
        found = values(
            run, "SELECT domain, by_dane, dane_authenticated, downgrade_resistant FROM deliveries ORDER BY 1"
        )
    assert found == [("insecure.example", U, N, N), ("secure.example", U, U, U)]


def test_the_four_ways_of_bider_divide_the_domains_and_mx_records_by_their_share_of_the_mail() -> None:
    with opened(
        domain("a.example", "mx.a.example"),
        domain("b.example", "mx.a.example"),  # the same host, in another's domain
        domain("c.example", "c.example", route="implicit"),
        domain("d.example", "bad.example", "plain.example", "mx.a.example", "silent.example"),
        domain("e.example", "mxe.example"),  # ends alike, is not inside
        *(host(name, f"192.0.2.{n}") for n, name in enumerate(["mx.a.example", "c.example", "bad.example", "plain.example", "silent.example", "mxe.example"])),
        probe("mxe.example", "192.0.2.5"),
        probe("mx.a.example", "192.0.2.0"),
        probe("c.example", "192.0.2.1"),
        probe("bad.example", "192.0.2.2", "self_signed"),
        probe("plain.example", "192.0.2.3", "not_offered"),
        probe("silent.example", "192.0.2.4", "greeting_timeout"),
    ) as run:  # fmt: skip
        made = figures(run)
    four = distribution(made, "authentication.domains.primary")
    assert labels(made, "authentication.domains.primary") == {
        "MX name inside the recipient's domain": 2,
        "authenticated as the MX name": 2.25,
        "TLS, unauthenticated": 0.25,
        "no TLS": 0.25,
    }
    assert (four.total, four.unknown, four.decided) == (5, 0.25, 4.75)


def test_a_sampled_endpoint_answers_to_its_own_tlsa_records_and_not_to_its_representatives() -> None:
    with opened(
        *(domain(f"{name}.example", f"mx.{name}.example", dnssec="secure") for name in ("own", "none", "usable")),
        *(host(f"mx.{name}.example", "192.0.2.1") for name in ("own", "none", "usable")),
        tlsa("mx.own.example", "usable"),
        tlsa("mx.none.example", "absent"),
        tlsa("mx.usable.example", "usable"),
        probe("mx.own.example", "192.0.2.1", **USABLE),
        *(
            probe(f"mx.{name}.example", "192.0.2.1", "sampled_out", representative_host="mx.own.example")
            for name in ("none", "usable")
        ),
        certificate(),
    ) as run:
        found = values(run, "SELECT domain, by_dane, basis FROM deliveries ORDER BY domain")
    assert found == [
        ("none.example", "encrypted", "inferred"),
        ("own.example", "authenticated", "observed"),
        ("usable.example", U, "inferred"),  # nobody held its records against the chain
    ]


CHAIN = chains.known(chains.Subject("Root").leaf("mx.example"))


OTHER_LEAF = chains.known(chains.Subject("Root").leaf("mx.example"))[0]


def digests(leaf: ParsedCertificate) -> list[Rdata]:
    """Every DANE record that a leaf is in, by digest and in full."""
    key = leaf.der_fields.public_key if leaf.der_fields else b""
    of = ((0, leaf.row.der or b""), (1, key))
    full: list[Rdata] = [(usage, selector, 0, data) for usage in (2, 3) for selector, data in of]
    hashed = [
        (usage, selector, matching, make(data).digest())
        for usage, selector, _, data in full
        for matching, make in ((1, hashlib.sha256), (2, hashlib.sha512))
    ]
    return full + hashed


def test_what_is_inferred_of_a_sampled_endpoints_tlsa_records_is_what_its_probe_would_have_said() -> None:
    """Or unknown, where the stored digests of the leaf do not tell; by 3 1 1 and 3 0 1 alone they always do."""

    def path_to(
        anchor: ParsedCertificate, chain: list[ParsedCertificate], *, anchor_expires: bool, at: Any
    ) -> ChainVerdict:
        return ChainVerdict(False, 20, 0, "no path", Window(None, None, True), True)

    leaf = CHAIN[0].row.sha256 or ""
    rows: list[Any] = [
        probe("seen.example", "192.0.2.1", received_chain=[leaf], dane="match", dane_error="path"),
        certificate(leaf, spki_sha256=CHAIN[0].row.spki_sha256),
    ]
    published = [*digests(CHAIN[0]), *digests(OTHER_LEAF), (0, 0, 1, bytes(32))]
    expected: dict[str, tuple[list[Rdata], str, str]] = {}
    for number, (rrset, dropped) in enumerate(product(map(list, combinations(published, 2)), (0, 1))):
        status = status_of(records_of(rrset))
        truth = verdict(status, records_of(rrset), CHAIN, ["mx.example"], chains.START, path_to, dropped=dropped)
        mx = f"mx{number}.example"
        expected[mx] = rrset, status, truth.status
        rows += [domain("a.example", mx), host(mx, "192.0.2.1"), tlsa(mx, status, *rrset, dropped=dropped)]
        rows.append(probe(mx, "192.0.2.1", "sampled_out", representative_host="seen.example"))
    with opened(*rows) as run:
        found = values(run, "SELECT host, basis, dane, dane_error FROM deliveries")
    assert len(found) == len(expected) > 300 and {dane for _, _, dane, _ in found} == {"match", "mismatch", None}
    for mx, basis, dane, error in found:
        rrset, status, truth = expected[mx]
        assert basis == "inferred" and (error == "no_match") == (dane == "mismatch")
        assert dane in (None, truth), rrset
        if status == "usable" and all(rdata[0] in (0, 3) and rdata[2] == 1 for rdata in rrset):
            assert (dane or "unknown") == truth, rrset


def test_what_senders_do_is_weighted_by_messages_where_there_are_weights(tmp_path: Any) -> None:
    weights = tmp_path / "weights.csv"
    weights.write_text("domain,messages\na.example,900\nb.example,100\n", "utf-8")
    with opened(
        domain("a.example", "mx1.example", "mx2.example"),
        domain("b.example", "mx2.example"),
        host("mx1.example", "192.0.2.1"),
        host("mx2.example", "192.0.2.2"),
        probe("mx1.example", "192.0.2.1"),
        probe("mx2.example", "192.0.2.2", "not_offered"),
    ) as run:
        made = figures(run, load_weights(weights, run))
    assert labels(made, "opportunistic_sender.messages.primary") == {
        "encrypted, unauthenticated": 450, "in the clear": 550,
    }  # fmt: skip
    assert labels(made, "pkix_strict_sender.domains.primary") == {"encrypted and authenticated": 0.5, "refused": 1.5}
