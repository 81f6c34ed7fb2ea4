"""Facts of certificates and the three verdicts, each for itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import crypto

from crawler.certificates import parsing as certificates
from crawler.certificates.cache import LruCache
from crawler.certificates.chain_verdict import ChainVerdict
from crawler.certificates.name_match import name_match
from crawler.certificates.parsing import ParsedCertificate, facts
from crawler.certificates.trust_store import TrustStore
from crawler.model.errors import ConfigError
from tests.kit.conversations import ROOT, Authority, Leaf

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> TrustStore:
    path = tmp_path_factory.mktemp("trust") / "anchors.pem"
    path.write_bytes(ROOT.certificate.public_bytes(serialization.Encoding.PEM))
    return TrustStore(str(path))


def verdict(trust: TrustStore, *certificates: x509.Certificate) -> ChainVerdict:
    return trust.judge([trust.known(crypto.X509.from_cryptography(certificate)) for certificate in certificates])


def matches(trust: TrustStore, leaf: Leaf, host: str) -> bool:
    return name_match(trust.known(crypto.X509.from_cryptography(leaf.certificate)), host)


def test_a_leaf_of_the_anchor_is_trusted_and_unexpired(trust: TrustStore) -> None:
    found = verdict(trust, ROOT.issue("mx.example").certificate)
    assert found.trusted and found.error_code == 0 and found.within_validity(NOW)


def test_expiry_is_apart_from_trust(trust: TrustStore) -> None:
    found = verdict(trust, ROOT.issue("mx.example", days=(-30, -1)).certificate)
    assert found.trusted and found.within_validity(NOW) is False
    assert found.within_validity(NOW - timedelta(days=10)) is False, (
        "the root began yesterday, and the whole path counts"
    )


def test_a_certificate_of_tomorrow_is_not_yet_unexpired(trust: TrustStore) -> None:
    found = verdict(trust, ROOT.issue("mx.example", days=(1, 2)).certificate)
    assert found.trusted and found.within_validity(NOW) is False


def test_an_unknown_root_is_untrusted_with_openssls_reason(trust: TrustStore) -> None:
    found = verdict(trust, Authority("Elsewhere").issue("mx.example").certificate)
    assert not found.trusted and found.error_code == 20 and found.error_depth == 0
    assert found.error == "unable to get local issuer certificate" and found.within_validity(NOW)


def test_self_signed_has_its_own_code(trust: TrustStore) -> None:
    assert verdict(trust, Authority("Alone").certificate).error_code == 18


def test_an_intermediate_must_have_been_sent(trust: TrustStore) -> None:
    middle = Authority("Middle", parent=ROOT)
    leaf = middle.issue("mx.example").certificate
    assert verdict(trust, leaf, middle.certificate).trusted
    assert not verdict(trust, leaf).trusted


def test_a_client_certificate_is_not_for_servers(trust: TrustStore) -> None:
    found = verdict(trust, ROOT.issue("mx.example", usage=ExtendedKeyUsageOID.CLIENT_AUTH).certificate)
    assert not found.trusted and found.error == "unsuitable certificate purpose"


@pytest.mark.parametrize(
    ("names", "host", "wanted"),
    [
        (["mx.example"], "mx.example", True),
        (["MX.Example"], "mx.example", True),
        (["mx.example"], "mx.example.", True),
        (["*.example.org"], "mx.example.org", True),
        (["*.example.org"], "a.mx.example.org", False),
        (["*.example.org"], "xn--bcher-kva.example.org", True),  # not by RFC 6125 alone: RFC 9525 §6.3
        (["x.example.org", "x*.example.org", "xn--*.example.org"], "xn--bcher-kva.example.org", False),
        (["*.xn--bcher-kva.example"], "mx.xn--bcher-kva.example", True),
        (["*.example"], "xn--bcher-kva.example", False),
        (["*.example.org"], "example.org", False),
        (["m*.example.org"], "mx.example.org", False),
        (["a.*.org"], "a.example.org", False),
        (["other.example"], "mx.example", False),
        (["192.0.2.1", "mx.example"], "mx.example", True),
        (["mx.example\x00.evil.test"], "mx.example", False),
        (["mx.example\n"], "mx.example", False),
        ([" mx.example"], "mx.example", False),
        ([], "leaf", False),
        (["mx_1.example.org"], "mx_1.example.org", True),
        (["mx.example"], "", False),
        (["xn--bcher-kva.example.org"], "xn--bcher-kva.example.org", True),
        (["XN--BCHER-KVA.example.org"], "xn--bcher-kva.example.org", True),
        (["xn--*.example.org"], "xn--bcher-kva.example.org", False),
        (["*.example.org"], "mx.xn--bcher-kva.example.org", False),
        (["*.*.example.org"], "a.mx.example.org", False),
        (["*.example"], "mx.example", False),
        (["*"], "example", False),
        (["*.example.org\n"], "mx.example.org", False),
    ],
)
def test_names_match_as_rfc_9525_says(trust: TrustStore, names: list[str], host: str, wanted: bool) -> None:
    assert matches(trust, ROOT.issue(*names), host) is wanted


def test_the_common_name_is_ignored(trust: TrustStore) -> None:
    assert matches(trust, ROOT.issue(common_name="mx.example"), "mx.example") is False


def test_facts_of_a_leaf() -> None:
    row = facts(ROOT.issue("mx.example", "*.mx.example").certificate.public_bytes(serialization.Encoding.DER))
    assert row.names == ["mx.example", "*.mx.example"]
    assert (row.key_type, row.key_bits, row.is_ca, row.self_signed) == ("ec:secp256r1", 256, False, False)
    assert row.issuer_organization == "Test Root" and row.signature_algorithm == "ecdsa-with-SHA256"
    assert row.parse_error is None and row.not_after is not None and row.not_after > NOW


def test_facts_of_a_root() -> None:
    row = facts(ROOT.certificate.public_bytes(serialization.Encoding.DER))
    assert row.self_signed and row.is_ca and row.names == []


@given(st.binary(max_size=300))
def test_no_bytes_make_the_parser_raise(der: bytes) -> None:
    row = facts(der)
    assert row.parse_error and row.der == der and row.names is None


@given(st.integers(0, 500), st.binary(min_size=1, max_size=4))
def test_no_damaged_certificate_makes_the_parser_raise(at: int, damage: bytes) -> None:
    der = bytearray(ROOT.certificate.public_bytes(serialization.Encoding.DER))
    der[at % len(der) : at % len(der) + len(damage)] = damage
    assert facts(bytes(der)).sha256


def test_a_chain_is_judged_once(trust: TrustStore, monkeypatch: pytest.MonkeyPatch) -> None:
    leaf = ROOT.issue("once.example").certificate
    first = verdict(trust, leaf)
    monkeypatch.setattr("crawler.certificates.trust_store._judge", None)
    assert verdict(trust, leaf) is first


def test_memory_of_what_was_computed_is_bounded() -> None:
    recent: LruCache[int, int] = LruCache(2)
    assert [recent.of(key, lambda key=key: key * 10) for key in (1, 2, 1, 3)] == [10, 20, 10, 30]
    assert recent.of(1, lambda: -1) == 10, "used lately, so kept"
    assert recent.of(2, lambda: -1) == -1, "least recently used, so forgotten"


def test_memory_of_what_was_computed_is_bounded_by_weight_whatever_one_value_weighs() -> None:
    recent: LruCache[int, bytes] = LruCache(10, len)
    for key in (4, 5, 3):
        recent.of(key, partial(bytes, key))
    assert recent.of(5, lambda: b"anew") == bytes(5)
    assert recent.of(4, lambda: b"anew") == b"anew", "4 and 5 and 3 are too much: the first was forgotten"
    recent.of(11, partial(bytes, 11))
    assert recent.of(5, lambda: b"anew") == b"anew", "what outweighs the whole memory leaves nothing in it"


def test_certificates_as_large_as_they_come_are_not_remembered_by_the_thousand(
    trust: TrustStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    der = ROOT.issue(*(f"{n:05}.{'x' * 60}.example" for n in range(1_200))).certificate.public_bytes(
        serialization.Encoding.DER
    )
    assert len(der) > 80_000
    parsed = []

    def parse(certificate: crypto.X509, der: bytes) -> ParsedCertificate:
        parsed.append(der)
        return certificates.parse(certificate, der)

    monkeypatch.setattr("crawler.certificates.trust_store.parse", parse)
    monkeypatch.setattr(trust._certificates, "_size", 2 << 20)
    others = [crypto.load_certificate(crypto.FILETYPE_ASN1, der[:-2] + n.to_bytes(2)) for n in range(200)]
    for certificate in (*others, *reversed(others)):
        trust.known(certificate)
    remembered = 2 * len(others) - len(parsed)
    heaviest = certificates.load(der).weight
    assert heaviest > 2 * len(der)
    assert 3 < remembered < 10 and remembered * heaviest <= 2 << 20


def test_bad_trust_anchors_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read .* --ca-file"):
        TrustStore(str(tmp_path / "none.pem"))
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    with pytest.raises(ConfigError, match="holds no PEM certificates"):
        TrustStore(str(empty))


def test_names_that_cannot_be_read_are_not_called_a_mismatch(
    trust: TrustStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = trust.known(crypto.X509.from_cryptography(ROOT.issue("unreadable.example").certificate))
    known.names = None
    assert name_match(known, "unreadable.example") is None


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_renewed_intermediate_counts_wherever_its_expired_twin_stands(
    trust: TrustStore, order: tuple[int, int]
) -> None:
    middle = Authority("Renewed", parent=ROOT)
    expired = (
        x509.CertificateBuilder(
            ROOT.name, middle.name, middle.key.public_key(), x509.random_serial_number(),
            NOW - timedelta(days=9), NOW - timedelta(days=2),
        )
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .sign(ROOT.key, hashes.SHA256())
    )  # fmt: skip
    twins = (expired, middle.certificate)
    found = verdict(trust, middle.issue("mx.example").certificate, *(twins[number] for number in order))
    assert found.trusted and found.within_validity(NOW)
