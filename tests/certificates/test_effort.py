"""What certificates of strangers may cost us: the model of the work, and that everything takes from it."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import anyio
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import crypto

from crawler.certificates import effort, signatures, trust_store
from crawler.certificates import parsing as certificates
from crawler.certificates.constraint_work import path_work
from crawler.certificates.der_fields import Extensions
from crawler.certificates.effort import MOST, Meter, TooCostly, meter_of_facts, reading_names, signature_under
from crawler.certificates.name_match import common_name_match
from crawler.certificates.parsing import ParsedCertificate, load
from crawler.certificates.trust_store import TrustStore
from crawler.model.rows import DaneError, DaneStatus, TlsaStatus
from crawler.policies import dane
from crawler.probe import attempt
from tests.kit.chains import START, Subject, der, element, known, pem, rebuilt

HOST = "mx.example"
DSA, EC = bytes.fromhex("06072a8648ce380401"), bytes.fromhex("06072a8648ce3d0201")
PSS = bytes.fromhex("06092a864886f70d01010a")


def public(key: rsa.RSAPublicKey | dsa.DSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def rsa_key(bits: int, exponent: int) -> bytes:
    return public(rsa.RSAPublicNumbers(exponent, 1 << (bits - 1) | 12_345).public_key())


def integer(bits: int) -> bytes:
    return element(0x02, b"\0" + (1 << (bits - 1) | 1).to_bytes((bits + 7) // 8))


def key_of(algorithm: bytes, content: bytes) -> bytes:
    return element(0x30, element(0x30, algorithm) + element(0x03, b"\0" + content))


def dsa_key(bits: int) -> bytes:
    parameters = element(0x30, integer(bits) + integer(256) + integer(bits))
    return key_of(DSA + parameters, integer(bits))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TrustStore:
    path = tmp_path_factory.mktemp("effort") / "roots.pem"
    path.write_text(pem(Subject("Elsewhere").root()))
    return TrustStore(str(path))


# --- the model ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "least", "most"),
    [
        (public(ec.generate_private_key(ec.SECP256R1()).public_key()), 70, 100),
        (public(ec.generate_private_key(ec.SECP384R1()).public_key()), 500, 1_200),
        (public(ec.generate_private_key(ec.BrainpoolP512R1()).public_key()), 1_000, 1_300),
        (public(ed25519.Ed25519PrivateKey.generate().public_key()), 100, 2_100),
        (rsa_key(2_048, 65_537), 20, 60),
        (rsa_key(16_384, 65_537), 1_000, 1_500),
        (rsa_key(16_384, (1 << 64) - 1), 5_000, 6_000),
        (rsa_key(3_072, (1 << 3_071) + 1), 5_500, 10_000),
        (dsa_key(1_024), 50, 200),
        (dsa_key(9_984), 10_000, 11_000),
        (key_of(PSS, element(0x30, integer(3_072) + integer(3_072))), 5_500, 10_000),
        (key_of(DSA, element(0x02, b"\2")), 10_000, 11_000),
        (key_of(EC, b"\2" + bytes(32)), 400, 600),
        (b"no key", 1_000, 3_000),
        (b"", 1_000, 3_000),
    ],
    ids=["P-256", "P-384", "brainpoolP512", "Ed25519", "RSA 2048", "RSA 16384", "its exponent of 64 bits",
         "an exponent as long as itself", "DSA 1024", "DSA 9984", "PSS key", "DSA without parameters", "compressed point",
         "no key", "nothing"],
)  # fmt: skip
def test_a_signature_costs_what_the_kind_and_the_size_of_its_key_make_it_cost(
    key: bytes, least: float, most: float
) -> None:
    """In microseconds, as measured; a key that OpenSSL takes and another library does not is weighed as well."""
    assert least <= signature_under(key) <= most


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda data: dsa_key(1_024)[: len(data)] + data))
def test_every_key_has_a_cost_whatever_its_bytes(data: bytes) -> None:
    assert 0 < signature_under(data) < 100_000


def test_the_usual_key_that_is_known_by_its_beginning_costs_what_its_parts_say() -> None:
    usual = rsa_key(2_048, 65_537)
    assert signature_under(usual) == pytest.approx(effort._CALL + effort._signature_under(usual), abs=1)


def test_a_meter_that_is_asked_for_more_than_is_left_gives_nothing() -> None:
    meter = Meter(100)
    meter.take(60)
    with pytest.raises(TooCostly):
        meter.take(41)
    meter.take(40)


# --- the facts of one certificate ---------------------------------------------------------------------


def name(attributes: int) -> bytes:
    """RDNs, the last of them a common name."""
    filler = element(0x31, element(0x30, bytes.fromhex("0603550405") + element(0x0C, b"1")))
    return filler * attributes + element(
        0x31, element(0x30, bytes.fromhex("0603550403") + element(0x0C, HOST.encode()))
    )


def test_names_of_many_attributes_are_read_as_far_as_their_certificate_may_cost_and_are_unknown_beyond() -> None:
    """Two names of 5,000 attributes cost 0.3 s."""
    few = rebuilt(subject=name(60), issuer=name(60), extensions=())
    assert few.row.common_name == HOST and few.row.issuer and few.row.parse_error is None
    many = rebuilt(subject=name(5_000), issuer=name(100), extensions=())
    assert (many.row.subject, many.row.common_name, many.row.issuer) == (None, None, None)
    assert many.row.parse_error == "subject and issuer: to read them would cost too much (our limit)"
    assert many.row.names == [] and common_name_match(many, HOST) is None, "it is not known to have no such name"
    assert many.row.key_type == "ec:secp256r1" and many.row.not_after is not None


@pytest.mark.parametrize("bits", [2_048, 8_192])
def test_a_certificate_may_sign_itself_by_any_key_that_is_in_use(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    monkeypatch.setattr(signatures, "_verifies", lambda certificate, key: asked.append(key))
    for key in (
        rsa_key(bits, 65_537),
        rsa_key(16_384, 65_537),
        public(ec.generate_private_key(ec.SECP521R1()).public_key()),
    ):
        rebuilt(subject=name(5), issuer=name(5), public_key=key)
        assert asked.pop() == key


@pytest.mark.parametrize("key", [dsa_key(9_984), rsa_key(3_072, (1 << 3_071) + 1)], ids=["DSA", "RSA"])
def test_whether_a_certificate_signed_itself_is_unknown_where_the_key_is_made_to_cost(
    key: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chain of 23 with DSA keys of 10,000 bits cost 0.6 s before anybody judged it."""
    monkeypatch.setattr(signatures, "_verifies", lambda *_: pytest.fail("checked"))
    assert rebuilt(subject=name(1), issuer=name(1), public_key=key).row.self_signed is None
    assert rebuilt(subject=name(1), issuer=name(2), public_key=key).row.self_signed is False


