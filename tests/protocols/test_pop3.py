"""POP3 conversations, each a transcript played whole and byte by byte."""

from __future__ import annotations

import pytest

from crawler.model.rows import Form, Outcome, Probe, Stage
from crawler.settings.config import Limits
from tests.kit.conversations import play, play_plain, play_whole

GREETING = "S: +OK ready <1896.697170952@mx.example>\nC: CAPA\n"
OFFER = GREETING + "S: +OK\nS: TOP\nS: USER\nS: SASL PLAIN\nS: STLS\nS: .\nC: STLS\n"


def end(
    transcript: str, name: str = "pop3", limits: Limits | None = None
) -> tuple[Stage | None, Outcome | None, Probe]:
    probe = play(transcript, name=name, limits=limits).probe
    return probe.stage, probe.outcome, probe


def test_a_whole_conversation_ends_inside_tls_with_quit() -> None:
    probe = play(
        OFFER + "S: +OK begin\nTLS\nC: CAPA\nS: +OK\nS: TOP\nS: SASL PLAIN\nS: .\nC: QUIT\n", name="pop3"
    ).probe
    assert (probe.stage, probe.outcome, probe.conclusive, probe.form) == (Stage.DONE, Outcome.OK, True, Form.STARTTLS)
    assert probe.greeting == "+OK ready <1896.697170952@mx.example>" and probe.greeting_code is None
    assert probe.capabilities == ["TOP", "USER", "SASL PLAIN", "STLS"]
    assert probe.capabilities_after_tls == ["TOP", "SASL PLAIN"]
    assert probe.starttls_offered and probe.negotiated and probe.plaintext_login
    assert probe.tls_version == "TLSv1.3" and probe.tls_alpn is None


def test_a_host_that_upgrades_though_it_lists_no_stls_does_tls() -> None:
    probe = end(GREETING + "S: +OK\nS: TOP\nS: .\nC: STLS\nS: +OK\nTLS\nC: CAPA\nS: -ERR\nC: QUIT\n")[2]
    assert (probe.outcome, probe.negotiated, probe.starttls_offered) == (Outcome.OK, True, False)
    assert probe.capabilities_after_tls is None and probe.plaintext_login is False


def test_a_host_too_old_for_capa_is_asked_for_tls_all_the_same() -> None:
    stage, outcome, probe = end(GREETING + "S: -ERR unknown\nC: STLS\nS: +OK\nTLS\nC: CAPA\nFIN\n")
    assert (stage, outcome, probe.starttls_offered, probe.capabilities) == (Stage.AFTER_TLS, Outcome.CLOSED, None, None)


@pytest.mark.parametrize("listed", ["S: -ERR what?\n", "S: +OK\nS: TOP\nS: .\n"])
def test_a_host_that_neither_lists_nor_knows_stls_does_not_offer_it(listed: str) -> None:
    stage, outcome, probe = end(GREETING + listed + "C: STLS\nS: -ERR unknown command\nC: QUIT\n")
    assert (stage, outcome) == (Stage.UPGRADE, Outcome.NOT_OFFERED)
    assert probe.starttls_offered is False and probe.negotiated is False and probe.conclusive


@pytest.mark.parametrize(("answer", "for_good"), [("-ERR no TLS here", True), ("-ERR [SYS/TEMP] later", False)])
def test_a_refusal_counts_for_good_unless_its_code_says_otherwise(answer: str, for_good: bool) -> None:
    stage, outcome, probe = end(OFFER + f"S: {answer}\nC: QUIT\n")
    assert (stage, outcome, probe.conclusive) == (Stage.UPGRADE, Outcome.UPGRADE_REFUSED, for_good)


def test_a_greeting_that_refuses_us_says_nothing_about_tls() -> None:
    stage, outcome, probe = end("S: -ERR [IN-USE] go away\nC: QUIT\n")
    assert (stage, outcome, probe.conclusive, probe.negotiated) == (Stage.GREETING, Outcome.REJECTED, False, None)


