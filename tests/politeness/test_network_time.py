"""What a network may take in all, and that nobody spends the time of strangers who share it."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.model.rows import Endpoint, Outcome
from crawler.politeness.network_time import NetworkTime
from crawler.politeness.pacing import AddressQueues, ConcurrencyLimits, network_of
from crawler.settings.config import Pacing, Timeouts
from tests.kit.played_network import Played, timed

NETWORK = network_of("192.0.2.1")
PACING = Pacing(total_seconds=100.0, total_seconds_per_domain=10.0, ordinary_seconds=0.0)


def spent(pacing: Pacing, *owners: tuple[str, float, float], shards: int = 1) -> NetworkTime:
    """A network with owners of these weights and chances, and one of weight 1 that has taken all of its time."""
    time = NetworkTime(pacing, shards)
    time.allow(NETWORK, "hostile.test", 1.0, 0.0)
    for owner, weight, chance in owners:
        time.allow(NETWORK, owner, weight, chance)
    while not time.is_spent(NETWORK):
        assert time.may_begin(NETWORK, "hostile.test"), "until then it has no neighbours to mind"
        time.take(NETWORK, "hostile.test", 7.0)
    return time


def test_who_took_the_time_of_a_network_stops_and_its_neighbours_do_not() -> None:
    time = spent(PACING, *((f"honest{n}.test", 1.0, 0.9) for n in range(20)))
    assert not time.may_begin(NETWORK, "hostile.test")
    assert all(time.may_begin(NETWORK, f"honest{n}.test") for n in range(20))
    time.take(NETWORK, "honest0.test", 20.0)
    assert not time.may_begin(NETWORK, "honest0.test"), "it has had its part as well"
    assert time.may_begin(NETWORK, "honest1.test")


def test_many_owners_that_one_domain_names_have_together_what_one_owner_has() -> None:
    """Registrable domains can be had for nothing; listed domains are what somebody lists."""
    time = spent(PACING, *((f"sybil{n}.test", 0.01, n / 100) for n in range(100)))
    assert sum(time.may_begin(NETWORK, f"sybil{n}.test") for n in range(100)) == 4


def test_a_network_has_nothing_from_the_time_of_another_and_a_stranger_no_part() -> None:
    time = spent(PACING)
    assert not time.is_spent(network_of("198.51.100.1")) and time.may_begin(network_of("198.51.100.1"), "hostile.test")
    assert not time.may_begin(NETWORK, "unheard-of.test")


def test_shards_divide_the_time_of_a_network() -> None:
    time = spent(PACING, shards=4)
    assert 35.0 <= time._networks[NETWORK].taken < 42.0


def test_ordinary_seconds_are_nobodys() -> None:
    time = NetworkTime(Pacing(total_seconds=1.0, total_seconds_per_domain=0.0, ordinary_seconds=5.0))
    for _ in range(1_000):
        time.take(NETWORK, "honest.test", 5.0)
    assert not time.is_spent(NETWORK)


@settings(max_examples=200)
@given(
    st.lists(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=20), min_size=1, max_size=6),
    st.integers(1, 8),
    st.randoms(use_true_random=False),
)
def test_the_time_of_a_network_is_bounded_whatever_names_domains_publish(
    domains: list[list[float]], at_once: int, chance: random.Random
) -> None:
    """Every owner takes whatever it may, `at_once` connections until the time is spent and then one each."""
    longest = 40.0
    time = NetworkTime(PACING)
    weights: dict[str, float] = {}
    chances: dict[str, float] = {}
    for number, shares in enumerate(domains):
        for which, share in enumerate(shares):
            owner = f"d{number}-{which}.test"
            weights[owner], chances[owner] = share / sum(shares), chance.random()
            time.allow(NETWORK, owner, weights[owner], chances[owner])
    total, willing = 0.0, list(weights)
    while willing:
        owner = chance.choice(willing)
        width = 1 if time.is_spent(NETWORK) else at_once
        if not time.may_begin(NETWORK, owner):
            willing.remove(owner)
            continue
        for _ in range(width):
            time.take(NETWORK, owner, longest)
            total += longest
    allowed = 100.0 + 10.0 * len(domains)
    lucky = sum(chances[owner] < 4 * weight for owner, weight in weights.items())
    assert total <= 2 * allowed + (at_once + lucky) * longest + 1e-6


def test_where_the_time_of_a_network_is_spent_an_owner_has_one_connection_at_a_time() -> None:
    is_spent = [False]

    async def most() -> int:
        room = ConcurrencyLimits(Pacing(per_network=4))
        items = [(f"192.0.2.{number}", "a.test", number) for number in range(8)]
        lanes = AddressQueues([*items, ("192.0.2.99", "b.test", 99)], room, None, lambda _: is_spent[0])
        taken = []
        with anyio.move_on_after(0.05):
            while (lane := await lanes.take()) is not None:
                taken.append(lane)
        owners = Counter(lane.keys[1] for lane in taken)
        for lane in taken:
            lanes.done(lane)
        rest = 0
        while rest < 9 - len(taken):
            with anyio.fail_after(5):
                lane = await lanes.take()
            assert lane is not None
            lanes.done(lane)
            rest += 1
        return owners["a.test"]

    assert anyio.run(most) >= 3
    is_spent[0] = True
    assert anyio.run(most) == 1


def neighbours(hostile: int, honest: int) -> list[Endpoint]:
    """A domain with tarpits under four registrable domains, and its neighbours, who have a listed domain each."""
    rows = [
        Endpoint("smtp", f"mx.evil{n % 4}.test", f"127.0.0.{n}", 25, network_weight=1 / hostile, chance=0.1)
        for n in range(1, hostile + 1)
    ]
    honest_rows = [
        Endpoint("smtp", f"mx.honest{n}.test", f"127.0.0.{200 + n}", 25, network_weight=1.0, chance=0.9)
        for n in range(honest)
    ]
    return [*rows, *honest_rows]


def test_neighbours_of_a_tarpit_are_probed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """One hostile domain in a /24, or in a cloud's /48, made its neighbours `over_budget`."""

    def slowly(self: Any, network: bytes, owner: str, seconds: float) -> None:
        genuine(self, network, owner, 60.0 if owner.startswith("evil") else 0.1)

    genuine = NetworkTime.take
    monkeypatch.setattr(NetworkTime, "take", slowly)
    played = Played(
        monkeypatch,
        lambda address, _: Outcome.TIMEOUT if int(address.split(".")[3]) < 200 else "554 no\r\n",
        total_seconds=300.0, total_seconds_per_domain=2.0, ordinary_seconds=1.0, per_provider=8,
    )  # fmt: skip
    anyio.run(played.prober.probe_endpoints, neighbours(128, 20), played.rows.append)
    outcomes = {
        word: Counter(row.outcome for row in played.rows if word in (row.host or "")) for word in ("evil", "honest")
    }
    assert outcomes["honest"] == {Outcome.REJECTED: 20}
    assert outcomes["evil"][Outcome.OVER_BUDGET] >= 100


def test_the_time_that_silent_hosts_of_one_domain_take_is_what_the_settings_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timed(monkeypatch, 30.0)
    played = Played(monkeypatch, lambda *_: Outcome.TIMEOUT, total_seconds=300.0, total_seconds_per_domain=30.0)
    anyio.run(played.prober.probe_endpoints, neighbours(128, 0), played.rows.append)
    at_once = Pacing().per_network
    assert 330 <= 30 * sum(played.tries.values()) <= 2 * 330 + (at_once + 4) * 30


def test_the_page_for_citizens_says_the_bound() -> None:
    page = " ".join((Path(__file__).parents[2] / "docs" / "citizenship.md").read_text("utf-8").split())
    pacing, longest = Pacing(), Timeouts().target - Pacing().ordinary_seconds
    bound = 2 * (pacing.total_seconds + pacing.total_seconds_per_domain) + (pacing.per_network + 4) * longest
    assert f"costs a network about {bound:,.0f} seconds" in page
