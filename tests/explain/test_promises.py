"""What senders would do, and why, in words."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from crawler.explain.explain import as_document
from crawler.explain.list_text import listed_domain_of
from crawler.explain.text import Findings, lines
from crawler.model.rows import (
    DaneError,
    DaneStatus,
    Host,
    MtaStsMode,
    Outcome,
    Probe,
    Stage,
    Tlsa,
    TlsaStatus,
)
from tests.kit.listed_policies import policy_list
from tests.kit.small_runs import domain, host, known, probe, tlsa


def about_mail(*probes: Probe, **of_domain: Any) -> Findings:
    """Findings about example.org, of which the first mail host has the best preference."""
    hosts = [probe.host or "" for probe in probes]
    row = domain("example.org", *((name, 10 * (n > 1)) for n, name in enumerate(hosts)), **of_domain)
    findings = Findings("example.org", row, [Host(host=name) for name in hosts])
    findings.tlsa = {name: tlsa(name, "insecure") for name in hosts}
    findings.probes = [(probe, []) for probe in probes]
    return findings


def test_what_senders_would_do_is_said_for_the_best_mail_hosts_that_accept_connections() -> None:
    findings = about_mail(
        probe("mx1.example", "192.0.2.1"),
        probe("mx2.example", "192.0.2.2", "self_signed"),
        probe("backup.example", "192.0.2.3", "not_offered"),
        dnssec="insecure",
        mta_sts_record="absent",
    )
    said = [line.plain for line in lines(findings)][-5:]
    assert said == [
        "\nWhat senders would do with mail for example.org:",
        "  opportunistic encrypted, unauthenticated (it looks at no certificate)",
        "  PKIX-strict   at 1 of 2 encrypted and authenticated; at 1 of 2 refused (its certificate is not trusted)",
        "  DANE          encrypted, unauthenticated (nothing to go by, so as an opportunistic one)",
        "  MTA-STS       encrypted, unauthenticated (no policy is in force, so as an opportunistic one)",
    ]
    assert as_document(findings)["senders"][2] == {
        "protocol": "smtp", "form": None, "host": "backup.example", "address": "192.0.2.3",
        "opportunistic": "clear", "pkix_strict": "refused", "dane": "clear", "mta_sts_enforcing": "clear",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("dane", "words"),
    [
        ("match", "✓ as a TLSA record says: record 2, of the host itself"),
        ("mismatch", "✗ no TLSA record in force is for a certificate received"),
        ("absent", None),
    ],
)
def test_where_there_are_tlsa_records_they_are_held_against_the_certificate(dane: str, words: str | None) -> None:
    findings = about_mail(probe("mx1.example", "192.0.2.1", dane=DaneStatus(dane)))
    row = findings.probes[0][0]
    if dane == "match":
        row.dane_record, row.dane_depth = 1, 0
    elif dane == "mismatch":
        row.dane_error = DaneError.NO_MATCH
    findings.probes = [(row, [known("mx1.example")]) for row, _ in findings.probes]
    told_ = "\n".join(line.plain for line in lines(findings))
    assert words in told_ if words else "TLSA record" not in told_


def test_why_there_is_no_policy_is_said_in_words() -> None:
    def said(**row: str) -> str:
        findings = about_mail(probe("mx1.example", "192.0.2.1"), mta_sts_record="valid", **row)
        return next(line.plain for line in lines(findings) if "MTA-STS" in line.plain)

    words = said(mta_sts_fetch="http", mta_sts_problem="status 404")
    assert words == "  MTA-STS    announced, but no policy was had: status 404"
    words = said(mta_sts_fetch="unavailable", mta_sts_problem="status 503")
    assert words == "  MTA-STS    announced; what it says is not known: status 503"
    assert said() == "  MTA-STS    announced; what it says is not known: not tried"


def test_senders_that_reach_nobody_do_something_unknown() -> None:
    findings = about_mail(probe("mx1.example", "192.0.2.1", "connection_refused"))
    assert "unknown: no mail host of the best preference accepts connections" in [*lines(findings)][-1].plain


@pytest.mark.parametrize(
    ("kinds", "entry", "said"),
    [
        (["strict"], {"mxs": ["mx0.example"]}, "mode enforce; the domain keeps what it promises"),
        (["strict", "expired"], {"mxs": [".example"]}, "breaks what it promises: no certificate as it demands"),
        (["strict"], {"mxs": ["other.example"]}, "breaks what it promises: a mail host that is not on it"),
        (
            ["not_offered"], {"mxs": [".example"]},
            "breaks what it promises: no TLS, or an older version than it demands, no certificate as it demands",
        ),
        (["strict", "connection_refused"], {"mxs": [".example"]}, "keeps what it promises is unknown"),
        ([], {"mxs": [".example"]}, "mode enforce; the domain takes no mail, so there is nothing to keep"),
        (["strict"], {}, "does not name this domain"),
    ],
)  # fmt: skip
def test_a_line_says_whether_the_domain_is_on_a_policy_list_and_keeps_it(
    kinds: list[str], entry: dict[str, Any], said: str
) -> None:
    findings = about_mail(*(probe(f"mx{n}.example", f"192.0.2.{n}", kind) for n, kind in enumerate(kinds)))
    findings.hosts = [host(f"mx{n}.example", f"192.0.2.{n}") for n in range(len(kinds))]
    for at, state in ((14, "valid until"), (15, "expired")):
        findings.listing = listed_domain_of(findings, policy_list(**entry), datetime(2026, 1, at, tzinfo=UTC))
        (line,) = [line.plain for line in lines(findings) if "policy list" in line.plain]
        assert line.startswith(f"  policy list policy.json ({state} 2026-01-15): ") and said in line
    document = as_document(findings)["policy_list"]
    assert document == json.loads(json.dumps(document))
    assert (document["listed"], document["expired"], document["author"]) == (bool(entry), True, "Somebody")
    assert document["kept"] is {"keeps what it promises": True, "breaks": False}.get(
        next((words for words in ("keeps what it promises", "breaks") if words in said and "unknown" not in said), "")
    )


ENFORCED = {"mta_sts_record": "valid", "mta_sts_fetch": "ok", "mta_sts_mode": MtaStsMode.ENFORCE}


@pytest.mark.parametrize(
    ("kind", "of_domain", "tlsa_status", "sender", "words"),
    [
        ("strict", {}, "insecure", "opportunistic", "encrypted, unauthenticated (it looks at no certificate)"),
        ("not_offered", {}, "insecure", "opportunistic", "in the clear"),
        ("not_offered", {}, "insecure", "PKIX-strict", "refused (no TLS)"),
        ("wrong_name", {}, "insecure", "PKIX-strict", "refused (its certificate is for another name)"),
        ("expired", {}, "insecure", "PKIX-strict", "refused (its certificate is outside its dates)"),
        ("not_offered", {}, "usable", "DANE", "refused (TLSA records demand TLS, and there is none)"),
        ("not_offered", {}, "unusable", "DANE", "refused (TLSA records demand TLS, and there is none)"),
        ("strict", {}, "bogus", "DANE", "refused (validation of its TLSA records fails)"),
        ("strict", {}, "lookup_failed", "DANE", "unknown (its TLSA records are not known)"),
        ("strict", ENFORCED | {"mta_sts_mx": ["*.example"]}, "absent", "MTA-STS", "encrypted and authenticated"),
        ("strict", ENFORCED | {"mta_sts_mx": ["*.test"]}, "absent", "MTA-STS", "refused (the policy does not name the host)"),
        ("untrusted", ENFORCED | {"mta_sts_mx": ["*.example"]}, "absent", "MTA-STS", "refused (its certificate is not trusted)"),
        ("strict", {"mta_sts_record": "valid", "mta_sts_fetch": "timeout"}, "absent", "MTA-STS", "unknown (whether a policy is in force is not known)"),
    ],
)  # fmt: skip
def test_a_sender_does_what_it_does_for_a_reason(
    kind: str, of_domain: dict[str, Any], tlsa_status: str, sender: str, words: str
) -> None:
    findings = about_mail(probe("mx1.example", "192.0.2.1", kind), **({"mta_sts_record": "absent"} | of_domain))
    findings.tlsa = {"mx1.example": tlsa("mx1.example", tlsa_status)}
    said = [line.plain for line in lines(findings) if line.plain.startswith(f"  {sender} ")][-1]
    assert said.removeprefix(f"  {sender} ").strip() == words


def test_promises_are_told_with_their_records() -> None:
    findings = about_mail(
        probe("mx1.example", "192.0.2.1"), dnssec="secure", tlsrpt="valid", tlsrpt_rua=["mailto:tls@example.org"],
        **ENFORCED, mta_sts_id="1", mta_sts_mx=["mx1.example"], mta_sts_cnames=["policies.example"],
    )  # fmt: skip
    findings.hosts[0].addresses = ["192.0.2.1"]
    records = [{"usage": 1, "selector": 1, "matching": 1, "data": b"\xab" * 32, "usable": False}] * 10
    findings.tlsa["mx1.example"] = Tlsa(host="mx1.example", status=TlsaStatus.UNUSABLE, records=records)
    told_ = [line.plain for line in lines(findings)]
    assert "  MX answer  signed" in told_
    assert "  MTA-STS    policy 1, enforced, for mx1.example" in told_
    assert "             at a provider's: its policy host is an alias of policies.example" in told_
    assert "  TLSRPT     reports to mailto:tls@example.org" in told_
    assert f"             8: 1 1 1 {'ab' * 16} …  (not usable)" in told_
    assert "             and 2 more" in told_
    assert "  ✓ named by the domain's MTA-STS policy" in told_


def test_a_host_that_refuses_inside_tls_is_not_said_to_be_unknown() -> None:
    findings = about_mail(probe("mx1.example", "192.0.2.1", outcome=Outcome.REJECTED, stage=Stage.AFTER_TLS))
    findings.hosts[0].addresses = ["192.0.2.1"]
    assert "    the host answered inside TLS that it will not talk to us" in [line.plain for line in lines(findings)]
