"""Which of the names that a host may bear its certificate bears (RFC 6186 §6, RFC 7817, RFC 9525)."""

from __future__ import annotations

from crawler.certificates.verdicts import judge_names
from crawler.model.rows import Probe
from tests.kit.small_runs import known


def judged(host: str, names: list[str] | None, *borne: str) -> Probe:
    probe = Probe(host=host, reference_names=names)
    judge_names(probe, known(*borne))
    return probe


def test_a_certificate_for_the_domain_suits_a_host_that_its_srv_records_name() -> None:
    probe = judged("imap.provider.example", ["d.example"], "d.example", "*.provider.test")
    assert (probe.name_match, probe.reference_matches) == (False, ["d.example"])


def test_a_certificate_for_the_host_alone_suits_no_domain_whose_dns_did_not_vouch_for_it() -> None:
    probe = judged("imap.provider.example", ["a.example", "b.example"], "*.provider.example")
    assert (probe.name_match, probe.reference_matches) == (True, [])


def test_each_name_is_judged_for_itself_wildcards_included() -> None:
    names = ["a.d.example", "b.a.d.example", "d.example"]
    assert judged("x.example", names, "*.d.example").reference_matches == ["a.d.example"]


def test_where_no_name_was_stated_nothing_is_judged() -> None:
    assert judged("x.example", None, "x.example").reference_matches is None


def test_an_address_is_named_by_no_dns_name_and_that_is_no_mismatch() -> None:
    probe = judged("192.0.2.1", [], "x.example")
    assert (probe.name_match, probe.common_name_match, probe.reference_matches) == (None, None, [])
