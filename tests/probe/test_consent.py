"""Nobody is contacted without the consent of every name on the way."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from crawler.model.rows import Endpoint, Outcome
from crawler.politeness.opt_out_file import read_opt_outs
from crawler.probe.prober import Prober
from crawler.settings.config import Config, Pacing
from tests.kit.played_network import LOOPBACK, Played


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
