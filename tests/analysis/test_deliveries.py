"""From stored rows to verdicts: every rule of `analysis.sql.deliveries` against a truth worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.runs.run import Run
from analysis.sql.deliveries import DOMAIN_RULES
from analysis.sql.endpoints import CRITERIA
from crawler.certificates.name_match import name_match
from crawler.model.rows import Outcome, Route
from crawler.policies.mta_sts import is_allowed
from crawler.resolve.routing import by_mx
from tests.kit.small_runs import KINDS, LEAF, certificate, domain, host, known, opened, probe

Y, N, U = True, False, None

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


def values(run: Run, sql: str) -> list[tuple[Any, ...]]:
    """Rows of an answer, nulls as None."""
    return [tuple(None if pd.isna(value) else value for value in row) for row in run.frame(sql).itertuples(index=False)]


def verdicts(run: Run, name: str, criterion: str = "strict_valid") -> dict[str, bool | None]:
    """A domain's verdict on one criterion by each rule."""
    columns = ", ".join(f"{criterion}_{rule}" for rule in DOMAIN_RULES)
    (row,) = values(run, f"SELECT {columns} FROM domain_units WHERE domain = '{name}'")
    return dict(zip(DOMAIN_RULES, row, strict=True))


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


def test_a_sampled_endpoint_has_its_representatives_session_and_a_name_match_of_its_own() -> None:
    with opened(
        domain("a.example", "named.example"),
        domain("b.example", "stranger.example"),
        host("named.example", "192.0.2.1"),
        host("stranger.example", "192.0.2.1"),
        probe("representative.example", "192.0.2.1"),
        probe("named.example", "192.0.2.1", "sampled_out", representative_host="representative.example"),
        probe("stranger.example", "192.0.2.1", "sampled_out", representative_host="representative.example"),
        certificate(LEAF, "representative.example", "named.example"),
    ) as run:
        found = values(
            run,
            "SELECT host, negotiated, tls_group, name_match, strict_valid, basis, accepts FROM deliveries ORDER BY host",
        )
    assert found == [
        ("named.example", True, "x25519", True, True, "inferred", True),
        ("stranger.example", True, "x25519", False, False, "inferred", True),
    ]


def test_of_a_certificate_whose_names_were_not_all_kept_no_name_is_ruled_out() -> None:
    with opened(
        *(domain(name, name) for name in ("a.example", "b.a.example", "c.example")),
        *(host(name, "192.0.2.1") for name in ("a.example", "b.a.example", "c.example", "d.example")),
        probe("d.example", "192.0.2.1"),
        *(
            probe(
                name, "192.0.2.1", "sampled_out", representative_host="d.example", representative_related=True,
            )
            for name in ("a.example", "b.a.example", "c.example")
        ),
        certificate(LEAF, "a.example", "*.a.example", names_dropped=1),
    ) as run:  # fmt: skip
        found = dict(values(run, "SELECT host, name_match FROM judged WHERE inferred"))
    assert found == {"a.example": Y, "b.a.example": Y, "c.example": U}


@pytest.mark.parametrize(
    ("kind", "stored", "truth"),
    [
        ("not_offered", [certificate(LEAF, "a.example")], (N, N, N, "inferred")),
        ("greeting_timeout", [certificate(LEAF, "a.example")], (U, U, U, "unknown")),
        ("strict", [], (Y, Y, U, "inferred")),
        ("strict", [certificate(LEAF, names=None, parse_error="broken")], (Y, Y, U, "inferred")),
        ("untrusted", [], (Y, Y, N, "inferred")),
    ],
)
def test_what_a_representative_did_not_show_stays_unknown(
    kind: str, stored: list[Any], truth: tuple[bool | str | None, ...]
) -> None:
    with opened(
        domain("a.example", "a.example"),
        host("a.example", "192.0.2.1"),
        probe("b.example", "192.0.2.1", kind),
        probe("a.example", "192.0.2.1", "sampled_out", representative_host="b.example"),
        *stored,
    ) as run:
        assert values(run, "SELECT offered, negotiated, strict_valid, basis FROM deliveries") == [truth]


