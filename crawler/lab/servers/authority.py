"""The lab's throw-away certificate authority.

Certificates for names that the lab made up, from keys that live as long as the
process.  Few keys, many certificates, made when a host is first asked for one.
"""

from __future__ import annotations

from base64 import encodebytes
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import crypto

from crawler.lab.behaviours.vocabulary import Leaf
from crawler.lab.servers import bulk
from crawler.lab.servers.oddities import changed, with_oddity

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

_POOL = 8  # keys of each kind shared by all hosts; RSA has one, as making it takes long
_LONGEST_CN = 64  # X.520 ub-common-name
_NO_DATE = b"250230000000Z"  # 30 February 2025


class Authority:
    """A root, intermediates below it, among them an expired one and one without a date, and a root that nobody trusts."""

    def __init__(self, *, kept: int = 20_000) -> None:
        """Keep at most `kept` host certificates; the least recently used are made anew when asked for."""
        self._now = datetime.now(UTC).replace(microsecond=0)
        self._kept = kept
        self._leaves: OrderedDict[tuple[Leaf, str], tuple[crypto.X509, Key]] = OrderedDict()
        self._ec = [ec.generate_private_key(ec.SECP256R1()) for _ in range(_POOL)]
        self._ed25519 = ed25519.Ed25519PrivateKey.generate()
        self._signers: dict[str, tuple[x509.Name, ec.EllipticCurvePrivateKey]] = {}
        self._certificates: dict[str, crypto.X509] = {}
        self._add("root", "Lab Root", "root", (-3650, 3650))
        self._add("unknown root", "Lab Root Unknown", "unknown root", (-3650, 3650))
        self._add("intermediate", "Lab Intermediate", "root", (-365, 365))
        self._add("expired intermediate", "Lab Intermediate Expired", "root", (-730, -3))
        self._add("lower intermediate", "Lab Intermediate Lower", "intermediate", (-365, 365))
        self._add("unsent intermediate", "Lab Intermediate Unsent", "root", (-365, 365))
        self._add("constrained intermediate", "Lab Intermediate Constrained", "root", (-365, 365), constraints=100)
        self._add("undated intermediate", "Lab Intermediate Undated", "root", (-365, 365), start=_NO_DATE)

    @property
    def root_pem(self) -> bytes:
        """The trust anchor of the lab."""
        return crypto.dump_certificate(crypto.FILETYPE_PEM, self._certificates["root"])

    def add_constrained(self, name: str, signed_by: str, count: int) -> None:
        """Make a CA with so many name constraints, below another or below itself."""
        self._add(name, f"Lab {name.title()}", signed_by, (-365, 365), constraints=count)

    def chain(self, leaf: Leaf) -> list[crypto.X509]:
        """What is sent behind the leaf."""
        return [self._certificates[name] for name in leaf.chain]

    def leaf(self, leaf: Leaf, host: str) -> tuple[crypto.X509, Key]:
        """Certificate and key of a host; hosts whose certificate does not depend on their name share it."""
        if not any("{" in name for name in leaf.names):
            host = leaf.names[0]
        made = self._leaves.get((leaf, host))
        if made is None:
            made = self._leaves[leaf, host] = self._make(leaf, host)
            if len(self._leaves) > self._kept:
                self._leaves.popitem(last=False)
        else:
            self._leaves.move_to_end((leaf, host))
        return made

    def _make(self, leaf: Leaf, host: str) -> tuple[crypto.X509, Key]:
        behind = host.partition(".")[2]
        names = [name.format(host=host, domain=behind if "." in behind else host) for name in leaf.names]
        key = self._key(leaf.key, host)
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Lab Mail Host")]
        if len(names[0]) <= _LONGEST_CN:
            attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, names[0]))
        subject = x509.Name(attributes)
        issuer, signer = (subject, key) if leaf.issuer == "itself" else self._signers[leaf.issuer]
        builder = self._builder(subject, issuer, key, leaf.valid).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        if leaf.oddity:
            assert isinstance(signer, ec.EllipticCurvePrivateKey), "an odd certificate is signed by hand, with ECDSA"
            return with_oddity(leaf.oddity, builder, names, signer), key
        if leaf.ballast:
            builder = builder.add_extension(bulk.ballast(leaf, host), critical=False)
        if leaf.crowd:
            builder = builder.add_extension(bulk.names_of(leaf, names), critical=False)
        elif not leaf.in_subject:
            alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
            builder = builder.add_extension(alternative, critical=False)
        return _signed(builder, signer), key

    def _add(
        self,
        name: str,
        common_name: str,
        signed_by: str,
        valid: tuple[int, int],
        start: bytes = b"",
        constraints: int = 0,
    ) -> None:
        """Make a CA; `start` is what stands in place of its first date."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        self._signers[name] = (subject, key)
        issuer, signer = self._signers[signed_by]
        usage = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        builder = self._builder(subject, issuer, key, valid)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        if constraints:
            builder = builder.add_extension(bulk.constraints(constraints), critical=True)
        made = builder.add_extension(usage, critical=True).sign(signer, hashes.SHA256())
        before = made.not_valid_before_utc.strftime("%y%m%d%H%M%SZ").encode() if start else b""
        self._certificates[name] = changed(made, signer, before, start)

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, key: Key, valid: tuple[int, int]
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now + timedelta(days=valid[0]))
            .not_valid_after(self._now + timedelta(days=valid[1]))
        )

    def _key(self, kind: str, host: str) -> Key:
        if kind == "rsa":
            return self._rsa
        return self._ed25519 if kind == "ed25519" else self._ec[sum(host.encode()) % _POOL]

    @cached_property
    def _rsa(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(65_537, 2_048)


def _signed(builder: x509.CertificateBuilder, key: Key) -> crypto.X509:
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return crypto.X509.from_cryptography(builder.sign(key, digest))


def dh_parameters() -> bytes:
    """The group ffdhe2048 as PEM: p = 2^2048 - 2^1984 + (floor(2^1918 * e) + 560316) * 2^64 - 1 (RFC 7919 §A.1)."""
    ample = Context(prec=700)
    e_part = int(ample.multiply(Decimal(2**1918), ample.exp(Decimal(1))))
    p = 2**2048 - 2**1984 + (e_part + 560_316) * 2**64 - 1
    # SEQUENCE { INTEGER p, INTEGER 2 }; the library's own classes for this group are on their way out.
    der = bytes.fromhex("30820108" + "02820101") + p.to_bytes(257, "big") + bytes.fromhex("020102")
    return b"-----BEGIN DH PARAMETERS-----\n" + encodebytes(der) + b"-----END DH PARAMETERS-----\n"
