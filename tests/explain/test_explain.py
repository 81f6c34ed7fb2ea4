"""What `probe` tells a person is read off the rows, and a host's words never become markup."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crawler.explain.domain_text import _MODES, _TLSA
from crawler.explain.endpoint_text import DANE_ERRORS, OUTCOMES
from crawler.explain.explain import _endpoints, as_document, run
from crawler.explain.list_text import listed_domain_of
from crawler.explain.text import ROUTES, Findings, lines
from crawler.model.errors import UsageError
from crawler.model.rows import (
    DaneError,
    DaneStatus,
    Domain,
    Endpoint,
    Host,
    MtaStsMode,
    Outcome,
    Probe,
    Route,
    Stage,
    Tlsa,
    TlsaStatus,
)
from crawler.policies.policy_list import PolicyList, parse_policy_list
from crawler.settings.config import Config, Pacing
from tests.kit.conversations import play
from tests.kit.small_runs import domain, host, known, probe, tlsa


def told(*probes: Probe) -> str:
    findings = Findings("example.org", hosts=[Host(host="mx.example", addresses=["192.0.2.1"])])
    findings.probes = [(probe, []) for probe in probes]
    return "\n".join(line.plain for line in lines(findings))


def test_every_word_that_a_row_can_hold_has_its_sentence() -> None:
    assert set(OUTCOMES) == set(Outcome)
    assert set(ROUTES) == set(Route) - {Route.INVALID}
    assert set(DANE_ERRORS) == set(DaneError)
    assert set(_TLSA) == set(TlsaStatus) - {TlsaStatus.NOT_ASKED}
    assert set(_MODES) == set(MtaStsMode)


def test_stages_are_told_in_order_and_the_failed_one_is_marked() -> None:
    text = told(play("S: 220 mx\nC: EHLO probe.example\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 no\n").probe)
    marks = [line.split()[:2] for line in text.splitlines() if "✓" in line or "✗" in line]
    assert marks == [["✓", "connect"], ["✓", "greeting"], ["✓", "capabilities"], ["✗", "upgrade"]]
    assert "refused" in text and "454 no" in text


def test_unknown_is_said_to_be_unknown() -> None:
    probe = Probe(host="mx.example", address="192.0.2.1", port=25, stage=Stage.CONNECT, outcome=Outcome.TIMEOUT)
    assert "unknown" in told(probe)


def test_names_that_could_not_be_read_are_not_told_to_be_none() -> None:
    unread, nameless = known("mx.example"), known()
    unread.names = unread.row.names = None
    row = probe("mx.example", "192.0.2.1", name_match=None, chain_trusted=None, within_validity=None, strict_valid=None)
    findings = Findings("example.org", hosts=[Host(host="mx.example", addresses=["192.0.2.1"])])
    for leaf, words in (
        (unread, "certificate of names that could not be read, by"),
        (nameless, "certificate of nobody (no DNS names), by"),
    ):
        findings.probes = [(row, [leaf])]
        text = "\n".join(line.plain for line in lines(findings))
        assert words in text
        assert "? whether it names the host could not be read" in text
        assert "? whether it is trusted could not be found out" in text and "not trusted" not in text


def test_a_hosts_words_are_no_markup() -> None:
    text = told(play("S: 554 [bold red]boo[/] \\x1b[31mred\n").probe)
    assert "[bold red]boo[/] \\x1b[31mred" in text and "\x1b" not in text


def test_the_document_for_programs_has_the_names_of_the_tables() -> None:
    document = as_document(Findings("example.org", domain=Domain(domain="example.org", route=Route.NULL_MX)))
    assert set(document) == {"name", "domains", "hosts", "tlsa", "probes", "certificates", "senders", "policy_list"}
    assert document["policy_list"] is None
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


def policy_list(**entry: Any) -> PolicyList:
    """A list that names example.org, unless `entry` is empty."""
    policies = {"example.org": {"mode": "enforce"} | entry} if entry else {}
    top = {"author": "Somebody", "expires": "2026-01-15T00:00:00Z", "policies": policies}
    return parse_policy_list(json.dumps(top).encode(), "policy.json")


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


@pytest.mark.parametrize(
    ("content", "as_host", "words"),
    [("{", False, "is not a policy list"), ('{"policies": {}}', True, "--policy-list is about domains")],
)
def test_a_policy_list_that_is_of_no_use_is_refused_before_anything_is_contacted(
    content: str, as_host: bool, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "policy.json"
    file.write_text(content, "utf-8")
    config = Config(ehlo_name="probe.example")
    with pytest.raises(UsageError, match=words):
        run(config, "example.org", as_host=as_host, address=None, as_json=False, policy_list=file)


@pytest.mark.parametrize(
    ("name", "config"), [("not a name", Config(ehlo_name="probe.example")), ("example.org", Config())]
)
def test_bad_input_is_one_line(name: str, config: Config) -> None:
    with pytest.raises(UsageError) as error:
        run(config, name, as_host=False, address=None, as_json=False)
    assert "\n" not in str(error.value)


def test_an_address_that_is_no_hosts_is_refused_before_anything_is_contacted() -> None:
    findings = Findings("example.org", hosts=[Host(host="mx.example", addresses=["192.0.2.1", "192.0.2.2"])])
    with pytest.raises(UsageError, match=r"--address 198\.51\.100\.9: no mail host of example\.org has it"):
        next(_endpoints(findings, Config(), "198.51.100.9"))
    assert [endpoint.address for endpoint in _endpoints(findings, Config(), "192.0.2.2")] == ["192.0.2.2"]


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


@pytest.mark.parametrize(
    ("route", "code"),
    [(Route.NULL_MX, 0), (Route.NO_MAIL_HOST, 0), (Route.NXDOMAIN, 0), (Route.UNKNOWN, 1), (Route.OPTED_OUT, 1)],
)
def test_a_domain_without_mail_is_an_answer_and_one_that_was_not_asked_is_none(
    route: Route, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def measured(*_: Any) -> Findings:
        return Findings("example.org", domain=Domain(domain="example.org", route=route))

    monkeypatch.setattr("crawler.explain.explain._measure", measured)
    monkeypatch.setattr("crawler.explain.explain.check_identity", lambda config: None)
    assert run(Config(ehlo_name="probe.example"), "example.org", as_host=False, address=None, as_json=False) == code
    assert ROUTES[route] in capsys.readouterr().out


def test_a_domain_with_many_endpoints_says_which_one_it_is_at(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Silent ones are waited for one after the other; nobody should have to guess at what."""
    found = [f"192.0.2.{n}" for n in range(1, 4)]

    async def resolved(rows: Any, dns: Any, config: Any, emit: Any) -> None:
        for row in rows:
            emit(Host(host=row.host, addresses=found))

    async def once(self: Any, endpoint: Endpoint, took: Any) -> tuple[Probe, list[Any]]:
        return Probe(host=endpoint.host, address=endpoint.address, outcome=Outcome.TIMEOUT, stage=Stage.CONNECT), []

    monkeypatch.setattr("crawler.executors.instruments.resolve_hosts", resolved)
    monkeypatch.setattr("crawler.probe.attempt.Attempts.once", once)
    config = Config(ehlo_name="probe.example.net", allow_network=("127.0.0.0/8",))
    assert run(config, "mx.example", as_host=True, address=None, as_json=True) == 1
    out, err = capsys.readouterr()
    assert err.splitlines() == [f"{n} of 3: mx.example at {at}, port 25" for n, at in enumerate(found, 1)]
    assert len(json.loads(out)["probes"]) == 3, "the answer stays by itself"