def test_plaintext_behind_the_go_ahead_is_recorded_and_never_answered() -> None:
    probe = play_whole(OFFER + "S- +OK go\\r\\n+OK injected\\r\\n\nTLS\nC: CAPA\nFIN\n", name="pop3").probe
    assert probe.plaintext_after_upgrade == b"+OK injected\r\n"


@pytest.mark.parametrize(
    "opening", ["SSH-2.0-OpenSSH_9.9", "HTTP/1.1 400 Bad Request", "* OK IMAP4rev1 ready", "220 mx ESMTP"]
)
def test_another_protocol_is_called_so(opening: str) -> None:
    assert end(f"S: {opening}\n")[:2] == (Stage.GREETING, Outcome.WRONG_PROTOCOL)


@pytest.mark.parametrize(
    "opening", ["hello there, stranger", "\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00"]
)
def test_what_is_outside_the_grammar_is_an_error(opening: str) -> None:
    assert end(f"S: {opening}\n")[:2] == (Stage.GREETING, Outcome.PROTOCOL_ERROR)


@pytest.mark.parametrize(
    "flood",
    [
        "S- +OK\\r\\n" + "X\\r\\n" * 300 + "\n",
        "S- +OK " + "x" * 5000 + "\n",
        "S- +OK\\r\\n" + ("y" * 900 + "\\r\\n") * 50 + "\n",
    ],
)
def test_a_list_without_end_is_cut_off(flood: str) -> None:
    probe = play_whole(GREETING + flood, name="pop3").probe
    assert (probe.stage, probe.outcome) == (Stage.CAPABILITIES, Outcome.LIMIT_EXCEEDED)


def test_the_implicit_form_is_greeted_inside_tls() -> None:
    heard = play("TLS\nS: +OK ready\nC: CAPA\nS: +OK\nS: USER\nS: .\nC: QUIT\n", name="pop3s")
    probe = heard.probe
    assert (probe.stage, probe.outcome, probe.protocol, probe.form) == (Stage.DONE, Outcome.OK, "pop3", Form.IMPLICIT)
    assert probe.greeting == "+OK ready" and probe.capabilities_after_tls == ["USER"] and probe.negotiated
    assert (probe.capabilities, probe.starttls_offered, probe.plaintext_login, probe.upgrade_ms) == (
        None,
        None,
        None,
        None,
    )
    assert len(heard.conversation.chain) == 1


def test_who_turns_us_away_inside_tls_does_tls() -> None:
    stage, outcome, probe = end("TLS\nS: -ERR too many connections\nC: QUIT\n", "pop3s")
    assert (stage, outcome, probe.conclusive, probe.negotiated) == (Stage.GREETING, Outcome.REJECTED, True, True)


@pytest.mark.parametrize(
    "words", ["+OK in the clear\\r\\n", "SSH-2.0-OpenSSH_9.9\\r\\n", "HTTP/1.1 400 Bad\\r\\n\\r\\n"]
)
def test_plain_text_where_tls_is_due_is_kept_and_no_tls(words: str) -> None:
    row = play_plain(words, name="pop3s")
    assert (row.stage, row.outcome, row.conclusive) == (
        Stage.HANDSHAKE,
        Outcome.TLS_ERROR,
        True,
    )
    assert row.negotiated is False and row.last_reply is not None
    assert row.last_reply.startswith(words[:8])


@pytest.mark.parametrize("listed", ["S: -ERR what?\n", "S: +OK\nS: TOP\nS: .\n"])
def test_a_host_that_cannot_say_now_is_not_said_to_offer_nothing(listed: str) -> None:
    probe = end(GREETING + listed + "C: STLS\nS: -ERR [SYS/TEMP] later\nC: QUIT\n")[2]
    assert (probe.outcome, probe.conclusive, probe.negotiated) == (Outcome.UPGRADE_REFUSED, False, None)
