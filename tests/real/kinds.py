"""Every kind of chain that a mail server may present, and the three verdicts that it deserves.

Rule of this file: the verdicts are written down by hand, from the RFCs, before anybody is asked.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.kit.chains import SERVER, Key, Subject, excluded, pem, permitted, tall, usage_without_signing, with_sha1

HOST = "mx.kinds.example"
ROOT, OTHER = Subject("Root of kinds"), Subject("Other root of kinds")
MIDDLE, LOWER = Subject("Middle of kinds"), Subject("Lower of kinds")
ANCHOR, OTHER_ANCHOR = ROOT.root(), OTHER.root()
INTERMEDIATE = ROOT.issue(MIDDLE, ca=True)
LEAF = Subject("leaf")
RSA = Subject("leaf", rsa.generate_private_key(65537, 2048))
WEAK = Subject("leaf", rsa.generate_private_key(65537, 1024))
WEAK_MIDDLE = Subject("Weak middle of kinds", rsa.generate_private_key(65537, 1024))
RSA_MIDDLE = Subject("RSA middle of kinds", RSA.key)
PAST, FUTURE = (-30, -1), (1, 30)

Certificates = list[x509.Certificate]


@dataclass
class Kind:
    """A chain as sent, leaf first, and what is true of it."""

    chain: Certificates
    trusted: bool = True  #: a path leads to an anchor, dates apart
    named: bool = True  #: by DNS-ID (RFC 9525)
    current: bool = True  #: the whole path is within its dates
    host: str = HOST
    key: Key = LEAF.key
    anchors: Certificates = field(default_factory=lambda: [ANCHOR])

    def write(self, path: Path) -> Path:
        """Key and chain in one file, as Postfix's `smtpd_tls_chain_files` and Exim's `tls_certificate` take them."""
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_text(key.decode() + pem(*self.chain))
        path.chmod(0o644)
        return path


def leaf(*names: str | x509.GeneralName, of: Subject = MIDDLE, to: Subject = LEAF, **how: Any) -> x509.Certificate:
    """A server certificate."""
    return of.issue(to, **({"ca": False, "usage": [SERVER], "names": names} | how))


def under(intermediate: x509.Certificate, **what: Any) -> Kind:
    """A good leaf behind an intermediate of another kind."""
    return Kind([leaf(HOST), intermediate], **what)


def named(*names: str | x509.GeneralName, to: Subject = LEAF, **what: Any) -> Kind:
    """A good chain but for the names of its leaf."""
    return Kind([leaf(*names, to=to), INTERMEDIATE], **what)


def called(common_name: str, *names: str | x509.GeneralName, **what: Any) -> Kind:
    """The same with a CN."""
    return named(*names, to=Subject(common_name, LEAF.key), **what)


BOTH = [ANCHOR, OTHER_ANCHOR]
IDN = "xn--bcher-kva.kinds.example"
GOOD = leaf(HOST)
TWELVE = tall(12, LEAF, HOST)
ADDRESSES = x509.IPAddress(ipaddress.ip_network("127.0.0.0/8"))
ADDRESS = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))

KINDS = {
    # --- keys and signatures ---
    "ECDSA": Kind([GOOD, INTERMEDIATE]),
    "RSA": Kind([leaf(HOST, to=RSA), INTERMEDIATE], key=RSA.key),
    "ECDSA P-384": Kind([leaf(HOST, to=(p384 := Subject("leaf", ec.generate_private_key(ec.SECP384R1())))), INTERMEDIATE], key=p384.key),
    "Ed25519": Kind([leaf(HOST, to=(ed := Subject("leaf", ed25519.Ed25519PrivateKey.generate()))), INTERMEDIATE], key=ed.key),
    "1024-bit leaf": Kind([leaf(HOST, to=WEAK), INTERMEDIATE], key=WEAK.key),
    "1024-bit intermediate": Kind([leaf(HOST, of=WEAK_MIDDLE), ROOT.issue(WEAK_MIDDLE, ca=True)]),
    "SHA-1 leaf": Kind([with_sha1(GOOD, MIDDLE), INTERMEDIATE], trusted=False),
    "SHA-1 intermediate": under(with_sha1(INTERMEDIATE, ROOT), trusted=False),
    "SHA-1 root, sent": Kind([GOOD, INTERMEDIATE, with_sha1(ANCHOR, ROOT)], anchors=[with_sha1(ANCHOR, ROOT)]),
    "MD5 leaf": Kind([with_sha1(leaf(HOST, of=RSA_MIDDLE), RSA_MIDDLE, "md5"), ROOT.issue(RSA_MIDDLE, ca=True)], trusted=False),
    # --- what is sent ---
    "root sent too": Kind([GOOD, INTERMEDIATE, ANCHOR]),
    "leaf of the root": Kind([leaf(HOST, of=ROOT)]),
    "intermediate missing": Kind([GOOD], trusted=False),
    "out of order": Kind([GOOD, ANCHOR, INTERMEDIATE]),
    "certificates of no use among them": Kind([GOOD, OTHER_ANCHOR, leaf("x.example", of=ROOT), INTERMEDIATE]),
    "leaf sent twice": Kind([GOOD, GOOD, INTERMEDIATE]),
    "self-signed": Kind([LEAF.issue(LEAF, names=[HOST])], trusted=False),
    "self-signed, root unknown but sent": Kind([GOOD, INTERMEDIATE, ANCHOR], trusted=False, anchors=[OTHER_ANCHOR]),
    "root unknown": Kind([GOOD, INTERMEDIATE], trusted=False, anchors=[OTHER_ANCHOR]),
    "intermediate of the same name, another key": under(ROOT.issue(Subject(MIDDLE.name), ca=True), trusted=False),
    "cross-signed, both roots known": Kind([GOOD, INTERMEDIATE, OTHER.issue(ROOT, ca=True)], anchors=BOTH),
    "cross-signed, the other root alone known": Kind([GOOD, INTERMEDIATE, OTHER.issue(ROOT, ca=True)], anchors=[OTHER_ANCHOR]),
    "twelve certificates": Kind(TWELVE[:-1], anchors=TWELVE[-1:]),
    "two that sign each other": Kind([GOOD, LOWER.issue(MIDDLE, ca=True), MIDDLE.issue(LOWER, ca=True)], trusted=False),
    # OpenSSL does not turn back from an issuer that it took; how a path is found, RFC 5280 §6.1 leaves open.
    "intermediate that signs itself": Kind([GOOD, MIDDLE.root(), INTERMEDIATE], trusted=False),
    "intermediate that signs itself, behind": Kind([GOOD, INTERMEDIATE, MIDDLE.root()]),
    # --- dates ---
    "expired": Kind([leaf(HOST, days=PAST), INTERMEDIATE], current=False),
    "not yet valid": Kind([leaf(HOST, days=FUTURE), INTERMEDIATE], current=False),
    "expired intermediate": under(ROOT.issue(MIDDLE, ca=True, days=PAST), current=False),
    "intermediate not yet valid": under(ROOT.issue(MIDDLE, ca=True, days=FUTURE), current=False),
    "expired root, known": Kind([leaf(HOST, of=OTHER)], current=False, anchors=[OTHER.root(days=PAST)]),
    "expired intermediate, renewed one behind it": Kind([GOOD, ROOT.issue(MIDDLE, ca=True, days=PAST), INTERMEDIATE]),
    "expired intermediate, valid cross-sign": Kind([GOOD, ROOT.issue(MIDDLE, ca=True, days=PAST), OTHER.issue(MIDDLE, ca=True)], anchors=BOTH),
    "valid intermediate, expired cross-sign": Kind([GOOD, INTERMEDIATE, OTHER.issue(ROOT, ca=True, days=PAST)], anchors=BOTH),
    "expired and self-signed": Kind([LEAF.issue(LEAF, names=[HOST], days=PAST)], trusted=False, current=False),
    # --- what a certificate may be used for ---
    "leaf for clients": Kind([leaf(HOST, usage=[ExtendedKeyUsageOID.CLIENT_AUTH]), INTERMEDIATE], trusted=False),
    "leaf for mail": Kind([leaf(HOST, usage=[ExtendedKeyUsageOID.EMAIL_PROTECTION]), INTERMEDIATE], trusted=False),
    "leaf for anything": Kind([leaf(HOST, usage=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), INTERMEDIATE], trusted=False),
    "leaf without a purpose": Kind([leaf(HOST, usage=None), INTERMEDIATE]),
    "intermediate for clients": under(ROOT.issue(MIDDLE, ca=True, usage=[ExtendedKeyUsageOID.CLIENT_AUTH]), trusted=False),
    "intermediate is no CA": under(ROOT.issue(MIDDLE, ca=False), trusted=False),
    "intermediate without basicConstraints": under(ROOT.issue(MIDDLE), trusted=False),
    "intermediate may not sign": under(ROOT.issue(MIDDLE, ca=True, key_usage=usage_without_signing()), trusted=False),
    "leaf is a CA": Kind([MIDDLE.issue(LEAF, ca=True, names=[HOST]), INTERMEDIATE]),
    "path longer than allowed": Kind([leaf(HOST, of=LOWER), MIDDLE.issue(LOWER, ca=True), ROOT.issue(MIDDLE, ca=True, path_length=0)], trusted=False),
    "path as long as allowed": Kind([leaf(HOST, of=LOWER), MIDDLE.issue(LOWER, ca=True), ROOT.issue(MIDDLE, ca=True, path_length=1)]),
    "name outside the constraints": under(ROOT.issue(MIDDLE, ca=True, constraints=permitted("else.example")), trusted=False),
    "name within the constraints": under(ROOT.issue(MIDDLE, ca=True, constraints=permitted("kinds.example"))),
    "name excluded": under(ROOT.issue(MIDDLE, ca=True, constraints=excluded(HOST)), trusted=False),
    "name permitted and excluded": under(ROOT.issue(MIDDLE, ca=True, constraints=x509.NameConstraints([x509.DNSName("example")], [x509.DNSName(HOST)])), trusted=False),
    "constraints on addresses alone": under(ROOT.issue(MIDDLE, ca=True, constraints=x509.NameConstraints([ADDRESSES], None))),
    "wildcard wider than the constraints": Kind([leaf("*.kinds.example"), ROOT.issue(MIDDLE, ca=True, constraints=permitted(HOST))], trusted=False),
    "root is no CA": Kind([leaf(HOST, of=ROOT)], trusted=False, anchors=[ROOT.issue(ROOT, ca=False)]),
    "root with a path length of 0": Kind([GOOD, INTERMEDIATE], trusted=False, anchors=[ROOT.root(path_length=0)]),
    "unknown critical extension in the leaf": Kind([leaf(HOST, critical_unknown=True), INTERMEDIATE], trusted=False),
    "unknown critical extension in the intermediate": under(ROOT.issue(MIDDLE, ca=True, critical_unknown=True), trusted=False),
    # --- names ---
    "another name": named("elsewhere.example", named=False),
    "one of a thousand names": named(*(f"mx{n}.kinds.example" for n in range(1_000)), HOST),
    "capital letters": named(HOST.upper()),
    "a dot behind the name": named(f"{HOST}.", named=False),
    "a name above the host's": named("kinds.example", named=False),
    "wildcard, whole label": named("*.kinds.example"),
    "wildcard, part of a label": named("m*.kinds.example", named=False),
    "wildcard, behind a part of a label": named("*x.kinds.example", named=False),
    "wildcard one label above": named("*.kinds.example", named=False, host="mx.deep.kinds.example"),
    "wildcard, two of them": named("*.*.example", named=False),
    "wildcard in the second label": named("mx.*.example", named=False),
    "wildcard below the host": named("*.mx.kinds.example", named=False),
    "wildcard alone": named("*", named=False),
    "A-label": named(IDN, host=IDN),
    "A-label, by a wildcard": named("*.kinds.example", host=IDN),
    "A-label, by a wildcard in it": named("xn--*.kinds.example", named=False, host=IDN),
    "U-label as CN": called("bücher.kinds.example", named=False, host=IDN),
    "CN alone": called(HOST, named=False),
    "CN alone, a wildcard": called("*.kinds.example", named=False),
    "CN beside another name": called(HOST, "elsewhere.example", named=False),
    "CN beside an IP address": called(HOST, ADDRESS, named=False),
    "IP address": named(ADDRESS, named=False),
    "IP address as a name": named("127.0.0.1", named=False),
    "mail address of the host": named(x509.RFC822Name(f"postmaster@{HOST}"), named=False),
    "no subject": called("", HOST),
    "no name at all": named(named=False),
    "NUL in a name": named(f"{HOST}\x00.evil.example", named=False),
    "newline behind a name": named(f"{HOST}\n", named=False),
    "newline in a name": named(f"{HOST}\n.evil.example", named=False),
    "NUL in the CN": called(f"{HOST}\x00.evil.example", named=False),
    # --- more than one thing wrong ---
    "another name, expired, root unknown": Kind([leaf("elsewhere.example", days=PAST), INTERMEDIATE], False, False, False, anchors=[OTHER_ANCHOR]),
}  # fmt: skip
