"""What one hostile host can make a process hold: certificates, rows, records are weighed, not counted."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from OpenSSL import SSL, crypto

from crawler.certificates import parsing as certificates
from crawler.certificates.der_fields import Extensions
from crawler.certificates.limits import LARGE, NAME_BYTES_KEPT, NAMES_KEPT, TEXT_KEPT
from crawler.certificates.name_match import name_match
from crawler.certificates.parsing import facts, load
from crawler.certificates.trust_store import TrustStore
from crawler.dataset import parts
from crawler.dataset.parts import PartWriter, batches, read_rows
from crawler.model.row_weights import WEIGHTS
from crawler.model.rows import (
    TABLES,
    Certificate,
    Domain,
    Endpoint,
    Host,
    MailHost,
    Outcome,
    Policy,
    Probe,
    Stage,
    Target,
    Tlsa,
)
from crawler.probe.long_handshakes import LONG_HANDSHAKE, LongHandshakes
from crawler.settings.config import Limits
from tests.kit.chains import SERVER, START, Subject, der, pem
from tests.kit.conversations import LEAF, play
from tests.kit.conversations import ROOT as AUTHORITY

ROOT = Subject("Root")
ANCHOR = ROOT.root()


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> TrustStore:
    path = tmp_path_factory.mktemp("held") / "roots.pem"
    path.write_text(pem(ANCHOR))
    return TrustStore(str(path))


def crowded(names: int, *more: str) -> bytes:
    """A certificate for so many short names, and these."""
    return der(ROOT.leaf(*(f"a{number % 10}.b" for number in range(names)), *more))


# --- a certificate ----------------------------------------------------------------------------------


def test_of_thousands_of_names_some_are_stored_the_rest_is_counted_and_all_are_asked_for_a_match() -> None:
    known = load(crowded(14_000, "mx.example", "*.wild.example"))
    assert known.row.names is not None and len(known.row.names) == NAMES_KEPT
    assert known.row.names_dropped == 14_002 - NAMES_KEPT
    asked = {"mx.example": True, "a.wild.example": True, "a7.b": True, "wild.example": False, "a.example": False}
    assert {host: name_match(known, host) for host in asked} == asked


def test_long_names_are_stored_as_far_as_there_is_room() -> None:
    row = facts(der(ROOT.leaf(*(f"{number:03}.{'x' * 60}.{'y' * 60}.example" for number in range(600)))))
    assert row.names is not None and NAME_BYTES_KEPT - 200 < sum(map(len, row.names)) <= NAME_BYTES_KEPT
    assert row.names_dropped == 600 - len(row.names)


def test_of_few_names_none_is_dropped() -> None:
    row = facts(der(ROOT.leaf("mx.example")))
    assert (row.names, row.names_dropped) == (["mx.example"], 0)
    assert facts(b"no certificate").names_dropped is None


@pytest.mark.parametrize("names", [0, 100, 2_000])
def test_a_large_certificate_has_the_facts_that_the_library_reads_in_it(names: int) -> None:
    data = crowded(names, "mx.example", "Odd Name", "nul\0.example")
    row = facts(data)
    san = x509.load_der_x509_certificate(data).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    read = [certificates.printable(name.encode()) for name in san.get_values_for_type(x509.DNSName)]
    assert (len(data) > LARGE) == (names == 2_000)
    assert row.names == read[:NAMES_KEPT] and row.parse_error is None
    assert (row.is_ca, row.self_signed, row.sct_count, row.must_staple) == (False, False, 0, False)
    assert row.not_after is not None and row.key_type == "ec:secp256r1" and row.subject == "CN=leaf"


def test_a_large_certificate_that_cannot_be_read_says_why() -> None:
    data = crowded(3_000, "mx.example")
    damaged = data.replace(b"\x82\x0amx.example", b"\x82\x7fmx.example")
    row = facts(damaged)
    assert row.names is None and row.parse_error and Extensions(damaged).dns_names() is None


def test_a_subject_of_any_length_is_stored_as_far_as_there_is_room() -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ü" * 30)] * 500)
    plain = ROOT.leaf("mx.example")
    made = x509.CertificateBuilder(name, name, plain.public_key(), 1, START, START)
    row = facts(der(made.sign(ROOT.key, hashes.SHA256())))  # type: ignore[arg-type]
    for text in (row.subject, row.issuer):
        assert text is not None and len(text) == TEXT_KEPT


HOSTILE = {
    "plain": lambda n: ROOT.leaf(f"mx{n}.example", "www.example.org"),
    "empty names": lambda n: ROOT.leaf(*[""] * 3_500, str(n)),
    "empty URIs": lambda n: ROOT.leaf(*[x509.UniformResourceIdentifier("")] * 3_500, str(n)),  # type: ignore[arg-type]
    "constraints": lambda n: ROOT.issue(
        Subject(str(n)), ca=True, constraints=x509.NameConstraints([x509.DNSName("")] * 1_800, None)
    ),
    "purposes": lambda n: ROOT.leaf(str(n), usage=[SERVER] * 600),
    "as large as they come": lambda n: ROOT.leaf(*[f"{n}.b"] * 12_000),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_certificate_weighs_no_less_than_it_takes(trust: TrustStore, kind: str) -> None:
    """Memory of OpenSSL counts, of which Python knows nothing: so the process is asked."""
    ders = [der(HOSTILE[kind](number)) for number in range(60 if kind != "plain" else 400)]
    for data in ders:
        trust.judge([load(data)], START)
    gc.collect()
    before, held = resident(), []
    for data in ders:
        held.append(load(bytes(bytearray(data))))  # a copy of its own, as a connection has it
        trust._chains = type(trust._chains)(0)
        trust.judge(held[-1:], START)
    assert resident() - before <= 1.1 * sum(known.weight for known in held) + (1 << 20)


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096


def test_a_verdict_leaves_no_copy_of_a_certificate_behind() -> None:
    """What refers to itself waits for the garbage collector, which comes rarely here; each copy may be megabytes."""
    store = TrustStore()
    chains = [[load(der(ROOT.leaf(f"{number}.example"))), load(der(ANCHOR))] for number in range(50)]
    gc.collect()
    gc.disable()
    try:
        before = living()
        for chain in chains:
            assert store.judge(chain, START).trusted is False
            assert store.path_to(chain[1], chain, anchor_expires=True, at=START).trusted
        assert living() <= before + 4
    finally:
        gc.enable()


def living() -> int:
    return sum(isinstance(one, crypto.X509) for one in gc.get_objects())


def test_of_a_large_certificate_openssls_form_is_not_kept() -> None:
    large, small = load(crowded(3_000)), load(crowded(3))
    assert large.kept is None and small.kept is not None
    assert der(large.openssl) == large.der and small.openssl is small.kept


# --- rows -------------------------------------------------------------------------------------------

MEGABYTE = 1 << 20
BULKY: dict[type, Any] = {
    Certificate: lambda: Certificate(sha256="ab" * 32, der=bytes(MEGABYTE)),
    Probe: lambda: Probe(host="mx.example", ocsp_staple=bytes(MEGABYTE)),
    Endpoint: lambda: Endpoint(host="mx.example", tlsa=[record(MEGABYTE)]),
    Tlsa: lambda: Tlsa(host="mx.example", records=[record(MEGABYTE)]),
    Policy: lambda: Policy(sha256="ab" * 32, text="x" * MEGABYTE),
    Domain: lambda: Domain(domain="a.example", mta_sts_mx=["mx.example"] * (MEGABYTE >> 6)),
}


def record(size: int) -> dict[str, Any]:
    return {"usage": 3, "selector": 0, "matching": 0, "data": bytes(size), "usable": True}


def written(path: Path, rows: Iterator[Any], kind: type) -> tuple[int, int]:
    """The most rows that waited as objects, and the most bytes that waited as columns."""
    writer = PartWriter(path, kind, {})
    waiting, columns = 0, 0
    for row in rows:
        writer.append(row)
        waiting, columns = max(waiting, len(writer._pending)), max(columns, writer._bytes)
    writer.close()
    return waiting, columns


@pytest.mark.parametrize("kind", BULKY)
def test_rows_are_held_by_their_bytes_and_not_by_their_number(tmp_path: Path, kind: type) -> None:
    waiting, columns = written(tmp_path / "part", (BULKY[kind]() for _ in range(40)), kind)
    assert waiting <= 2 and columns <= parts.ROW_GROUP_BYTES
    with parts.opened(tmp_path / "part") as file:
        sizes = [batch.nbytes for batch in batches(file)]
    assert max(sizes) <= 12 * MEGABYTE and len(sizes) > 1
    assert sum(1 for _ in read_rows(tmp_path / "part", kind)) == 40


def test_small_rows_are_held_by_their_number(tmp_path: Path) -> None:
    waiting, _ = written(tmp_path / "part", (Probe(host=f"mx{n}.example") for n in range(3_000)), Probe)
    assert waiting == parts.ROWS_AT_ONCE - 1
    assert pq.read_metadata(tmp_path / "part").num_row_groups == 1


def test_whatever_a_stranger_can_fill_is_weighed() -> None:
    """Text, binary and lists of a row are looked at, or are short by a limit of RESOLVE or PROBE."""
    bulky = {"der", "names", "subject", "issuer", "common_name"}
    filled = Certificate(**{field.name: _fill(field.name) for field in fields(Certificate) if field.name in bulky})
    assert WEIGHTS[Certificate](filled) > 5 * 1_000
    assert set(WEIGHTS) == set(TABLES.values()) - {Host} - {TABLES["incomplete_chains"]} | {Endpoint, MailHost, Target}


def _fill(name: str) -> Any:
    return b"x" * 1_000 if name == "der" else ["x" * 1_000] if name == "names" else "x" * 1_000


# --- a conversation ---------------------------------------------------------------------------------

UPGRADED = """
S: 220 mx
C: EHLO probe.example
S: 250-mx
S: 250 STARTTLS
C: STARTTLS
S: 220 go
TLS
C: EHLO probe.example
S: 250 mx
C: QUIT
"""


#: The same where our limit is reached: QUIT takes the place of EHLO.
CUT = UPGRADED.replace("C: EHLO probe.example\nS: 250 mx\nC: QUIT", "C: QUIT")


def long_context() -> SSL.Context:
    """A server's that sends a chain of 25,000 bytes."""
    context = LEAF.context()
    context.add_extra_chain_cert(ROOT.leaf(*(f"{number:04}.example" for number in range(1_600))))
    return context


