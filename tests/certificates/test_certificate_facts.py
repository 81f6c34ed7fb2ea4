"""Facts of one certificate: its names, timestamps and dates, and whatever of it cannot be read."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from crawler.certificates.der_fields import instant
from crawler.certificates.name_match import common_name_match, name_match
from crawler.certificates.parsing import facts
from tests.kit.chains import (
    START,
    Subject,
    der,
    known,
)
from tests.kit.stored_anchors import HOST, LEAF, ROOT


def test_a_common_name_matches_only_in_a_certificate_without_dns_ids() -> None:
    alone, beside, none = known(
        ROOT.issue(Subject(HOST), ca=False), ROOT.issue(Subject(HOST), ca=False, names=["x.example"]), LEAF
    )
    assert [common_name_match(leaf, HOST) for leaf in (alone, beside, none)] == [True, False, False]
    assert not name_match(alone, HOST) and alone.row.common_name == HOST


@pytest.mark.parametrize("subject", [f"{HOST}\x00.evil.example", f"{HOST}\n", "not a name", "192.0.2.1"])
def test_a_common_name_that_is_no_host_name_matches_nothing(subject: str) -> None:
    (leaf,) = known(ROOT.issue(Subject(subject), ca=False))
    assert not common_name_match(leaf, HOST)


def timestamps(count: int) -> x509.UnrecognizedExtension:
    """A list of signed certificate timestamps (RFC 6962 §3.3), their signatures nobody's."""
    one = b"\0" + bytes(32) + bytes(8) + b"\0\0" + b"\4\3" + b"\0\2ab"
    entries = (len(one).to_bytes(2) + one) * count
    scts = len(entries).to_bytes(2) + entries
    return x509.UnrecognizedExtension(
        x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2"), b"\x04" + bytes([len(scts)]) + scts
    )


def test_embedded_timestamps_are_counted() -> None:
    for count in (1, 2):
        made = x509.CertificateBuilder(ROOT.root().subject, LEAF.subject, LEAF.public_key(), 1, START, START)
        signed = made.add_extension(timestamps(count), critical=False).sign(ROOT.key, hashes.SHA256())
        row = facts(der(signed))
        assert (row.sct_count, row.parse_error) == (count, None)
    assert facts(der(LEAF)).sct_count == 0


def test_every_fact_of_a_certificate_is_there_or_has_its_reason() -> None:
    """Issuer organisation apart, which a certificate need not have."""
    row = facts(der(LEAF))
    missing = {name for name in (field.name for field in fields(row)) if getattr(row, name) is None}
    assert missing == {"parse_error", "issuer_organization", "over_budget"}
    assert row.not_after is not None and row.not_before is not None and (row.not_after - row.not_before).days > 0
    assert facts(b"no certificate").parse_error


def test_an_extension_that_cannot_be_read_hides_what_stands_in_it_and_no_more() -> None:
    made = x509.CertificateBuilder(ROOT.root().subject, LEAF.subject, LEAF.public_key(), 1, START, START)
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2"), b"\x04\x81\x02ab")
    names = x509.SubjectAlternativeName([x509.DNSName(HOST)])
    made = made.add_extension(names, critical=False).add_extension(odd, critical=False)
    row = facts(der(made.sign(ROOT.key, hashes.SHA256())))
    assert row.parse_error and (row.names, row.sct_count, row.must_staple) == ([HOST], None, False)
    assert (row.key_type, row.key_bits, row.self_signed) == ("ec:secp256r1", 256, False)
    assert row.not_after and row.subject and row.issuer and row.signature_algorithm == "ecdsa-with-SHA256"


def test_must_staple_is_a_fact() -> None:
    plain = LEAF
    feature = x509.TLSFeature([x509.TLSFeatureType.status_request])
    stapling = (
        x509.CertificateBuilder(ROOT.root().subject, plain.subject, plain.public_key(), 1, START, START)
        .add_extension(feature, critical=False)
        .sign(ROOT.key, hashes.SHA256())
    )
    assert [facts(der(certificate)).must_staple for certificate in (plain, stapling)] == [False, True]


@pytest.mark.parametrize(
    ("encoded", "read"),
    [
        (b"20260131235959Z", datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)),
        (b"20260231000000Z", None),
        (b"20260131235960Z", None),
        (b"2026013123595Z", None),
        (b"20260131235959+0100", None),
        (b"20260131235959.5Z", None),
        (b"00000101000000Z", None),
        (b"", None),
        (b"491231235959Z", datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (b"500101000000Z", datetime(1950, 1, 1, tzinfo=UTC)),
        (b"250230000000Z", None),
        (b"2501010000Z", None),
        (b"250101000000+0000", None),
        (b"20250101000000Z\0", None),
        (b"\xd9\xa1" * 6 + b"Z", None),
    ],
)
def test_a_date_that_is_not_in_the_form_of_the_standard_is_not_read(encoded: bytes, read: datetime | None) -> None:
    assert instant(encoded) == read
