"""Turns at policy hosts: who waits for whom, and who is waited for no longer."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import pytest

from crawler.politeness import policy_pacing
from crawler.politeness.policy_pacing import PolicyPacing
from crawler.settings.config import Config


def pacing(processes: int = 1, **https: Any) -> PolicyPacing:
    return PolicyPacing(Config.from_mapping({"https": https}), processes)


def most_at_once(pace: PolicyPacing, addresses: list[str]) -> tuple[int, Counter[str]]:
    """How many were there at once in all, and at each address, when all come together and each stays a while."""
    now: Counter[str] = Counter()
    most: Counter[str] = Counter()
    most_in_all = 0

    async def visit(address: str) -> None:
        nonlocal most_in_all
        async with pace.room(address):
            now[address] += 1
            most[address] = max(most[address], now[address])
            most_in_all = max(most_in_all, now.total())
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            now[address] -= 1

    async def visit_all() -> None:
        async with anyio.create_task_group() as tasks:
            for address in addresses:
                tasks.start_soon(visit, address)

    anyio.run(visit_all)
    assert not pace.places
    return most_in_all, most


def test_the_limits_hold_for_an_address_and_for_its_network() -> None:
    addresses = [f"192.0.2.{n % 8}" for n in range(80)]
    in_all, each = most_at_once(pacing(per_address=3, per_network=10), addresses)
    assert in_all == 10 and max(each.values()) <= 3
    in_all, _ = most_at_once(pacing(per_address=3, per_network=10), [f"2001:db8:0:{n:x}::1" for n in range(40)])
    assert in_all == 10, "a /48 has one limit, whatever the /64"
    in_all, _ = most_at_once(pacing(per_address=3, per_network=10), [f"192.0.{n % 4}.1" for n in range(40)])
    assert in_all == 12, "other networks have room of their own"


@pytest.mark.parametrize(("processes", "share"), [(1, 4), (2, 2), (3, 1), (64, 1)])
def test_processes_divide_what_an_address_and_a_network_take(processes: int, share: int) -> None:
    in_all, _ = most_at_once(pacing(processes, per_address=4, per_network=100), ["192.0.2.1"] * 20)
    assert in_all == share
    in_all, _ = most_at_once(pacing(processes, per_address=100, per_network=4), ["192.0.2.1"] * 20)
    assert in_all == share


def test_who_waits_for_a_crowded_place_takes_up_no_room_of_the_process() -> None:
    pace = pacing(per_address=1, per_network=2, in_flight=4)
    came: list[str] = []

    async def stay(address: str) -> None:
        async with pace.room(address):
            came.append(address)
            await anyio.sleep_forever()

    async def crowd_then_others() -> None:
        async with anyio.create_task_group() as tasks:
            for address in (
                ["192.0.2.1"] * 20 + [f"192.0.2.{n}" for n in range(2, 20)] + ["198.51.100.1", "203.0.113.1"]
            ):
                tasks.start_soon(stay, address)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()

    anyio.run(crowd_then_others)
    assert len(came) == 4 and {"198.51.100.1", "203.0.113.1"} < set(came)
    assert not pace.places, "who is interrupted while it waits leaves nothing behind"


def test_an_answer_ends_the_count_of_silences() -> None:
    pace = pacing(failures=2)
    pace.was_silent("192.0.2.1")
    pace.has_answered("192.0.2.1")
    pace.was_silent("192.0.2.1")
    assert not pace.given_up("192.0.2.1")
    pace.was_silent("192.0.2.1")
    assert pace.given_up("192.0.2.1") and not pace.given_up("192.0.2.2")


def test_fetches_of_ordinary_length_add_up_to_nothing() -> None:
    pace = pacing(ordinary_seconds=3, slow_seconds=100)
    for _ in range(10_000):
        pace.took("a.example", 3.0)
    pace.took("slow.example", 63.0)
    assert not pace.is_spent("a.example") and not pace.is_spent("slow.example")
    pace.took("slow.example", 43.0)
    assert pace.is_spent("slow.example") and not pace.is_spent("a.example")


def test_what_is_remembered_does_not_grow_and_the_last_met_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_pacing, "_KEPT", 3)
    pace = pacing(failures=1, ordinary_seconds=0, slow_seconds=1)
    for n in range(10):
        pace.was_silent(f"192.0.2.{n}")
        pace.took(f"d{n}.example", 1.0)
        pace.was_silent("192.0.2.0")
        pace.took("d0.example", 1.0)
    assert [n for n in range(10) if pace.given_up(f"192.0.2.{n}")] == [0, 8, 9]
    assert [n for n in range(10) if pace.is_spent(f"d{n}.example")] == [0, 8, 9]
