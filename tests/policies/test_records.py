"""The records that protect mail to a domain: `_mta-sts`, `_smtp._tls` and TLSA, by their grammars."""

from __future__ import annotations

import sys

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from crawler.model.rows import MtaStsRecord, TlsaStatus, TlsrptStatus
from crawler.policies import mta_sts, tlsrpt
from crawler.policies.dane import is_usable, records_of, status_of
from tests.kit.conversations import LEAF

# --- MTA-STS, RFC 8461 §3.1 ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b"v=STSv1; id=20160831085700Z;",
        b"v=STSv1; id=20160831085700Z",
        b"v=STSv1;id=20160831085700Z",
        b"v=STSv1 ;\tid=20160831085700Z ; ",
        b"v=STSv1; x-note=a:b; id=20160831085700Z;",
    ],
)
def test_a_valid_mta_sts_record(text: bytes) -> None:
    assert mta_sts.record_state([text])[:2] == (MtaStsRecord.VALID, "20160831085700Z")
    beside = mta_sts.record_state([b"v=spf1 -all", text])
    if text.startswith(b"v=STSv1;"):
        assert beside == (MtaStsRecord.VALID, "20160831085700Z", False)
    else:
        assert beside == (MtaStsRecord.ABSENT, None, True)


@pytest.mark.parametrize(
    "text",
    [
        b"v=STSv1;",
        b"v=STSv1; id=;",
        b"v=STSv1; id=2016-08-31;",
        b"v=STSv1; id=" + b"1" * 33,
        b"v=STSv1; id=1 ",
        b"v=STSv1; id=1; x=a=b",
        b"v=STSv1; id=1; " + b"k" * 33 + b"=v",
        b"v=STSv1; ID=1",
        b"v=STSv1; id=1;; ",
        b"v=STSv1; id=1\n",
        b"v=STSv1; id=1 2",
        b"v=STSv1; id=\xc3\xa9",
        b"v=STSv1 id=1",
        b"v=stsv1; id=1",
        b"v=STSv2; id=1",
        b" v=STSv1; id=1",
    ],
)
def test_a_record_meant_as_mta_sts_that_is_none_is_invalid(text: bytes) -> None:
    assert mta_sts.record_state([text]) == (MtaStsRecord.INVALID, None, False)


def test_of_an_mta_sts_id_given_twice_the_first_counts() -> None:
    """RFC 8461 §3.2, last paragraph, which speaks of TXT records and policies alike."""
    assert mta_sts.record_state([b"v=STSv1; id=1; id=2; v=STSv2"]) == (MtaStsRecord.VALID, "1", False)
    assert mta_sts.record_state([b"v=STSv1; id=1; id=no-id"]) == (MtaStsRecord.VALID, "1", False)
    assert mta_sts.record_state([b"v=STSv1; id=no-id; id=1"]) == (MtaStsRecord.INVALID, None, False)


@pytest.mark.parametrize("texts", [[], [b""], [b"v=spf1 -all"], [b"id=1; v=STSv1"]])
def test_other_texts_are_no_mta_sts_record(texts: list[bytes]) -> None:
    assert mta_sts.record_state(texts) == (MtaStsRecord.ABSENT, None, False)


def test_several_mta_sts_records_are_multiple() -> None:
    assert mta_sts.record_state([b"v=STSv1; id=1", b"v=STSv1; id=2"]) == (MtaStsRecord.MULTIPLE, None, False)


def test_the_same_record_twice_is_one() -> None:
    """An RRset holds no record twice (RFC 2181 §5)."""
    assert mta_sts.record_state([b"v=STSv1; id=1"] * 2) == (MtaStsRecord.VALID, "1", False)
    assert tlsrpt.record_state([b"v=TLSRPTv1; rua=mailto:a@b.c"] * 2).status is TlsrptStatus.VALID


@pytest.mark.parametrize(
    ("texts", "state"),
    [
        ([b"v=STSv1 ; id=1234"], (MtaStsRecord.VALID, "1234", True)),
        ([b"v", b"v=STSv1 ; id=1234"], (MtaStsRecord.ABSENT, None, True)),
        ([b"v=STSv1\t; id=1", b"v=STSv1 ; id=1"], (MtaStsRecord.ABSENT, None, True)),
        ([b"v=STSv1; id=1", b"v=STSv1 ; id=2"], (MtaStsRecord.VALID, "1", True)),
        ([b"v=STSv1 id=1"], (MtaStsRecord.INVALID, None, False)),
        ([b"v=STSv1 ; id=1", b"v=stsv1; id=1"], (MtaStsRecord.INVALID, None, True)),
    ],
)
def test_a_blank_before_the_first_semicolon_is_valid_alone_and_no_record_beside_others(
    texts: list[bytes], state: tuple[MtaStsRecord, str | None, bool]
) -> None:
    """RFC 8461 §3.1 discards what does not begin with `v=STSv1;`, its grammar allows the blank: erratum 6285."""
    assert mta_sts.record_state(texts) == mta_sts.record_state(texts[::-1]) == state


