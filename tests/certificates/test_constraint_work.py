"""Name constraints: who makes both the names and the constraints has only so much of our processor time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Network

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.certificates import trust_store
from crawler.certificates.constraint_work import comparisons
from crawler.certificates.der_fields import Extensions
from crawler.certificates.effort import COMPARISON, MOST
from crawler.certificates.parsing import ParsedCertificate, load
from crawler.certificates.trust_store import TrustStore
from crawler.model.rows import DaneError, DaneStatus
from crawler.policies import dane
from tests.kit.chains import START, Subject, der, element, excluded, known, pem, permitted, rebuilt

HOST = "mx.example"
MOST_COMPARISONS = MOST / COMPARISON
ROOT, MIDDLE, LOWER = Subject("Root"), Subject("Middle"), Subject("Lower")
ANCHOR = ROOT.root()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TrustStore:
    path = tmp_path_factory.mktemp("constraints") / "roots.pem"
    path.write_text(pem(ANCHOR))
    return TrustStore(str(path))


def subtrees(count: int) -> x509.NameConstraints:
    """So many constraints that no name here meets."""
    return excluded(*(f"{number}.elsewhere" for number in range(count)))


def crowd(count: int) -> list[str]:
    """So many names, the host's among them."""
    return [HOST, *(f"{number}.example" for number in range(count - 1))]


def named(*anchors: x509.Certificate) -> list[dane.Rdata]:
    """Records of DANE-TA by digest."""
    return [(2, 0, 1, hashlib.sha256(der(anchor)).digest()) for anchor in anchors]