def test_the_facts_of_all_certificates_of_a_chain_together_are_bounded() -> None:
    assert sum(meter_of_facts(bytes(size)).left for size in [3_200] * 32) < 60_000
    assert meter_of_facts(bytes(100_000)).left < 25_000


# --- verdicts -----------------------------------------------------------------------------------------


def tower(key: bytes, height: int) -> list[ParsedCertificate]:
    """CA certificates, each naming the one above it, all with this key; the leaf is first."""
    names = [
        element(0x31, element(0x30, bytes.fromhex("0603550403") + element(0x0C, b"%d" % n))) for n in range(height + 1)
    ]
    ca = bytes.fromhex("0603551d130101ff") + element(0x04, bytes.fromhex("30030101ff"))
    return [
        rebuilt(subject=names[n], issuer=names[n + 1], public_key=key if n else None, extensions=[ca] if n else [])
        for n in range(height)
    ]


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The work of every path that OpenSSL was asked for."""
    work: list[float] = []
    genuine = trust_store._path

    def path(made: object, leaf: ParsedCertificate, others: list[ParsedCertificate]) -> object:
        work.append(path_work([leaf, *others]))
        return genuine(made, leaf, others)  # type: ignore[arg-type]

    monkeypatch.setattr(trust_store, "_path", path)
    return work


@pytest.mark.parametrize("key", [dsa_key(9_984), rsa_key(3_072, 1 << 1_500 | 1)], ids=["DSA", "RSA"])
def test_anchors_of_records_have_no_more_of_it_together_than_one_verdict_may_cost(
    key: bytes, store: TrustStore, tried: list[float]
) -> None:
    """Eight anchors above 24 keys of 10,000 bits, each tried twice, kept the event loop for 7 s."""
    chain = tower(key, 20)
    rows = dane.records_of([(2, 0, 1, hashlib.sha256(one.der).digest()) for one in chain[1:9]])
    found = dane.verdict(TlsaStatus.USABLE, rows, chain, [HOST], START, store.path_to)
    assert found == dane.Verdict(DaneStatus.UNKNOWN, error=DaneError.TOO_COSTLY)
    assert sum(tried) <= MOST


def test_many_anchors_of_an_honest_kind_are_all_tried(store: TrustStore) -> None:
    """It is their work that counts, not their number."""
    root, middle = Subject("Root"), Subject("Middle")
    strangers = [Subject(f"Stranger {n}").root() for n in range(12)]
    chain = known(middle.leaf(HOST), root.issue(middle, ca=True), *strangers)
    rows = dane.records_of([(2, 0, 1, hashlib.sha256(der(one)).digest()) for one in strangers])
    found = dane.verdict(TlsaStatus.USABLE, rows, chain, [HOST], START, store.path_to)
    assert found == dane.Verdict(DaneStatus.MISMATCH, error=DaneError.PATH)


def test_a_chain_of_costly_keys_under_no_anchor_is_untrusted_and_no_signature_in_it_is_checked(
    store: TrustStore,
) -> None:
    verdict = store.judge(tower(dsa_key(9_984), 20), START)
    assert (verdict.trusted, verdict.error_code) == (False, 20)


def test_a_large_certificate_is_taken_apart_once_for_all_tries(
    store: TrustStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (leaf,) = known(Subject("Root").leaf(*(f"{n}.example" for n in range(2_000))))
    assert leaf.kept is None
    stale = known(*(Subject(f"{n}").root(days=(-9, -1)) for n in range(3)))
    opened: list[int] = []
    genuine = certificates.crypto.load_certificate
    monkeypatch.setattr(certificates.crypto, "load_certificate", lambda *a: opened.append(1) or genuine(*a))
    assert store.judge([leaf, *stale], START).trusted is False
    assert len(opened) == 1


def test_a_verdict_follows_from_the_chain_alone_whatever_was_judged_before(store: TrustStore) -> None:
    chain = tower(dsa_key(9_984), 4)
    rows = dane.records_of([(2, 0, 1, hashlib.sha256(chain[-1].der).digest())])
    first, *others = (dane.verdict(TlsaStatus.USABLE, rows, chain, [HOST], START, store.path_to) for _ in range(4))
    assert others == [first] * 3


def identifier(number: int) -> bytes:
    """An extension that nobody knows."""
    return b"\x06\x03\x2a" + bytes([1 + number % 127, 1 + number // 127]) + element(0x04, b"")


def test_extensions_by_the_hundred_are_unknown_where_no_library_reads_them() -> None:
    assert Extensions(rebuilt(extensions=[identifier(n) for n in range(100)]).der).is_ca() is False
    assert Extensions(rebuilt(extensions=[identifier(n) for n in range(101)]).der).is_ca() is None
    many = [b"\x06\x02\x2a" + bytes([1 + n % 127]) + element(0x04, b"%d" % n) for n in range(3_000)]
    row = rebuilt(extensions=many).row
    assert row.names is None and row.is_ca is None and row.parse_error
    assert reading_names(b"\x06\x06") == 2 * reading_names(b"\x06")
    assert load(der(Subject("Root").root())).effort < MOST / 100
    assert signatures.is_signed_by(b"", b"") is None


def test_large_certificates_leave_turns_to_the_rest_of_the_event_loop(
    store: TrustStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[int] = []

    async def checkpoint() -> None:
        turns.append(1)

    monkeypatch.setattr(attempt.anyio.lowlevel, "checkpoint", checkpoint)
    attempts = SimpleNamespace(trust=store)

    async def read(*names: int) -> int:
        turns.clear()
        chain = [
            crypto.X509.from_cryptography(Subject("Root").leaf(*(f"{n}.example" for n in range(m)))) for m in names
        ]
        found = await attempt.Attempts._read(attempts, SimpleNamespace(chain=chain))  # type: ignore[arg-type]
        assert len(found) == len(chain)
        return len(turns)

    assert anyio.run(read, 3, 1, 1) == 0
    assert anyio.run(read, 2_000, 2_000, 1) == 2
