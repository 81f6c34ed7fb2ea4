"""PROBE: one row for each endpoint, tried again late where that may help, and what the row holds."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL

from crawler.model.rows import Certificate, Endpoint, Outcome, Probe, Stage
from crawler.politeness.budgets import StoredBudget
from crawler.politeness.network_time import NetworkTime
from crawler.probe import attempt as room
from crawler.probe.prober import Prober
from crawler.probe.shard_rows import ProbedShard
from crawler.settings.config import Config, Limits, Pacing
from crawler.tls.handshake import Offer
from tests.kit.conversations import LEAF, ROOT, Leaf
from tests.kit.handshakes import handshake
from tests.kit.played_network import Played, attempts, names_at


def test_every_endpoint_gets_exactly_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, lambda *_: "554 go away\r\n")
    wanted = [(f"mx{n}.example", f"127.0.{n % 7}.{n % 50}") for n in range(200)]
    rows = played.probe(*wanted)
    assert sorted((row.host, row.address) for row in rows) == sorted(set(wanted))


def test_what_may_pass_is_tried_again_with_every_attempt_on_record(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, lambda _, number: "421 busy\r\n" if number == 1 else "554 no\r\n")
    (row,) = played.probe(("mx.example", "127.0.0.1"))
    assert attempts(row) == [(Outcome.REJECTED, 421), (Outcome.REJECTED, 554)]
    assert row.greeting_code == 554, "the facts are those of the last attempt"


@pytest.mark.parametrize("passing", [Outcome.TIMEOUT, Outcome.RESET, Outcome.CLOSED, Outcome.UNREACHABLE])
def test_what_persists_stays_not_conclusive(monkeypatch: pytest.MonkeyPatch, passing: Outcome) -> None:
    (row,) = Played(monkeypatch, lambda *_: passing).probe(("mx.example", "127.0.0.1"))
    assert attempts(row) == [(passing, None)] * 2
    assert row.conclusive is False and row.starttls_offered is None and row.negotiated is None


@pytest.mark.parametrize("final", ["554 no\r\n", Outcome.CONNECTION_REFUSED])
def test_what_is_final_is_not_asked_again(monkeypatch: pytest.MonkeyPatch, final: str | Outcome) -> None:
    (row,) = Played(monkeypatch, lambda *_: final).probe(("mx.example", "127.0.0.1"))
    assert len(row.attempts or []) == 1


def test_a_shard_that_fails_does_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, lambda *_: "554 no\r\n", per_provider=1)

    def shard(network: int) -> list[Endpoint]:
        return [Endpoint("smtp", f"mx{n}.big.example", f"127.{network}.{n}.1", 25) for n in range(5)]

    def full(_: Any) -> None:
        raise OSError(28, "No space left on device")

    async def run() -> None:
        async with anyio.create_task_group() as tasks:

            async def fail() -> None:
                with pytest.raises(BaseExceptionGroup):
                    await played.prober.probe_endpoints(shard(1), full)

            tasks.start_soon(fail)
            await anyio.lowlevel.checkpoint()
            with anyio.fail_after(5):
                await played.prober.probe_endpoints(shard(2), played.rows.append)

    anyio.run(run)
    assert len(played.rows) == 5


def test_without_a_hybrid_hello_nothing_is_said_of_intolerance(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for resets in ((), {0}):
        row, _ = handshake(monkeypatch, LEAF, tmp_path, resets=resets, post_quantum=False)
        assert row.pq_intolerant is None and row.tls_group == "x25519"


def test_special_purpose_space_is_recorded_as_never_contacted(monkeypatch: pytest.MonkeyPatch) -> None:
    prober = Prober(Config(ehlo_name="probe.example"))
    rows: list[Any] = []
    anyio.run(prober.probe_endpoints, [Endpoint("smtp", "mx.example", "10.0.0.1", 25)], rows.append)
    (row,) = rows
    assert (row.stage, row.outcome, row.attempts, row.started_at) == (None, Outcome.ADDRESS_NOT_ALLOWED, None, None)


def test_our_own_bug_costs_one_endpoint_and_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    played = Played(monkeypatch, lambda address, _: 1 // 0 if address == "127.0.0.1" else "554 no\r\n")  # type: ignore[arg-type, return-value]
    rows = played.probe(("a.example", "127.0.0.1"), ("b.example", "127.0.1.2"))
    assert {row.host: row.outcome for row in rows} == {
        "a.example": Outcome.INTERNAL_ERROR,
        "b.example": Outcome.REJECTED,
    }
    assert "ZeroDivisionError" in caplog.text


def test_verdicts_and_certificates_come_with_the_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    row, certificate = handshake(monkeypatch, LEAF, tmp_path)
    assert (row.stage, row.outcome, row.negotiated, row.strict_valid) == (Stage.DONE, Outcome.OK, True, True)
    assert isinstance(certificate, Certificate) and row.received_chain == [certificate.sha256]
    assert row.pq_intolerant is False


def test_certificates_of_an_attempt_that_is_repeated_are_not_held_until_the_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Thousands of hosts that close behind the handshake would fill the memory until they are asked again."""
    first, *others = handshake(monkeypatch, LEAF, tmp_path, closes={0, 1})
    assert isinstance(first, Certificate)
    (row,) = others
    assert (row.outcome, row.received_chain, len(row.attempts)) == (Outcome.CLOSED, [first.sha256], 2)


