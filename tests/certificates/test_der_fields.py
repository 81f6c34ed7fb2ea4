"""The reader of certificates that stands beside the library: on odd ones it goes on, on others both say the same."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import crypto
from OpenSSL._util import lib

from crawler.certificates.der_fields import Extensions, der_fields_of, signed_parts, validity_of, without_oddities
from crawler.certificates.guard import Unreadable
from crawler.certificates.name_match import common_name_match, name_match
from crawler.certificates.parsing import ParsedCertificate, facts, load
from crawler.certificates.signatures import is_issued_by, is_signed_by, signature_hash
from crawler.certificates.trust_store import TrustStore
from crawler.lab.servers.oddities import ODDITIES, changed, with_oddity
from crawler.model.rows import DaneError, DaneStatus, printable
from crawler.policies import dane
from tests.kit.chains import START, Subject, der, known, pem, with_sha1

HOST = "mx.example"
KEY = ec.generate_private_key(ec.SECP256R1())
ROOT, MIDDLE = Subject("Root", KEY), Subject("Middle")
ANCHOR = ROOT.root()
READABLE = [oddity for oddity in ODDITIES if oddity != "name without an end"]


def odd(oddity: str, *names: str) -> ParsedCertificate:
    """A leaf of the root, odd in one way, for the host if no names are given."""
    start = START - timedelta(1)
    plain = ROOT.leaf(HOST)
    builder = x509.CertificateBuilder(
        ANCHOR.subject, plain.subject, plain.public_key(), x509.random_serial_number(), start, start + timedelta(9)
    )
    return load(der(with_oddity(oddity, builder, names or (HOST,), KEY)))


def undated(start: bytes = b"250230000000Z") -> crypto.X509:
    """An intermediate whose first date is none."""
    plain = ROOT.issue(MIDDLE, ca=True)
    before = plain.not_valid_before_utc.strftime("%y%m%d%H%M%SZ").encode()
    return changed(plain, KEY, before, start)


def key_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> TrustStore:
    path = tmp_path_factory.mktemp("anatomy") / "roots.pem"
    path.write_text(pem(ANCHOR))
    return TrustStore(str(path))


def held(trust: TrustStore, chain: list[ParsedCertificate], *rrset: dane.Rdata) -> dane.Verdict:
    rows = dane.records_of(rrset)
    return dane.verdict(dane.status_of(rows), rows, chain, [HOST], START, trust.path_to)


# --- odd certificates -------------------------------------------------------------------------------


@pytest.mark.parametrize("oddity", READABLE)
def test_an_odd_certificate_has_all_its_facts(oddity: str) -> None:
    row = odd(oddity).row
    assert row.names == [HOST] and row.parse_error
    assert (row.is_ca, row.self_signed, row.sct_count, row.must_staple) == (False, False, 0, False)
    assert (row.key_type, row.key_bits, row.signature_algorithm) == ("ec:secp256r1", 256, "ecdsa-with-SHA256")
    assert (row.subject, row.issuer, row.common_name) == ("CN=leaf", "CN=Root", "leaf")
    assert row.not_before == START - timedelta(1) and row.not_after == START + timedelta(8) and row.spki_sha256


@pytest.mark.parametrize("oddity", READABLE)
def test_an_odd_certificate_names_whom_it_names(oddity: str) -> None:
    leaf = odd(oddity, "other.example", "*.wild.example", HOST)
    hosts = {
        HOST: True,
        "OTHER.example": True,
        "a.wild.example": True,
        "wild.example": False,
        "a.b.wild.example": False,
    }
    assert {host: name_match(leaf, host) for host in hosts} == hosts


@pytest.mark.parametrize("oddity", READABLE)
@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
def test_an_odd_leaf_matches_the_anchor_that_a_record_names(
    trust: TrustStore, oddity: str, selector: int, matching: int
) -> None:
    leaf, (anchor,) = odd(oddity), known(ANCHOR)
    data = key_of(ANCHOR) if selector else anchor.der
    data = [data, hashlib.sha256(data).digest(), hashlib.sha512(data).digest()][matching]
    found = held(trust, [leaf, anchor], (2, selector, matching, data))
    assert (found.status, found.depth) == (DaneStatus.MATCH, 1)
    if matching == 0:  # the anchor need not have been sent
        assert held(trust, [leaf], (2, selector, 0, data)).status is DaneStatus.MATCH


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("oddity", ODDITIES)
@pytest.mark.parametrize("host", [HOST, "other.example"])
def test_openssl_verify_says_the_same_of_odd_leaves(trust: TrustStore, oddity: str, host: str, tmp_path: Path) -> None:
    leaf = odd(oddity)
    (tmp_path / "root.pem").write_text(pem(ANCHOR))
    (tmp_path / "leaf.pem").write_bytes(crypto.dump_certificate(crypto.FILETYPE_PEM, leaf.openssl))
    command = ["openssl", "verify", "-CAfile", "root.pem", "-verify_hostname", host, "leaf.pem"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=30, check=False)
    ours = trust.judge([leaf], START).trusted and name_match(leaf, host)
    assert bool(ours) is (done.returncode == 0)


def test_names_that_cannot_be_read_are_unknown_and_never_a_mismatch(trust: TrustStore) -> None:
    leaf, (anchor,) = odd("name without an end"), known(ANCHOR)
    assert leaf.row.names is None and name_match(leaf, HOST) is common_name_match(leaf, HOST) is None
    trusted = odd("version 4")
    trusted.names = trusted.row.names = None
    assert held(trust, [trusted, anchor], (2, 1, 0, key_of(ANCHOR))) == dane.Verdict(DaneStatus.UNKNOWN)


def test_a_common_name_is_unknown_where_the_subject_could_not_be_read() -> None:
    (leaf,) = known(ROOT.issue(Subject("leaf"), ca=False))
    assert common_name_match(leaf, HOST) is False
    leaf.row.common_name = None
    assert common_name_match(leaf, HOST) is False
    leaf.row.subject = None
    assert common_name_match(leaf, HOST) is None


def test_two_lists_of_names_are_none_that_counts() -> None:
    plain = der(ROOT.leaf(HOST))
    values = Extensions(plain)
    assert values.dns_names() == [HOST.encode()]
    twice = plain.replace(bytes.fromhex("0603551d25"), bytes.fromhex("0603551d11"))  # extKeyUsage becomes another SAN
    assert Extensions(twice).dns_names() is None and Extensions(twice).is_ca() is False


# --- dates that are none ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start", [b"250230000000Z", b"251301000000Z", b"2501010000000", b"250101000060Z", b"-50101000000Z"]
)
def test_a_ca_without_a_date_leaves_validity_unknown(trust: TrustStore, start: bytes) -> None:
    leaf, middle = *known(MIDDLE.leaf(HOST)), trust.known(undated(start))
    assert middle.row.not_before is middle.row.not_after is None and middle.row.is_ca
    found = trust.judge([leaf, middle], START)
    assert found.trusted and found.within_validity(START) is None
    anchor = (2, 0, 0, der(ANCHOR))
    assert held(trust, [leaf, middle], anchor) == dane.Verdict(DaneStatus.UNKNOWN)


def test_a_date_that_is_known_decides_beside_one_that_is_not(trust: TrustStore) -> None:
    expired, middle = *known(MIDDLE.leaf(HOST, days=(-9, -1))), trust.known(undated())
    assert trust.judge([expired, middle], START).within_validity(START) is False
    found = held(trust, [expired, middle], (2, 0, 0, der(ANCHOR)))
    assert (found.status, found.error) == (DaneStatus.MISMATCH, DaneError.EXPIRED)


def test_a_path_through_a_ca_without_a_date_yields_to_one_with_dates(trust: TrustStore) -> None:
    leaf, sound = known(MIDDLE.leaf(HOST), ROOT.issue(MIDDLE, ca=True))
    for chain in ([leaf, trust.known(undated()), sound], [leaf, sound, trust.known(undated())]):
        assert trust.judge(chain, START).within_validity(START) is True


# --- signatures -------------------------------------------------------------------------------------


def test_a_signature_verifies_is_another_keys_or_cannot_be_checked() -> None:
    leaf = der(ROOT.leaf(HOST))
    assert is_signed_by(leaf, key_of(ANCHOR)) is True
    assert is_signed_by(leaf, key_of(MIDDLE.root())) is False
    assert is_signed_by(leaf, b"no key") is None and is_signed_by(b"no certificate", key_of(ANCHOR)) is None
    weak = der(with_sha1(ROOT.leaf(HOST), ROOT))
    assert is_signed_by(weak, key_of(ANCHOR)) is None, "the library verifies no ECDSA with SHA-1"


def test_the_algorithm_within_must_be_the_one_outside() -> None:
    leaf = der(ROOT.leaf(HOST))
    parts = signed_parts(leaf)
    assert parts is not None and parts.algorithm == parts.algorithm_within
    at = leaf.rindex(parts.algorithm)
    other = leaf[:at] + parts.algorithm.replace(b"\x03\x02", b"\x03\x03") + leaf[at + len(parts.algorithm) :]
    assert is_signed_by(other, key_of(ANCHOR)) is False


def test_an_issuer_is_one_by_name_and_by_signature() -> None:
    leaf, anchor = der(ROOT.leaf(HOST)), der(ANCHOR)
    assert is_issued_by(leaf, anchor) is True and is_issued_by(odd("version 4").der, anchor) is True
    assert is_issued_by(leaf, der(Subject("Root").root())) is False  # another key
    assert is_issued_by(leaf, der(Subject("Other", KEY).root())) is False  # another name
    assert is_issued_by(leaf, b"") is None


def test_a_signature_that_fails_leaves_no_error_behind_for_a_connection(trust: TrustStore) -> None:
    damaged = bytearray(der(ROOT.leaf(HOST)))
    damaged[-1] ^= 1
    assert trust.judge([load(bytes(damaged))], START).error == "certificate signature failure"
    assert lib.ERR_peek_error() == 0


# --- any bytes --------------------------------------------------------------------------------------


SEEDS = [odd(oddity).der for oddity in ODDITIES] + [
    der(ROOT.leaf(HOST, "*.example", "")),
    der(ANCHOR),
    der(ROOT.issue(MIDDLE, ca=True, path_length=3, constraints=None)),
    der(undated()),
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A certificate in which some bytes are others, are missing, or are there twice."""
    made = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(made) - 1))
        end = at + draw(st.integers(0, 4))
        made[at:end] = draw(st.one_of(st.binary(max_size=4), st.just(bytes(made[at:end] * 2))))
    return bytes(made)


