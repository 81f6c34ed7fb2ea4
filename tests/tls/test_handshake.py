"""What the ClientHello offers is read off the hello itself."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from crawler.certificates.verdicts import all_of
from crawler.lab.behaviours.raw_flights import DHE_SUITES, dhe_flight, ecdhe_flight, offers_dhe
from crawler.model.rows import Outcome
from crawler.tls.client_hello import extensions_of, offered_groups
from crawler.tls.handshake import CLASSICAL_GROUPS, Offer, TlsClient, TlsContexts, TlsFailure, _failure, offered

CONTEXTS, CLASSICAL = TlsContexts(), TlsContexts(post_quantum=False)
SERVER_NAMES = st.one_of(st.none(), st.integers(1, 253).map(lambda size: ((b"a" * 50 + b".") * 6)[:size]))


@pytest.mark.parametrize("offer", Offer)
@given(name=SERVER_NAMES)
def test_no_hello_has_a_length_at_which_load_balancers_hang(offer: Offer, name: bytes | None) -> None:
    """RFC 7685 §4: 256 to 511 bytes.  The classical one had 405 to 511."""
    for contexts in (CONTEXTS, CLASSICAL):
        assert not 256 <= len(TlsClient(contexts[offer], name).start()) - 5 <= 511


def failure(flight: bytes, offer: Offer = Offer.CLASSICAL) -> TlsFailure:
    client = TlsClient(CONTEXTS[offer], b"mx.example")
    client.start()
    with pytest.raises(TlsFailure) as raised:
        client.feed(flight)
    return raised.value


@pytest.mark.parametrize(
    ("flight", "reason"),
    [
        (dhe_flight(256), "modulus too small"),
        (dhe_flight(512), "dh key too small"),
        (dhe_flight(768), "dh key too small"),
        (dhe_flight(10_008), "modulus too large"),
        (ecdhe_flight(21), "wrong curve"),  # secp224r1
        (ecdhe_flight(26), "wrong curve"),  # brainpoolP256r1
        (ecdhe_flight(29, b"\x01\x01"), "wrong signature type"),  # RSA with MD5
    ],
)
def test_what_our_library_refuses_by_its_own_policy_says_nothing_of_the_host(flight: bytes, reason: str) -> None:
    found = failure(flight)
    assert (found.outcome, found.reason, found.alert) == (Outcome.TLS_UNSUPPORTED_BY_US, reason, None)


def test_a_bad_signature_is_the_hosts_own_fault() -> None:
    found = failure(dhe_flight(2_048))
    assert found.outcome is Outcome.TLS_ERROR


def test_close_notify_is_a_close_without_a_reason() -> None:
    found = failure(bytes.fromhex("15030100020100"))
    assert (found.outcome, found.reason) == (Outcome.CLOSED, None)


@pytest.mark.parametrize(
    "error", [SSL.Error(), SSL.Error([]), SSL.SysCallError(-1, "Unexpected EOF"), SSL.ZeroReturnError()]
)
def test_no_name_of_a_class_is_ever_a_reason(error: SSL.Error) -> None:
    assert _failure(error).reason is None


@pytest.mark.parametrize(
    "reason", ["version too low", "version too high", "no suitable digest algorithm", "bad q value"]
)
def test_a_refusal_of_the_librarys_own_counts_wherever_it_stands_in_the_queue(reason: str) -> None:
    queued = [("lib", "", "unknown security bits"), ("lib", "", reason)]
    assert (_failure(SSL.Error(queued)).outcome, _failure(SSL.Error(queued)).reason) == (
        Outcome.TLS_UNSUPPORTED_BY_US, reason,
    )  # fmt: skip
    assert _failure(SSL.Error(queued[:1])).outcome is Outcome.TLS_ERROR


def test_the_hello_without_dhe_offers_none_and_the_others_do() -> None:
    hellos = {offer: TlsClient(CONTEXTS[offer], b"mx.example").start() for offer in Offer}
    assert {offer: offers_dhe(hello) for offer, hello in hellos.items()} == {
        Offer.MODERN: True, Offer.CLASSICAL: True, Offer.WITHOUT_DHE: False,
    }  # fmt: skip
    assert offered_groups(hellos[Offer.WITHOUT_DHE]) == offered_groups(hellos[Offer.MODERN])
    assert DHE_SUITES


def test_the_manifest_tells_the_groups_that_go_over_the_wire() -> None:
    with_hybrid, without = offered(), offered(post_quantum=False)
    assert with_hybrid["groups"][0] == "X25519MLKEM768" and "x25519" in with_hybrid["groups"]
    assert with_hybrid["groups_of_second_try"] == without["groups"]
    assert len(without["groups"]) == len(CLASSICAL_GROUPS.split(b":"))
    assert not any("MLKEM" in group for group in without["groups"])
    assert offered_groups(bytes.fromhex(with_hybrid["client_hello"])) == with_hybrid["groups"]


#: IANA TLS ExtensionType values, by the names that the page uses.
NUMBERS = {
    "server_name": 0, "status_request": 5, "supported_groups": 10, "ec_point_formats": 11, "signature_algorithms": 13,
    "padding": 21, "encrypt_then_mac": 22, "extended_master_secret": 23, "record_size_limit": 28, "session_ticket": 35,
    "supported_versions": 43, "psk_key_exchange_modes": 45, "key_share": 51, "renegotiation_info": 0xFF01,
}  # fmt: skip


def test_the_page_about_the_hello_says_what_is_in_it() -> None:
    page = (Path(__file__).resolve().parent.parent.parent / "docs" / "client-hello.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    ours = {row[0]: row[1] for row in rows if len(row) == 5}
    modern, classical = (TlsClient(CONTEXTS[o], b"mx.example.com").start() for o in (Offer.MODERN, Offer.CLASSICAL))
    extensions = extensions_of(modern)
    said = {number for name, number in NUMBERS.items() if any(f"`{name}`" in row and ours[row] != "no" for row in ours)}
    said |= {NUMBERS["supported_versions"]}
    optional = {NUMBERS["padding"], NUMBERS["renegotiation_info"]}  # where needed; as a cipher suite
    assert said - optional == set(extensions) - optional and NUMBERS["padding"] in extensions_of(classical)
    assert ours["record length"] == f"{len(modern) - 5:,}, {len(classical) - 5} on the second try"
    assert (
        extensions[NUMBERS["supported_versions"]] == bytes.fromhex("080304030303020301")
        and ours["versions"] == "1.3, 1.2, 1.1, 1.0"
    )
    suites = modern[76 + 2 : 76 + 2 + int.from_bytes(modern[76:78])]
    assert ours["cipher suites"] == str(len(suites) // 2) and suites.endswith(b"\0\xff")
    groups = offered_groups(modern)
    hybrids = [group for group in groups if "MLKEM" in group]
    assert groups[0] == "X25519MLKEM768" and len(hybrids) == 3, "`supported_groups`: two more hybrids"
    assert groups[3:9] == ["x25519", "secp256r1", "x448", "secp384r1", "secp521r1", "curveSM2"]
    assert ours["`signature_algorithms`"].startswith(str((len(extensions[NUMBERS["signature_algorithms"]]) - 2) // 2))


def test_three_valued_and() -> None:
    assert all_of(True, True) is True
    assert all_of(True, None) is None
    assert all_of(False, None) is False


@pytest.mark.parametrize("offer", Offer)
def test_a_connection_is_gone_with_its_client(offer: Offer) -> None:
    """In a circle of references it stayed until circles were looked for: megabytes of each hostile certificate."""
    client = TlsClient(CONTEXTS[offer], b"mx.example")
    client.start()
    with pytest.raises(TlsFailure):
        client.feed(dhe_flight(10_008))
    connection = weakref.ref(client._connection)
    gc.disable()
    try:
        del client
        assert connection() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(("length", "fits"), [(255, True), (256, False), (300, False)])
def test_no_hello_goes_out_without_the_name_because_it_is_too_long(length: int, fits: bool) -> None:
    name = b"x" * length
    if fits:
        assert name in TlsClient(CONTEXTS.modern, name).start()
    else:
        with pytest.raises(TlsFailure, match="does not fit into SNI"):
            TlsClient(CONTEXTS.modern, name)
