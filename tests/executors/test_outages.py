"""A night that went wrong says so: outages of mail hosts and of the resolver."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.executors.lookout import Lookout
from crawler.executors.outages import FailureWindow
from crawler.executors.witnesses import Witnesses, provider_of
from crawler.lab.accuracy.compare import compare_run
from crawler.model.rows import Endpoint, Outcome, Probe, Stage
from crawler.politeness.pacing import network_of
from crawler.settings.config import Watch

ROOT = Path(__file__).resolve().parent.parent.parent

# --- the window of failures -------------------------------------------------------------------------

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


# --- strangers ----------------------------------------------------------------------------------------

ENDPOINTS = 128
"""What one listed domain may have, in networks and registrable domains of its choice."""


def honest(number: int) -> Endpoint:
    address = f"10.{number // 250}.{number % 250}.1"
    return Endpoint("smtp", f"mx.honest{number}.test", address, 25, weight=1.0)


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


# --- whole scans of the lab -------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


class Night:
    """A lab with outages, and scans of it by the command."""

    def __init__(self, folder: Path, domains: int = 260) -> None:
        self.folder, self._domains = folder, domains
        self._ports = free_port(), free_port(), free_port()

    @contextmanager
    def lab(self, *outages: str) -> Iterator[None]:
        options = [word for outage in outages for word in ("--outage", outage)]
        command = [
            sys.executable,
            "-m",
            "crawler",
            "lab",
            "--domains",
            str(self._domains),
            "--dir",
            str(self.folder / "lab"),
        ]
        smtp, dns, https = map(str, self._ports)
        lab = subprocess.Popen(
            [*command, "--smtp-port", smtp, "--dns-port", dns, "--https-port", https, "--until-eof", *options],
            cwd=ROOT,
            stdin=subprocess.PIPE,
        )
        try:
            give_up = time.monotonic() + 60
            while not (self.folder / "lab" / "lab.toml").exists():
                assert lab.poll() is None and time.monotonic() < give_up
                time.sleep(0.05)
            settings = (self.folder / "lab" / "lab.toml").read_text()
            watch = "\n[watch]\nconnections = 12\nnetworks = 6\npause = 0.2\npatience = 3.0\nresolver_every = 0.2\n"
            (self.folder / "night.toml").write_text(settings.replace('"opt-outs', f'"{self.folder}/lab/opt-outs').replace(
                '"ca.pem', f'"{self.folder}/lab/ca.pem') + watch)  # fmt: skip
            yield
        finally:
            assert lab.stdin is not None
            lab.stdin.close()
            lab.wait(20)

    def scan(self) -> tuple[int, str]:
        command = [sys.executable, "-m", "crawler", "scan", str(self.folder / "lab" / "list.txt"), "--run", "night"]
        options = ["--data", str(self.folder / "data"), "--config", str(self.folder / "night.toml"), "--workers", "2"]
        done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
        return done.returncode, done.stderr

    @property
    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "data" / "run=night" / "manifest.json").read_text())
        return found

    def disagreements(self) -> list[str]:
        """What in the dataset is not the truth."""
        return compare_run(self.folder / "data" / "run=night", self.folder / "lab" / "list.txt", seed=1).disagreements


@pytest.mark.timeout(180)
@pytest.mark.parametrize("outages", [("mail:60:2.5",), ("resolver:300:2.5",), ("resolver:200:2", "mail:80:2.5")])
def test_what_lay_in_an_outage_is_done_again_and_the_dataset_is_the_truth(
    tmp_path: Path, outages: tuple[str, ...]
) -> None:
    night = Night(tmp_path)
    with night.lab(*outages):
        code, err = night.scan()
    assert code == 0, err
    found = night.manifest["outages"]
    assert found and all(outage["until"] > outage["since"] for outage in found), err
    assert "waiting, and doing again" in err and "the outage is over" in err
    if outages == ("mail:60:2.5",):
        assert 3 <= len({address for _, address in found[0]["asked"]}) <= 20
    assert night.disagreements() == []


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("outage", "words"),
    [("mail:60:0", "mail hosts that answered before cannot be reached"), ("resolver:300:0", "no resolver answers")],
)
def test_an_outage_that_lasts_ends_the_scan_and_the_same_command_completes_it(
    tmp_path: Path, outage: str, words: str
) -> None:
    night = Night(tmp_path)
    with night.lab(outage):
        code, err = night.scan()
    assert code == 1 and words in err.splitlines()[-1] and "Traceback" not in err, err
    assert night.manifest["state"] == "interrupted" and words in night.manifest["problem"]
    with night.lab():
        code, err = night.scan()
    assert code == 0, err
    # The second lab has another root, and chains are judged by the run's own; everything else is the truth.
    # A chain that was cut, and that no longer ends in a known root, has no verdict at all.
    anchored = (
        "chain_trusted",
        "strict_valid",
        "dane",
        "mta_sts",
        "incomplete_chains",
        "policy_list",
        "many-certificates",
    )
    assert [line for line in night.disagreements() if not any(word in line for word in anchored)] == []


@pytest.mark.timeout(180)
def test_a_run_that_is_finished_and_cannot_be_right_is_suspect(tmp_path: Path) -> None:
    """Nobody ever answered, so that nobody can be asked again: a blocked port looks like that."""
    night = Night(tmp_path)
    with night.lab("mail:0:0"):
        code, err = night.scan()
        assert code == 1, err
        assert night.manifest["state"] == "suspect" and "is port 25 open" in night.manifest["suspicions"][0]
        assert "suspect, and is not read by default" in err
        assert night.scan()[0] == 1, "the same command does not take it for a good one"
