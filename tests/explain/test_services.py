"""What is said of a domain's mail services, and of certificates that must name the domain."""

from __future__ import annotations

from typing import Any

import pytest

from crawler.explain.domain_text import _SERVICES
from crawler.explain.text import Findings, lines
from crawler.model.rows import Domain, Fallback, Form, Host, Outcome, Route, SrvStatus, Stage
from tests.kit.small_runs import known, probe


def state(form: Form, status: SrvStatus, fallback: Fallback | None = None) -> dict[str, Any]:
    return {"protocol": "imap", "form": form, "status": status, "fallback": fallback}


def said(matches: list[str] | None, *, name_match: bool = True) -> list[str]:
    leaf = known("imap.provider.example")
    row = probe("imap.provider.example", "192.0.2.1", protocol="imap", form=Form.IMPLICIT, port=993)
    row.found_by, row.reference_names, row.reference_matches = ["srv"], ["d.example"], matches
    row.name_match, row.stage, row.outcome = name_match, Stage.DONE, Outcome.OK
    entry = {"protocol": "imap", "form": "implicit", "port": 993, "found_by": ["srv"]}
    findings = Findings("d.example")
    findings.domain = Domain(
        domain="d.example",
        route=Route.EXPLICIT,
        mx=[],
        srv=[state(Form.STARTTLS, SrvStatus.NOT_AVAILABLE), state(Form.IMPLICIT, SrvStatus.NAMED)],
    )
    findings.hosts.append(Host(host="imap.provider.example", addresses=["192.0.2.1"], asked=[entry]))
    findings.probes.append((row, [leaf]))
    return [line.plain.strip() for line in lines(findings)]


def test_what_srv_records_say_is_told_for_each_form_and_how_the_host_was_found() -> None:
    text = said([])
    assert any("upgraded: not available, say its SRV records" in line for line in text)
    assert any("begun with TLS: at the hosts of its SRV records" in line for line in text)
    assert "imap.provider.example  named by SRV records" in text


@pytest.mark.parametrize(
    ("matches", "words", "end"),
    [
        ([], "✗ does not name d.example, as RFC 6186 §6 asks", "the certificate would not satisfy a strict sender"),
        (["d.example"], "✓ names d.example, as RFC 6186 §6 asks", "the certificate would satisfy a strict sender"),
        (None, "? whether it names d.example could not be read", "whether the certificate would satisfy a strict sender is unknown"),
    ],
)  # fmt: skip
def test_the_name_of_the_domain_decides_where_srv_records_led_to_the_host(
    matches: list[str] | None, words: str, end: str
) -> None:
    text = said(matches)
    assert "✓ names the host" in text and words in text and end in text


def test_every_state_of_a_service_has_its_words() -> None:
    assert set(_SERVICES) == {*map(str, SrvStatus), *map(str, Fallback)}
