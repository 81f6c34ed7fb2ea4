"""The use case PROBE: one row an endpoint, late second tries, kind pacing; the network is played."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from crawler.model.rows import Certificate, Endpoint, Outcome, Probe, Stage
from crawler.politeness.budgets import StoredBudget
from crawler.politeness.network_time import NetworkTime
from crawler.politeness.opt_out_file import read_opt_outs
from crawler.politeness.pacing import AddressQueues, ConcurrencyLimits, NetworkShare, RateLimit, network_of
from crawler.probe import attempt as room
from crawler.probe.prober import Prober
from crawler.probe.shard_rows import ProbedShard
from crawler.settings.config import Config, Limits, Pacing
from crawler.tls.handshake import Offer
from tests.kit.conversations import LEAF, ROOT
from tests.kit.handshakes import handshake
from tests.kit.played_network import LOOPBACK, OK, Played


def attempts(row: Probe) -> list[tuple[Any, Any]]:
    return [(attempt["outcome"], attempt["reply_code"]) for attempt in row.attempts or []]


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


def test_an_address_is_never_spoken_to_twice_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, lambda *_: "554 no\r\n", names_per_address=50)
    played.probe(*((f"mx{n}.example", "127.0.0.1") for n in range(20)))
    assert played.tries["127.0.0.1"] == 20 and played.most["127.0.0.1"] == 1


def test_a_network_has_its_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, lambda *_: "554 no\r\n", per_network=3)
    rows = played.probe(*((f"mx{n}.example", f"127.0.0.{n}") for n in range(1, 41)))
    assert len(rows) == 40 and played.most[network_of("127.0.0.1")] == 3


def test_the_lots_of_a_giant_network_keep_to_their_parts_of_its_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two lots in one process, as they may be when the other is busy with something else, and one name each address."""
    played = Played(monkeypatch, lambda *_: "554 no\r\n", per_network=8)

    async def one(lot: NetworkShare, first: int) -> None:
        rows = [Endpoint("smtp", f"mx{n}.example", f"127.0.0.{n}", 25) for n in range(first, 100, 2)]
        await played.prober.probe_endpoints(rows, played.rows.append, lot)

    async def both() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one, NetworkShare("7.0", 2), 1)
            tasks.start_soon(one, NetworkShare("7.1", 3), 2)

    anyio.run(both)
    assert len(played.rows) == 99
    assert played.most[network_of("127.0.0.1")] == 5


