"""The world of `bench.scan`: domains, their mail hosts and policies, by NSD and nginx on loopback.

Four domains a mail host, several hosts a provider, whose certificate is for all its names.  One
provider in ten publishes TLSA records that match; one domain in a hundred an MTA-STS policy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench import nginx, nsd

PROVIDERS = 400
MAX_ADDRESSES = 12_000
"""nginx needs a descriptor for each address; beyond this hosts share addresses."""

TLSA_EVERY, POLICY_EVERY = 10, 100
POLICIES_PER_SERVER = 100
POLICY = r"version: STSv1\nmode: enforce\nmx: *.provider{number}.test\nmax_age: 604800\n"


@dataclass(frozen=True)
class World:
    """Where everything is."""

    domains: int
    hosts: int
    dns: int  #: port of NSD
    smtp: int  #: port of all mail hosts
    implicit: int  #: port of TLS without SMTP, for `openssl s_time`
    https: int  #: port of the policy hosts
    ca_file: Path  #: trust anchors, among them the issuer of the policy hosts' certificates
    shared: int  #: names at one address


def host_of(number: int) -> str:
    """A mail host, several to a provider."""
    return f"mx{number // PROVIDERS}.provider{number % PROVIDERS}.test"


def questions(domains: int, hosts: int) -> Iterator[tuple[str, str]]:
    """What a scan asks, once each."""
    for n in range(domains):
        yield f"domain{n}.test", "MX"
        yield f"_mta-sts.domain{n}.test", "TXT"
        yield f"_smtp._tls.domain{n}.test", "TXT"
    for n in range(hosts):
        yield host_of(n), "A"
        yield host_of(n), "AAAA"
        yield f"_25._tcp.{host_of(n)}", "TLSA"


def address_count(hosts: int) -> int:
    """Addresses of so many hosts; where hosts share one, a multiple of the providers: all its names have one certificate."""
    shared = -(-hosts // MAX_ADDRESSES)
    return hosts if shared == 1 else -(-hosts // shared // PROVIDERS) * PROVIDERS


@contextmanager
def running(directory: Path, domains: int, hosts: int) -> Iterator[World]:
    """NSD and nginx with so many domains on so many hosts."""
    shared, addresses = -(-hosts // MAX_ADDRESSES), address_count(hosts)
    (https,) = nginx.free_ports(1)
    web = "\n    ".join(_policy_servers(directory, domains, https))
    name = "*.provider{}.test"
    with nginx.running(directory, "ecdsa", addresses, min(hosts, PROVIDERS), name=name, web=web) as (smtp, implicit):
        records = _zone(domains, hosts, nginx.addresses(addresses), directory)
        with nsd.running(directory, records) as dns:
            yield World(domains, hosts, dns, smtp, implicit, https, directory / "ca.pem", shared)


def _zone(domains: int, hosts: int, addresses: list[str], directory: Path) -> Iterator[str]:
    policy_hosts = policy_addresses(domains)
    for n in range(domains):
        yield f"domain{n} MX 10 {host_of(n % hosts)}."
        if n % POLICY_EVERY == 0:
            server = policy_hosts[n // POLICY_EVERY // POLICIES_PER_SERVER]
            yield f'_mta-sts.domain{n} TXT "v=STSv1; id=20260101T000000;"'
            yield f"mta-sts.domain{n} A {server}"
            yield f'_smtp._tls.domain{n} TXT "v=TLSRPTv1; rua=mailto:tls@domain{n}.test"'
    keys = {n: _key_hash(directory / f"ecdsa-{n}.pem") for n in range(0, min(hosts, PROVIDERS), TLSA_EVERY)}
    for n in range(hosts):
        yield f"{host_of(n)}. A {addresses[n % len(addresses)]}"
        if key := keys.get(n % PROVIDERS):
            yield f"_25._tcp.{host_of(n)}. TLSA 3 1 1 {key}"


def _key_hash(pem: Path) -> str:
    key = x509.load_pem_x509_certificate(pem.read_bytes()).public_key()
    encoded = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(encoded).hexdigest()


# --- policies --------------------------------------------------------------------------------------


def policy_addresses(domains: int) -> list[str]:
    """Where the policies of so many domains are."""
    return [f"127.9.{n // 250}.{1 + n % 250}" for n in range(-(-domains // POLICY_EVERY // POLICIES_PER_SERVER))]


def _policy_servers(directory: Path, domains: int, port: int) -> Iterator[str]:
    """Servers in nginx's words, each with a certificate for a hundred policy hosts."""
    authority = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench CA")])
    anchor = issue(issuer, issuer, authority, authority, x509.BasicConstraints(True, None))
    # Beside the roots that every scan has to load.
    (directory / "ca.pem").write_bytes(
        Path(certifi.where()).read_bytes() + anchor.public_bytes(serialization.Encoding.PEM)
    )
    publishing = range(0, domains, POLICY_EVERY)
    for number, address in enumerate(policy_addresses(domains)):
        some = publishing[number * POLICIES_PER_SERVER : (number + 1) * POLICIES_PER_SERVER]
        names = x509.SubjectAlternativeName([x509.DNSName(f"mta-sts.domain{n}.test") for n in some])
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"policies {number}")])
        pem = directory / f"policies-{number}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        leaf = issue(subject, issuer, key, authority, names)
        pem.write_bytes(leaf.public_bytes(serialization.Encoding.PEM) + private)
        text = POLICY.format(number=number)
        yield (
            f"server {{ listen {address}:{port} ssl; ssl_certificate {pem}; ssl_certificate_key {pem}; "
            f'default_type text/plain; location / {{ return 200 "{text}"; }} }}'
        )


def issue(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    authority: ec.EllipticCurvePrivateKey,
    extension: x509.ExtensionType,
) -> x509.Certificate:
    """A certificate with one extension, good for a month."""
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer, subject, key.public_key(), x509.random_serial_number(), now - timedelta(1), now + timedelta(30)
    )
    return builder.add_extension(extension, critical=False).sign(authority, hashes.SHA256())
