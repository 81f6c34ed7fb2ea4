"""OpenSSL gives every chain and TLSA record the same verdict."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from OpenSSL import SSL

from crawler.certificates.trust_store import TrustStore
from crawler.model.rows import DaneStatus
from tests.kit.chains import Subject
from tests.kit.dane_records import (
    ANCHOR,
    CERT,
    CHAIN,
    EE,
    FULL,
    HOST,
    INTERMEDIATE,
    LEAF,
    MIDDLE,
    ROOT,
    SERVER,
    SHA256,
    SHA512,
    SPKI,
    TA,
    Record,
    judge,
    record,
)

PAST = ROOT.issue(MIDDLE, ca=True, days=(-30, -1))
STRANGER = Subject("Stranger").root()
EXPIRED = MIDDLE.issue(SERVER, ca=False, names=["other.example"], days=(-30, -1))
NAMELESS = MIDDLE.issue(Subject(HOST, SERVER.key), ca=False)
OTHER = MIDDLE.issue(SERVER, ca=False, names=["other.example"])
CLIENT = MIDDLE.issue(SERVER, ca=False, names=[HOST], usage=[x509.ExtendedKeyUsageOID.CLIENT_AUTH])
LATE = ROOT.root(days=(-30, -1))
NO_CA = ROOT.issue(MIDDLE, ca=False)
TWIN = Subject("leaf", SERVER.key).root(names=[HOST])
ALONE = Subject("leaf", SERVER.key).issue(Subject("leaf", SERVER.key), ca=False, names=[HOST])

SCENES: dict[str, tuple[list[Record], list[x509.Certificate]]] = {
    "EE by key": ([record(EE, SPKI, SHA256, LEAF)], CHAIN),
    "EE by certificate in full": ([record(EE, CERT, FULL, LEAF)], [LEAF]),
    "EE, expired, other name": ([record(EE, SPKI, SHA512, EXPIRED)], [EXPIRED, INTERMEDIATE]),
    "EE of the intermediate": ([record(EE, SPKI, SHA256, INTERMEDIATE)], CHAIN),
    "TA is the intermediate": ([record(TA, SPKI, SHA256, INTERMEDIATE)], [LEAF, INTERMEDIATE]),
    "TA is the root, sent": ([record(TA, CERT, SHA512, ANCHOR)], CHAIN),
    "TA is the root, not sent": ([record(TA, CERT, SHA256, ANCHOR)], [LEAF, INTERMEDIATE]),
    "TA in full, not sent": ([record(TA, CERT, FULL, ANCHOR)], [LEAF, INTERMEDIATE]),
    "TA's bare key, not sent": ([record(TA, SPKI, FULL, ANCHOR)], [LEAF, INTERMEDIATE]),
    "bare key that signed the leaf": ([record(TA, SPKI, FULL, INTERMEDIATE)], [LEAF]),
    "bare key that signed nothing": ([record(TA, SPKI, FULL, STRANGER)], [LEAF, INTERMEDIATE]),
    "TA is the self-signed leaf": ([record(TA, CERT, SHA256, TWIN)], [TWIN]),
    "TA, path expired": ([record(TA, CERT, SHA256, ANCHOR)], [LEAF, PAST, ANCHOR]),
    "TA, other name": ([record(TA, CERT, SHA256, INTERMEDIATE)], [OTHER, INTERMEDIATE]),
    "TA, common name alone": ([record(TA, CERT, SHA256, INTERMEDIATE)], [NAMELESS, INTERMEDIATE]),
    "TA, leaf for clients": ([record(TA, CERT, SHA256, INTERMEDIATE)], [CLIENT, INTERMEDIATE]),
    "TA, intermediate is no CA": ([record(TA, CERT, SHA256, ANCHOR)], [LEAF, NO_CA, ANCHOR]),
    "TA is no CA": ([record(TA, CERT, SHA256, NO_CA)], [LEAF, NO_CA]),
    "TA is a stranger": ([record(TA, CERT, SHA256, STRANGER)], [LEAF, INTERMEDIATE, STRANGER]),
    "chain out of order": ([record(TA, CERT, SHA256, ANCHOR)], [LEAF, ANCHOR, INTERMEDIATE]),
    "roll-over": ([record(EE, SPKI, SHA256, STRANGER), record(EE, SPKI, SHA256, LEAF)], [LEAF]),
    "stronger digest is stale": ([record(EE, SPKI, SHA256, LEAF), record(EE, SPKI, SHA512, STRANGER)], [LEAF]),
    "digest and full": ([record(EE, SPKI, SHA512, STRANGER), record(EE, SPKI, FULL, LEAF)], [LEAF]),
    "EE stale, TA right": ([record(EE, SPKI, SHA256, STRANGER), record(TA, CERT, SHA256, ANCHOR)], CHAIN),
    "anchor expired": ([record(TA, CERT, SHA256, PAST)], [LEAF, PAST]),
    "anchor expired, self-signed": ([record(TA, CERT, SHA256, LATE)], [LEAF, INTERMEDIATE, LATE]),
    "anchor expired, in the record": ([record(TA, CERT, FULL, PAST)], [LEAF]),
    "TA in full is the leaf": ([record(TA, CERT, FULL, LEAF)], [LEAF]),
    "TA in full is the leaf of a chain": ([record(TA, CERT, FULL, LEAF)], CHAIN),
    "TA in full is the leaf, sent twice": ([record(TA, CERT, FULL, LEAF)], [LEAF, LEAF, INTERMEDIATE]),
    "TA in full is the self-signed leaf": ([record(TA, CERT, FULL, TWIN)], [TWIN]),
    "TA in full is the self-signed leaf, no CA": ([record(TA, CERT, FULL, ALONE)], [ALONE]),
    "TA is the self-signed leaf's bare key": ([record(TA, SPKI, FULL, TWIN)], [TWIN]),
    "TA is the leaf's bare key": ([record(TA, SPKI, FULL, LEAF)], CHAIN),
    "bare key that signed an expired one": ([record(TA, SPKI, FULL, ANCHOR)], [LEAF, PAST]),
}


@contextmanager
def serving(chain: list[x509.Certificate]) -> Iterator[int]:
    """A TLS server with the chain, for one client; yields its port."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(chain[0])
    context.use_privatekey(SERVER.key)
    for certificate in chain[1:]:
        context.add_extra_chain_cert(certificate)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def serve() -> None:
        plain, _ = listener.accept()
        connection = SSL.Connection(context, plain)
        connection.set_accept_state()
        plain.settimeout(None)
        try:
            connection.do_handshake()
            connection.recv(1)
        except SSL.Error:
            pass  # the client left, having seen enough
        plain.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        thread.join()
        listener.close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("scene", SCENES)
def test_openssl_says_the_same(trust: TrustStore, scene: str, tmp_path: Path) -> None:
    records, chain = SCENES[scene]
    ours = judge(trust, records, *chain).status is DaneStatus.MATCH
    rrset = [word for u, s, m, d in records for word in ("-dane_tlsa_rrdata", f"{u} {s} {m} {d.hex()}")]
    with serving(chain) as port:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-dane_tlsa_domain", HOST, *rrset]
        # RFC 7671 §5.1 and §7: the name does not count for DANE-EE; an application says so to OpenSSL.
        command += ["-dane_ee_no_namechecks", "-no-CAfile", "-no-CApath", "-no-CAstore"]
        said = subprocess.run(command, input="", capture_output=True, text=True, timeout=30, check=False).stdout
    code = re.search(r"Verify return code: (\d+) \((.*)\)", said)
    assert code is not None, said
    assert ours is (code[1] == "0"), f"OpenSSL says {code[2]}"
