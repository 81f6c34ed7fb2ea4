"""Policy lists in the format of STARTTLS Everywhere: what they say, and who keeps it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from crawler.config import UsageError
from crawler.policy_list import ListedPolicy, PolicyList, keeps_promise, parse_policy_list
from crawler.records import MtaStsMode, Probe

LIST: dict[str, Any] = {
    "timestamp": "2018-06-18T09:41:50.264201-07:00",
    "author": "Electronic Frontier Foundation https://eff.org",
    "expires": 1531759310,
    "version": "0.1",
    "policy-aliases": {"gmail": {"mode": "testing", "mxs": [".mail.google.com"]}},
    "policies": {
        "eff.org": {"mode": "enforce", "mxs": [".eff.org"]},
        "gmail.com": {"policy-alias": "gmail", "mode": "enforce"},
        "Bücher.example": {"mode": "testing", "mxs": ["mail.example.com", "*.example.net"]},
        "plain.example": {"mxs": ["mx.plain.example"]},
    },
}


def read(**changes: Any) -> PolicyList:
    return parse_policy_list(json.dumps(LIST | changes), "policy.json")


def test_membership_is_exact_and_aliases_are_resolved() -> None:
    found = read()
    assert found.policy_of("eff.org") == ListedPolicy(MtaStsMode.ENFORCE, ("*.eff.org",))
    assert found.policy_of("lists.eff.org") is None and found.policy_of("gmail") is None
    assert found.policy_of("gmail.com") == ListedPolicy(MtaStsMode.TESTING, ("*.mail.google.com",)), "the alias decides"
    assert found.policy_of("xn--bcher-kva.example") is not None
    assert found.policy_of("plain.example") == ListedPolicy(MtaStsMode.TESTING, ("mx.plain.example",))


def test_the_list_says_whose_it_is_and_until_when() -> None:
    found = read()
    assert found.author.startswith("Electronic") and found.timestamp is not None
    assert found.timestamp.utcoffset() is not None
    assert found.is_expired(datetime(2018, 7, 17, tzinfo=UTC)) and not found.is_expired(
        datetime(2018, 7, 1, tzinfo=UTC)
    )
    assert not read(expires=None).is_expired(datetime.now(UTC))


@pytest.mark.parametrize(
    ("host", "wanted"),
    [("mx.eff.org", True), ("eff.org", False), ("good.mx.eff.org", False), ("mx.eff.org.evil.example", False)],
)
def test_a_suffix_stands_for_one_label(host: str, wanted: bool) -> None:
    policy = read().policy_of("eff.org")
    assert policy is not None and policy.allows(host) is wanted


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not a policy list"),
        ("[]", "no object `policies`"),
        ('{"policies": []}', "no object `policies`"),
        ('{"policies": {},}', "is not a policy list"),
        ('{"policies": {}, "policies": {}}', "'policies' is there twice"),
        ('{"policies": {"a.example": {"mxs": ["b.example"]}, "a.example": {}}}', "'a.example' is there twice"),
        ('{"policies": {}, "policy-aliases": 1}', "`policy-aliases` is no object"),
        ('{"policies": {"a.example": {"policy-alias": "b"}}}', "'a.example': there is no alias 'b'"),
        ('{"policies": {"a.example": {"policy-alias": ["b"]}}}', "there is no alias"),
        ('{"policies": {"a.example": 5}}', "'a.example': is no object"),
        ('{"policies": {"a.example": {"mode": "none", "mxs": ["b.example"]}}}', "mode 'none'"),
        ('{"policies": {"a.example": {"mode": ["x"], "mxs": ["b.example"]}}}', "mode ['x']"),
        ('{"policies": {"a.example": {}}}', "`mxs` is no list"),
        ('{"policies": {"a.example": {"mxs": "b.example"}}}', "`mxs` is no list"),
        ('{"policies": {"a.example": {"mxs": ["b\\u0000.example"]}}}', "is no host name"),
        ('{"policies": {"a..example": {"mxs": ["b.example"]}}}', "is no host name"),
        ('{"policies": {}, "expires": "soon"}', "'soon' is no time"),
        ('{"policies": {}, "expires": 1e999}', "is no time"),
        ("[" * 100_000, "is not a policy list"),
        (b"\xff\xfe", "is not a policy list"),
    ],
)
def test_what_is_no_list_is_one_clear_line(text: str | bytes, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_policy_list(text, "policy.json")
    assert problem in str(caught.value) and str(caught.value).startswith("policy.json: ")
    assert "\n" not in str(caught.value)


GOOD: dict[str, Any] = {
    "host": "mx.eff.org", "negotiated": True, "tls_version": "TLSv1.3",
    "chain_trusted": True, "unexpired": True, "name_match": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "names", "wanted"),
    [
        ({}, [], True),
        ({"tls_version": "TLSv1.2"}, [], True),
        ({"tls_version": "TLSv1.1"}, [], False),
        ({"host": "mx.example"}, [], False),
        ({"negotiated": False}, [], False),
        ({"negotiated": None, "tls_version": None}, [], None),
        ({"chain_trusted": False, "unexpired": None}, [], False),
        ({"unexpired": False}, [], False),
        ({"unexpired": None}, [], None),
        ({"name_match": False}, ["mail.example"], False),
        ({"name_match": False}, ["*.EFF.org"], True),
        ({"host": "mx.example", "negotiated": None}, [], False),
    ],
)
def test_a_promise_is_kept_broken_or_unknown(facts: dict[str, Any], names: list[str], wanted: bool | None) -> None:
    policy = read().policy_of("eff.org")
    assert policy is not None
    assert keeps_promise(policy, Probe(**(GOOD | facts)), names) is wanted
