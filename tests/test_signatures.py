"""What it may cost to check a signature under a key that a stranger has chosen."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crawler import dane, signatures
from crawler.certificates import load
from crawler.records import DaneStatus, TlsaStatus
from crawler.signatures import is_costly, is_signed_by
from crawler.trust import TrustStore
from tests.chains import START, Subject, der, known, pem

_PLAIN = rsa.generate_private_key(65_537, 3_072)


def with_exponent(e: int) -> rsa.RSAPrivateKey:
    """The same key with another public exponent, as small or as large as anybody likes."""
    numbers = _PLAIN.private_numbers()
    p, q = numbers.p, numbers.q
    d = pow(e, -1, (p - 1) * (q - 1))
    private = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), numbers.iqmp, rsa.RSAPublicNumbers(e, p * q))
    return private.private_key()


def spki(bits: int, e: int) -> bytes:
    """A public key with a modulus of so many bits."""
    key = rsa.RSAPublicNumbers(e, 1 << (bits - 1) | 12_345).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


LARGE = with_exponent((1 << 3_000) + 3)
COSTLY = Subject("Costly", LARGE)


@pytest.mark.parametrize(
    ("bits", "exponent", "costly"),
    [
        (2_048, 65_537, False),
        (16_384, 65_537, False),
        (4_096, (1 << 64) - 1, False),
        (8_192, (1 << 64) - 1, False),
        (16_384, (1 << 64) - 1, True),
        (3_072, (1 << 3_071) + 1, True),
        (2_048, (1 << 2_047) + 1, True),
    ],
)
def test_an_rsa_key_is_costly_by_its_size_and_its_exponent(bits: int, exponent: int, costly: bool) -> None:
    assert is_costly(spki(bits, exponent)) is costly


def test_other_keys_and_what_is_no_key_are_not_costly() -> None:
    assert not is_costly(b"no key") and not is_costly(known(Subject("Root").root())[0].anatomy.public_key)  # type: ignore[union-attr]


def test_a_signature_under_a_costly_key_is_not_checked_and_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty-two such certificates cost 0.4 s in one turn of the event loop, with every new chain."""
    usual, large = Subject("Usual", with_exponent((1 << 32) + 15)), COSTLY
    assert load(der(usual.root())).row.self_signed is True
    assert load(der(large.root())).row.self_signed is None
    monkeypatch.setattr(signatures, "_MOST_WORK", 1 << 60)
    assert load(der(large.root())).row.self_signed is True, "it is the cost alone"


def test_a_path_that_needs_a_costly_key_is_unknown_and_no_mismatch(tmp_path: Path) -> None:
    """The anchor is of a stranger's choice: OpenSSL would check every signature below it, for each of eight anchors."""
    (tmp_path / "roots.pem").write_text(pem(Subject("Elsewhere").root()))
    trust = TrustStore(str(tmp_path / "roots.pem"))
    root, middle = Subject("Root"), Subject("Middle")
    anchor, usual = root.root(), root.issue(middle, ca=True)
    costly = root.issue(COSTLY, ca=True)

    def verdict(*chain: object) -> DaneStatus:
        records = dane.records_of([(dane.DANE_TA, dane.CERTIFICATE, dane.FULL, der(anchor))])
        made = known(*chain)  # type: ignore[arg-type]
        return dane.verdict(TlsaStatus.USABLE, records, made, ["mx.example"], START, trust.path_to).status

    assert verdict(middle.leaf("mx.example"), usual) is DaneStatus.MATCH
    assert verdict(COSTLY.leaf("mx.example"), costly) is DaneStatus.UNKNOWN


def test_a_costly_bare_key_of_a_record_signs_nothing_that_is_known() -> None:
    public = LARGE.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert is_signed_by(der(COSTLY.leaf("mx.example")), public) is None
