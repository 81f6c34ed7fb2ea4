"""PROBE against a network that is a function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from crawler.model.rows import Endpoint, Outcome, Probe
from crawler.politeness.pacing import network_of
from crawler.probe import attempt as room
from crawler.probe.conversation import Conversation
from crawler.probe.prober import Prober
from crawler.protocols.registry import service
from crawler.settings.config import Config, Pacing

LOOPBACK = ("127.0.0.0/8",)
OK = "220 mx\r\n"
Script = Callable[[str, int], str | Outcome]


class Played:
    """Runs a `Prober` whose network is a function: (address, number of the try) -> banner or ending."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, script: Script, *, unconnected: bool = False, **pacing: Any
    ) -> None:
        self.tries: Counter[str] = Counter()
        self.busy: Counter[str | bytes] = Counter()
        self.most: Counter[str | bytes] = Counter()
        self.rows: list[Any] = []
        self.script = script
        self.unconnected = unconnected  #: no connection ever stands
        monkeypatch.setattr(room, "run_conversation", self.run_conversation)
        settings = {
            "ordinary_seconds": 0.0,
            "retry_delay": 0.0,
            "attempts": 2,
            "address_pause": 0.0,
            "breaker_refusals": 0,
        } | pacing
        self.prober = Prober(Config(allow_network=LOOPBACK, ehlo_name="probe.example", pacing=Pacing(**settings)))

    async def run_conversation(self, talk: Conversation, address: str, port: int, **_: Any) -> None:
        keys = (address, network_of(address), ".".join((talk.probe.host or "").split(".")[-2:]))
        for key in keys:
            self.busy[key] += 1
            self.most[key] = max(self.most[key], self.busy[key])
        self.tries[address] += 1
        if not self.unconnected:
            talk.connected()
        await anyio.sleep(0.001)
        answer = self.script(address, self.tries[address])
        if isinstance(answer, Outcome):
            talk.end(answer)
        else:
            talk.receive(answer.encode())
        talk.end(Outcome.CLOSED)
        for key in keys:
            self.busy[key] -= 1

    def probe(self, *endpoints: tuple[str, str], services: tuple[str, ...] = ("smtp",)) -> list[Probe]:
        rows = [
            Endpoint(one.protocol.name, host, address, one.port, form=one.form)
            for one in map(service, services)
            for host, address in endpoints
        ]
        return self.probe_all(rows)

    def probe_all(self, rows: list[Endpoint]) -> list[Probe]:
        anyio.run(self.prober.probe_endpoints, rows, self.rows.append)
        return [row for row in self.rows if isinstance(row, Probe)]


def timed(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let every connection be taken to last so long."""
    genuine = room.Attempts.once

    async def once(self: room.Attempts, endpoint: Endpoint, took: room.Took, **options: Any) -> room.Finding:
        found = await genuine(self, endpoint, **options)
        took(seconds)
        return found

    monkeypatch.setattr(room.Attempts, "once", once)


def attempts(row: Probe) -> list[tuple[Any, Any]]:
    """Outcome and reply code of each attempt."""
    return [(attempt["outcome"], attempt["reply_code"]) for attempt in row.attempts or []]


def names_at(address: str, weights: dict[str, float]) -> list[Endpoint]:
    """Endpoints at one address, by the mail that their names take."""
    return [
        Endpoint("smtp", host, address, 25, weight=weight, chance=number / 1_000)
        for number, (host, weight) in enumerate(weights.items())
    ]


def probed(rows: list[Any]) -> set[str]:
    """The hosts that were probed themselves."""
    return {row.host for row in rows if isinstance(row, Probe) and row.outcome is not Outcome.SAMPLED_OUT}
