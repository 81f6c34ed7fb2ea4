"""What it may cost to check a signature under a key that a stranger has chosen."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crawler.certificates import effort
from crawler.certificates.parsing import load
from crawler.certificates.trust_store import TrustStore
from crawler.model.rows import DaneError, DaneStatus, TlsaStatus
from crawler.policies import dane
from tests.kit.chains import START, Subject, der, known, pem

_PLAIN = rsa.generate_private_key(65_537, 3_072)


def with_exponent(e: int) -> rsa.RSAPrivateKey:
    """The same key with another public exponent, as small or as large as anybody likes."""
    numbers = _PLAIN.private_numbers()
    p, q = numbers.p, numbers.q
    d = pow(e, -1, (p - 1) * (q - 1))
    private = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), numbers.iqmp, rsa.RSAPublicNumbers(e, p * q))
    return private.private_key()


LARGE = with_exponent((1 << 3_000) + 3)
COSTLY = Subject("Costly", LARGE)
TOO_COSTLY = dane.Verdict(DaneStatus.UNKNOWN, error=DaneError.TOO_COSTLY)


def test_a_signature_under_a_costly_key_is_not_checked_and_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty-two such certificates cost 0.4 s in one turn of the event loop, with every new chain."""
    usual, large = Subject("Usual", with_exponent((1 << 32) + 15)), COSTLY
    assert load(der(usual.root())).row.self_signed is True
    assert load(der(large.root())).row.self_signed is None
    monkeypatch.setattr(effort, "_FACTS", 1e9)
    assert load(der(large.root())).row.self_signed is True, "it is the cost alone"


def test_a_path_that_needs_costly_keys_is_unknown_and_no_mismatch(tmp_path: Path) -> None:
    """The anchor is of a stranger's choice: OpenSSL would check every signature below it, for each of eight anchors."""
    (tmp_path / "roots.pem").write_text(pem(Subject("Elsewhere").root()))
    trust = TrustStore(str(tmp_path / "roots.pem"))
    root, middle = Subject("Root"), Subject("Middle")
    anchor, usual = root.root(), root.issue(middle, ca=True)
    costly = root.issue(COSTLY, ca=True)

    def verdict(*chain: object) -> dane.Verdict:
        records = dane.records_of([(dane.DANE_TA, dane.CERTIFICATE, dane.FULL, der(anchor))])
        made = known(*chain)  # type: ignore[arg-type]
        return dane.verdict(TlsaStatus.USABLE, records, made, ["mx.example"], START, trust.path_to)

    assert verdict(middle.leaf("mx.example"), usual).status is DaneStatus.MATCH
    leaf = COSTLY.leaf("mx.example")
    assert verdict(leaf, costly).status is DaneStatus.MATCH, "one signature costs 6 ms"
    assert verdict(leaf, *[costly] * 8) == TOO_COSTLY


def test_bare_keys_of_records_are_weighed_with_all_that_they_are_held_against(tmp_path: Path) -> None:
    (tmp_path / "roots.pem").write_text(pem(Subject("Elsewhere").root()))
    trust = TrustStore(str(tmp_path / "roots.pem"))
    public = LARGE.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    records = dane.records_of([(dane.DANE_TA, dane.PUBLIC_KEY, dane.FULL, public)])
    chain = known(Subject("Root").leaf("mx.example"), *(Subject(str(n)).root() for n in range(7)))

    def verdict(most: int) -> dane.Verdict:
        return dane.verdict(TlsaStatus.USABLE, records, chain[:most], ["mx.example"], START, trust.path_to)

    assert verdict(2) == dane.Verdict(DaneStatus.MISMATCH, error=DaneError.NO_MATCH)
    assert verdict(8) == TOO_COSTLY
