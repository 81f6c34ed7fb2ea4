"""DANE for SMTP: records held against received chains, and OpenSSL's own verdict on the same."""

from __future__ import annotations

import datetime
import hashlib

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from crawler.certificates.chain_verdict import ChainVerdict
from crawler.certificates.parsing import ParsedCertificate, load
from crawler.certificates.signatures import is_signed_by
from crawler.certificates.trust_store import TrustStore
from crawler.model.rows import DaneError, DaneStatus, TlsaStatus
from crawler.policies import dane
from tests.kit.chains import START, Subject, der, known
from tests.kit.dane_records import (
    ANCHOR,
    CERT,
    CHAIN,
    EE,
    FULL,
    HOST,
    INTERMEDIATE,
    LEAF,
    MIDDLE,
    ROOT,
    SERVER,
    SHA256,
    SHA512,
    SPKI,
    TA,
    judge,
    record,
)


@pytest.mark.parametrize("selector", [CERT, SPKI])
@pytest.mark.parametrize("matching", [FULL, SHA256, SHA512])
def test_dane_ee_matches_the_leaf_by_every_selector_and_digest(trust: TrustStore, selector: int, matching: int) -> None:
    found = judge(trust, [record(EE, selector, matching, LEAF)], *CHAIN)
    assert (found.status, found.record, found.depth) == (DaneStatus.MATCH, 0, 0)


def test_dane_ee_ignores_name_expiry_and_issuer(trust: TrustStore) -> None:
    leaf = Subject("Nobody").leaf("other.example", days=(-30, -1), usage=[x509.ExtendedKeyUsageOID.CLIENT_AUTH])
    assert judge(trust, [record(EE, SPKI, SHA256, leaf)], leaf).status is DaneStatus.MATCH


def test_dane_ee_does_not_match_what_is_behind_the_leaf(trust: TrustStore) -> None:
    found = judge(trust, [record(EE, SPKI, SHA256, INTERMEDIATE)], *CHAIN)
    assert (found.status, found.error) == (DaneStatus.MISMATCH, DaneError.NO_MATCH)


@pytest.mark.parametrize("selector", [CERT, SPKI])
@pytest.mark.parametrize("matching", [FULL, SHA256, SHA512])
@pytest.mark.parametrize("depth", [1, 2])
def test_dane_ta_matches_an_anchor_in_the_received_chain(
    trust: TrustStore, selector: int, matching: int, depth: int
) -> None:
    found = judge(trust, [record(TA, selector, matching, CHAIN[depth])], *CHAIN)
    assert (found.status, found.record, found.depth) == (DaneStatus.MATCH, 0, depth)


def test_dane_ta_does_not_match_the_leaf(trust: TrustStore) -> None:
    alone = SERVER.issue(SERVER, ca=True, names=[HOST])
    assert judge(trust, [record(TA, CERT, SHA256, alone)], alone).error is DaneError.NO_MATCH
    assert judge(trust, [record(TA, CERT, SHA256, alone)], alone, alone).error is DaneError.NO_MATCH


@pytest.mark.parametrize("leaf", [LEAF, SERVER.issue(SERVER, ca=True, names=[HOST])], ids=["issued", "self-signed"])
def test_the_leaf_is_no_anchor_of_its_own_though_the_record_has_it_in_full(
    trust: TrustStore, leaf: x509.Certificate
) -> None:
    for chain in ([leaf], [leaf, leaf], [leaf, INTERMEDIATE]):
        assert judge(trust, [record(TA, CERT, FULL, leaf)], *chain) == dane.Verdict(
            DaneStatus.MISMATCH, error=DaneError.NO_MATCH
        )


def test_dane_ta_by_digest_needs_the_anchor_in_the_chain(trust: TrustStore) -> None:
    records = [record(TA, CERT, SHA256, ANCHOR), record(TA, SPKI, SHA256, ANCHOR)]
    assert judge(trust, records, LEAF, INTERMEDIATE).error is DaneError.NO_MATCH


