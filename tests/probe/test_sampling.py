"""No order that a name can choose decides who is probed at an address."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.model.rows import Certificate, Endpoint, Probe
from crawler.probe.sampling import Candidate, Candidates, fair_order, in_turns_with, owners
from tests.kit.small_runs import known


def candidate(host: str, weight: float = 1.0, chance: float = 0.5) -> Candidate:
    return Candidate(
        Endpoint("smtp", host, "192.0.2.1", 25, weight=weight, chance=chance), ".".join(host.split(".")[-2:])
    )


CANDIDATES = st.lists(
    st.builds(
        lambda label, domain, weight, chance: candidate(f"{label}.d{domain}.example", weight, chance),
        st.integers(0, 9_999), st.integers(0, 9), st.floats(0.001, 100), st.floats(0, 1),
    ),
    max_size=60, unique_by=(lambda one: one.endpoint.host, lambda one: one.endpoint.chance),
)  # fmt: skip


@given(CANDIDATES, st.randoms())
def test_the_order_in_which_names_come_does_not_matter(candidates: list[Candidate], chaos: object) -> None:
    shuffled = list(candidates)
    chaos.shuffle(shuffled)  # type: ignore[attr-defined]
    assert fair_order(shuffled) == fair_order(candidates)


@given(CANDIDATES)
def test_each_domain_has_a_turn_before_any_has_two(candidates: list[Candidate]) -> None:
    order = [one.provider for one in fair_order(candidates)]
    domains = len(set(order))
    assert len(set(order[:domains])) == domains
    assert sorted(order) == sorted(one.provider for one in candidates)


def test_of_any_number_the_best_are_kept() -> None:
    made = Candidates(8)
    for number in range(1_000):
        made.add(candidate(f"mx.d{number % 50}.example" if number < 990 else f"mx.big{number}.example", number / 1_000))
        assert len(made._kept) <= 16
    assert [one.endpoint.host for one in made.best()][:3] == [
        "mx.big999.example",
        "mx.big998.example",
        "mx.big997.example",
    ]


@pytest.mark.parametrize(
    ("greeting", "names", "owned"),
    [
        ("220 mx.bank.example ESMTP", (), {"bank.example"}),
        ("220-mx.bank.example ESMTP\n220 go", ("*.other.example",), {"bank.example", "other.example"}),
        ("220 ESMTP", (), set()),
        ("220", (), set()),
        ("220 \\xff..\\x00 -", ("not a name", "*.com", ""), set()),
        (None, ("mx.bank.example", "example"), {"bank.example"}),
    ],
)
def test_an_address_shows_its_owner_by_certificate_and_greeting(
    greeting: str | None, names: tuple[str, ...], owned: set[str]
) -> None:
    leaf = known()
    leaf.row = Certificate(names=list(names))
    assert owners(Probe(greeting=greeting), [leaf]) == owned
    assert owners(Probe(), []) == set()


def test_a_tenant_whose_certificate_a_host_shows_does_not_push_out_the_others() -> None:
    """A host that has a certificate for each tenant shows that of the name that it is asked for."""
    own = [f"mx{number}.tenant.example" for number in range(20)]
    others = ["mx.bank.example", "mx.shop.example"]

    def provider(name: str) -> str:
        return name.partition(".")[2]

    order = in_turns_with({"tenant.example"}, [*others, *own], provider)
    assert order[:4] == [own[0], others[0], own[1], others[1]] and order[4:] == own[2:]
    assert in_turns_with({"bank.example"}, [*own, *others], provider)[:2] == ["mx.bank.example", own[0]]
    assert in_turns_with(set(), others, provider) == others
