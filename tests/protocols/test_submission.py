"""Submission and LMTP: what they share with SMTP, and what is their own."""

from __future__ import annotations

import pytest

from crawler.model.rows import Form, Outcome, Stage
from tests.kit.conversations import play


def test_submission_speaks_as_smtp_does_and_says_whether_a_password_would_go_in_the_clear() -> None:
    probe = play(
        "S: 220 mx\nC: EHLO probe.example\nS: 250-mx\nS: 250-AUTH LOGIN CRAM-MD5\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\n"
        "TLS\nC: EHLO probe.example\nS: 250-mx\nS: 250 AUTH PLAIN\nC: QUIT\n",
        name="submission",
    ).probe
    assert (probe.protocol, probe.form, probe.port) == ("submission", Form.STARTTLS, 587)
    assert (probe.stage, probe.outcome, probe.plaintext_login) == (Stage.DONE, Outcome.OK, True)


def test_submissions_begins_with_tls() -> None:
    probe = play(
        "TLS\nS: 220 mx\nC: EHLO probe.example\nS: 250-mx\nS: 250 AUTH PLAIN\nC: QUIT\n", name="submissions"
    ).probe
    assert (probe.protocol, probe.form, probe.port) == ("submission", Form.IMPLICIT, 465)
    assert (probe.outcome, probe.greeting_code, probe.hello_command) == (Outcome.OK, 220, None)
    assert probe.capabilities_after_tls == ["AUTH PLAIN"] and probe.starttls_offered is None


@pytest.mark.parametrize(("offer", "login"), [("AUTH CRAM-MD5", False), ("AUTHPLAIN", False), ("auth plain", True)])
def test_a_plaintext_login_is_a_mechanism_and_not_a_part_of_a_word(offer: str, login: bool) -> None:
    transcript = f"S: 220 mx\nC: EHLO probe.example\nS: 250-mx\nS: 250 {offer}\nC: QUIT\n"
    probe = play(transcript, name="submission").probe
    assert (probe.outcome, probe.plaintext_login) == (Outcome.NOT_OFFERED, login)


def test_lmtp_says_lhlo() -> None:
    probe = play(
        "S: 220 mx LMTP\nC: LHLO probe.example\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\n"
        "TLS\nC: LHLO probe.example\nS: 250 mx\nC: QUIT\n",
        name="lmtp",
    ).probe
    assert (probe.outcome, probe.hello_command, probe.capabilities_after_tls) == (Outcome.OK, "lhlo", [])


def test_lmtp_knows_no_helo() -> None:
    probe = play("S: 220 mx\nC: LHLO probe.example\nS: 500 what\nC: QUIT\n", name="lmtp").probe
    assert (probe.stage, probe.outcome, probe.conclusive) == (Stage.CAPABILITIES, Outcome.REJECTED, False)