@pytest.mark.parametrize("selector", [CERT, SPKI])
def test_dane_ta_in_full_brings_the_anchor_along(trust: TrustStore, selector: int) -> None:
    found = judge(trust, [record(TA, selector, FULL, ANCHOR)], LEAF, INTERMEDIATE)
    assert (found.status, found.record, found.depth) == (DaneStatus.MATCH, 0, None)
    assert judge(trust, [record(TA, selector, FULL, INTERMEDIATE)], LEAF).status is DaneStatus.MATCH


def test_dane_ta_wants_a_name_of_the_host_or_the_base_domain(trust: TrustStore) -> None:
    records = [record(TA, CERT, SHA256, INTERMEDIATE)]
    assert judge(trust, records, *CHAIN, names=("other.example",)).error is DaneError.NAME
    assert judge(trust, records, *CHAIN, names=("other.example", HOST)).status is DaneStatus.MATCH


def test_dane_ta_takes_the_common_name_only_where_there_is_no_dns_id(trust: TrustStore) -> None:
    named = MIDDLE.issue(Subject(HOST), ca=False)
    both = MIDDLE.issue(Subject(HOST), ca=False, names=["other.example"])
    records = [record(TA, CERT, SHA256, INTERMEDIATE)]
    assert judge(trust, records, named, INTERMEDIATE).status is DaneStatus.MATCH
    assert judge(trust, records, both, INTERMEDIATE).error is DaneError.NAME


def test_dane_ta_wants_the_whole_path_within_its_dates(trust: TrustStore) -> None:
    past = ROOT.issue(MIDDLE, ca=True, days=(-30, -1))
    records = [record(TA, CERT, SHA256, ANCHOR)]
    assert judge(trust, records, LEAF, past, ANCHOR).error is DaneError.EXPIRED
    before = START - datetime.timedelta(days=10)
    assert judge(trust, records, LEAF, past, ANCHOR, at=before).status is DaneStatus.MATCH


def test_dane_ta_does_not_look_beyond_the_anchor(trust: TrustStore) -> None:
    past = ROOT.root(days=(-30, -1))
    assert judge(trust, [record(TA, CERT, SHA256, INTERMEDIATE)], LEAF, INTERMEDIATE, past).status is DaneStatus.MATCH


def test_an_anchor_that_signed_nothing_here_is_no_anchor(trust: TrustStore) -> None:
    stranger = Subject("Stranger").root()
    found = judge(trust, [record(TA, CERT, SHA256, stranger)], LEAF, INTERMEDIATE, stranger)
    assert (found.status, found.error) == (DaneStatus.MISMATCH, DaneError.PATH)


def test_an_anchor_of_the_same_name_with_another_key_is_no_anchor(trust: TrustStore) -> None:
    other = Subject("Root").root()
    assert judge(trust, [record(TA, CERT, SHA256, other)], LEAF, INTERMEDIATE, other).error is DaneError.PATH


def test_dane_ta_needs_a_leaf_for_servers(trust: TrustStore) -> None:
    leaf = MIDDLE.leaf(HOST, usage=[x509.ExtendedKeyUsageOID.CLIENT_AUTH])
    assert judge(trust, [record(TA, CERT, SHA256, INTERMEDIATE)], leaf, INTERMEDIATE).error is DaneError.PATH


def test_a_roll_over_in_progress_matches_by_either_record(trust: TrustStore) -> None:
    following = MIDDLE.leaf(HOST)
    records = [record(EE, SPKI, SHA256, following), record(EE, SPKI, SHA256, LEAF)]
    assert judge(trust, records, *CHAIN).record == 1
    assert judge(trust, records, following, INTERMEDIATE).record == 0


def test_a_failed_roll_over_is_caught_by_the_anchor(trust: TrustStore) -> None:
    records = [record(EE, SPKI, SHA256, MIDDLE.leaf(HOST)), record(TA, CERT, SHA256, ANCHOR)]
    found = judge(trust, records, *CHAIN)
    assert (found.status, found.record, found.depth) == (DaneStatus.MATCH, 1, 2)


