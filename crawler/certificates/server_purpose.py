"""The one private call by which a trust store takes certificates for TLS servers only, and its self-test.

This module is pure.  Raising at start-up is the self-test: a wheel without the call must not measure.
"""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import crypto
from OpenSSL._util import lib

NO_CHECK_TIME = 0x20_0000
"""X509_V_FLAG_NO_CHECK_TIME, which pyOpenSSL does not name."""


def enforce_server_purpose(store: crypto.X509Store) -> None:
    """Make the store refuse certificates not meant for TLS servers.  pyOpenSSL has no public call for it."""
    if lib.X509_STORE_set_purpose(store._store, lib.X509_PURPOSE_SSL_SERVER) != 1:
        raise RuntimeError("OpenSSL refused to set the purpose of the trust store")


def check_purpose_is_enforced() -> None:
    """Start-up self-test of the private call: a client-only leaf must be refused, a server leaf taken."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "self-test")])
    now = datetime.now(UTC)

    def issue(usage: x509.ObjectIdentifier | None) -> crypto.X509:
        subject = name if usage is None else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")])
        builder = x509.CertificateBuilder(name, subject, key.public_key(), x509.random_serial_number(), now, now)
        builder = builder.add_extension(x509.BasicConstraints(usage is None, None), critical=True)
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return crypto.X509.from_cryptography(builder.sign(key, hashes.SHA256()))

    store = crypto.X509Store()
    store.add_cert(issue(None))
    store.set_flags(NO_CHECK_TIME)
    enforce_server_purpose(store)
    crypto.X509StoreContext(store, issue(ExtendedKeyUsageOID.SERVER_AUTH)).verify_certificate()
    try:
        crypto.X509StoreContext(store, issue(ExtendedKeyUsageOID.CLIENT_AUTH)).verify_certificate()
    except crypto.X509StoreContextError:
        return
    raise RuntimeError("OpenSSL does not enforce the server purpose; verdicts would be wrong")