def test_a_blank_before_the_first_semicolon_of_a_tlsrpt_record_alike() -> None:
    text = b"v=TLSRPTv1 ; rua=mailto:a@b.c"
    assert tlsrpt.record_state([text]) == (TlsrptStatus.VALID, ["mailto:a@b.c"], True)
    assert tlsrpt.record_state([b"v", text]) == (TlsrptStatus.ABSENT, None, True)


@pytest.mark.parametrize("filling", [b" ", b"\t", b";", b"; ", b", ", b"=", b"a=b;", b"a=b; "])
@pytest.mark.parametrize("begin", [b"v=STSv1;", b"v=STSv1", b"v=TLSRPTv1;", b"v=TLSRPTv1; rua=mailto:a@b.c", b""])
def test_the_longest_text_costs_no_more_than_its_length(begin: bytes, filling: bytes) -> None:
    """Sixty thousand blanks took three seconds, as every blank was begun from anew."""

    def steps(size: int) -> int:
        text = begin + filling * (size // len(filling)) + b"\xff"
        counted = [0]

        def count(*_: object) -> None:
            counted[0] += 1

        sys.setprofile(count)
        try:
            mta_sts.record_state([text])
            tlsrpt.record_state([text])
        finally:
            sys.setprofile(None)
        return counted[0]

    assert steps(8_000) <= 4.2 * steps(2_000) + 100
    mta_sts.record_state([begin + filling * 30_000])  # ten minutes for any pattern that tries again at every blank
    tlsrpt.record_state([begin + filling * 30_000])


# --- TLSRPT, RFC 8460 §3 ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        (b"v=TLSRPTv1;rua=mailto:reports@example.com", ["mailto:reports@example.com"]),
        (b"v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt;", ["https://reporting.example.com/v1/tlsrpt"]),
        (b"v=TLSRPTv1; rua=mailto:a@b.c , https://d.e/f", ["mailto:a@b.c", "https://d.e/f"]),
        (b"v=TLSRPTv1; x=y; rua=MAILTO:a%2Cb@c.d", ["MAILTO:a%2Cb@c.d"]),
        (b"v=TLSRPTv1; rua=mailto:a%21b%3Bc@d.e?subject=f@g", ["mailto:a%21b%3Bc@d.e?subject=f@g"]),
        (b"v=TLSRPTv1 ; rua=mailto:a@b.c\t, mailto:d@e.f ; ", ["mailto:a@b.c", "mailto:d@e.f"]),
    ],
)
def test_a_valid_tlsrpt_record(text: bytes, addresses: list[str]) -> None:
    assert tlsrpt.record_state([text])[:2] == (TlsrptStatus.VALID, addresses)
    if text.startswith(b"v=TLSRPTv1;"):
        assert tlsrpt.record_state([text, b"unrelated"]) == (TlsrptStatus.VALID, addresses, False)


@pytest.mark.parametrize(
    "texts",
    [
        [b"v=TLSRPTv1;"],
        [b"v=TLSRPTv1; rua="],
        [b"v=TLSRPTv1; rua=reports@example.com"],
        [b"v=TLSRPTv1; rua=http://example.com/"],
        [b"v=TLSRPTv1; rua=mailto:a@b.c,"],
        [b"v=TLSRPTv1; rua=mailto:a@b.c!10m"],
        [b"v=TLSRPTv1; rua=mailto:a@b.c; x=y z"],
        [b"v=TLSRPTv1; rua=mailto:a@b.c; x=y=z"],
        [b"v=TLSRPTv1; rua=mailto:a@b.c; x"],
        [b"v=TLSRPTv1; rua=mailto:a@b.c; rua="],
        [b"v=TLSRPTv1; rua=mailto:a@b.c;; "],
        [b"v=TLSRPTv1; rua=mailto:a@b.c "],
        [b"v=TLSRPTv1; rua=mailto:a%2@b.c"],
        [b"v=TLSRPTv1; rua=https://"],
        [b"v=TLSRPTv1; rua=ftp://example.com/"],
        [b"v=TLSRPTv1; " + b"k" * 33 + b"=v; rua=mailto:a@b.c"],
        [b"v=TLSRPTv1; rua=mailto:a@b.c\n"],
        [b"v=TLSRPTv1; rua=mailto:\xe4@b.c"],
        [b"v=tlsrptv1; rua=mailto:a@b.c"],
        [b"v=TLSRPTv1; rua=mailto:a@b.c", b"v=TLSRPTv1; rua=mailto:b@b.c"],
    ],
)
def test_a_record_meant_as_tlsrpt_that_is_none_is_invalid(texts: list[bytes]) -> None:
    assert tlsrpt.record_state(texts) == (TlsrptStatus.INVALID, None, False)


