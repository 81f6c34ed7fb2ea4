"""MTA-STS policies by their grammar (RFC 8461 §3.2), and the mail hosts they allow (§4.1)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.model.rows import MtaStsMode
from crawler.policies.mta_sts import InvalidPolicy, StsPolicy, is_allowed, parse_policy

ENFORCE = b"version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\nmax_age: 604800\n"


def test_the_policy_of_the_rfc() -> None:
    policy = parse_policy(ENFORCE)
    assert policy == StsPolicy(MtaStsMode.ENFORCE, ("mail.example.com", "*.example.net"), 604_800)


@pytest.mark.parametrize(
    "text",
    [
        ENFORCE.replace(b"\n", b"\r\n"),
        ENFORCE.replace(b"\n", b"\r\n", 2),
        ENFORCE.rstrip(b"\n"),
        ENFORCE + b"\r\n\n",
        ENFORCE.replace(b": ", b":"),
        ENFORCE.replace(b": ", b":\t  "),
        ENFORCE.replace(b"\n", b"  \n"),
        ENFORCE + "note: Grüße, Welt\n".encode(),
        b"\n".join(sorted(ENFORCE.split(b"\n")[:-1])).replace(b"*.example.net", b"mail.example.com"),
        ENFORCE + b"x-field.1_a: anything at all\n",
    ],
)
def test_what_the_grammar_leaves_free(text: bytes) -> None:
    assert parse_policy(text).mode is MtaStsMode.ENFORCE


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "line 1 is no field"),
        (b"\n" + ENFORCE, "line 1 is no field"),
        (ENFORCE.replace(b"mode", b"\nmode"), "line 2 is no field"),
        (ENFORCE.replace(b"version: STSv1\n", b""), "has no version"),
        (ENFORCE.replace(b"STSv1", b"STSv2"), "version is STSv2"),
        (ENFORCE.replace(b"STSv1", b"stsv1"), "version is stsv1"),
        (ENFORCE.replace(b"version", b"Version"), "has no version"),
        (ENFORCE.replace(b"mode: enforce\n", b""), "has no mode"),
        (ENFORCE.replace(b"enforce", b"Enforce"), "mode is Enforce"),
        (ENFORCE.replace(b"max_age: 604800\n", b""), "has no max_age"),
        (ENFORCE.replace(b"604800", b"31557601"), "max_age is 31557601"),
        (ENFORCE.replace(b"604800", b"-1"), "max_age is -1"),
        (ENFORCE.replace(b"604800", b"1e3"), "max_age is 1e3"),
        (ENFORCE.replace(b"604800", b"0" * 11), "max_age is 00000000000"),
        (ENFORCE.replace(b"604800", "٣".encode()), "max_age is"),
        (re.sub(rb"mx: .*\n", b"", ENFORCE), "has no mx"),
        (ENFORCE.replace(b"mx: mail.example.com", b"mx:"), "line 3 is no field"),
        (ENFORCE.replace(b"*.example.net", b"*"), "line 4 is no mx pattern"),
        (ENFORCE.replace(b"*.example.net", b"m*.example.net"), "line 4 is no mx pattern"),
        (ENFORCE.replace(b"*.example.net", b"*.*.example.net"), "line 4 is no mx pattern"),
        (ENFORCE.replace(b"*.example.net", b".example.net"), "line 4 is no mx pattern"),
        (ENFORCE.replace(b"*.example.net", b"example.net."), "line 4 is no mx pattern"),
        (ENFORCE.replace(b"*.example.net", b"a.example, b.example"), "line 4 is no mx pattern"),
        (ENFORCE.replace(b"*.example.net", "bücher.example".encode()), "line 4 is no mx pattern"),
        (ENFORCE.replace(b"*.example.net", b"a" * 64 + b".example"), "line 4 is no mx pattern"),
        (ENFORCE.replace(b"mail", b"mail\x00"), "line 3 is no field"),
        (ENFORCE.replace(b"\n", b"\r"), "line 1 is no field"),
        (ENFORCE.replace(b"\n", b"\r\r\n"), "line 1 is no field"),
        (ENFORCE.rstrip(b"\n") + b"\r", "line 5 is no field"),
        (ENFORCE.replace(b"\n", b"\n\r"), "line 2 is no field"),
        (bytes(65_536), "line 1 is no field"),
        (ENFORCE + b"note: \xff\n", "byte 90 is not UTF-8"),
        (b"\xef\xbb\xbf" + ENFORCE, "line 1 is no field"),
        (b"<html>\n<body>", "line 1 is no field: <html>"),
        (b"k" * 33 + b": v\n" + ENFORCE, "line 1 is no field"),
    ],
)
def test_what_is_no_policy_is_refused_with_its_reason(text: bytes, reason: str) -> None:
    with pytest.raises(InvalidPolicy, match=re.escape(reason)):
        parse_policy(text)


def test_of_a_key_given_twice_the_first_counts_but_every_mx_does() -> None:
    text = b"mode: testing\n" + ENFORCE + b"max_age: 5\nversion: STSv9\nmx: third.example\n"
    policy = parse_policy(text)
    assert policy.mode is MtaStsMode.TESTING and policy.max_age == 604_800 and len(policy.mx) == 3


def test_a_policy_of_mode_none_needs_no_mx() -> None:
    assert parse_policy(b"version: STSv1\nmode: none\nmax_age: 0\n") == StsPolicy(MtaStsMode.NONE, (), 0)


@given(st.binary(max_size=200), st.integers(0, len(ENFORCE)))
def test_any_bytes_are_a_policy_or_refused(noise: bytes, at: int) -> None:
    for text in (noise, ENFORCE[:at] + noise + ENFORCE[at:]):
        try:
            policy = parse_policy(text)
        except InvalidPolicy as reason:
            assert str(reason)
        else:
            assert 0 <= policy.max_age <= 31_557_600 and (policy.mx or policy.mode is MtaStsMode.NONE)


@pytest.mark.parametrize(
    ("host", "pattern", "wanted"),
    [
        ("mail.example.com", "mail.example.com", True),
        ("example.com", "mail.example.com", False),
        ("a.example.com", "*.example.com", True),
        ("example.com", "*.example.com", False),
        ("a.b.example.com", "*.example.com", False),
        ("aexample.com", "*.example.com", False),
        ("com", "*.", False),
        ("*.example.com", "*.example.com", True),
        ("", "*.example.com", False),
        ("example.com", "*.com", True),
    ],
)
def test_a_wildcard_is_exactly_one_label(host: str, pattern: str, wanted: bool) -> None:
    assert is_allowed(host, [pattern]) is wanted
    assert is_allowed(host, ["other.example", pattern]) is wanted


def test_a_policy_without_mx_allows_no_host() -> None:
    assert not is_allowed("mx.example", [])