def stapled(names: int) -> bytes:
    """An OCSP response whose responder has a certificate for so many names."""
    responder = ROOT.issue(ROOT, ca=True, names=[f"a{number % 10}.b" for number in range(names)])
    made = ocsp.OCSPResponseBuilder().add_response(
        LEAF.certificate, AUTHORITY.certificate, hashes.SHA1(), ocsp.OCSPCertStatus.GOOD, START, None, None, None
    )
    made = made.responder_id(ocsp.OCSPResponderEncoding.HASH, responder).certificates([responder])
    return made.sign(ROOT.key, hashes.SHA256()).public_bytes(Encoding.DER)  # type: ignore[arg-type]


@pytest.mark.parametrize(("names", "is_kept"), [(10, True), (2_000, True), (3_000, False), (8_000, False)])
def test_a_stapled_response_of_any_size_is_counted_and_one_that_is_too_large_not_kept(
    names: int, is_kept: bool
) -> None:
    context, response = LEAF.context(), stapled(names)
    context.set_ocsp_server_callback(lambda connection, data: response)
    probe = play(UPGRADED, context=context).probe
    assert (len(response) <= Limits().staple_bytes) is is_kept
    assert probe.ocsp_staple_bytes == len(response)
    assert probe.ocsp_staple == (response if is_kept else None)


