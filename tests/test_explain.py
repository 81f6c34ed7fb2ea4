"""What `probe` tells a person is read off the rows, and a host's words never become markup."""

from __future__ import annotations

import json
from typing import Any

import pytest

from crawler.config import Config, UsageError
from crawler.exclusions import Exclusions
from crawler.explain import _endpoints, as_document, run
from crawler.explanation import OUTCOMES, ROUTES, Findings, lines
from crawler.records import DaneStatus, Domain, Host, Outcome, Probe, Route, Stage
from tests.kit import play
from tests.small_runs import domain, known, probe, tlsa


def told(*probes: Probe) -> str:
    findings = Findings("example.org", hosts=[Host(host="mx.example", addresses=["192.0.2.1"])])
    findings.probes = [(probe, []) for probe in probes]
    return "\n".join(line.plain for line in lines(findings))


def test_every_outcome_and_every_route_has_its_sentence() -> None:
    assert set(OUTCOMES) == set(Outcome)
    assert set(ROUTES) == set(Route) - {Route.INVALID}


def test_stages_are_told_in_order_and_the_failed_one_is_marked() -> None:
    text = told(play("S: 220 mx\nC: EHLO probe.example\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 no\n").probe)
    marks = [line.split()[:2] for line in text.splitlines() if "✓" in line or "✗" in line]
    assert marks == [["✓", "connect"], ["✓", "greeting"], ["✓", "capabilities"], ["✗", "upgrade"]]
    assert "refused" in text and "454 no" in text


def test_unknown_is_said_to_be_unknown() -> None:
    probe = Probe(host="mx.example", address="192.0.2.1", port=25, stage=Stage.CONNECT, outcome=Outcome.TIMEOUT)
    assert "unknown" in told(probe)


def test_a_hosts_words_are_no_markup() -> None:
    text = told(play("S: 554 [bold red]boo[/] \\x1b[31mred\n").probe)
    assert "[bold red]boo[/] \\x1b[31mred" in text and "\x1b" not in text


def test_the_document_for_programs_has_the_names_of_the_tables() -> None:
    document = as_document(Findings("example.org", domain=Domain(domain="example.org", route=Route.NULL_MX)))
    assert set(document) == {"name", "domains", "hosts", "tlsa", "probes", "certificates", "senders"}
    assert json.loads(json.dumps(document))["domains"][0]["route"] == "null_mx"


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
        "  opportunistic encrypted, unauthenticated",
        "  PKIX-strict   encrypted and authenticated at 1 of 2; refused at 1 of 2",
        "  DANE          encrypted, unauthenticated",
        "  MTA-STS       encrypted, unauthenticated",
    ]
    assert as_document(findings)["senders"][2] == {
        "protocol": "smtp", "host": "backup.example", "address": "192.0.2.3",
        "opportunistic": "clear", "pkix_strict": "refused", "dane": "clear", "mta_sts_enforcing": "clear",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("dane", "words"),
    [("match", "✓ as its TLSA records say"), ("mismatch", "✗ not as its TLSA records say: no_match"), ("absent", None)],
)
def test_where_there_are_tlsa_records_they_are_held_against_the_certificate(dane: str, words: str | None) -> None:
    findings = about_mail(probe("mx1.example", "192.0.2.1", dane=DaneStatus(dane), dane_error="no_match"))
    findings.probes = [(row, [known("mx1.example")]) for row, _ in findings.probes]
    told_ = "\n".join(line.plain for line in lines(findings))
    assert words in told_ if words else "TLSA records" not in told_


def test_why_there_is_no_policy_is_said_in_words() -> None:
    findings = about_mail(probe("mx1.example", "192.0.2.1"), mta_sts_record="valid", mta_sts_problem="status 404")
    assert "MTA-STS: status 404" in next(line.plain for line in lines(findings) if "MTA-STS" in line.plain)


def test_senders_that_reach_nobody_do_something_unknown() -> None:
    findings = about_mail(probe("mx1.example", "192.0.2.1", "connection_refused"))
    assert "unknown: no mail host of the best preference accepts connections" in [*lines(findings)][-1].plain


@pytest.mark.parametrize(
    ("name", "config"), [("not a name", Config(ehlo_name="probe.example")), ("example.org", Config())]
)
def test_bad_input_is_one_line(name: str, config: Config) -> None:
    with pytest.raises(UsageError) as error:
        run(config, name, as_host=False, address=None, as_json=False)
    assert "\n" not in str(error.value)


def test_an_address_that_is_no_hosts_is_refused_before_anything_is_contacted() -> None:
    findings = Findings("example.org", hosts=[Host(host="mx.example", addresses=["192.0.2.1", "192.0.2.2"])])
    guard = Exclusions(Config())
    with pytest.raises(UsageError, match=r"--address 198\.51\.100\.9: no mail host of example\.org has it"):
        next(_endpoints(findings, Config(), "198.51.100.9", guard))
    assert [endpoint.address for endpoint in _endpoints(findings, Config(), "192.0.2.2", guard)] == ["192.0.2.2"]