def test_only_the_strongest_digest_of_a_kind_counts(trust: TrustStore) -> None:
    """RFC 7671 §9: SHA-256 matches, and SHA-512 of the same usage and selector does not."""
    stale = record(EE, SPKI, SHA512, MIDDLE.leaf(HOST))
    assert judge(trust, [record(EE, SPKI, SHA256, LEAF), stale], *CHAIN).status is DaneStatus.MISMATCH
    assert judge(trust, [record(EE, CERT, SHA256, LEAF), stale], *CHAIN).status is DaneStatus.MATCH
    assert judge(trust, [record(EE, SPKI, FULL, LEAF), stale], *CHAIN).status is DaneStatus.MATCH


def test_an_unusable_record_neither_matches_nor_outdoes_another(trust: TrustStore) -> None:
    short = (EE, SPKI, SHA512, b"short")
    assert judge(trust, [record(EE, SPKI, SHA256, LEAF), short], *CHAIN).status is DaneStatus.MATCH


@pytest.mark.parametrize("usage", [0, 1])
def test_pkix_usages_are_unusable_for_smtp(trust: TrustStore, usage: int) -> None:
    assert judge(trust, [record(usage, CERT, SHA256, LEAF)], *CHAIN).status is DaneStatus.UNUSABLE


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        (TlsaStatus.ABSENT, DaneStatus.ABSENT),
        (TlsaStatus.INSECURE, DaneStatus.INSECURE),
        (TlsaStatus.BOGUS, DaneStatus.BOGUS),
        (TlsaStatus.UNUSABLE, DaneStatus.UNUSABLE),
        (TlsaStatus.LOOKUP_FAILED, DaneStatus.UNKNOWN),
        (TlsaStatus.NOT_ASKED, DaneStatus.UNKNOWN),
        (None, DaneStatus.UNKNOWN),
    ],
)
def test_without_usable_records_the_certificates_do_not_matter(
    trust: TrustStore, status: TlsaStatus | None, wanted: DaneStatus
) -> None:
    records = dane.records_of([record(EE, CERT, SHA256, LEAF)])
    assert dane.verdict(status, records, known(*CHAIN), [HOST], START, trust.path_to) == dane.Verdict(wanted)


def test_a_status_read_back_from_a_table_is_as_good_as_the_word_itself(trust: TrustStore) -> None:
    records = dane.records_of([record(EE, CERT, SHA256, LEAF)])
    for status in TlsaStatus:
        found = dane.verdict(str(status), records, known(*CHAIN), [HOST], START, trust.path_to)  # type: ignore[arg-type]
        assert found == dane.verdict(status, records, known(*CHAIN), [HOST], START, trust.path_to)


def test_usable_records_without_a_chain_are_unknown_and_no_mismatch(trust: TrustStore) -> None:
    assert judge(trust, [record(EE, CERT, SHA256, LEAF)]).status is DaneStatus.UNKNOWN


