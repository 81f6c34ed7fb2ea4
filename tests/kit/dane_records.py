"""TLSA records of a chain, and the verdict on them."""

from __future__ import annotations

import datetime
import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crawler.certificates.trust_store import TrustStore
from crawler.policies import dane
from tests.kit.chains import START, Subject, der, known

HOST = "mx.example"
ROOT, MIDDLE, SERVER = Subject("Root"), Subject("Middle"), Subject("leaf")
ANCHOR = ROOT.root()
INTERMEDIATE = ROOT.issue(MIDDLE, ca=True)
LEAF = MIDDLE.issue(SERVER, ca=False, names=[HOST], usage=[x509.ExtendedKeyUsageOID.SERVER_AUTH])
CHAIN = [LEAF, INTERMEDIATE, ANCHOR]
EE, TA, CERT, SPKI, FULL, SHA256, SHA512 = 3, 2, 0, 1, 0, 1, 2
Record = tuple[int, int, int, bytes]


def record(usage: int, selector: int, matching: int, certificate: x509.Certificate) -> Record:
    """The record that the certificate is in."""
    data = der(certificate)
    if selector == SPKI:
        data = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return usage, selector, matching, [data, hashlib.sha256(data).digest(), hashlib.sha512(data).digest()][matching]


def judge(
    trust: TrustStore,
    records: list[Record],
    *chain: x509.Certificate,
    names: tuple[str, ...] = (HOST,),
    at: datetime.datetime = START,
    dropped: int = 0,
) -> dane.Verdict:
    rows = [
        {"usage": u, "selector": s, "matching": m, "data": d, "usable": dane.is_usable(u, s, m, d)}
        for u, s, m, d in records
    ]
    return dane.verdict(dane.status_of(rows), rows, known(*chain), names, at, trust.path_to, dropped=dropped)