def test_without_a_stapled_response_there_is_no_size() -> None:
    probe = play(UPGRADED).probe
    assert probe.negotiated and probe.ocsp_staple is probe.ocsp_staple_bytes is None


def test_long_handshakes_have_so_many_bytes_together_and_give_them_back_with_their_connections() -> None:
    """Inside TLS a chain of 90 KB takes 1.6 MiB for as long as its host says nothing."""
    context = long_context()
    room = LongHandshakes(60_000)
    first = play(UPGRADED, context=context, long=room)
    assert first.probe.outcome is Outcome.OK and (first.probe.tls_bytes or 0) > LONG_HANDSHAKE
    assert room._left < 60_000
    refused = play(CUT, context=context, long=LongHandshakes(20_000)).probe
    assert (refused.stage, refused.outcome, refused.conclusive) == (Stage.AFTER_TLS, Outcome.LIMIT_EXCEEDED, False)
    assert refused.negotiated is None and refused.tls_version == "TLSv1.3", "what was learnt before stays"
    del first
    gc.collect()
    assert room._left == 60_000


def test_usual_handshakes_are_not_counted() -> None:
    probe = play(UPGRADED, long=LongHandshakes(0)).probe
    assert probe.outcome is Outcome.OK and (probe.tls_bytes or 0) < LONG_HANDSHAKE
