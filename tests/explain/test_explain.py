"""One domain or host explained: words for every row, and input that is of no use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crawler.explain.domain_text import _MODES, _TLSA
from crawler.explain.endpoint_text import DANE_ERRORS, OUTCOMES
from crawler.explain.explain import _endpoints, as_document, run
from crawler.explain.text import ROUTES, Findings, lines
from crawler.model.errors import UsageError
from crawler.model.rows import (
    DaneError,
    Domain,
    Endpoint,
    Host,
    MtaStsMode,
    Outcome,
    Probe,
    Route,
    Stage,
    TlsaStatus,
)
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