def held(store: TrustStore, chain: list[ParsedCertificate], rrset: list[dane.Rdata]) -> dane.Verdict:
    rows = dane.records_of(rrset)
    return dane.verdict(dane.status_of(rows), rows, chain, [HOST], START, store.path_to)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The comparisons of every chain that OpenSSL is asked about."""
    work: list[int] = []
    genuine = trust_store._path

    def path(made: object, leaf: ParsedCertificate, others: list[ParsedCertificate]) -> object:
        work.append(comparisons([leaf, *others]))
        return genuine(made, leaf, others)  # type: ignore[arg-type]

    monkeypatch.setattr(trust_store, "_path", path)
    return work


def test_what_is_within_the_bound_has_openssls_verdict(store: TrustStore) -> None:
    for constraints, wanted in ((subtrees(60), True), (permitted("elsewhere"), False), (excluded(HOST), False)):
        middle = ROOT.issue(MIDDLE, ca=True, constraints=constraints)
        chain = known(MIDDLE.leaf(*crowd(1_000)), middle, ANCHOR)
        assert comparisons(chain) <= MOST_COMPARISONS
        assert store.judge(chain, START).trusted is wanted
        found = held(store, chain, named(ANCHOR))
        assert found.status is (DaneStatus.MATCH if wanted else DaneStatus.MISMATCH)
        assert found.error is (None if wanted else DaneError.PATH)


def test_what_costs_more_is_unknown_and_says_so(store: TrustStore, asked: list[int]) -> None:
    middle = ROOT.issue(MIDDLE, ca=True, constraints=subtrees(70))
    chain = known(MIDDLE.leaf(*crowd(1_000)), middle, ANCHOR)
    verdict = store.judge(chain, START)
    assert (verdict.trusted, verdict.error_code, verdict.too_costly) == (None, None, True) and verdict.error
    assert verdict.within_validity(START) is True
    assert held(store, chain, named(ANCHOR)) == dane.Verdict(DaneStatus.UNKNOWN, error=DaneError.TOO_COSTLY)
    assert held(store, chain, [*named(ANCHOR), (3, 0, 0, chain[0].der)]).status is DaneStatus.MATCH
    assert max(asked) <= MOST_COMPARISONS


def test_a_chain_under_no_anchor_is_untrusted_whatever_it_would_cost(store: TrustStore) -> None:
    """Nobody compares names where no path is found; so nobody makes an unknown of a no by names."""
    elsewhere = Subject("Elsewhere")
    middle = elsewhere.issue(MIDDLE, ca=True, constraints=subtrees(200))
    leaf = MIDDLE.leaf(*crowd(2_000))
    for sent, code in (([leaf, middle], 20), ([leaf, middle, elsewhere.root()], 19)):
        found = store.judge(known(*sent), START)
        assert (found.trusted, found.error_code, found.too_costly) == (False, code, False)


def test_many_anchors_have_no_more_of_it_together_than_one(store: TrustStore, asked: list[int]) -> None:
    """Each names another certificate of one CA, so each is a path of its own."""
    middles = [ROOT.issue(MIDDLE, ca=True, constraints=subtrees(10)) for _ in range(8)]
    chain = known(MIDDLE.leaf(*crowd(300)), *middles)
    stranger = [Subject(f"Stranger {n}").root(constraints=subtrees(10)) for n in range(3)]
    found = held(store, [*chain, *known(*stranger)], named(*stranger))
    assert found == dane.Verdict(DaneStatus.UNKNOWN, error=DaneError.TOO_COSTLY)
    assert sum(asked) <= MOST_COMPARISONS
    assert held(store, chain, named(middles[0])).status is DaneStatus.MATCH, "the first anchor that vouches is enough"


def test_a_tower_of_names_and_constraints_is_bounded_as_a_whole(store: TrustStore, asked: list[int]) -> None:
    """OpenSSL bounds each pair of a name's and a constraint's certificate; a tower of them has hundreds of pairs."""
    storeys = [Subject(f"Storey {n}") for n in range(12)]
    tower = [
        above.issue(below, ca=True, names=crowd(100), constraints=subtrees(100))
        for above, below in zip([ROOT, *storeys], storeys, strict=False)
    ]
    chain = known(storeys[-1].leaf(HOST), *reversed(tower))
    assert store.judge(chain, START).too_costly and max(asked) <= MOST_COMPARISONS


def test_without_constraints_names_cost_nothing(store: TrustStore) -> None:
    chain = known(ROOT.leaf(*crowd(4_000)))
    assert comparisons(chain) == 0 and store.judge(chain, START).trusted


KINDS: dict[str, Callable[[int], x509.GeneralName]] = {
    "DNS": lambda n: x509.DNSName(f"{n}.example"),
    "mail": lambda n: x509.RFC822Name(f"{n}.example"),
    "URI": lambda n: x509.UniformResourceIdentifier(f".{n}.example"),
    "IP": lambda n: x509.IPAddress(IPv4Network((n << 8, 24))),
    "directory": lambda n: x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, str(n))])),
}


@settings(max_examples=60)
@given(st.sampled_from(sorted(KINDS)), st.integers(0, 40), st.integers(0, 40), st.integers(0, 30))
def test_names_and_constraints_of_every_kind_are_counted(kind: str, allowed: int, barred: int, names: int) -> None:
    made = [KINDS[kind](n) for n in range(max(allowed, barred))]
    bounds = x509.NameConstraints(made[:allowed] or None, made[:barred] or None) if allowed or barred else None
    (middle,) = known(ROOT.issue(MIDDLE, ca=True, constraints=bounds))
    assert Extensions(middle.der).constraint_count() == allowed + barred
    (leaf,) = known(MIDDLE.leaf(*crowd(names)) if names else MIDDLE.leaf())
    assert Extensions(leaf.der).name_count() == names
    subjects = leaf.der_fields.subject.count(6) + middle.der_fields.subject.count(6)  # type: ignore[union-attr]
    assert comparisons([leaf, middle]) == (names + 2 + subjects) * (allowed + barred)


def test_what_cannot_be_read_counts_as_many_as_there_is_room_for() -> None:
    data = der(ROOT.issue(MIDDLE, ca=True, constraints=subtrees(200)))
    oid = bytes.fromhex("0603551d1e")
    broken = data.replace(oid + b"\x01\x01\xff", oid + b"\x02\x01\xff")
    assert Extensions(broken).constraint_count() is None
    sound = load(data)
    odd = replace(sound, row=replace(sound.row, der=broken))
    assert comparisons([sound]) == 3 * 200, "its subject, whose length looks like an attribute"
    odd.counted = None
    assert comparisons([odd]) == (3 + len(data) // 2) * (len(data) // 2)


def test_the_identifier_of_the_constraints_is_found_in_whichever_form_its_length_is_written() -> None:
    """Its length may take two bytes; OpenSSL reads that, and a chain of such certificates cost 1.4 s."""
    bounds = element(0x30, element(0xA1, b"".join(element(0x30, b"\x82\1a") for _ in range(300))))
    for identifier in (b"\x06\x03\x55\x1d\x1e", b"\x06\x81\x03\x55\x1d\x1e"):
        made = rebuilt(extensions=[identifier + element(0x04, bounds)])
        assert comparisons([made]) == 300 * 2


def test_every_attribute_of_a_subject_is_a_name_as_openssl_holds_mail_addresses_against_constraints() -> None:
    address = bytes.fromhex("06092a864886f70d010901") + element(0x16, b"a@b")
    subject = b"".join(element(0x31, element(0x30, address)) for _ in range(500))
    bounds = b"\x06\x03\x55\x1d\x1e" + element(0x04, element(0x30, element(0xA1, element(0x30, b"\x81\1a") * 500)))
    assert comparisons([rebuilt(subject=subject, extensions=[bounds])]) == 501 * 500


def test_names_and_constraints_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """They were counted for every anchor, twice: 0.9 s for a leaf of 26,000 names."""
    chain = known(MIDDLE.leaf(*crowd(50)), ROOT.issue(MIDDLE, ca=True, constraints=subtrees(5)))
    first = comparisons(chain)
    monkeypatch.setattr(Extensions, "__init__", lambda self, der: pytest.fail("read again"))
    assert comparisons(chain) == first > 250