def test_a_tlsrpt_record_may_have_several_rua_fields_and_addresses_of_schemes_that_nobody_supports() -> None:
    """RFC 8460 §3: its grammar lets `rua` be repeated; reports go to each of the *supported* destinations."""
    twice = b"v=TLSRPTv1; rua=mailto:a@b.c; rua=https://d.e/f, mailto:g@h.i"
    assert tlsrpt.record_state([twice]) == (
        TlsrptStatus.VALID,
        ["mailto:a@b.c", "https://d.e/f", "mailto:g@h.i"],
        False,
    )
    mixed = b"v=TLSRPTv1; rua=ftp://a.b/, mailto:a@b.c"
    assert tlsrpt.record_state([mixed]) == (TlsrptStatus.VALID, ["mailto:a@b.c"], False)


def test_other_texts_are_no_tlsrpt_record() -> None:
    assert tlsrpt.record_state([b"v=spf1", b""]) == (TlsrptStatus.ABSENT, None, False)


@given(
    st.lists(st.one_of(st.binary(max_size=60), st.binary(max_size=40).map(lambda b: b"v=STSv1; id=" + b)), max_size=3)
)
def test_any_texts_have_a_state(texts: list[bytes]) -> None:
    state, identifier, _ = mta_sts.record_state(texts)
    assert (identifier is not None) == (state is MtaStsRecord.VALID)
    reporting, addresses, _ = tlsrpt.record_state([text.replace(b"STSv1; id", b"TLSRPTv1; rua") for text in texts])
    assert (addresses is not None) == (reporting is TlsrptStatus.VALID)


# --- TLSA, RFC 7671 and 7672 --------------------------------------------------------------------

SEQUENCE = bytes.fromhex("3003020101")
CERTIFICATE = LEAF.certificate.public_bytes(Encoding.DER)
PUBLIC_KEY = LEAF.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("usage", [2, 3])
@pytest.mark.parametrize(
    ("selector", "matching", "data"),
    [
        (0, 0, CERTIFICATE),
        (1, 0, PUBLIC_KEY),
        (0, 1, bytes(32)),
        (1, 1, bytes(32)),
        (0, 2, bytes(64)),
        (1, 2, bytes(64)),
    ],
    ids=lambda value: "data" if isinstance(value, bytes) else None,
)
def test_dane_ta_and_dane_ee_are_usable_when_well_formed(usage: int, selector: int, matching: int, data: bytes) -> None:
    assert is_usable(usage, selector, matching, data)


@pytest.mark.parametrize(
    ("usage", "selector", "matching", "data"),
    [
        (0, 0, 1, bytes(32)),
        (1, 1, 1, bytes(32)),
        (4, 1, 1, bytes(32)),
        (255, 1, 1, bytes(32)),
        (3, 2, 1, bytes(32)),
        (3, 1, 3, bytes(32)),
        (3, 1, 1, bytes(31)),
        (3, 1, 1, bytes(64)),
        (3, 1, 2, bytes(32)),
        (3, 1, 1, b""),
        (3, 1, 0, b""),
        (2, 0, 0, b"not DER"),
        (2, 0, 0, SEQUENCE),
        (2, 0, 0, PUBLIC_KEY),
        (2, 0, 0, CERTIFICATE + b"x"),
        (2, 0, 0, CERTIFICATE[:-1]),
        (3, 1, 0, CERTIFICATE),
        (3, 1, 0, PUBLIC_KEY[:-1]),
        (2, 0, 0, b"\x30\x84\xff\xff"),
    ],
    ids=lambda value: "data" if isinstance(value, bytes) else None,
)
def test_a_record_of_unknown_kind_or_wrong_length_is_not_usable(
    usage: int, selector: int, matching: int, data: bytes
) -> None:
    assert not is_usable(usage, selector, matching, data)


def test_one_bad_record_does_not_hide_its_neighbours() -> None:
    records = records_of([(3, 1, 1, bytes(32)), (3, 1, 1, b"short"), (0, 0, 1, bytes(32)), (3, 1, 1, bytes(32))])
    assert [record["usable"] for record in records] == [False, True, False]
    assert status_of(records) is TlsaStatus.USABLE


def test_without_a_usable_record_the_set_is_unusable() -> None:
    assert status_of(records_of([(3, 1, 1, b"short")])) is TlsaStatus.UNUSABLE
    assert status_of([]) is TlsaStatus.UNUSABLE
