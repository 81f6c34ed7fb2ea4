"""Whether an alarm holds: witnesses, and strangers who would like to make one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.executors.lookout import Lookout
from crawler.executors.witnesses import Witnesses, provider_of
from crawler.model.rows import Endpoint, Outcome, Probe, Stage
from crawler.politeness.pacing import network_of
from crawler.settings.config import Watch
from tests.kit.honest_hosts import honest

ENDPOINTS = 128
"""What one listed domain may have, in networks and registrable domains of its choice."""


def of_strangers(count: int, hosts: int) -> list[Endpoint]:
    """The endpoints of so many listed domains with so many mail hosts each, so that those of one do not follow each other."""
    return [
        Endpoint("smtp", f"mx.evil{number}x{n % hosts}.test", f"2001:db8:{number * ENDPOINTS + n:x}::1", 25, weight=1 / hosts)
        for n in range(ENDPOINTS)
        for number in range(count)
    ]  # fmt: skip


class Watched:
    """Attempts told to a lookout, and who is there when it asks again."""

    def __init__(self, **watch: Any) -> None:
        self.said: list[str] = []
        self.asked: list[str | None] = []
        self.is_there = lambda endpoint: True
        watch = {"pause": 0.05, "patience": 0.1, **watch}
        self.lookout = Lookout(Watch(**watch), self.ask, self.hear)

    def hear(self, message: dict[str, Any]) -> None:
        self.said += {message["event"]} - {"doubt", "calm"}

    async def ask(self, endpoint: Endpoint) -> tuple[Probe, None]:
        self.asked.append(endpoint.host)
        return self.probe(self.is_there(endpoint)), None

    @staticmethod
    def probe(answers: bool) -> Probe:
        if answers:
            return Probe(stage=Stage.DONE, outcome=Outcome.OK)
        return Probe(stage=Stage.CONNECT, outcome=Outcome.CONNECTION_REFUSED)

    def tried(self, endpoint: Endpoint, answers: bool) -> None:
        self.lookout.hear(endpoint, self.probe(answers))

    def goes_on(self, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> list[str]:
        """What was said after that time."""

        async def main() -> None:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.lookout.watch)
                await anyio.sleep(0.02)
                meanwhile()
                await anyio.sleep(seconds)
                tasks.cancel_scope.cancel()

        anyio.run(main)
        return self.said


@pytest.mark.parametrize("strangers", [1, 5, 10])
@pytest.mark.parametrize("hosts", [1, 8, 100])
@pytest.mark.parametrize("before", [0, 60, 900])
def test_strangers_among_a_thousand_domains_make_no_alarm_whenever_they_answer_and_refuse(
    strangers: int, hosts: int, before: int
) -> None:
    night = Watched()
    for number in range(before):
        night.tried(honest(number), number % 10 != 0)
    mine = of_strangers(strangers, hosts)
    for number, endpoint in enumerate(mine):
        night.tried(endpoint, number < len(mine) // 4)
    assert night.goes_on(0.1) == [] and night.asked == []


@pytest.mark.parametrize("strangers", [30, 100])
def test_an_alarm_of_many_strangers_does_not_hold_as_witnesses_are_drawn_from_the_whole_run(strangers: int) -> None:
    night = Watched()
    for number in range(1_000):
        night.tried(honest(number), number % 10 != 0)
    mine = of_strangers(strangers, 1)
    for number, endpoint in enumerate(mine):
        night.tried(endpoint, number < len(mine) // 4)
    night.is_there = lambda endpoint: "honest" in str(endpoint.host)
    assert night.goes_on(0.2) == []
    assert 3 <= len(night.asked) <= 20, "there was an alarm"


def test_an_alarm_with_nobody_but_strangers_to_ask_does_not_hold_while_somebody_else_answers() -> None:
    """At the beginning of a run, when dead hosts and a stranger's are the first whose attempts have ended."""
    night = Watched(pause=0.1)
    for endpoint in of_strangers(1, 8)[:4]:
        night.tried(endpoint, True)
    for number in range(60):
        night.tried(honest(number), False)
    night.is_there = lambda endpoint: False
    assert night.goes_on(0.3, lambda: night.tried(honest(100), True)) == []
    assert len(night.asked) >= 3, "there was an alarm"


@pytest.mark.parametrize("before", [10, 1_000])
def test_an_outage_is_one_and_witnesses_are_drawn_anew_but_not_more_than_may_be(before: int) -> None:
    night = Watched(patience=1.5)
    for number in range(before):
        night.tried(honest(number), True)
    for number in range(60):
        night.tried(honest(2_000 + number), False)
    night.is_there = lambda endpoint: False
    assert night.goes_on(3.5) == ["outage", "gone"]
    assert len(set(night.asked)) == min(before, 20) and len(night.asked) > len(set(night.asked))


def test_an_outage_is_over_when_a_witness_is_back() -> None:
    night = Watched(patience=5.0)
    for number in range(100):
        night.tried(honest(number), True)
    for number in range(60):
        night.tried(honest(2_000 + number), False)
    night.is_there = lambda endpoint: len(night.asked) > 15
    assert night.goes_on(2.0) == ["outage", "over"]


@given(shares=st.lists(st.integers(1, 40), min_size=1, max_size=5), seed=st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_witnesses_have_providers_and_networks_of_their_own(shares: list[int], seed: int) -> None:
    witnesses = Witnesses(16)
    for number in range(200):
        host, network = f"mx{number}.p{number % sum(shares)}.test", (number * 7 + seed) % 50
        witnesses.note(Endpoint("smtp", host, f"10.0.{network}.{number}", 25, weight=1.0))
    drawn = witnesses.draw(5)
    drawn += witnesses.draw(5, drawn)
    assert len({provider_of(endpoint) for endpoint in drawn}) == len(drawn)
    assert len({network_of(str(endpoint.address)) for endpoint in drawn}) == len(drawn)


def test_who_answers_often_under_many_names_is_drawn_no_more_than_the_weight_of_one_domain() -> None:
    """100 strangers of 1,000 who answer ten times each: one in ten of those drawn, and not nearly all."""
    found = 0
    for _ in range(20):
        witnesses = Witnesses(100)
        for number in range(900):
            witnesses.note(honest(number))
        for endpoint in of_strangers(100, 8):
            witnesses.note(endpoint)
        found += sum("evil" in str(endpoint.host) for endpoint in witnesses.draw(20))
    assert found < 100, "of 400; forty are expected"