@pytest.mark.parametrize("related", [False, None])
@pytest.mark.parametrize("kind", ["strict", "untrusted", "self_signed"])
def test_nothing_about_certificates_is_inferred_from_a_name_of_another_domain(kind: str, related: bool | None) -> None:
    """Anybody can point a name at a bank's address, where the bank's host sends it whatever certificate it likes."""
    with opened(
        domain("bank.example", "mx.bank.example"),
        host("mx.bank.example", "192.0.2.1"),
        probe("mx.evil.test", "192.0.2.1", kind),
        probe(
            "mx.bank.example",
            "192.0.2.1",
            "sampled_out",
            representative_host="mx.evil.test",
            representative_related=related,
        ),
        certificate(LEAF, "mx.bank.example"),
    ) as run:
        found = values(
            run,
            "SELECT offered, negotiated, forward_secret, tls_version, strict_valid, strict_valid_if_known, name_match,"
            " chain_trusted, leaf, dane_match, basis FROM deliveries",
        )
    assert found == [(Y, Y, Y, "TLSv1.3", U, U, U, U, U, U, "inferred")]


def test_without_tls_at_an_address_no_name_there_has_a_valid_certificate() -> None:
    with opened(
        domain("bank.example", "mx.bank.example"),
        host("mx.bank.example", "192.0.2.1"),
        probe("mx.evil.test", "192.0.2.1", "not_offered"),
        probe(
            "mx.bank.example",
            "192.0.2.1",
            "sampled_out",
            representative_host="mx.evil.test",
            representative_related=False,
        ),
    ) as run:
        assert values(run, "SELECT offered, negotiated, strict_valid, basis FROM deliveries") == [(N, N, N, "inferred")]


@pytest.mark.parametrize(
    ("others", "truth"),
    [
        (["strict", "strict"], (Y, Y, "TLSv1.3")),
        (["strict", "greeting_timeout"], (U, U, U)),  # what is unknown of one agrees with nothing
        (["strict", "handshake_timeout"], (Y, U, U)),
        (["strict", "connect_timeout"], (U, U, U)),
        (["strict", "opted_out", "over_budget", "not_run"], (Y, Y, "TLSv1.3")),  # nobody was contacted by these names
        (["strict", "not_offered"], (U, U, U)),
        (["not_offered", "not_offered"], (N, N, U)),
    ],
)
def test_an_address_is_what_all_names_probed_there_agree_on(others: list[str], truth: tuple[Any, ...]) -> None:
    names = [f"mx{number}.example" for number in range(len(others))]
    with opened(
        domain("a.example", "left.example"),
        host("left.example", "192.0.2.1"),
        *(probe(name, "192.0.2.1", kind) for name, kind in zip(names, others, strict=True)),
        probe("left.example", "192.0.2.1", "sampled_out", representative_host=names[0]),
    ) as run:
        assert values(run, "SELECT offered, negotiated, tls_version FROM deliveries") == [truth]


@pytest.mark.parametrize("kind", ["handshake_timeout", "silent_after_tls", "not_now"])
def test_nothing_is_inferred_from_a_representative_that_was_not_probed_conclusively(kind: str) -> None:
    with opened(
        domain("a.example", "left.example"),
        host("left.example", "192.0.2.1"),
        probe("tls.example", "192.0.2.1"),
        probe("unclear.example", "192.0.2.1", kind),
        probe("left.example", "192.0.2.1", "sampled_out", representative_host="unclear.example"),
        certificate(LEAF, "left.example"),
    ) as run:
        columns = "basis, inferred, offered, negotiated, chain_trusted, name_match, leaf, strict_valid"
        assert values(run, f"SELECT {columns} FROM candidates") == [("unknown", False, U, U, U, U, U, U)]
        assert values(run, "SELECT negotiated_any FROM domain_units") == [(U,)]