def test_what_a_bare_key_signed_is_found_out_once(trust: TrustStore, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [record(TA, SPKI, FULL, Subject(f"Key {n}").root()) for n in range(3)]
    checked: list[bytes] = []

    def check(certificate: bytes, public_key: bytes) -> bool | None:
        checked.append(public_key)
        return is_signed_by(certificate, public_key)

    monkeypatch.setattr(dane, "is_signed_by", check)
    for _ in range(2):
        assert judge(trust, keys, *CHAIN).error is DaneError.NO_MATCH
        assert len(checked) == len(keys) * len(CHAIN)


def test_a_full_certificate_of_a_record_is_parsed_once(trust: TrustStore, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [record(TA, CERT, FULL, Subject(f"Anchor {n}").root()) for n in range(3)]
    parsed: list[bytes] = []

    def counted(encoding: bytes) -> ParsedCertificate:
        parsed.append(encoding)
        return load(encoding)

    monkeypatch.setattr(dane, "load", counted)
    for _ in range(2):
        assert judge(trust, records, *CHAIN).error is DaneError.PATH
        assert len(parsed) == len(records)


def test_what_costs_too_much_to_find_out_is_unknown_and_no_mismatch(trust: TrustStore) -> None:
    """A name server chooses the keys and a mail host the chain: 32 of each would stop the event loop for seconds."""
    crowd = [*CHAIN, *(Subject(f"Stranger {n}").root() for n in range(25))]
    too_costly = dane.Verdict(DaneStatus.UNKNOWN, error=DaneError.TOO_COSTLY)
    for selector, error in ((SPKI, DaneError.NO_MATCH), (CERT, DaneError.PATH)):
        records = [record(TA, selector, FULL, Subject(f"Anchor {n}").root()) for n in range(20)]
        assert judge(trust, records, *crowd) == too_costly
        assert judge(trust, records, *CHAIN) == dane.Verdict(DaneStatus.MISMATCH, error=error)
        assert judge(trust, [*records, record(EE, SPKI, SHA256, LEAF)], *crowd).status is DaneStatus.MATCH


def test_five_hundred_records_cost_no_five_hundred_paths(trust: TrustStore) -> None:
    asked = []

    def path_to(
        anchor: ParsedCertificate, chain: list[ParsedCertificate], *, anchor_expires: bool, at: datetime | None
    ) -> ChainVerdict:
        asked.append(anchor)
        return trust.path_to(anchor, chain, anchor_expires=anchor_expires, at=at)

    rrset = [(TA, CERT, SHA256, hashlib.sha256(bytes([n % 256, n // 256])).digest()) for n in range(500)]
    records = dane.records_of([*rrset, record(TA, CERT, SHA256, ANCHOR)])
    found = dane.verdict(TlsaStatus.USABLE, records, known(*CHAIN), [HOST], START, path_to)
    assert (
        found.status is DaneStatus.MATCH and records[found.record or 0]["data"] == hashlib.sha256(der(ANCHOR)).digest()
    )
    assert len(asked) == 1


def test_a_match_among_the_records_kept_is_a_match_and_no_match_is_unknown(trust: TrustStore) -> None:
    right, wrong = record(EE, SPKI, SHA256, LEAF), record(EE, SPKI, SHA256, INTERMEDIATE)
    assert judge(trust, [right], *CHAIN, dropped=468).status is DaneStatus.MATCH
    assert judge(trust, [record(TA, CERT, SHA256, ANCHOR)], *CHAIN, dropped=1).status is DaneStatus.MATCH
    assert judge(trust, [wrong], *CHAIN, dropped=1) == dane.Verdict(DaneStatus.UNKNOWN)
    assert judge(trust, [wrong], *CHAIN).status is DaneStatus.MISMATCH


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3), st.integers(0, 2), st.integers(0, 3), st.sampled_from([bytes(32), bytes(64), b"\1" * 32])
        ),
        max_size=12,
    ),
    st.integers(1, 6),
)
def test_no_record_kept_is_outdone_by_one_that_is_not(rrset: list[dane.Rdata], most: int) -> None:
    def heeded(rdatas: list[dane.Rdata]) -> set[dane.Rdata]:
        rows = dane.records_of(rdatas)
        return {(row["usage"], row["selector"], row["matching"], row["data"]) for _, row in dane.in_force(rows)}

    kept = dane.most_telling(rrset, most, 1_000)
    assert len(kept) == min(most, len(set(rrset))) and set(kept) <= set(rrset)
    assert heeded(kept) <= heeded(rrset)
    assert len(heeded(kept)) == min(most, len(heeded(rrset)))


@given(
    st.lists(st.tuples(st.integers(2, 3), st.integers(0, 1), st.integers(0, 3), st.binary(max_size=80)), max_size=12),
    st.integers(0, 400),
)
def test_no_more_bytes_of_records_are_kept_than_may_be_and_a_large_one_crowds_out_no_digest(
    rrset: list[dane.Rdata], most_bytes: int
) -> None:
    digests = [(3, 1, 1, bytes([n]) * 32) for n in range(3)]
    kept = dane.most_telling([*rrset, *digests], 32, most_bytes)
    assert sum(len(data) for *_, data in kept) <= most_bytes and set(kept) <= {*rrset, *digests}
    if not any(rdata[:2] == (3, 1) or dane.is_usable(*rdata) for rdata in rrset):
        assert sum(rdata in digests for rdata in kept) == min(3, most_bytes // 32)
