"""Where mail goes, by RFC 5321 §5.1 and RFC 7505."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.model.rows import DnsError, LookupStatus, Route
from crawler.resolve.routing import by_mx, unknown, without_answer, without_mx

OK, NODATA, NXDOMAIN, NOT_ASKED = (
    LookupStatus.OK,
    LookupStatus.NODATA,
    LookupStatus.NXDOMAIN,
    LookupStatus.NOT_ASKED,
)


def hosts(records: list[tuple[int, str]], max_mx: int = 100) -> list[tuple[int, str]]:
    mx = by_mx(records, max_mx).mx
    assert mx is not None
    return [(one["preference"], one["host"]) for one in mx]


def test_mail_hosts_come_by_preference_and_then_by_name() -> None:
    assert hosts([(20, "b.test"), (10, "z.test"), (10, "a.test")]) == [(10, "a.test"), (10, "z.test"), (20, "b.test")]


def test_the_same_host_in_different_case_is_one_host_with_its_best_preference() -> None:
    assert hosts([(20, "MX.Test"), (10, "mx.test"), (30, "mX.test")]) == [(10, "mx.test")]


def test_an_ip_literal_and_the_domain_itself_are_explicit_hosts_like_any_other() -> None:
    assert by_mx([(0, "192.0.2.1")], 100).route is Route.EXPLICIT
    assert hosts([(5, "self.test")]) == [(5, "self.test")]


def test_hundreds_of_mx_are_cut_and_the_rest_is_counted() -> None:
    routing = by_mx([(n, f"mx{n}.test") for n in range(300)], 100)
    assert routing.mx is not None
    assert [one["preference"] for one in routing.mx] == list(range(100))
    assert routing.mx_dropped == 200


def test_records_that_cannot_be_read_may_name_a_host_and_are_counted() -> None:
    """They vanished, so all mail hosts of a domain seemed to be known, and a null MX beside one seemed to stand alone."""
    routing = by_mx([(10, "mx.test")], 100, unreadable=2)
    assert (routing.route, routing.mx_dropped, routing.mx_unreadable) == (Route.EXPLICIT, 0, 2)
    routing = by_mx([(0, ".")], 100, unreadable=1)
    assert (routing.route, routing.error, routing.mx) == (Route.UNKNOWN, DnsError.MALFORMED, None)
    assert by_mx([(0, "."), (5, "mx.test")], 100, unreadable=1).route is Route.NULL_MX_INVALID


def test_a_single_zero_dot_is_a_null_mx() -> None:
    routing = by_mx([(0, ".")], 100)
    assert (routing.route, routing.mx) == (Route.NULL_MX, [])


@pytest.mark.parametrize(
    ("records", "kept"),
    [
        ([(10, ".")], []),
        ([(0, "."), (10, "mx.test")], [(10, "mx.test")]),
        ([(10, "mx.test"), (0, ".")], [(10, "mx.test")]),
        ([(0, "."), (1, ".")], []),
        ([(1, "."), (0, ".")], []),
    ],
)
def test_a_null_mx_with_a_preference_or_beside_others_is_invalid_and_the_others_are_kept(
    records: list[tuple[int, str]], kept: list[tuple[int, str]]
) -> None:
    assert by_mx(records, 100).route is Route.NULL_MX_INVALID
    assert hosts(records) == kept


def test_the_same_null_mx_twice_is_one() -> None:
    assert by_mx([(0, "."), (0, ".")], 100).route is Route.NULL_MX


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([".", "a.test", "A.test", "b.test", "c.test"])), min_size=1),
    st.randoms(use_true_random=False),
)
def test_the_order_of_an_answer_does_not_matter(records: list[tuple[int, str]], chance: Random) -> None:
    shuffled = list(records)
    chance.shuffle(shuffled)
    assert by_mx(shuffled, 2) == by_mx(records, 2)


@pytest.mark.parametrize(
    "addresses", [(OK, OK), (OK, NODATA), (NODATA, OK), (OK, NOT_ASKED), (LookupStatus.TIMEOUT, OK)]
)
def test_one_address_of_either_family_makes_a_domain_its_own_mail_host(addresses: tuple[LookupStatus, ...]) -> None:
    routing = without_mx("d.test", addresses)
    assert (routing.route, routing.mx) == (Route.IMPLICIT, [{"host": "d.test", "preference": 0}])


def test_no_address_of_both_families_is_no_mail_host() -> None:
    assert without_mx("d.test", (NODATA, NODATA)).route is Route.NO_MAIL_HOST
    assert without_mx("d.test", (NODATA, NXDOMAIN)).route is Route.NO_MAIL_HOST


def test_a_family_that_was_not_asked_leaves_the_route_unknown_without_an_error() -> None:
    routing = without_mx("d.test", (NODATA, NOT_ASKED))
    assert (routing.route, routing.error, routing.mx) == (Route.UNKNOWN, None, None)


@pytest.mark.parametrize("error", list(DnsError))
def test_a_failed_lookup_is_unknown_with_the_error_never_no_mail_host(error: DnsError) -> None:
    status = LookupStatus(error.value)
    for routing in (
        without_mx("d.test", (NODATA, status)),
        without_mx("d.test", (status, NODATA)),
        without_answer(status),
    ):
        assert (routing.route, routing.error, routing.mx, routing.mx_dropped) == (Route.UNKNOWN, error, None, None)


def test_nxdomain_is_an_answer() -> None:
    assert (without_answer(NXDOMAIN).route, without_answer(NXDOMAIN).mx) == (Route.NXDOMAIN, [])
    assert unknown(None).error is None