def test_a_verdict_is_inferred_only_where_observation_alone_does_not_decide_it() -> None:
    with opened(
        domain("a.example", "seen.example", "sampled.example"),
        host("seen.example", "192.0.2.1"),
        host("sampled.example", "192.0.2.2"),
        probe("seen.example", "192.0.2.1"),
        probe("other.example", "192.0.2.2"),
        probe("sampled.example", "192.0.2.2", "sampled_out", representative_host="other.example"),
        certificate(LEAF, "sampled.example"),
    ) as run:
        found = values(
            run,
            "SELECT strict_valid_any, strict_valid_any_observed, strict_valid_all, strict_valid_all_observed"
            " FROM domain_units",
        )
    assert found == [(Y, Y, Y, U)]


@pytest.fixture(scope="module")
def rules() -> Iterator[Run]:
    """An empty run: only its rules are wanted."""
    with opened() as run:
        yield run


_LABEL = st.sampled_from(["a", "b", "mail", "xn--bcher-kva", "example", "com", "*", "m*"])
_NAME = st.lists(_LABEL, min_size=1, max_size=4).map(".".join)


@given(names=st.lists(_NAME, max_size=3), host=_NAME.filter(lambda name: "*" not in name))
def test_names_of_a_certificate_are_held_against_a_host_as_a_probe_does(
    rules: Run, names: list[str], host: str
) -> None:
    leaf = known(*(name.upper() for name in names))
    found = rules.frame(
        "SELECT list_has_any(list_transform($names::VARCHAR[], lambda name: lower(name)), names_for($host)) AS verdict",
        {"names": [name.upper() for name in names], "host": host},
    )
    assert found["verdict"].tolist() == [name_match(leaf, host)]


@given(patterns=st.lists(_NAME, max_size=3), host=_NAME.filter(lambda name: "*" not in name))
def test_patterns_of_a_policy_are_held_against_a_host_as_a_sender_does(
    rules: Run, patterns: list[str], host: str
) -> None:
    found = rules.frame(
        "SELECT list_has_any($patterns::VARCHAR[], patterns_for($host)) AS verdict",
        {"patterns": patterns, "host": host},
    )
    assert found["verdict"].tolist() == [is_allowed(host, patterns)]


@given(verdicts=st.lists(st.sampled_from([Y, N, U]), max_size=6), in_scope=st.lists(st.booleans(), min_size=6))
def test_any_is_not_all_of_the_opposite_and_every_resolution_of_unknowns_agrees(
    rules: Run, verdicts: list[bool | None], in_scope: list[bool]
) -> None:
    rows = {"x": verdicts, "scope": in_scope[: len(verdicts)]}
    found = rules.frame(
        """
        SELECT any_of(bit_or(set_of(x)) FILTER (WHERE scope), 0), all_of(bit_or(set_of(NOT x)) FILTER (WHERE scope), 0)
        FROM (SELECT unnest($x::BOOLEAN[]) AS x, unnest($scope::BOOLEAN[]) AS scope)
        """,
        rows,
    )
    any_of, all_of_opposite = (None if pd.isna(value) else bool(value) for value in found.iloc[0])
    assert any_of == (None if all_of_opposite is None else not all_of_opposite)
    seen = [verdict for verdict, counts in zip(verdicts, in_scope, strict=False) if counts]
    resolved = {any(one) for one in product(*([Y, N] if verdict is None else [verdict] for verdict in seen))}
    assert any_of == (resolved.pop() if len(resolved) == 1 and seen else None)


def test_two_forms_of_a_protocol_on_one_port_do_not_stand_for_each_other() -> None:
    """SRV records may name one port for both forms."""
    names = ("a.example", "b.example")
    rows: list[Any] = []
    for form, kind in (("starttls", "not_offered"), ("implicit", "strict")):
        at = {"protocol": "imap", "form": form, "port": 1_993}
        rows.append(probe(names[0], "192.0.2.1", kind, **at))
        rows.append(probe(names[1], "192.0.2.1", "sampled_out", representative_host=names[0], **at))
    with opened(*rows) as run:
        found = run.frame("SELECT form, negotiated, inferred FROM judged WHERE host = 'b.example' ORDER BY form")
    assert found.to_dict("records") == [
        {"form": "implicit", "negotiated": True, "inferred": True},
        {"form": "starttls", "negotiated": False, "inferred": True},
    ]
