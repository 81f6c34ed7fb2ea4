"""SMTP conversations, each a transcript played whole and byte by byte."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from OpenSSL import SSL

from crawler.model.rows import Outcome, Probe, Stage
from crawler.protocols.protocol import Ended
from crawler.protocols.three_digit import ThreeDigitReplies
from crawler.settings.config import Limits
from tests.kit.conversations import LEAF, play, play_whole

GREETING = "S: 220 mx.example ESMTP\nC: EHLO probe.example\n"
OFFER = GREETING + "S: 250-mx.example\nS: 250-SIZE 1000\nS: 250 STARTTLS\nC: STARTTLS\n"


def end(transcript: str, limits: Limits | None = None) -> tuple[Stage | None, Outcome | None, Probe]:
    probe = play(transcript, limits=limits).probe
    return probe.stage, probe.outcome, probe


def test_a_whole_conversation_ends_inside_tls_with_quit() -> None:
    heard = play(
        OFFER
        + "S: 220 go ahead\nTLS\nC: EHLO probe.example\nS: 250-mx.example hello\nS: 250-SIZE 1000\nS: 250 AUTH PLAIN\nC: QUIT\n"
    )
    probe = heard.probe
    assert (probe.stage, probe.outcome, probe.conclusive) == (Stage.DONE, Outcome.OK, True)
    assert probe.greeting == "220 mx.example ESMTP" and probe.greeting_code == 220
    assert probe.capabilities == ["SIZE 1000", "STARTTLS"]
    assert probe.capabilities_after_tls == ["SIZE 1000", "AUTH PLAIN"]
    assert probe.starttls_offered and probe.negotiated and probe.starttls_code == 220
    assert probe.tls_version == "TLSv1.3" and probe.tls_group == "X25519MLKEM768"
    assert probe.forward_secret and probe.post_quantum
    assert probe.plaintext_after_upgrade is None
    assert len(heard.conversation.chain) == 1
    assert all(getattr(probe, f"{stage}_ms") is not None for stage in Stage if stage is not Stage.DONE)


def test_the_host_name_is_not_a_keyword() -> None:
    assert end(GREETING + "S: 250 STARTTLS\nC: QUIT\n")[:2] == (Stage.CAPABILITIES, Outcome.NOT_OFFERED)


def test_a_keyword_is_not_found_within_another() -> None:
    stage, outcome, probe = end(GREETING + "S: 250-mx\nS: 250-XSTARTTLS\nS: 250 STARTTLSX\nC: QUIT\n")
    assert (stage, outcome, probe.starttls_offered) == (Stage.CAPABILITIES, Outcome.NOT_OFFERED, False)
    assert probe.negotiated is False and probe.conclusive


def test_a_keyword_may_come_in_any_case_with_parameters() -> None:
    assert end(GREETING + "S: 250-mx\nS: 250 starttls required\nC: STARTTLS\nFIN\n")[2].starttls_offered is True


def test_ehlo_is_said_whatever_the_banner() -> None:
    assert end("S: 220 ***************\nC: EHLO probe.example\nFIN\n")[:2] == (Stage.CAPABILITIES, Outcome.CLOSED)


def test_helo_after_a_permanent_refusal_of_ehlo() -> None:
    stage, outcome, probe = end(GREETING + "S: 502 no\nC: HELO probe.example\nS: 250 mx\nC: QUIT\n")
    assert (stage, outcome, probe.hello_command) == (Stage.CAPABILITIES, Outcome.NOT_OFFERED, "helo")
    assert probe.starttls_offered is False and probe.capabilities == []


def test_a_hangup_after_a_refused_ehlo_is_a_rejection() -> None:
    stage, outcome, probe = end(GREETING + "S: 550 5.7.1 blocked\nC: HELO probe.example\nFIN\n")
    assert (stage, outcome, probe.conclusive) == (Stage.CAPABILITIES, Outcome.REJECTED, False)
    assert probe.starttls_offered is None and probe.negotiated is None


@pytest.mark.parametrize("code", [421, 450, 554])
def test_a_refusing_banner_leaves_tls_unknown(code: int) -> None:
    stage, outcome, probe = end(f"S: {code} not you\nC: QUIT\n")
    assert (stage, outcome, probe.greeting_code) == (Stage.GREETING, Outcome.REJECTED, code)
    assert probe.conclusive is False and probe.starttls_offered is None and probe.negotiated is None


def test_454_is_a_refused_upgrade_that_may_pass() -> None:
    stage, outcome, probe = end(OFFER + "S: 454 TLS not available\nC: QUIT\n")
    assert (stage, outcome, probe.starttls_code) == (Stage.UPGRADE, Outcome.UPGRADE_REFUSED, 454)
    assert probe.conclusive is False and probe.negotiated is None and probe.starttls_offered is True


def test_502_to_starttls_is_conclusive() -> None:
    probe = end(OFFER + "S: 502 unimplemented\nC: QUIT\n")[2]
    assert probe.outcome is Outcome.UPGRADE_REFUSED and probe.conclusive and probe.negotiated is False


@pytest.mark.parametrize("code", [200, 221, 250, 299])
def test_any_code_of_success_is_a_go_ahead_as_for_postfix(code: int) -> None:
    """It was a conclusive *no TLS*, of a host to which Postfix sends inside TLS."""
    inside = f"TLS\nC: EHLO probe.example\nS: {code} mx.example\nC: QUIT\n"
    probe = play(OFFER + f"S: {code} go ahead\n" + inside).probe
    assert (probe.stage, probe.outcome, probe.starttls_code) == (Stage.DONE, Outcome.OK, code)
    assert probe.negotiated and probe.tls_version == "TLSv1.3"
    greeted = OFFER.replace("220 mx", f"{code} mx").replace("250", str(code))
    probe = play(greeted + "S: 220 go ahead\n" + inside).probe
    assert (probe.outcome, probe.greeting_code, probe.starttls_offered) == (Outcome.OK, code, True)


def test_a_code_of_success_without_tls_behind_it_is_conclusive_by_what_follows() -> None:
    probe = play(OFFER + "S: 250 fine\nS: 500 what is that?\n").probe
    assert (probe.stage, probe.outcome, probe.negotiated) == (Stage.HANDSHAKE, Outcome.TLS_ERROR, False)
    probe = play(OFFER + "S: 250 fine\nFIN\n").probe
    assert (probe.outcome, probe.conclusive, probe.negotiated) == (Outcome.CLOSED, False, None)


@pytest.mark.parametrize("code", [300, 354])
def test_a_code_that_asks_for_more_is_no_go_ahead(code: int) -> None:
    stage, outcome, probe = end(OFFER + f"S: {code} go on\n")
    assert (stage, outcome, probe.conclusive) == (Stage.UPGRADE, Outcome.PROTOCOL_ERROR, True)


@pytest.mark.parametrize(
    ("version", "stage"), [(SSL.TLS1_2_VERSION, Stage.HANDSHAKE), (SSL.TLS1_3_VERSION, Stage.AFTER_TLS)]
)
def test_a_host_that_demands_a_client_certificate_does_no_tls_with_us_in_whichever_version(
    version: int, stage: Stage
) -> None:
    """In TLS 1.3 its alert comes when the handshake stands for us; a sender gets no further in either."""
    context = LEAF.context()
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    context.set_max_proto_version(version)
    probe = play_whole(OFFER + "S: 220 go\nTLS\n", context=context).probe
    assert (probe.stage, probe.outcome, probe.conclusive) == (stage, Outcome.TLS_ALERT, True)
    assert probe.negotiated is False and (probe.tls_version is None) == (stage is Stage.HANDSHAKE)


def test_a_masked_keyword_is_kept() -> None:
    stage, outcome, probe = end(GREETING + "S: 250-mx\nS: 250-XXXXXXXA\nS: 250 SIZE\nC: QUIT\n")
    assert (outcome, probe.starttls_masked, probe.starttls_offered) == (Outcome.NOT_OFFERED, "XXXXXXXA", False)
    assert stage is Stage.CAPABILITIES


def test_plaintext_behind_the_go_ahead_is_recorded_and_never_answered() -> None:
    injected = "220 go\\r\\n250-injected\\r\\n250 STARTTLS\\r\\n"
    heard = play_whole(OFFER + f"S- {injected}\nTLS\nC: EHLO probe.example\nS: 250 mx\nC: QUIT\n")
    assert heard.probe.plaintext_after_upgrade == b"250-injected\r\n250 STARTTLS\r\n"
    assert (heard.probe.outcome, heard.probe.capabilities_after_tls) == (Outcome.OK, [])


def test_plaintext_that_comes_after_our_hello_is_recorded_too_but_ends_it() -> None:
    probe = end(OFFER + "S: 220 go\nS: 250-injected\n")[2]
    assert (probe.stage, probe.outcome) == (Stage.HANDSHAKE, Outcome.TLS_ERROR)
    assert probe.plaintext_after_upgrade == b"250-injected\r\n"


def test_a_late_banner_is_a_timeout_not_a_no() -> None:
    stage, outcome, probe = end("LATE\n")
    assert (stage, outcome, probe.starttls_offered, probe.conclusive) == (Stage.GREETING, Outcome.TIMEOUT, None, False)


@pytest.mark.parametrize("ending", ["FIN", "RST", "LATE"])
@pytest.mark.parametrize(
    ("before", "stage"),
    [("", Stage.GREETING), (GREETING, Stage.CAPABILITIES), (OFFER, Stage.UPGRADE)],
)
def test_an_ending_is_booked_on_the_stage_it_hit(before: str, stage: Stage, ending: str) -> None:
    wanted = {"FIN": Outcome.CLOSED, "RST": Outcome.RESET, "LATE": Outcome.TIMEOUT}[ending]
    assert end(before + ending)[:2] == (stage, wanted)


@pytest.mark.parametrize(
    "banner",
    [
        "SSH-2.0-OpenSSH_9.2",
        "HTTP/1.1 400 Bad Request",
        "* OK IMAP4rev1 ready",
        "+OK POP3 ready",
        "<html>",
        "\\x15\\x03\\x01\\x00\\x02\\x02\\x46",
    ],
)
def test_a_foreign_protocol_is_recognised(banner: str) -> None:
    assert end("S: " + banner)[:2] == (Stage.GREETING, Outcome.WRONG_PROTOCOL)


@pytest.mark.parametrize("banner", ["hello", "22 x", "2200 x", "99 x", "\\xff\\xfe", "220x"])
def test_what_is_no_reply_is_a_protocol_error(banner: str) -> None:
    assert end("S: " + banner)[:2] == (Stage.GREETING, Outcome.PROTOCOL_ERROR)


def test_bytes_that_cannot_become_a_reply_are_not_waited_upon() -> None:
    assert end("S- J\\x00\\x00\\x00\\x0a8.0.36-0ubuntu".replace("\\x0a", "\\x01"))[:2] == (
        Stage.GREETING,
        Outcome.PROTOCOL_ERROR,
    )


def test_the_bare_code_and_bare_line_feeds_are_legal() -> None:
    probe = end("S- 220-mx\\n220\\n\nC: EHLO probe.example\nS: 250\nC: QUIT\n")[2]
    assert probe.capabilities == [] and probe.greeting == "220-mx\n220"


def test_a_banner_of_other_bytes_is_kept_escaped() -> None:
    probe = end("S: 220 caf\\xe9 \\\\ \\x00\nC: EHLO probe.example\nFIN\n")[2]
    assert probe.greeting == "220 caf\\xe9 \\\\ \\x00"


@pytest.mark.parametrize(
    ("limits", "transcript"),
    [
        (Limits(line_bytes=64), "S: 220 " + "x" * 80),
        (Limits(line_bytes=64), "S- 220 " + "x" * 80),
        (Limits(reply_lines=4), GREETING + "S: 250-a\n" * 6),
        (Limits(reply_bytes=512), GREETING + ("S: 250-" + "b" * 90 + "\n") * 8),
    ],
)
def test_more_than_we_take_is_our_limit_and_ends_the_conversation(limits: Limits, transcript: str) -> None:
    probe = end(transcript, limits)[2]
    assert probe.outcome is Outcome.LIMIT_EXCEEDED and probe.conclusive is False and probe.negotiated is None


def test_garbage_instead_of_tls_is_a_tls_error_with_the_bytes() -> None:
    heard = play(OFFER + "S: 220 go\nS: this is not TLS at all\n")
    assert (heard.probe.stage, heard.probe.outcome) == (Stage.HANDSHAKE, Outcome.TLS_ERROR)
    assert heard.probe.negotiated is False and heard.probe.tls_version is None


def test_close_notify_in_answer_to_the_hello_is_a_close_that_says_nothing() -> None:
    """It was a conclusive error whose reason was the name of a Python class."""
    probe = end(OFFER + "S: 220 go\nS- \\x15\\x03\\x01\\x00\\x02\\x01\\x00\nFIN\n")[2]
    assert (probe.stage, probe.outcome, probe.conclusive) == (Stage.HANDSHAKE, Outcome.CLOSED, False)
    assert probe.tls_reason is probe.tls_alert is probe.negotiated is None


@pytest.mark.parametrize(
    "lines",
    ["S: 220 mx.example ESMTP\nS: \n", "S- 220 mx.example ESMTP\\r\\n\\r\\n\n", "S- \\n220 mx.example ESMTP\\r\\n\n"],
)
def test_an_empty_line_between_replies_is_read_over_and_kept(lines: str) -> None:
    """Postfix goes on, Exim gives up ("Malformed SMTP reply"); whoever reads the table can tell."""
    for play_it in (play, play_whole):
        heard = play_it(lines + "C: EHLO probe.example\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nTLS\n"
                        "C: EHLO probe.example\nS: 250 mx\nC: QUIT\n")  # fmt: skip
        assert (heard.probe.stage, heard.probe.outcome) == (Stage.DONE, Outcome.OK)
        assert heard.probe.stray_bytes in (b"\r\n", b"\n")
        assert heard.probe.plaintext_after_upgrade is None


def test_an_empty_line_behind_the_go_ahead_is_plaintext_there() -> None:
    probe = play_whole(OFFER + "S- 220 go\\r\\n\\r\\n\nTLS\nC: EHLO probe.example\nS: 250 mx\nC: QUIT\n").probe
    assert (probe.outcome, probe.plaintext_after_upgrade, probe.stray_bytes) == (Outcome.OK, b"\r\n", None)


def test_empty_lines_without_end_are_too_much() -> None:
    probe = play_whole("S- " + "\\r\\n" * 400 + "\n", limits=Limits(reply_bytes=512)).probe
    assert (probe.stage, probe.outcome) == (Stage.GREETING, Outcome.LIMIT_EXCEEDED)
    assert len(probe.stray_bytes or b"") <= Limits().plaintext_bytes


def test_a_fatal_alert_is_named() -> None:
    probe = end(OFFER + "S: 220 go\nS- \\x15\\x03\\x03\\x00\\x02\\x02\\x28\n")[2]
    assert (probe.stage, probe.outcome) == (Stage.HANDSHAKE, Outcome.TLS_ALERT)
    assert probe.tls_alert == "handshake failure" and probe.conclusive and probe.negotiated is False


def test_a_host_that_hangs_up_inside_tls_has_not_negotiated_for_certain() -> None:
    probe = end(OFFER + "S: 220 go\nTLS\nC: EHLO probe.example\nFIN\n")[2]
    assert (probe.stage, probe.outcome) == (Stage.AFTER_TLS, Outcome.CLOSED)
    assert probe.tls_version == "TLSv1.3" and probe.negotiated is None and probe.conclusive is False


def test_a_refusal_inside_tls_is_still_tls() -> None:
    probe = end(OFFER + "S: 220 go\nTLS\nC: EHLO probe.example\nS: 421 busy\nC: QUIT\n")[2]
    assert (probe.stage, probe.outcome, probe.negotiated) == (Stage.AFTER_TLS, Outcome.REJECTED, True)
    assert probe.conclusive


@given(
    st.lists(
        st.sampled_from([b"", b" ", b"-a", b" STARTTLS", b"-SIZE 1", b"\r", b" x\r", b"-\xff", b" 250-"]), max_size=6
    )
)
def test_a_reply_in_one_segment_reads_as_it_does_byte_by_byte(ends: list[bytes]) -> None:
    """The short cut for whole replies and the line-wise reading are the same grammar."""
    data = b"".join(b"250" + end + b"\n" for end in ends)

    def cut(pieces: list[bytes]) -> list[object]:
        replies, buffer = ThreeDigitReplies(Limits()), bytearray()
        found: list[object] = []
        try:
            for piece in pieces:
                buffer += piece
                while (reply := replies.cut(buffer)) is not None:
                    found.append(reply)
        except Ended as end:
            found.append(end.outcome)
        return found

    assert cut([data]) == cut([data[at : at + 1] for at in range(len(data))])


def test_texts_are_kept_within_their_limit_and_judged_whole() -> None:
    probe = end(
        "S: 220 " + "g" * 300 + "\nC: EHLO probe.example\n" + "S: 250-mx\n" + ("S: 250-X" + "x" * 90 + "\n") * 5
        + "S: 250 STARTTLS\nC: STARTTLS\nFIN\n",
        Limits(kept_text=100),
    )[2]  # fmt: skip
    assert probe.starttls_offered and probe.stage is Stage.UPGRADE
    assert len(probe.greeting or "") == 100 and len(probe.hello_reply or "") == 100
    assert probe.capabilities == ["X" + "x" * 90]
    whole = end(
        "S: 220 " + "g" * 300 + "\nC: EHLO probe.example\n" + "S: 250-mx\n" + ("S: 250-X" + "x" * 90 + "\n") * 5
        + "S: 250 STARTTLS\nC: STARTTLS\nFIN\n",
        Limits(),
    )[2]  # fmt: skip
    assert whole.text_dropped is None
    left_out = len(whole.greeting or "") + len(whole.hello_reply or "") - 200 + 4 * 91 + len("STARTTLS")
    left_out += len("250-mx\r\n") + 5 * 97 + len("250 STARTTLS\r\n") - 100  # the last reply, as it came
    assert probe.text_dropped == left_out


def outcome_of(pieces: list[bytes]) -> object:
    """What becomes of a reply that comes in these pieces."""
    replies = ThreeDigitReplies(Limits(line_bytes=64, reply_bytes=512, reply_lines=5))
    buffer = bytearray()
    try:
        for piece in pieces:
            buffer += piece
            if (reply := replies.cut(buffer)) is not None:
                return reply
    except Ended as ended:
        return ended.outcome
    return None


@given(
    st.lists(
        st.sampled_from([b"250-", b"250 ", b"25", b"250", b"\r", b"\r\n", b"\n", b"x" * 9, b"y" * 61, b"HTTP/1.1"]),
        max_size=40,
    ),
    st.lists(st.integers(0, 600), max_size=6),
)
@example([b"250", *[b"\r"] * 70, b"\n"], [])
@example([b"xxxxx", b"\r\n"], [])
@example([b"250-", b"y" * 61, b"\n", b"250 ", b"\n"], [])
def test_what_is_too_long_or_foreign_does_not_depend_on_segments(words: list[bytes], at: list[int]) -> None:
    said = b"".join(words)
    places = [0, *sorted(at), len(said)]
    segments = [said[begin:end] for begin, end in pairwise(places) if begin < end]
    assert outcome_of(segments) == outcome_of([said]) == outcome_of([said[n : n + 1] for n in range(len(said))])