@pytest.mark.parametrize(("seconds", "contacted"), [(0.0, 64), (20.0, 12)])
def test_a_domain_has_no_more_endpoints_and_time_than_in_a_scan(
    seconds: float, contacted: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A hundred names with 32 silent addresses each would take days, and aim thousands of connections at somebody."""
    asked = []

    async def resolved_domain(rows: Any, dns: Any, config: Any, emit: Any, **_: Any) -> None:
        mx = [{"preference": 10, "host": f"mx{number}.bad.example"} for number in range(64)]
        emit(Domain(domain="bad.example", route=Route.EXPLICIT, mx=mx))

    async def resolved(rows: Any, dns: Any, config: Any, emit: Any) -> None:
        for number, row in enumerate(rows):
            emit(Host(host=row.host, addresses=[f"192.0.{number}.{n}" for n in range(1, 33)]))

    async def once(self: Any, endpoint: Endpoint, took: Any) -> tuple[Probe, list[Any]]:
        asked.append(endpoint)
        took(seconds)
        return Probe(host=endpoint.host, address=endpoint.address, outcome=Outcome.TIMEOUT, stage=Stage.CONNECT), []

    monkeypatch.setattr("crawler.executors.instruments.resolve_domains", resolved_domain)
    monkeypatch.setattr("crawler.executors.instruments.resolve_hosts", resolved)
    monkeypatch.setattr("crawler.probe.attempt.Attempts.once", once)
    pacing = Pacing(domain_endpoints=64, total_seconds=100, total_seconds_per_domain=80, ordinary_seconds=5)
    config = Config(ehlo_name="probe.example.net", allow_network=("127.0.0.0/8",), pacing=pacing)
    assert run(config, "bad.example", as_host=False, address=None, as_json=True) == 1
    rows = json.loads(capsys.readouterr().out)["probes"]
    assert len(asked) == contacted
    assert len({endpoint.host for endpoint in asked}) == contacted, "each host has its share"
    assert len(rows) == 64 * 32, "nothing is left out in silence"
    assert sum(row["outcome"] == "over_budget" for row in rows) == len(rows) - contacted


@pytest.mark.parametrize(("outcome", "contacted"), [(Outcome.REJECTED, 4), (Outcome.TIMEOUT, 1)])
def test_names_that_all_point_at_one_address_are_asked_there_as_a_scan_would(
    outcome: Outcome, contacted: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A hundred names at an address of somebody else's made a hundred connections in half a second."""
    asked: list[str | None] = []
    slept: list[float] = []

    async def resolved_domain(rows: Any, dns: Any, config: Any, emit: Any, **_: Any) -> None:
        mx = [{"preference": 10, "host": f"mx{number}.bad.example"} for number in range(20)]
        emit(Domain(domain="bad.example", route=Route.EXPLICIT, mx=mx))

    async def resolved(rows: Any, dns: Any, config: Any, emit: Any) -> None:
        for row in rows:
            emit(Host(host=row.host, addresses=["192.0.2.1"]))

    async def once(self: Any, endpoint: Endpoint, took: Any) -> tuple[Probe, list[Any]]:
        asked.append(endpoint.host)
        return Probe(host=endpoint.host, address=endpoint.address, outcome=outcome, stage=Stage.GREETING), []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("crawler.executors.instruments.resolve_domains", resolved_domain)
    monkeypatch.setattr("crawler.executors.instruments.resolve_hosts", resolved)
    monkeypatch.setattr("crawler.probe.attempt.Attempts.once", once)
    monkeypatch.setattr("crawler.explain.explain.anyio.sleep", sleep)
    pacing = Pacing(names_per_address=4, address_pause=7.0)
    config = Config(ehlo_name="probe.example.net", allow_network=("127.0.0.0/8",), pacing=pacing)
    assert run(config, "bad.example", as_host=False, address=None, as_json=True) == 1
    rows = json.loads(capsys.readouterr().out)["probes"]
    assert len(asked) == contacted and slept.count(7.0) == contacted - 1
    left = [row for row in rows if row["outcome"] == "sampled_out"]
    assert len(left) == 20 - contacted, "nothing is left out in silence"
    assert {row["representative_host"] for row in left} == {asked[0]}
    assert all(row["representative_related"] for row in left)


def test_another_protocol_is_told_by_itself_and_no_sender_is_asked_about_it() -> None:
    findings = Findings("example.org", domain=domain("example.org", "mx.example"))
    findings.hosts = [host("mx.example", "192.0.2.1")]
    findings.tlsa = {"mx.example": tlsa("mx.example", "absent")}
    imap = play(
        "TLS\nS: * OK\nC: a3 CAPABILITY\nS: * CAPABILITY IMAP4rev1\nS: a3 OK\nC: a4 LOGOUT\n", name="imaps"
    ).probe
    pop3 = play("S: +OK\nC: CAPA\nS: -ERR\nC: STLS\nS: -ERR\nC: QUIT\n", name="pop3").probe
    imap.host = pop3.host = "mx.example"
    findings.probes = [(probe("mx.example", "192.0.2.1"), []), (imap, []), (pop3, [])]
    said = [line.plain for line in lines(findings)]
    at = said.index("  192.0.2.1 port 993: imap, with TLS at once")
    stages = [line.split()[1] for line in said[at + 1 : at + 5]]
    assert stages == ["connect", "handshake", "greeting", "after_tls"]
    assert "  192.0.2.1 port 110: pop3, upgraded to TLS" in said and "    an upgrade to TLS is not offered" in said
    (opportunistic,) = (line for line in said if line.startswith("  opportunistic"))
    assert " of " not in opportunistic, "one endpoint is asked, and not three"
    assert [answers["protocol"] for answers in as_document(findings)["senders"] if "dane" in answers] == ["smtp"]
    findings.probes = findings.probes[1:]
    assert not any(line.plain.startswith("\nWhat senders") for line in lines(findings))