def test_memory_does_not_grow_with_the_names_at_one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard is bounded, but for this: a million parked domains, each its own mail host, at one address."""
    played = Played(monkeypatch, lambda *_: "554 no\r\n")

    def peak(names: int) -> int:
        counted = Counter[Any]()

        def emit(row: Probe) -> None:
            counted[row.outcome] += 1

        class Stored:
            def __iter__(self) -> Iterator[Endpoint]:
                return (Endpoint("smtp", f"mx{n}.example", "127.0.0.1", 25) for n in range(names))

        endpoints = Stored()
        tracemalloc.start()
        anyio.run(played.prober.probe_endpoints, endpoints, emit)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert counted == {Outcome.REJECTED: 16, Outcome.SAMPLED_OUT: names - 16}
        return most

    peak(1_000)
    assert peak(20_000) < peak(1_000) + 200_000


def test_a_provider_has_its_cap_across_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, lambda *_: "554 no\r\n", per_provider=4)
    rows = played.probe(*((f"mx{n}.big.example", f"127.{n}.0.1") for n in range(40)))
    assert len(rows) == 40 and played.most["big.example"] == 4


def test_processes_share_what_a_provider_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, lambda *_: "554 no\r\n", per_provider=4)
    played.prober = Prober(played.prober._config, processes=2)
    played.probe(*((f"mx{n}.big.example", f"127.{n}.0.1") for n in range(10)))
    assert played.most["big.example"] == 2


def test_a_provider_that_keeps_refusing_is_left_alone_and_then_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(
        monkeypatch, lambda *_: "554 blocked\r\n",
        per_provider=1, breaker_refusals=3, breaker_pause=0.01, breaker_trips=2,
    )  # fmt: skip
    rows = played.probe(*((f"mx{n}.big.example", f"127.{n}.0.1") for n in range(20)))
    outcomes = Counter(row.outcome for row in rows)
    assert outcomes == {Outcome.REJECTED: 6, Outcome.NOT_RUN: 14}
    assert all(row.stage is None and row.conclusive is False for row in rows if row.outcome is Outcome.NOT_RUN)


def test_a_provider_that_relents_is_probed_to_the_end_and_at_full_width(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = iter(range(100))
    played = Played(
        monkeypatch, lambda *_: "554 blocked\r\n" if next(tries) < 3 else OK, attempts=1,
        per_provider=3, breaker_refusals=3, breaker_pause=0.01,
    )  # fmt: skip
    rows = played.probe(*((f"mx{n}.big.example", f"127.{n}.0.1") for n in range(30)))
    assert Counter(row.outcome for row in rows) == {Outcome.REJECTED: 3, Outcome.CLOSED: 27}
    assert played.busy["big.example"] == 0 and played.most["big.example"] == 3


def test_silence_neither_refuses_nor_relents(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider whose IPv6 cannot be reached from here is given up for what its IPv4 says."""
    played = Played(
        monkeypatch, lambda address, _: "554 blocked\r\n" if address.startswith("127.0") else Outcome.UNREACHABLE,
        per_provider=1, breaker_refusals=3, breaker_pause=0.01, breaker_trips=2, attempts=1,
    )  # fmt: skip
    rows = played.probe(*((f"mx{n}.big.example", f"127.{n % 2}.{n}.1") for n in range(60)))
    assert Counter(row.outcome for row in rows)[Outcome.REJECTED] == 6


def test_an_address_counts_for_every_provider_with_a_name_there(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, lambda *_: "554 no\r\n", per_provider=2)
    endpoints = [(f"mx.vanity{n}.example", f"127.0.{n}.1") for n in range(12)]
    endpoints += [(f"mx{n}.big.example", f"127.0.{n}.1") for n in range(12)]
    assert len(played.probe(*endpoints)) == 24
    assert played.most["big.example"] <= 2


def test_an_address_that_does_not_answer_is_not_asked_under_its_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, lambda *_: Outcome.TIMEOUT, attempts=2)
    rows = played.probe(*((f"mx{n}.example", "127.0.0.1") for n in range(6)))
    assert played.tries["127.0.0.1"] == 2, "one name, tried twice"
    (probed,) = (row for row in rows if row.outcome is Outcome.TIMEOUT)
    assert {row.representative_host for row in rows if row is not probed} == {probed.host}


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


def test_opted_out_names_take_no_place_among_those_probed(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    played = Played(monkeypatch, lambda *_: "554 no\r\n", names_per_address=1)
    opt_outs = tmp_path / "optouts"
    opt_outs.write_text("a.example\nb.example\n")
    played.prober.exclusions.use(read_opt_outs(opt_outs))
    rows = played.probe(*((f"mx.{name}.example", "127.0.0.1") for name in "abc"))
    assert {row.host: row.outcome for row in rows} == {
        "mx.a.example": Outcome.OPTED_OUT, "mx.b.example": Outcome.OPTED_OUT, "mx.c.example": Outcome.REJECTED,
    }  # fmt: skip


@pytest.mark.parametrize("entry", ["mx.example", "optout.test", "127.0.0.1"])
def test_consent_is_asked_of_every_name_on_the_way_and_of_the_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, entry: str
) -> None:
    """A mail host that was an alias into an opted-out domain was connected to."""
    (tmp_path / "optouts").write_text(f"{entry}\n")
    connected: list[str] = []

    async def create_connection(*_: Any, **__: Any) -> None:
        connected.append("somebody")
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr("asyncio.base_events.BaseEventLoop.create_connection", create_connection)
    config = Config(ehlo_name="probe.example", exclude=str(tmp_path / "optouts"), allow_network=LOOPBACK)
    rows: list[Any] = []
    endpoint = Endpoint("smtp", "mx.example", "127.0.0.1", 25, aliases=["edge.provider.test", "mail.optout.test"])
    anyio.run(Prober(config).probe_endpoints, [endpoint], rows.append)
    (row,) = rows
    assert (row.outcome, row.stage, row.conclusive, connected) == (Outcome.OPTED_OUT, None, False, [])


