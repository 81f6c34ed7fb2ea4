"""IMAP conversations, each a transcript played whole and byte by byte."""

from __future__ import annotations

import pytest

from crawler.model.rows import Form, Outcome, Probe, Stage
from tests.kit.conversations import play, play_whole

GREETING = "S: * OK [CAPABILITY IMAP4rev1 STARTTLS] ready\nC: a1 CAPABILITY\n"
OFFER = GREETING + "S: * CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\nS: a1 OK done\nC: a2 STARTTLS\n"


def end(transcript: str, name: str = "imap") -> tuple[Stage | None, Outcome | None, Probe]:
    probe = play(transcript, name=name).probe
    return probe.stage, probe.outcome, probe


def test_a_whole_conversation_ends_inside_tls_with_logout() -> None:
    probe = end(
        OFFER + "S: a2 OK begin\nTLS\nC: a3 CAPABILITY\nS: * CAPABILITY IMAP4rev1 AUTH=PLAIN\nS: a3 OK\nC: a4 LOGOUT\n"
    )[2]
    assert (probe.stage, probe.outcome, probe.conclusive, probe.negotiated) == (Stage.DONE, Outcome.OK, True, True)
    assert probe.capabilities == ["IMAP4rev1", "STARTTLS", "LOGINDISABLED"]
    assert probe.capabilities_after_tls == ["IMAP4rev1", "AUTH=PLAIN"]
    assert probe.starttls_offered is True and probe.plaintext_login is False


def test_capabilities_of_the_greeting_are_not_relied_on() -> None:
    stage, outcome, probe = end(GREETING + "S: * CAPABILITY IMAP4rev1\nS: a1 OK\nC: a4 LOGOUT\n")
    assert (stage, outcome, probe.negotiated) == (Stage.CAPABILITIES, Outcome.NOT_OFFERED, False)
    assert probe.plaintext_login is True


def test_a_host_of_imap4rev2_alone_is_read_like_any_other() -> None:
    assert end("S: * OK\nC: a1 CAPABILITY\nS: * CAPABILITY IMAP4rev2 STARTTLS\nS: a1 OK\nC: a2 STARTTLS\nFIN\n")[
        2
    ].starttls_offered


def test_after_preauth_no_upgrade_is_possible_which_is_conclusive() -> None:
    stage, outcome, probe = end("S: * PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] welcome\n")
    assert (stage, outcome) == (Stage.GREETING, Outcome.STARTTLS_IMPOSSIBLE)
    assert probe.conclusive and probe.negotiated is False and probe.starttls_offered is None


def test_preauth_inside_tls_is_a_greeting_like_another() -> None:
    stage, outcome, probe = end(
        "TLS\nS: * PREAUTH hi\nC: a3 CAPABILITY\nS: * CAPABILITY IMAP4rev1\nS: a3 OK\nC: a4 LOGOUT\n", "imaps"
    )
    assert (stage, outcome, probe.form, probe.capabilities) == (Stage.DONE, Outcome.OK, Form.IMPLICIT, None)


@pytest.mark.parametrize("transcript", ["S: * BYE overloaded\n", GREETING + "S: * BYE idle for too long\n"])
def test_a_host_that_takes_its_leave_has_rejected_us(transcript: str) -> None:
    probe = end(transcript + "C: a4 LOGOUT\n")[2]
    assert (probe.outcome, probe.conclusive, probe.negotiated) == (Outcome.REJECTED, False, None)
    assert "BYE" in (probe.last_reply or "")


def test_a_word_in_place_of_a_greeting_is_an_error() -> None:
    assert end("S: * NO such thing here\n")[:2] == (Stage.GREETING, Outcome.PROTOCOL_ERROR)


def test_untagged_data_before_the_tagged_reply_is_read_over_and_kept() -> None:
    probe = end(OFFER + "S: * 5 EXISTS\nS: * OK [ALERT] your password is old\nS: a2 BAD no\nC: a4 LOGOUT\n")[2]
    assert (probe.stage, probe.outcome, probe.conclusive) == (Stage.UPGRADE, Outcome.UPGRADE_REFUSED, True)
    assert probe.last_reply == "* 5 EXISTS\n* OK [ALERT] your password is old\na2 BAD no"


@pytest.mark.parametrize(
    ("answer", "for_good"), [("a2 NO [UNAVAILABLE] later", False), ("a2 BAD", True), ("a2 NO never", True)]
)
def test_a_refusal_counts_for_good_unless_its_code_says_otherwise(answer: str, for_good: bool) -> None:
    stage, outcome, probe = end(OFFER + f"S: {answer}\nC: a4 LOGOUT\n")
    assert (stage, outcome, probe.conclusive) == (Stage.UPGRADE, Outcome.UPGRADE_REFUSED, for_good)


def test_a_host_that_lists_no_capabilities_is_asked_for_tls_all_the_same() -> None:
    asked = "S: * OK\nC: a1 CAPABILITY\nS: a1 BAD what\nC: a2 STARTTLS\n"
    assert end(asked + "S: a2 BAD what\nC: a4 LOGOUT\n")[1] is Outcome.NOT_OFFERED
    busy = end(asked + "S: a2 NO [UNAVAILABLE] later\nC: a4 LOGOUT\n")[2]
    assert (busy.outcome, busy.conclusive, busy.negotiated) == (Outcome.UPGRADE_REFUSED, False, None)
    assert end(asked + "S: a2 OK\nTLS\nC: a3 CAPABILITY\nFIN\n")[:2] == (Stage.AFTER_TLS, Outcome.CLOSED)


def test_a_literal_is_no_line_whatever_is_in_it() -> None:
    hidden = "S: * OK {14}\nS: a1 OK forged{3}\nS: x\n"
    probe = end(GREETING + hidden.replace("{14}", "{15}") + "S: * CAPABILITY IMAP4rev1\nS: a1 OK\nC: a4 LOGOUT\n")[2]
    assert (probe.outcome, probe.capabilities) == (Outcome.NOT_OFFERED, ["IMAP4rev1"])


@pytest.mark.parametrize("size", ["4294967296", "9" * 40, "40000"])
def test_a_literal_of_gigabytes_is_cut_off_at_its_announcement(size: str) -> None:
    assert end(GREETING + f"S: * OK {{{size}}}\n")[:2] == (Stage.CAPABILITIES, Outcome.LIMIT_EXCEEDED)


def test_untagged_lines_without_end_are_cut_off() -> None:
    assert end(GREETING + "S- " + "* 1 EXISTS\\r\\n" * 300 + "\n")[:2] == (Stage.CAPABILITIES, Outcome.LIMIT_EXCEEDED)


@pytest.mark.parametrize("opening", ["+OK ready", "220 mx ESMTP", "SSH-2.0-OpenSSH_9.9"])
def test_another_protocol_is_called_so(opening: str) -> None:
    assert end(f"S: {opening}\n")[:2] == (Stage.GREETING, Outcome.WRONG_PROTOCOL)


def test_plaintext_behind_the_go_ahead_is_recorded_and_never_answered() -> None:
    probe = play_whole(
        OFFER + "S- a2 OK go\\r\\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\\r\\na3 OK\\r\\n\nTLS\nC: a3 CAPABILITY\nFIN\n",
        name="imap",
    ).probe
    assert probe.plaintext_after_upgrade == b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\na3 OK\r\n"
