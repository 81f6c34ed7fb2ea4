"""From stored rows to verdicts: every rule of `analysis.sql.deliveries` against a truth worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.sql.endpoints import CRITERIA
from crawler.model.rows import Outcome, Route
from crawler.resolve.routing import by_mx
from tests.kit.delivery_verdicts import N, U, Y, values, verdicts
from tests.kit.small_runs import KINDS, domain, host, opened, probe

#: Kind of probe -> offered, negotiated, forward secret, post-quantum, strict, forward secret and strict; basis; accepts.
TRUTH: dict[str, tuple[bool | None, ...]] = {
    "strict": (Y, Y, Y, N, Y, Y, "observed", Y),
    "quantum": (Y, Y, Y, Y, Y, Y, "observed", Y),
    "self_signed": (Y, Y, Y, N, N, N, "observed", Y),
    "untrusted": (Y, Y, Y, N, N, N, "observed", Y),
    "incomplete": (Y, Y, Y, N, N, N, "observed", Y),
    "wrong_name": (Y, Y, Y, N, N, N, "observed", Y),
    "expired": (Y, Y, Y, N, N, N, "observed", Y),
    "static_rsa": (Y, Y, N, N, Y, N, "observed", Y),
    "not_offered": (N, N, N, N, N, N, "observed", Y),
    "preauthenticated": (U, N, N, N, N, N, "observed", Y),
    "tls_alert": (Y, N, N, N, N, N, "observed", Y),
    "garbage": (Y, N, N, N, N, N, "observed", Y),
    "refused_for_good": (Y, N, N, N, N, N, "observed", Y),
    "not_now": (Y, U, U, U, U, U, "unknown", Y),
    "our_library": (Y, U, U, U, U, U, "unknown", Y),
    "handshake_timeout": (Y, U, U, U, U, U, "unknown", Y),
    # What was seen in the handshake can rule a criterion out, not in: the host never answered inside TLS.
    "silent_after_tls": (Y, U, U, N, U, U, "unknown", Y),
    "rejected": (U, U, U, U, U, U, "unknown", Y),
    "too_busy": (U, U, U, U, U, U, "unknown", Y),
    "greeting_timeout": (U, U, U, U, U, U, "unknown", Y),
    "closed": (U, U, U, U, U, U, "unknown", Y),
    "connection_refused": (U, U, U, U, U, U, "unknown", N),
    "connect_timeout": (U, U, U, U, U, U, "unknown", N),
    "address_not_allowed": (U, U, U, U, U, U, "unknown", N),
    "opted_out": (U, U, U, U, U, U, "unknown", U),
    "not_run": (U, U, U, U, U, U, "unknown", U),
    "over_budget": (U, U, U, U, U, U, "unknown", U),
    "gave_up": (U, U, U, U, U, U, "unknown", U),
    "internal_error": (U, U, U, U, U, U, "unknown", Y),
    "sampled_out": (U, U, U, U, U, U, "unknown", U),  # its representative was not probed
}


def test_each_end_of_a_probe_decides_what_it_can_and_leaves_the_rest_unknown() -> None:
    assert set(TRUTH) == set(KINDS)
    names = {kind: f"{kind.replace('_', '-')}.example" for kind in TRUTH}
    rows = [
        row
        for number, (kind, name) in enumerate(names.items())
        for address in [f"192.0.2.{number}"]
        for row in (domain(name, f"mx.{name}"), host(f"mx.{name}", address), probe(f"mx.{name}", address, kind))
    ]
    with opened(*rows) as run:
        elsewhere = {"dane_match", "trusted_if_known", "strict_valid_if_known"}  # test_analysis_senders, _incomplete
        judged = ", ".join(name for name in CRITERIA if name not in elsewhere)
        found = values(run, f"SELECT domain, {judged}, basis, accepts FROM deliveries")
    assert {row[0]: row[1:] for row in found} == {names[kind]: truth for kind, truth in TRUTH.items()}


def test_the_kinds_of_probe_above_cover_every_way_not_to_finish_that_the_vocabulary_names() -> None:
    left_out = {  # decided like others of their stage
        Outcome.UNREACHABLE,
        Outcome.RESET,
        Outcome.PROTOCOL_ERROR,
        Outcome.WRONG_PROTOCOL,
        Outcome.LIMIT_EXCEEDED,
    }
    assert {kind[1] for kind in KINDS.values()} == set(Outcome) - left_out


def test_only_domains_with_mail_or_with_failed_dns_are_counted() -> None:
    rows = [domain(f"{route.value.replace('_', '-')}.example", "mx.example", route=route) for route in Route]
    with opened(*rows, host("mx.example", "192.0.2.1"), probe("mx.example", "192.0.2.1")) as run:
        counted = values(run, "SELECT domain, strict_valid_any FROM domain_units ORDER BY domain")
        delivered = values(run, "SELECT DISTINCT route FROM deliveries JOIN domains USING (domain) ORDER BY route")
    assert counted == [
        ("explicit.example", Y), ("implicit.example", Y), ("null-mx-invalid.example", Y), ("unknown.example", U),
    ]  # fmt: skip
    assert delivered == [("explicit",), ("implicit",), ("null_mx_invalid",)]


def test_an_invalid_null_mx_counts_by_the_hosts_beside_it_and_without_any_takes_no_mail() -> None:
    """RFC 7505 §3: a null MX must stand alone.  Where it does not, senders do deliver to the hosts beside it."""
    with opened(
        domain("beside.example", "mx.example", route="null_mx_invalid"),
        domain("alone.example", route="null_mx_invalid"),
        host("mx.example", "192.0.2.1"),
        probe("mx.example", "192.0.2.1", "self_signed"),
    ) as run:
        assert values(run, "SELECT domain, strict_valid_any FROM domain_units") == [("beside.example", N)]
        assert values(run, "SELECT host FROM host_units") == [("mx.example",)]


def test_addresses_beyond_the_cap_are_one_more_unknown_candidate() -> None:
    with opened(
        domain("many.example", "many.example"),
        domain("few.example", "few.example"),
        host("many.example", "192.0.2.1", dropped=3),
        host("few.example", "192.0.2.2", dropped=0),
        probe("many.example", "192.0.2.1"),
        probe("few.example", "192.0.2.2"),
    ) as run:
        rule = {"any": Y, "all": U, "primary_any": Y, "primary_all": U, "worst": U}
        assert verdicts(run, "many.example") == rule
        assert verdicts(run, "few.example") == dict.fromkeys(rule, Y)


def test_a_mail_host_verified_to_have_no_address_is_no_candidate() -> None:
    with opened(
        domain("half.example", "dangling.example", "mx.example"),
        domain("dead.example", "dangling.example"),
        host("dangling.example", ipv4="nxdomain", ipv6="nxdomain"),
        host("mx.example", "192.0.2.1"),
        probe("mx.example", "192.0.2.1"),
    ) as run:
        assert set(verdicts(run, "half.example").values()) == {Y}
        assert values(run, "SELECT domain FROM domain_units") == [("half.example",)]
        assert values(run, "SELECT host FROM host_units") == [("mx.example",)]


@pytest.mark.parametrize("status", ["servfail", "refused", "bogus", "timeout", "malformed", "gave_up"])
def test_a_mail_host_whose_addresses_could_not_be_looked_up_is_an_unknown_delivery(status: str) -> None:
    with opened(domain("a.example", "mx.example"), host("mx.example", ipv4=status)) as run:
        assert values(run, "SELECT address, basis, accepts FROM deliveries") == [(None, "unknown", None)]
        assert set(verdicts(run, "a.example").values()) == {U}


def test_a_mail_host_not_resolved_yet_is_an_unknown_delivery() -> None:
    with opened(domain("a.example", "mx.example"), state="running") as run:
        assert values(run, "SELECT host, address, basis FROM deliveries") == [("mx.example", None, "unknown")]


def test_a_failed_lookup_of_one_family_leaves_open_whether_all_endpoints_pass() -> None:
    with opened(
        domain("a.example", "mx.example"),
        host("mx.example", "192.0.2.1", ipv6="servfail"),
        probe("mx.example", "192.0.2.1"),
    ) as run:
        found = verdicts(run, "a.example")
    assert (found["any"], found["all"]) == (Y, U)


def test_a_family_that_was_not_asked_counts_only_where_the_other_has_no_address() -> None:
    with opened(
        domain("a.example", "mx.example"),
        domain("b.example", "v6only.example"),
        host("mx.example", "192.0.2.1", ipv6="not_asked"),
        host("v6only.example", ipv6="not_asked"),
        probe("mx.example", "192.0.2.1"),
    ) as run:
        assert set(verdicts(run, "a.example").values()) == {Y}
        assert set(verdicts(run, "b.example").values()) == {U}


def test_an_address_without_a_probe_is_an_unknown_delivery() -> None:
    with opened(domain("a.example", "mx.example"), host("mx.example", "192.0.2.1"), state="running") as run:
        assert values(run, "SELECT address, basis, offered FROM deliveries") == [("192.0.2.1", "unknown", None)]


def test_mail_hosts_beyond_the_cap_are_one_more_unknown_delivery_and_not_primary_behind_a_worse_one() -> None:
    with opened(
        domain("a.example", ("mx.example", 10), ("mx2.example", 20), mx_dropped=7),
        host("mx.example", "192.0.2.1"),
        host("mx2.example", "192.0.2.2"),
        probe("mx.example", "192.0.2.1"),
        probe("mx2.example", "192.0.2.2"),
    ) as run:
        assert verdicts(run, "a.example") == {"any": Y, "all": U, "primary_any": Y, "primary_all": Y, "worst": U}
        assert values(run, "SELECT parts, strict_valid FROM primary_parts") == [(1, True)]


def test_mail_hosts_beyond_the_cap_may_be_primary_where_all_that_are_kept_have_one_preference() -> None:
    kept = by_mx([(10, f"mx{number}.example") for number in range(4)], 3)
    names = [entry["host"] for entry in kept.mx or ()]
    with opened(
        domain("a.example", *names, mx_dropped=kept.mx_dropped),
        *(row for name in names for row in (host(name, "192.0.2.1"), probe(name, "192.0.2.1"))),
    ) as run:
        assert verdicts(run, "a.example") == {"any": Y, "all": U, "primary_any": Y, "primary_all": U, "worst": U}
        parts = values(run, "SELECT parts, strict_valid, count(*) FROM primary_parts GROUP BY ALL ORDER BY ALL")
        assert parts == [(4, True, 3), (4, None, 1)]


def test_a_mail_host_in_a_record_that_cannot_be_read_may_be_the_best_one() -> None:
    with opened(
        domain("a.example", ("mx.example", 10), ("mx2.example", 20), mx_unreadable=1),
        *(row for name in ("mx.example", "mx2.example") for row in (host(name, "192.0.2.1"), probe(name, "192.0.2.1"))),
    ) as run:
        assert verdicts(run, "a.example") == {"any": Y, "all": U, "primary_any": Y, "primary_all": U, "worst": U}


def test_a_host_named_twice_counts_once_at_its_better_preference() -> None:
    with opened(
        domain("a.example", ("mx.example", 30), ("other.example", 20), ("mx.example", 10)),
        host("mx.example", "192.0.2.1"),
        host("other.example", "192.0.2.2"),
    ) as run:
        found = values(run, "SELECT host, preference, is_primary FROM deliveries ORDER BY host")
    assert found == [("mx.example", 10, True), ("other.example", 20, False)]


def test_any_needs_one_yes_and_all_needs_no_no_and_unknown_stands_between() -> None:
    kinds = {"yes": "strict", "no": "not_offered", "unknown": "greeting_timeout"}
    rows: list[Any] = []
    for number, (name, kind) in enumerate(kinds.items()):
        rows += [host(f"{name}.example", f"192.0.2.{number}"), probe(f"{name}.example", f"192.0.2.{number}", kind)]
    truth = {
        ("yes", "no", "unknown"): (Y, N),
        ("yes", "unknown"): (Y, U),
        ("no", "unknown"): (U, N),
        ("yes", "no"): (Y, N),
        ("unknown",): (U, U),
        ("no",): (N, N),
        ("yes",): (Y, Y),
    }
    rows += [domain(f"{'-'.join(names)}.example", *(f"{name}.example" for name in names)) for names in truth]
    with opened(*rows) as run:
        found = {names: verdicts(run, f"{'-'.join(names)}.example") for names in truth}
    assert {names: (one["any"], one["all"]) for names, one in found.items()} == truth
    assert {names: (one["primary_any"], one["primary_all"]) for names, one in found.items()} == truth


def test_primary_looks_at_the_best_preference_and_only_at_what_accepts_connections() -> None:
    with opened(
        domain("a.example", ("good.example", 10), ("refused.example", 10), ("bad.example", 20)),
        domain("nolisting.example", ("refused.example", 10), ("good.example", 20)),
        domain("opted.example", ("good.example", 10), ("opted.example", 10)),
        host("good.example", "192.0.2.1"),
        host("bad.example", "192.0.2.2"),
        host("refused.example", "192.0.2.3"),
        host("opted.example", "192.0.2.4"),
        probe("good.example", "192.0.2.1"),
        probe("bad.example", "192.0.2.2", "not_offered"),
        probe("refused.example", "192.0.2.3", "connection_refused"),
        probe("opted.example", "192.0.2.4", "opted_out"),
    ) as run:
        primary = verdicts(run, "a.example")
        nolisting = verdicts(run, "nolisting.example")
        opted = verdicts(run, "opted.example")
    assert primary == {"any": Y, "all": N, "primary_any": Y, "primary_all": Y, "worst": N}
    assert nolisting == {"any": Y, "all": U, "primary_any": U, "primary_all": U, "worst": Y}
    assert opted == {"any": Y, "all": U, "primary_any": Y, "primary_all": U, "worst": U}