def test_who_opts_out_while_a_connection_waits_for_the_rate_is_not_contacted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    opt_outs = tmp_path / "optouts"
    opt_outs.write_text("# nobody yet\n")
    pacing = Pacing(rate=2, attempts=1)
    prober = Prober(Config(ehlo_name="probe.example", exclude=str(opt_outs), allow_network=LOOPBACK, pacing=pacing))
    connected: list[str] = []

    async def create_connection(loop: Any, factory: Any, host: str, *_: Any, **__: Any) -> None:
        connected.append(host)
        await anyio.sleep(0.01)  # meanwhile the others come to wait for their turn
        opt_outs.write_text("a.example\nmail.optout.test\n")
        prober.exclusions.use(read_opt_outs(opt_outs))
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr("asyncio.base_events.BaseEventLoop.create_connection", create_connection)
    rows: list[Any] = []
    endpoints = [
        Endpoint("smtp", f"mx{n}.a.example", f"127.0.{n}.1", 25, aliases=["mail.optout.test"] if n % 2 else None)
        for n in range(3)
    ]
    anyio.run(prober.probe_endpoints, endpoints, rows.append)
    assert len(connected) == 1, "the others had their turn after the file was read again"
    assert sorted(row.outcome for row in rows) == [Outcome.CONNECTION_REFUSED] + [Outcome.OPTED_OUT] * 2
    assert all(row.stage is None for row in rows if row.outcome is Outcome.OPTED_OUT)


@pytest.mark.parametrize("entry", ["mx.example", "provider.test", "optout.test", "base.test", "127.0.0.1"])
def test_no_single_attempt_is_made_without_the_consent_of_every_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, entry: str
) -> None:
    """Whoever asks for an attempt (`probe` does), the last thing before a connection is to ask again."""
    (tmp_path / "optouts").write_text(f"{entry}\n")

    async def create_connection(*_: Any, **__: Any) -> None:
        raise AssertionError("connected")

    monkeypatch.setattr("asyncio.base_events.BaseEventLoop.create_connection", create_connection)
    config = Config(ehlo_name="probe.example", exclude=str(tmp_path / "optouts"), allow_network=LOOPBACK)
    endpoint = Endpoint(
        "smtp", "mx.example", "127.0.0.1", 25, "base.test", aliases=["edge.provider.test", "mail.optout.test"]
    )
    probe, chain = anyio.run(Prober(config).probe_one, endpoint)
    assert (probe.outcome, probe.stage, probe.started_at, chain) == (Outcome.OPTED_OUT, None, None, [])


def test_without_a_hybrid_hello_nothing_is_said_of_intolerance(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for resets in ((), {0}):
        row, _ = handshake(monkeypatch, LEAF, tmp_path, resets=resets, post_quantum=False)
        assert row.pq_intolerant is None and row.tls_group == "x25519"


def test_names_beyond_the_cap_are_inferred_from_one_that_was_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, lambda *_: "554 no\r\n", names_per_address=2)
    rows = played.probe(*((f"mx{n}.example", "127.0.0.1") for n in range(5)))
    sampled = [row for row in rows if row.outcome is Outcome.SAMPLED_OUT]
    assert len(sampled) == 3 and played.tries["127.0.0.1"] == 2
    probed = {row.host for row in rows} - {row.host for row in sampled}
    assert all(row.representative_host in probed and row.stage is None and not row.conclusive for row in sampled)


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
    shard = ProbedShard(played.rows.append, None, NetworkTime(Pacing()), StoredBudget(Limits()))
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


