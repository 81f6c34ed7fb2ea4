"""An endpoint that was not probed has the verdicts that follow from a name probed at its address, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.runs.run import Run
from crawler.certificates.name_match import name_match
from crawler.policies.mta_sts import is_allowed
from tests.kit.delivery_verdicts import N, U, Y, values
from tests.kit.small_runs import LEAF, certificate, domain, host, known, opened, probe


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
