"""SRV answers to hosts and ports: order, bounds, the decided absence, and any records at all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crawler.dns.client import Answer
from crawler.dns.codec import SRV
from crawler.model.rows import LookupStatus, SrvStatus
from crawler.resolve.srv import Named, Place, by_srv, named_by

TARGETS = st.sampled_from([".", "a.example", "B.example", "b.example", "c.example"])
RECORDS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([0, 143, 993]), TARGETS), min_size=1)


def test_the_record_of_rfc_6186_names_a_host_and_port() -> None:
    assert by_srv([(0, 1, 143, "imap.example.com")], 16) == Named(
        SrvStatus.NAMED, [Place(0, 1, "imap.example.com", 143)], 0
    )


def test_the_target_of_a_dot_says_that_there_is_no_such_service() -> None:
    assert by_srv([(0, 0, 0, ".")], 16) == Named(SrvStatus.NOT_AVAILABLE, [], 0)


def test_hosts_beside_a_dot_are_named_all_the_same() -> None:
    assert by_srv([(0, 0, 0, "."), (1, 1, 993, "a.example")], 16).status is SrvStatus.NAMED


def test_priorities_come_in_order_and_within_one_the_heavier_first() -> None:
    records = [
        (20, 9, 143, "c.example"),
        (10, 1, 143, "b.example"),
        (10, 5, 143, "a.example"),
        (30, 9, 143, "A.example"),
    ]
    found = by_srv(records, 2)
    assert [place.host for place in found.places] == ["a.example", "b.example"]
    assert found.dropped == 1, "the fourth is the first once more"


def test_a_record_without_a_port_is_left_out_and_counted() -> None:
    assert by_srv([(0, 0, 0, "a.example")], 16) == Named(SrvStatus.NAMED, [], 1)


@given(RECORDS, st.integers(1, 4))
def test_whatever_is_named_is_kept_once_in_order_or_counted(
    records: list[tuple[int, int, int, str]], most: int
) -> None:
    found = by_srv(records, most)
    named = {(target.lower(), port) for _, _, port, target in records if target != "." and port}
    assert found.places == sorted(found.places, key=lambda p: (p.priority, -p.weight, p.host, p.port))
    kept = [(place.host, place.port) for place in found.places]
    assert len(kept) == len(set(kept)) <= most and set(kept) <= named
    portless = sum(not port and target != "." for _, _, port, target in records)
    assert found.dropped == len(named) - len(kept) + portless
    assert (found.status is SrvStatus.NOT_AVAILABLE) is all(target == "." for *_, target in records)


def test_what_became_of_the_question_is_told_apart() -> None:
    statuses = {status: named_by(Answer("x", SRV, status), 16).status for status in LookupStatus if status != "ok"}
    assert statuses.pop(LookupStatus.NODATA) is statuses.pop(LookupStatus.NXDOMAIN) is SrvStatus.ABSENT
    assert statuses.pop(LookupStatus.BOGUS) is SrvStatus.BOGUS
    assert set(statuses.values()) == {SrvStatus.LOOKUP_FAILED}, "a failed lookup is no absence"


def test_a_dot_beside_a_record_that_cannot_be_read_leaves_open_whether_there_is_such_a_service() -> None:
    answer = Answer("x", SRV, LookupStatus.OK, records=[(0, 0, 0, ".")], malformed=1)
    assert named_by(answer, 16) == Named(SrvStatus.LOOKUP_FAILED, [], 1)
    answer.records = [(0, 0, 143, "a.example")]
    assert named_by(answer, 16) == Named(SrvStatus.NAMED, [Place(0, 0, "a.example", 143)], 1)