def test_the_rate_spreads_connections_over_time() -> None:
    now = [0.0]
    waits: list[float] = []

    async def run() -> None:
        budget = RateLimit(Pacing(rate=10), clock=lambda: now[0])
        for _ in range(5):
            await budget.turn()
            waits.append(now[0])

    async def sleep(seconds: float) -> None:
        now[0] += seconds

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crawler.politeness.pacing.anyio.sleep", sleep)
        anyio.run(run)
    assert waits[-1] >= 0.3 and waits == sorted(waits)


def test_lanes_wait_for_room_in_their_network_and_lose_nothing() -> None:
    async def run() -> list[str]:
        room = ConcurrencyLimits(Pacing(per_network=1, per_provider=9))
        lanes = AddressQueues([("127.0.0.1", "p", "a"), ("127.0.0.2", "p", "b"), ("127.0.1.1", "p", "c")], room)
        first, second = await lanes.take(), await lanes.take()
        assert first is not None and second is not None
        with anyio.move_on_after(0.05) as waited:
            await lanes.take()
        assert waited.cancelled_caught and len(lanes) == 1
        lanes.done(first)
        lanes.done(second)
        third = await lanes.take()
        assert third is not None and await lanes.take() is None
        return sorted(first.items + second.items + third.items)

    assert anyio.run(run) == ["a", "b", "c"]


def test_shards_of_one_process_share_the_room_of_a_provider() -> None:
    async def run() -> None:
        room = ConcurrencyLimits(Pacing(per_provider=1))
        one, other = AddressQueues([("127.0.0.1", "p", "a")], room), AddressQueues([("127.9.0.1", "p", "b")], room)
        lane = await one.take()
        assert lane is not None
        with anyio.move_on_after(0.05) as waited:
            await other.take()
        assert waited.cancelled_caught
        one.done(lane)
        assert await other.take() is not None

    anyio.run(run)


# --- which names at an address are probed -----------------------------------------------------------


def names_at(address: str, weights: dict[str, float]) -> list[Endpoint]:
    return [
        Endpoint("smtp", host, address, 25, weight=weight, chance=number / 1_000)
        for number, (host, weight) in enumerate(weights.items())
    ]


def probed(rows: list[Any]) -> set[str]:
    return {row.host for row in rows if isinstance(row, Probe) and row.outcome is not Outcome.SAMPLED_OUT}


def test_the_names_that_more_domains_use_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, lambda *_: "554 no\r\n", names_per_address=2)
    weights = {f"mx{n}.d{n}.example": float(n) for n in range(10)}
    anyio.run(played.prober.probe_endpoints, names_at("127.0.0.1", weights), played.rows.append)
    assert probed(played.rows) == {"mx9.d9.example", "mx8.d8.example"}


def test_many_names_of_one_domain_take_no_turns_from_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen names that point at a bank's address took the place of the bank's own."""
    played = Played(monkeypatch, lambda *_: "554 no\r\n")
    weights = {f"a{n}.evil.test": 1.0 for n in range(100)} | {"mx.bank.example": 0.5}
    anyio.run(played.prober.probe_endpoints, names_at("127.0.0.1", weights), played.rows.append)
    assert "mx.bank.example" in probed(played.rows) and len(probed(played.rows)) == 16


def test_names_of_the_domain_that_greets_come_before_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty domains of somebody's, each with more weight; and the address says whose it is."""
    played = Played(monkeypatch, lambda *_: "554 mx.bank.example no\r\n")
    weights = {f"mx.evil{n}.test": 1.0 for n in range(40)} | {"mx.bank.example": 0.5, "mx2.bank.example": 0.5}
    anyio.run(played.prober.probe_endpoints, names_at("127.0.0.1", weights), played.rows.append)
    assert {"mx.bank.example", "mx2.bank.example"} <= probed(played.rows) and len(probed(played.rows)) == 16


