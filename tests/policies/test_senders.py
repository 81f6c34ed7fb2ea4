"""What senders would do, against truths worked out by hand from RFC 7672 and RFC 8461."""

from __future__ import annotations

from typing import Any

import pytest

from crawler.certificates.parsing import ParsedCertificate
from crawler.model.rows import Domain, Probe, Tlsa
from crawler.policies.senders import Delivery, Sender, deliveries
from tests.kit.small_runs import domain, known, probe

AUTHENTICATED, ENCRYPTED, CLEAR, REFUSED = Delivery
UNKNOWN = None

MX = "mx.provider.example"
MATCH = {"dane": "match"}


def mismatch(error: str) -> dict[str, str]:
    return {"dane": "mismatch", "dane_error": error}


def answer(
    sender: Sender,
    kind: str = "strict",
    *,
    tlsa: str | None = "insecure",
    leaf: ParsedCertificate | None = None,
    facts: dict[str, Any] | None = None,
    **of_domain: Any,
) -> Delivery | None:
    """What one sender does with mail for example.org at an endpoint of a kind."""
    row = domain("example.org", MX, **({"dnssec": "insecure", "mta_sts_record": "absent"} | of_domain))
    rrset = None if tlsa is None else Tlsa(host=MX, port=25, status=tlsa)
    return deliveries(row, rrset, probe(MX, "192.0.2.1", kind, **(facts or {})), leaf)[sender]


def test_names_that_could_not_be_read_leave_the_dane_sender_unknown() -> None:
    leaf = known("example.org")
    usable = {"tlsa": "usable", "facts": mismatch("name"), "leaf": leaf, "dnssec": "secure"}
    assert answer(Sender.DANE, **usable) == AUTHENTICATED  # type: ignore[arg-type]
    leaf.names = leaf.row.names = None
    assert answer(Sender.DANE, **usable) is UNKNOWN  # type: ignore[arg-type]
    assert answer(Sender.DANE, **usable | {"dnssec": "insecure"}) == REFUSED, "then the name does not count"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "opportunistic", "strict"),
    [
        ("strict", ENCRYPTED, AUTHENTICATED),
        ("static_rsa", ENCRYPTED, AUTHENTICATED),
        ("self_signed", ENCRYPTED, REFUSED),
        ("expired", ENCRYPTED, REFUSED),
        ("wrong_name", ENCRYPTED, REFUSED),
        ("not_offered", CLEAR, REFUSED),
        ("tls_alert", CLEAR, REFUSED),
        ("refused_for_good", CLEAR, REFUSED),
        ("not_now", UNKNOWN, UNKNOWN),
        ("greeting_timeout", UNKNOWN, UNKNOWN),
        ("connection_refused", UNKNOWN, UNKNOWN),
        ("not_run", UNKNOWN, UNKNOWN),
    ],
)
def test_the_opportunistic_sender_takes_what_it_gets_and_the_strict_one_only_valid_certificates(
    kind: str, opportunistic: Delivery | None, strict: Delivery | None
) -> None:
    assert answer(Sender.OPPORTUNISTIC, kind) == opportunistic
    assert answer(Sender.PKIX_STRICT, kind) == strict


@pytest.mark.parametrize("dnssec", ["secure", "insecure", "unknown"])
@pytest.mark.parametrize(
    ("tlsa", "on_tls", "without", "not_known"),
    [
        ("absent", ENCRYPTED, CLEAR, UNKNOWN),
        ("insecure", ENCRYPTED, CLEAR, UNKNOWN),
        ("unusable", ENCRYPTED, REFUSED, UNKNOWN),  # TLS is due, though to whom cannot be told
        ("bogus", REFUSED, REFUSED, REFUSED),
        ("lookup_failed", UNKNOWN, UNKNOWN, UNKNOWN),
        ("not_asked", UNKNOWN, UNKNOWN, UNKNOWN),
        (None, UNKNOWN, UNKNOWN, UNKNOWN),
    ],
)
def test_without_usable_records_a_dane_sender_does_what_the_state_of_the_rrset_says(
    tlsa: str | None, on_tls: Delivery | None, without: Delivery | None, not_known: Delivery | None, dnssec: str
) -> None:
    assert answer(Sender.DANE, "self_signed", tlsa=tlsa, dnssec=dnssec) == on_tls
    assert answer(Sender.DANE, "not_offered", tlsa=tlsa, dnssec=dnssec) == without
    assert answer(Sender.DANE, "greeting_timeout", tlsa=tlsa, dnssec=dnssec) == not_known


def test_a_record_that_matches_authenticates_the_next_hop_only_if_the_mx_answer_is_secure() -> None:
    truth = {"secure": AUTHENTICATED, "insecure": ENCRYPTED, "unknown": UNKNOWN, None: UNKNOWN}
    for dnssec, expected in truth.items():
        assert answer(Sender.DANE, "self_signed", tlsa="usable", facts=MATCH, dnssec=dnssec) == expected


@pytest.mark.parametrize("dnssec", ["secure", "insecure", "unknown"])
@pytest.mark.parametrize("error", ["no_match", "path", "expired"])
def test_a_record_that_does_not_match_stops_mail_however_valid_the_certificate_is(error: str, dnssec: str) -> None:
    assert answer(Sender.DANE, "strict", tlsa="usable", facts=mismatch(error), dnssec=dnssec) == REFUSED


