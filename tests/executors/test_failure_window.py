"""When a row of failures is an alarm."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from crawler.executors.outages import FailureWindow
from crawler.model.rows import Endpoint, Outcome, Probe, Stage
from crawler.settings.config import Watch

SETTINGS = Watch(connections=20, networks=10, answering=0.1, asked_again=5)


def tried(window: FailureWindow, number: int, outcome: Outcome, now: float = 0.0) -> bool:
    stage = Stage.DONE if outcome is Outcome.OK else Stage.CONNECT
    address = f"192.{number // 250}.{number % 250}.1"
    endpoint = Endpoint("smtp", f"mx.example{number}.test", address, 25, weight=1.0)
    return window.note(endpoint, Probe(stage=stage, outcome=outcome), now)


@pytest.mark.parametrize(
    "outcome", [Outcome.CONNECTION_REFUSED, Outcome.TIMEOUT, Outcome.UNREACHABLE, Outcome.INTERNAL_ERROR]
)
def test_failures_in_many_networks_are_an_alarm_and_the_last_answer_dates_it(outcome: Outcome) -> None:
    window = FailureWindow(SETTINGS)
    assert not any(tried(window, n, Outcome.OK, float(n)) for n in range(30))
    alarms = [tried(window, 100 + n, outcome, 99.0) for n in range(20)]
    assert alarms.index(True) == 17, "two of twenty may have stood"
    assert window.last_answer == 29.0


def test_failures_in_few_networks_or_beside_answers_are_none() -> None:
    window = FailureWindow(SETTINGS)
    assert not any(tried(window, n % 5, Outcome.TIMEOUT) for n in range(100))
    window = FailureWindow(SETTINGS)
    assert not any(tried(window, n, Outcome.OK if n % 6 == 0 else Outcome.TIMEOUT) for n in range(200))


def test_a_host_that_greets_and_then_fails_is_there() -> None:
    window = FailureWindow(SETTINGS)
    for number in range(100):
        probe = Probe(stage=Stage.GREETING, outcome=Outcome.TIMEOUT)
        assert not window.note(Endpoint("smtp", "mx.example", f"192.0.{number}.1", 25), probe, 0.0)


def test_a_connection_that_ends_late_is_an_answer_of_when_it_was_made() -> None:
    window = FailureWindow(SETTINGS)
    began = datetime(2026, 1, 1, tzinfo=UTC)
    probe = Probe(stage=Stage.DONE, outcome=Outcome.OK, started_at=began, connect_ms=500.0)
    window.note(Endpoint("smtp", "mx.example", "192.0.2.1", 25), probe, began.timestamp() + 60)
    assert window.last_answer == began.timestamp() + 0.5


def test_an_alarm_in_vain_has_the_next_one_wait_for_more_connections() -> None:
    """A list of dead hosts had honest hosts asked again for every sixty of them."""
    window = FailureWindow(SETTINGS)
    alarms = []
    for number in range(1_000):
        if tried(window, number, Outcome.TIMEOUT):
            alarms.append(number)
            window.calm()
    assert alarms == [19, 59, 139, 299, 459, 619, 779, 939]
    window.calm(in_vain=False)
    assert next(n for n in range(40) if tried(window, n, Outcome.TIMEOUT)) == 19, "an outage was no vain alarm"