def test_records_of_a_host_are_held_once_for_all_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, lambda *_: "554 no\r\n")
    record = {"usage": 3, "selector": 0, "matching": 1, "data": bytes(32), "usable": True}
    rows = [Endpoint("smtp", host, f"127.0.0.{n}", 25, tlsa=[dict(record)]) for n in range(9) for host in "ab"]
    shard = ProbedShard(played.rows.append, None, NetworkTime(Pacing()), StoredBudget(Limits(), Pacing()))
    pending = anyio.run(played.prober._chosen, rows, shard)
    held = {(item.endpoint.host, id(item.endpoint.tlsa)) for item in pending}
    assert len(pending) == 18 and len(held) == 2


def test_the_three_verdicts_are_independent(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    row, _ = handshake(monkeypatch, ROOT.issue("other.example", days=(-9, -5)), tmp_path)
    assert (row.chain_trusted, row.name_match, row.within_validity, row.strict_valid) == (True, False, False, False)


def test_a_host_that_stumbles_over_a_large_hello_each_time_is_intolerant(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    row, _ = handshake(monkeypatch, LEAF, tmp_path, resets={0, 2})
    assert [attempt["outcome"] for attempt in row.attempts] == [Outcome.RESET, Outcome.OK, Outcome.RESET]
    assert row.pq_intolerant is True and row.tls_group == "x25519" and row.post_quantum is False
    assert row.outcome is Outcome.OK and row.negotiated


def test_a_host_that_had_a_bad_moment_is_not_intolerant(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    row, _ = handshake(monkeypatch, LEAF, tmp_path, resets={0})
    assert [attempt["outcome"] for attempt in row.attempts] == [Outcome.RESET, Outcome.OK, Outcome.OK]
    assert row.pq_intolerant is False and row.tls_group == "X25519MLKEM768"


def test_endpoints_that_can_be_gone_through_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of those that are not probed would be missing."""
    played = Played(monkeypatch, lambda *_: "554 no\r\n")
    with pytest.raises(TypeError):
        anyio.run(played.prober.probe_endpoints, iter(names_at("127.0.0.1", {"mx.example": 1.0})), played.rows.append)


@pytest.mark.parametrize(
    ("refused", "reason"),
    [(Outcome.TLS_UNSUPPORTED_BY_US, "dh key too small"), (Outcome.LIMIT_EXCEEDED, "dh key too large")],
)
def test_a_host_with_a_dhe_group_that_we_do_not_take_is_asked_once_more_without_dhe(
    monkeypatch: pytest.MonkeyPatch, refused: Outcome, reason: str
) -> None:
    """Our floor and our ceiling are no finding about the host; what it does with ECDHE is."""
    offers: list[Offer] = []

    def script(answer: Outcome | None) -> Prober:
        async def once(self: Any, endpoint: Endpoint, took: Any, *, offer: Offer, **_: Any) -> room.Finding:
            offers.append(offer)
            probe = Probe(protocol="smtp", host=endpoint.host, address=endpoint.address, port=25, stage=Stage.HANDSHAKE)
            probe.outcome, probe.tls_reason = refused, reason
            if offer is Offer.WITHOUT_DHE:
                probe.tls_reason = None
                probe.outcome, probe.negotiated = (Outcome.OK, True) if answer is None else (answer, False)
            probe.attempts = [{"outcome": probe.outcome, "reply_code": None}]
            return probe, []

        monkeypatch.setattr(room.Attempts, "once", once)
        return Prober(Config(ehlo_name="probe.example", pacing=Pacing(retry_delay=0.0, address_pause=0.0)))

    def ended(answer: Outcome | None) -> Probe:
        rows: list[Any] = []
        anyio.run(script(answer).probe_endpoints, [Endpoint("smtp", "mx.example", "127.0.0.1", 25)], rows.append)
        return rows[0]  # type: ignore[no-any-return]

    assert ended(None).outcome is Outcome.OK and offers == [Offer.MODERN, Offer.WITHOUT_DHE]
    row = ended(Outcome.TLS_ALERT)
    assert (row.outcome, row.tls_reason, row.negotiated) == (refused, reason, None)
    assert [attempt["outcome"] for attempt in row.attempts or []] == [refused, Outcome.TLS_ALERT]


def test_a_host_that_is_too_busy_inside_tls_is_asked_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    rows = handshake(monkeypatch, LEAF, tmp_path, inside=b"421 busy\r\n")
    (row,) = (row for row in rows if isinstance(row, Probe))
    assert attempts(row) == [(Outcome.REJECTED, 421)] * 2
    assert row.conclusive and row.negotiated


def rows_of_probes(rows: list[Any]) -> list[Probe]:
    return [row for row in rows if isinstance(row, Probe)]


def test_what_a_host_did_with_a_hello_without_hybrids_says_nothing_of_hybrids(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Reset once, then classical groups, then too busy: it may well do hybrids."""
    (row,) = rows_of_probes(handshake(monkeypatch, LEAF, tmp_path, resets={0}, busy={2}))
    assert row.negotiated and (row.post_quantum, row.pq_intolerant) == (None, None)
    (row,) = rows_of_probes(handshake(monkeypatch, LEAF, tmp_path, post_quantum=False))
    assert row.negotiated and row.post_quantum is None
    (row,) = rows_of_probes(handshake(monkeypatch, LEAF, tmp_path, resets={0, 2}))
    assert (row.post_quantum, row.pq_intolerant) == (False, True), "proven"


def test_a_handshake_for_which_no_dhe_was_offered_says_nothing_of_forward_secrecy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    class StaticRsa(Leaf):
        def context(self) -> SSL.Context:
            made = super().context()
            made.set_cipher_list(b"AES128-GCM-SHA256")
            made.set_max_proto_version(SSL.TLS1_2_VERSION)
            return made

    issued = ROOT.issue("mx.example", key=rsa.generate_private_key(65537, 2048))
    leaf = StaticRsa(issued.certificate, issued.key)
    (row,) = rows_of_probes(handshake(monkeypatch, leaf, tmp_path))
    assert (row.negotiated, row.forward_secret) == (True, False), "DHE was offered"
    genuine = room.Attempts.once

    async def without_dhe(self: room.Attempts, *endpoint: Any, **options: Any) -> room.Finding:
        return await genuine(self, *endpoint, **options | {"offer": Offer.WITHOUT_DHE})

    monkeypatch.setattr(room.Attempts, "once", without_dhe)
    (row,) = rows_of_probes(handshake(monkeypatch, leaf, tmp_path))
    assert (row.negotiated, row.forward_secret) == (True, None)
    (row,) = rows_of_probes(handshake(monkeypatch, LEAF, tmp_path))
    assert row.forward_secret is True