@pytest.mark.parametrize("kind", ["not_offered", "tls_alert", "refused_for_good"])
def test_usable_records_and_no_tls_stop_mail(kind: str) -> None:
    assert answer(Sender.DANE, kind, tlsa="usable", facts={"dane": "unknown"}, dnssec="secure") == REFUSED


def test_a_certificate_seen_in_a_handshake_that_led_nowhere_can_rule_out_and_not_in() -> None:
    for facts, expected in ((MATCH, UNKNOWN), (mismatch("no_match"), REFUSED)):
        assert answer(Sender.DANE, "silent_after_tls", tlsa="usable", facts=facts, dnssec="secure") == expected


def test_a_dane_ta_leaf_may_name_the_next_hop_domain_or_what_its_cname_leads_to_if_the_mx_answer_is_secure() -> None:
    def dane(*names: str, dnssec: str, cnames: list[str] | None = None) -> Delivery | None:
        return answer(
            Sender.DANE, "wrong_name", tlsa="usable", facts=mismatch("name"), leaf=known(*names),
            dnssec=dnssec, cnames=cnames,
        )  # fmt: skip

    assert dane("example.org", dnssec="secure") == AUTHENTICATED
    assert dane("example.org", dnssec="insecure") == REFUSED
    assert dane("example.org", dnssec="unknown") == UNKNOWN
    assert dane("other.example", dnssec="secure") == REFUSED
    assert dane("other.example", dnssec="unknown") == REFUSED
    assert dane("real.example", dnssec="secure", cnames=["step.example", "real.example"]) == AUTHENTICATED
    assert dane("step.example", dnssec="secure", cnames=["step.example", "real.example"]) == REFUSED


def test_the_common_name_counts_for_dane_ta_only_where_there_is_no_dns_name() -> None:
    def dane(leaf: ParsedCertificate | None) -> Delivery | None:
        return answer(Sender.DANE, "wrong_name", tlsa="usable", facts=mismatch("name"), leaf=leaf, dnssec="secure")

    assert dane(known(common_name="example.org")) == AUTHENTICATED
    assert dane(known("other.example", common_name="example.org")) == REFUSED
    assert dane(None) == UNKNOWN


def sts(
    kind: str = "strict",
    record: str | None = "valid",
    fetch: str | None = "ok",
    mode: str | None = "enforce",
    mx: tuple[str, ...] = (MX,),
) -> Delivery | None:
    """What a sender that enforces MTA-STS does."""
    policy = {"mta_sts_mode": mode, "mta_sts_mx": list(mx)} if fetch == "ok" else {}
    return answer(Sender.MTA_STS_ENFORCING, kind, mta_sts_record=record, mta_sts_fetch=fetch, **policy)


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ((MX,), AUTHENTICATED),
        (("other.example", "*.provider.example"), AUTHENTICATED),
        (("*.example",), REFUSED),  # a wildcard is one label
        (("provider.example",), REFUSED),
        (("other.example",), REFUSED),
    ],
)
def test_an_enforced_policy_lets_mail_go_to_its_own_mail_hosts_only(
    patterns: tuple[str, ...], expected: Delivery
) -> None:
    assert sts(mx=patterns) == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("strict", AUTHENTICATED),
        ("self_signed", REFUSED),
        ("expired", REFUSED),
        ("wrong_name", REFUSED),
        ("not_offered", REFUSED),
        ("greeting_timeout", UNKNOWN),
    ],
)
def test_an_enforced_policy_demands_a_valid_certificate(kind: str, expected: Delivery | None) -> None:
    assert sts(kind) == expected


def test_a_host_outside_the_policy_is_refused_before_anything_is_known_of_it() -> None:
    assert sts("connection_refused", mx=("other.example",)) == REFUSED


@pytest.mark.parametrize(
    "policy",
    [
        {"record": "absent", "fetch": None},
        {"record": "invalid", "fetch": None},
        {"record": "multiple", "fetch": None},
        {"mode": "testing", "mx": ("other.example",)},
        {"mode": "none"},
        *({"fetch": end} for end in ("no_host", "tls", "http", "too_large", "syntax")),
    ],
)
def test_without_a_policy_in_force_the_sender_is_opportunistic(policy: dict[str, Any]) -> None:
    assert sts("self_signed", **policy) == ENCRYPTED
    assert sts("not_offered", **policy) == CLEAR


@pytest.mark.parametrize(
    "policy",
    [
        {"record": None, "fetch": None},
        *({"fetch": end} for end in (None, "dns", "connect", "timeout", "address_not_allowed")),
    ],
)
def test_a_policy_that_we_could_not_ask_for_leaves_everything_open(policy: dict[str, Any]) -> None:
    assert sts("strict", **policy) is UNKNOWN
    assert sts("not_offered", **policy) is UNKNOWN


def test_where_nothing_was_measured_nothing_is_known() -> None:
    assert deliveries(Domain(domain="example.org"), None, Probe(host=MX), None) == dict.fromkeys(Sender)
