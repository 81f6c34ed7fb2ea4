"""Policy lists in the format of STARTTLS Everywhere: what they say, and who keeps it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.model.errors import UsageError
from crawler.model.rows import Certificate, MtaStsMode, Probe
from crawler.policies import list_compliance
from crawler.policies.list_compliance import Compliance
from crawler.policies.policy_list import MAX_BYTES, ListedPolicy, PolicyList, parse_policy_list, read_policy_list
from tests.kit.small_runs import domain, host, probe

LIST: dict[str, Any] = {
    "timestamp": "2018-11-18T09:41:50.264201789-07:00",
    "author": "Electronic Frontier Foundation https://eff.org",
    "expires": 1543770000,
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
    return parse_policy_list(json.dumps(LIST | changes).encode(), "policy.json")


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
    assert found.timestamp.isoformat() == "2018-11-18T16:41:50.264201+00:00"
    assert found.expires == datetime(2018, 12, 2, 17, tzinfo=UTC)
    assert found.is_expired(found.expires) and not found.is_expired(found.expires - timedelta(seconds=1))
    assert not read(expires=None).is_expired(datetime.now(UTC))


def test_an_expired_list_and_fields_that_are_not_known_are_a_line_each() -> None:
    assert read().warnings(datetime(2018, 12, 1, tzinfo=UTC)) == []
    entry = {"mxs": ["mx.example"], "require-quantum": True, "report": ["mailto:a@b.example"]}
    expired, unread = read(policies={"a.example": entry}, signature="x", comment="y").warnings(datetime.now(UTC))
    assert expired.startswith("policy.json: expired 2018-12-02 17:00 UTC, so no sender acted on it")
    assert (
        unread == "policy.json: fields that this program does not know were left unread: `require-quantum`, `signature`"
    )


def test_a_leading_dot_in_a_list_from_before_the_rules_changed_stands_for_any_number_of_labels() -> None:
    old = read(timestamp="2018-09-28T11:57:09.977018279-07:00").policy_of("gmail.com")
    new = read().policy_of("gmail.com")
    undated = read(timestamp=None).policy_of("gmail.com")
    assert old and new and undated
    assert old.allows("mx.mail.google.com") and old.allows("alt1.mx.mail.google.com")
    assert not old.allows("mail.google.com") and not old.allows("evilmail.google.com")
    assert new.allows("mx.mail.google.com") and not new.allows("alt1.mx.mail.google.com")
    assert undated == new


def test_a_domain_named_twice_is_one_entry_if_both_say_the_same() -> None:
    entry = '{"mxs": ["mx.example"]}'
    text = f'{{"policies": {{"a.example": {entry}, "A.example.": {entry}, "a.example": {entry}}}}}'
    assert list(parse_policy_list(text.encode(), "policy.json").policies) == ["a.example"]


def test_an_alias_is_kept_once_however_many_domains_refer_to_it() -> None:
    found = read(policies={f"d{n}.example": {"policy-alias": "gmail"} for n in range(100)})
    assert len({id(policy) for policy in found.policies.values()}) == 1


def test_a_file_says_which_it_was(tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_bytes(b'\xef\xbb\xbf{"policies": {}}')
    assert read_policy_list(file).sha256 == "ead88b816aeef07310a48de02c3f0cf032b96b25a7fa9095bdf2d9bd71dd3502"


def test_a_file_that_cannot_be_read_or_is_too_large_is_one_clear_line(tmp_path: Path) -> None:
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(100 << 20)
    assert large.stat().st_size > MAX_BYTES
    for path, words in ((large, "is larger than 32 MiB"), (tmp_path, "Is a directory"), (tmp_path / "no", "No such")):
        with pytest.raises(UsageError, match=words) as caught:
            read_policy_list(path)
        assert "\n" not in str(caught.value)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
    st.sampled_from(["policies", "policy-aliases", "policy-alias", "mxs", "mode", "a.example", "expires", "version", "author"]), inner, max_size=6)))  # fmt: skip
def test_whatever_json_it_is_there_is_a_list_or_one_clear_line(content: Any) -> None:
    try:
        parse_policy_list(json.dumps(content).encode(), "policy.json")
    except UsageError as error:
        assert str(error).startswith("policy.json: ") and "\n" not in str(error) and len(str(error)) < 400


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
        ('{"policies": {}, "policies": 1}', "'policies' is there twice, with different values"),
        ('{"policies": {"a.example": {"mxs": ["b"]}, "A.example": {"mxs": ["c"]}}}', "in another spelling"),
        ('{"policies": {}, "version": "1.0"}', "version '1.0' is not the one that is read here ('0.1')"),
        ('{"policies": {}, "author": ["a"]}', "`author` ['a'] is no text"),
        ('{"policies": {"a.example": {"mxs": ["b.example"], "min-tls-version": "TLSv2"}}}', "min-tls-version 'TLSv2'"),
        ('{"policies": {"a.example": {"mxs": ["*.*.b.example"]}}}', "is no host name"),
        ('{"policies": {}, "policy-aliases": {"g": {"mode": "testing"}}}', "alias 'g': `mxs` is no list"),
        (json.dumps({"policies": {"a.example": {"mxs": ["b"] * 101}}}), "`mxs` has 101 names, more than 100"),
        (json.dumps({"policies": {"a" * 1_000_000: 5}}), "is no object"),
        ('{"policies": {}, "expires": true}', "True is no time"),
        ('{"policies": {}, "expires": "0001-01-01T00:00:00+14:00"}', "is no time"),
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
        parse_policy_list(text if isinstance(text, bytes) else text.encode(), "policy.json")
    assert problem in str(caught.value) and str(caught.value).startswith("policy.json: ")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


GOOD: dict[str, Any] = {
    "host": "mx.eff.org", "negotiated": True, "tls_version": "TLSv1.3",
    "chain_trusted": True, "within_validity": True, "name_match": True,
}  # fmt: skip


def kept(policy: ListedPolicy, names: list[str] | None, **facts: Any) -> bool | None:
    """Whether an endpoint that is in order but for `facts` keeps the promise; `names` are in its certificate."""
    row = Probe(**(GOOD | facts))
    return list_compliance.at_endpoint(policy, row.host or "", row, Certificate(names=names)).compliant


@pytest.mark.parametrize(
    ("facts", "names", "wanted"),
    [
        ({}, [], True),
        ({"tls_version": "TLSv1.2"}, [], True),
        ({"tls_version": "TLSv1.1"}, [], False),
        ({"host": "mx.example"}, [], False),
        ({"negotiated": False, "conclusive": True}, [], False),
        ({"negotiated": None, "starttls_offered": False}, [], False),
        ({"negotiated": None, "tls_version": None}, [], None),
        ({"negotiated": None, "chain_trusted": False}, [], False),  # seen before the connection broke
        ({"chain_trusted": False, "within_validity": None}, [], False),
        ({"within_validity": False}, [], False),
        ({"within_validity": None}, [], None),
        ({"name_match": False}, ["mail.example"], False),
        ({"name_match": False}, ["*.EFF.org"], True),
        ({"name_match": False}, ["m*.eff.org"], False),
        ({"name_match": False}, ["*.mx.eff.org"], False),
        ({"name_match": None}, None, None),
        ({"host": "mx.example", "negotiated": None}, [], False),
    ],
)
def test_a_promise_is_kept_broken_or_unknown(facts: dict[str, Any], names: list[str], wanted: bool | None) -> None:
    policy = read().policy_of("eff.org")
    assert policy is not None
    assert kept(policy, names, **facts) is wanted


def test_the_least_version_is_the_entrys_own_where_it_says_one() -> None:
    def demanding(version: str) -> ListedPolicy:
        entry = {"mxs": ["mx.eff.org"], "min-tls-version": version}
        return read(policies={"a.example": entry}).policies["a.example"]

    assert [kept(demanding(version), [], tls_version="TLSv1.1") for version in ("TLSv1", "TLSv1.1", "TLSv1.2")] == [
        True,
        True,
        False,
    ]
    assert kept(demanding("TLSv1.3"), [], tls_version="TLSv1.2") is False


def test_a_pin_is_held_against_nothing_so_a_certificate_in_order_is_unknown_and_a_bad_one_is_bad() -> None:
    policy = read(policies={"a.example": {"mxs": ["mx.eff.org"], "pin": "eff"}}).policies["a.example"]
    assert kept(policy, []) is None
    assert kept(policy, [], within_validity=False) is False


def test_the_common_name_counts_where_there_is_no_dns_name() -> None:
    policy = ListedPolicy(MtaStsMode.ENFORCE, ("mx.eff.org",))
    row = Probe(**(GOOD | {"name_match": False}))
    for names, wanted in (([], True), (["other.example"], False)):
        leaf = Certificate(names=names, common_name="mx.eff.org")
        assert list_compliance.at_endpoint(policy, "mx.eff.org", row, leaf).compliant is wanted


def test_a_domain_keeps_its_promise_if_every_endpoint_does() -> None:
    policy = ListedPolicy(MtaStsMode.ENFORCE, ("mx1.example", "mx2.example"))
    leaf = Certificate(names=["mx1.example"])
    one = {("mx1.example", "192.0.2.1"): (probe("mx1.example", "192.0.2.1"), leaf)}
    both = one | {("mx2.example", "192.0.2.2"): (probe("mx2.example", "192.0.2.2", "not_offered"), None)}
    hosts = {f"mx{n}.example": host(f"mx{n}.example", f"192.0.2.{n}") for n in (1, 2)}
    row = domain("a.example", "mx1.example", "mx2.example")
    assert list_compliance.of_domain(policy, row, hosts, one) == Compliance(True, None, None)
    assert list_compliance.of_domain(policy, row, hosts, both) == Compliance(True, False, False)
    alone = domain("a.example", "mx1.example")
    assert list_compliance.of_domain(policy, alone, hosts, one) == Compliance(True, True, True)
    assert list_compliance.of_domain(policy, alone, {}, one) == Compliance(True, None, None)
    assert list_compliance.of_domain(policy, alone, {"mx1.example": host("mx1.example")}, {}) is None
    assert (
        list_compliance.of_domain(policy, domain("a.example", "mx1.example", mx_dropped=5), hosts, one) == Compliance()
    )
    assert list_compliance.of_domain(policy, domain("a.example", route="unknown"), {}, {}) == Compliance()
    assert list_compliance.of_domain(policy, domain("a.example", "mx3.example"), {}, {}) == Compliance(
        False, None, None
    )
