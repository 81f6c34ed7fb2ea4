"""Which names at one address are probed, and who stands for the others."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from crawler.model.rows import Outcome
from tests.kit.played_network import Played, names_at, probed


def test_names_beyond_the_cap_are_inferred_from_one_that_was_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, lambda *_: "554 no\r\n", names_per_address=2)
    rows = played.probe(*((f"mx{n}.example", "127.0.0.1") for n in range(5)))
    sampled = [row for row in rows if row.outcome is Outcome.SAMPLED_OUT]
    assert len(sampled) == 3 and played.tries["127.0.0.1"] == 2
    probed = {row.host for row in rows} - {row.host for row in sampled}
    assert all(row.representative_host in probed and row.stage is None and not row.conclusive for row in sampled)


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