def by_library(data: bytes, read: Callable[[x509.Certificate], Any]) -> Any:
    """What the library makes of it; an exception is unknown, and so said."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read(x509.load_der_x509_certificate(data))
        except Exception:  # noqa: BLE001 - that is the library's way to say that it cannot read it
            return Unreadable


def extension(kind: type[Any], read: Callable[[Any], Any], absent: Any) -> Callable[[x509.Certificate], Any]:
    def of(certificate: x509.Certificate) -> Any:
        try:
            return read(certificate.extensions.get_extension_for_class(kind).value)
        except x509.ExtensionNotFound:
            return absent

    return of


NAMES = extension(x509.SubjectAlternativeName, lambda v: [n.encode() for n in v.get_values_for_type(x509.DNSName)], [])
TIMESTAMPS = extension(x509.PrecertificateSignedCertificateTimestamps, len, 0)
STAPLING = extension(x509.TLSFeature, lambda value: x509.TLSFeatureType.status_request in value, False)


@settings(max_examples=600)
@given(mutated())
def test_what_the_library_reads_the_reader_reads_alike(data: bytes) -> None:
    extensions, der_fields = Extensions(data), der_fields_of(data)
    pairs = [
        (by_library(data, NAMES), extensions.dns_names()),
        (by_library(data, extension(x509.BasicConstraints, lambda value: value.ca, False)), extensions.is_ca()),
        (by_library(data, TIMESTAMPS), extensions.sct_count()),
        (by_library(data, STAPLING), extensions.must_staple()),
        (by_library(data, lambda c: c.issuer.public_bytes()), der_fields and der_fields.issuer),
        (
            by_library(data, lambda c: (c.not_valid_before_utc, c.not_valid_after_utc)),
            der_fields and validity_of(der_fields),
        ),
        (by_library(data, lambda c: c.tbs_certificate_bytes), (parts := signed_parts(data)) and parts.body),
        (by_library(data, lambda c: c.signature), parts and parts.signature),
    ]
    for library, ours in pairs:
        assert library is Unreadable or library == ours


@settings(max_examples=600)
@given(mutated())
def test_no_certificate_makes_a_verdict_raise(trust: TrustStore, data: bytes) -> None:
    row = facts(data)
    assert row.sha256 and (row.not_before is None) == (row.not_after is None)
    without_oddities(data)
    leaf = trust.read(data)
    if leaf is None:
        return
    (anchor,) = known(ANCHOR)
    for chain in ([leaf, anchor], [leaf], [anchor, leaf]):
        found = trust.judge(chain, START)
        assert found.trusted in (True, False, None) and found.within_validity(START) in (True, False, None)
        for usage, selector in ((2, 0), (2, 1), (3, 0), (3, 1)):
            for value in (key_of(ANCHOR) if selector else anchor.der, leaf.der):
                assert held(trust, chain, (usage, selector, 0, value)).status in DaneStatus
    assert name_match(leaf, HOST) in (True, False, None) and common_name_match(leaf, HOST) in (True, False, None)
    assert row.names is None or row.names == leaf.row.names


@given(st.binary(max_size=200))
def test_no_bytes_at_all_make_the_reader_raise(data: bytes) -> None:
    for wrapped in (
        data,
        b"\x30\x80" + data,
        b"\x30\x84\xff\xff\xff\xff" + data,
        b"\x30\x81" + bytes([len(data)]) + data,
    ):
        assert der_fields_of(wrapped) is None and signed_parts(wrapped) is None and without_oddities(wrapped) is None
        assert Extensions(wrapped).dns_names() is None
    with pytest.raises(Unreadable):
        signature_hash(data)


@given(
    st.lists(st.binary(max_size=40).filter(lambda name: b"\0" not in name), min_size=1, max_size=6),
    st.sampled_from(ODDITIES[:2]),
)
def test_names_of_any_bytes_are_read_as_they_stand(names: list[bytes], oddity: str) -> None:
    made = odd(oddity, *(name.decode("latin-1") for name in names))
    written = [name.decode("latin-1").encode() for name in names]  # as the generator has it
    assert made.row.names == [printable(name) for name in written]


def test_an_indefinite_length_is_not_taken_for_nothing() -> None:
    plain = der(ROOT.leaf(HOST))
    der_fields = der_fields_of(plain)
    assert der_fields is not None
    indefinite = b"\x30\x80" + der_fields.issuer[2:] + b"\0\0"
    assert der_fields_of(plain.replace(der_fields.issuer, indefinite, 1)) is None