def test_a_name_that_is_left_out_is_represented_by_one_of_its_own_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, lambda *_: "554 no\r\n", names_per_address=2)
    weights = {"mx1.a.example": 3.0, "mx2.b.example": 2.0, "mx3.b.example": 1.0, "mx4.c.example": 1.0}
    anyio.run(played.prober.probe_endpoints, names_at("127.0.0.1", weights), played.rows.append)
    left = {row.host: row for row in played.rows if row.outcome is Outcome.SAMPLED_OUT}
    assert {host: (row.representative_host, row.representative_related) for host, row in left.items()} == {
        "mx3.b.example": ("mx2.b.example", True),
        "mx4.c.example": ("mx1.a.example", False),
    }


def test_endpoints_that_can_be_gone_through_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of those that are not probed would be missing."""
    played = Played(monkeypatch, lambda *_: "554 no\r\n")
    with pytest.raises(TypeError):
        anyio.run(played.prober.probe_endpoints, iter(names_at("127.0.0.1", {"mx.example": 1.0})), played.rows.append)


# --- what a network may take in all -----------------------------------------------------------------


def timed(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let every connection be taken to last so long."""
    genuine = room.Attempts.once

    async def once(self: room.Attempts, endpoint: Endpoint, took: room.Took, **options: Any) -> room.Finding:
        found = await genuine(self, endpoint, **options)
        took(seconds)
        return found

    monkeypatch.setattr(room.Attempts, "once", once)


def test_a_network_that_took_its_time_costs_the_run_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred silent addresses held up a run for as long as they liked; another network is none the worse."""
    timed(monkeypatch, 30.0)
    played = Played(
        monkeypatch,
        lambda address, _: Outcome.TIMEOUT if address.startswith("127.0.0.") else "554 no\r\n",
        total_seconds=300.0, per_network=8,
    )  # fmt: skip
    silent = [(f"mx{n}.flood.example", f"127.0.0.{n}") for n in range(1, 201)]
    rows = played.probe(*silent, ("mx.honest.test", "127.0.1.1"))
    outcomes = Counter(row.outcome for row in rows)
    assert sum(outcomes.values()) == 201 and outcomes[Outcome.REJECTED] == 1
    assert outcomes[Outcome.OVER_BUDGET] >= 180 and 10 <= sum(played.tries.values()) - 1 <= 17
    assert all(row.conclusive is False for row in rows if row.outcome is Outcome.OVER_BUDGET)


def test_what_was_found_before_the_time_was_up_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    timed(monkeypatch, 30.0)
    played = Played(monkeypatch, lambda *_: Outcome.TIMEOUT, total_seconds=25.0)
    (row,) = played.probe(("mx.example", "127.0.0.1"))
    assert attempts(row) == [(Outcome.TIMEOUT, None)], "no second try, and no other word for the first"


def test_a_provider_has_its_time_across_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    timed(monkeypatch, 30.0)
    played = Played(monkeypatch, lambda *_: Outcome.TIMEOUT, total_seconds=300.0, per_provider=4)
    rows = played.probe(*((f"mx{n}.flood.example", f"127.0.{n}.1") for n in range(100)))
    assert Counter(row.outcome for row in rows)[Outcome.OVER_BUDGET] >= 85


def test_an_endpoint_beyond_its_budget_gets_a_row_and_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, lambda *_: "554 no\r\n")
    rows = [Endpoint("smtp", "mx.example", f"127.0.0.{n}", 25, over_budget=n > 1) for n in (1, 2, 3)]
    anyio.run(played.prober.probe_endpoints, rows, played.rows.append)
    assert {row.address: row.outcome for row in played.rows} == {
        "127.0.0.1": Outcome.REJECTED, "127.0.0.2": Outcome.OVER_BUDGET, "127.0.0.3": Outcome.OVER_BUDGET,
    }  # fmt: skip
    assert set(played.tries) == {"127.0.0.1"}
    assert all(row.stage is row.started_at is row.attempts is None for row in played.rows if row.address != "127.0.0.1")


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
