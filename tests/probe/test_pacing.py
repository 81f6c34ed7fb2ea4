"""How many connections at once to an address, a network, a provider; whom PROBE leaves alone."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from crawler.model.rows import Endpoint, Outcome, Probe
from crawler.politeness.pacing import AddressQueues, ConcurrencyLimits, NetworkShare, RateLimit, network_of
from crawler.probe.prober import Prober
from crawler.settings.config import Pacing
from tests.kit.played_network import OK, Played, attempts, timed


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
