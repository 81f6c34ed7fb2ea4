"""ManageSieve conversations, each a transcript played whole and byte by byte."""

from __future__ import annotations

import pytest

from crawler.model.rows import Outcome, Probe, Stage
from tests.kit.conversations import play

CAPABILITIES = 'S: "IMPLEMENTATION" "Example"\nS: "SIEVE" "fileinto"\n'
OFFER = CAPABILITIES + 'S: "SASL" "PLAIN"\nS: "STARTTLS"\nS: OK "ready"\nC: STARTTLS\n'


def end(transcript: str) -> tuple[Stage | None, Outcome | None, Probe]:
    probe = play(transcript, name="sieve").probe
    return probe.stage, probe.outcome, probe


def test_after_the_handshake_the_capabilities_come_unasked() -> None:
    probe = end(OFFER + 'S: OK "go"\nTLS\n' + CAPABILITIES + 'S: OK "TLS negotiated"\nC: LOGOUT\n')[2]
    assert (probe.stage, probe.outcome, probe.negotiated) == (Stage.DONE, Outcome.OK, True)
    assert probe.capabilities == ['"IMPLEMENTATION" "Example"', '"SIEVE" "fileinto"', '"SASL" "PLAIN"', '"STARTTLS"']
    assert probe.capabilities_after_tls == ['"IMPLEMENTATION" "Example"', '"SIEVE" "fileinto"']
    assert probe.plaintext_login is True


def test_a_host_without_the_capability_does_not_offer_tls() -> None:
    stage, outcome, probe = end(CAPABILITIES + 'S: "NOTSTARTTLS"\nS: OK\nC: LOGOUT\n')
    assert (stage, outcome, probe.conclusive) == (Stage.GREETING, Outcome.NOT_OFFERED, True)


def test_a_capability_may_be_a_literal() -> None:
    transcript = 'S: {8}\nS: STARTTLS\nS: "SASL" {5}\nS: PLAIN\nS: OK\nC: STARTTLS\nFIN\n'
    probe = end(transcript)[2]
    assert probe.starttls_offered is True and probe.plaintext_login is True and probe.stage is Stage.UPGRADE


@pytest.mark.parametrize(("answer", "for_good"), [('NO "never"', True), ('NO (TRYLATER) "busy"', False)])
def test_a_refusal_counts_for_good_unless_its_code_says_otherwise(answer: str, for_good: bool) -> None:
    stage, outcome, probe = end(OFFER + f"S: {answer}\nC: LOGOUT\n")
    assert (stage, outcome, probe.conclusive) == (Stage.UPGRADE, Outcome.UPGRADE_REFUSED, for_good)


@pytest.mark.parametrize("transcript", ['S: BYE "closed for today"\n', OFFER + "S: BYE\n"])
def test_a_host_that_takes_its_leave_has_rejected_us(transcript: str) -> None:
    assert end(transcript + "C: LOGOUT\n")[1] is Outcome.REJECTED


@pytest.mark.parametrize("opening", ["* OK IMAP4rev1 ready", "220 mx ESMTP", "SSH-2.0-OpenSSH_9.9"])
def test_another_protocol_is_called_so(opening: str) -> None:
    assert end(f"S: {opening}\n")[:2] == (Stage.GREETING, Outcome.WRONG_PROTOCOL)


def test_a_host_that_does_not_repeat_its_capabilities_is_waited_for() -> None:
    stage, outcome, probe = end(OFFER + "S: OK\nTLS\nLATE\n")
    assert (stage, outcome, probe.negotiated) == (Stage.AFTER_TLS, Outcome.TIMEOUT, None)
