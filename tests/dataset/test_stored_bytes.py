"""What one provider can make a run store: its certificates have a budget of bytes, beyond which a row says so."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import anyio
import pytest

from crawler.certificates.parsing import ParsedCertificate, load
from crawler.model.row_weights import WEIGHTS
from crawler.model.rows import Certificate, Endpoint, Outcome, Probe
from crawler.politeness.budgets import StoredBudget
from crawler.politeness.network_time import NetworkTime
from crawler.probe.prober import Prober
from crawler.probe.shard_rows import ProbedShard, without_text
from crawler.settings.config import Config, Limits, Pacing
from tests.kit.chains import Subject, der
from tests.kit.conversations import LEAF
from tests.kit.handshakes import handshake

ROOT = Subject("Root")
CHAIN = [load(der(ROOT.leaf(f"mx{number}.example"))) for number in range(6)]
ONE = max(WEIGHTS[Certificate](known.row) for known in CHAIN)


def shard(affordable: float, rows: list[Any]) -> ProbedShard:
    """A shard whose providers can each afford so many certificates."""
    limits = Limits(stored_bytes=int(affordable * ONE), stored_bytes_per_domain=0)
    return ProbedShard(rows.append, None, NetworkTime(Pacing()), StoredBudget(limits, Pacing()))


def stored(rows: list[Any]) -> dict[str, bool]:
    """Digests of the rows, in their order, and whether they are whole."""
    return {row.sha256: row.der is not None for row in rows if isinstance(row, Certificate)}


def test_beyond_the_budget_a_certificate_keeps_its_row_and_nothing_of_any_length() -> None:
    rows: list[Certificate] = []
    shard(2, rows).store(CHAIN, "d.example")
    assert [row.over_budget for row in rows] == [None, None, True, True, True, True]
    (cut, plain) = rows[-1], CHAIN[-1].row
    assert {f.name: getattr(cut, f.name) for f in fields(cut) if getattr(cut, f.name) != getattr(plain, f.name)} == {
        "over_budget": True, "der": None, "names": None, "names_dropped": None,
        "subject": None, "issuer": None, "common_name": None,
    }  # fmt: skip
    assert cut.sha256 and cut.spki_sha256 and cut.not_after and cut.key_type and cut.self_signed is False
    assert CHAIN[-1].row.der, "the verdicts of this process still have it"


def test_what_one_provider_cannot_afford_another_can() -> None:
    rows: list[Certificate] = []
    made = shard(2, rows)
    made.store(CHAIN[:3], "hostile.example")
    made.store(CHAIN[:3], "hostile.example")
    made.store(CHAIN[1:3], "honest.example")
    made.store(CHAIN[:3], "hostile.example")
    assert [(row.sha256, row.over_budget) for row in rows] == [
        (CHAIN[0].row.sha256, None), (CHAIN[1].row.sha256, None), (CHAIN[2].row.sha256, True), (CHAIN[2].row.sha256, None),
    ]  # fmt: skip


def test_a_stapled_response_is_paid_from_the_same_budget() -> None:
    rows: list[Any] = []
    made = shard(1, rows)
    for number in range(3):
        row = Probe(host=f"mx{number}.d.example", ocsp_staple=bytes(ONE // 2), ocsp_staple_bytes=ONE // 2)
        made.finish(row, Endpoint(host=row.host), "d.example")
    assert [row.ocsp_staple is not None for row in rows] == [True, True, False]
    assert {row.ocsp_staple_bytes for row in rows} == {ONE // 2}


def test_a_provider_may_store_by_the_domains_that_send_mail_there() -> None:
    budget = StoredBudget(Limits(stored_bytes=100, stored_bytes_per_domain=10), Pacing())
    assert budget.afford("d.example", 100) and not budget.afford("d.example", 1)
    budget.allow("d.example", 2.0)
    assert budget.afford("d.example", 20) and not budget.afford("d.example", 1)
    assert budget.afford("other.example", 100)


@pytest.mark.parametrize("processes", [1, 3])
def test_shards_divide_the_bytes_of_a_provider_whoever_does_them(processes: int) -> None:
    """A host in 64 shards was allowed the bytes of its listed domain 64 times, and those of a process as often as one began."""
    config = Config(ehlo_name="probe.example", limits=Limits(stored_bytes=6_400, stored_bytes_per_domain=640))
    probers = [Prober(config, processes) for _ in range(processes)]
    allowed = []

    async def begin() -> None:
        for number in range(64):
            shard = ProbedShard(lambda _: None, None, NetworkTime(Pacing()), StoredBudget(config.limits, config.pacing))
            endpoint = Endpoint(
                "smtp", "mx.bad.example", f"9.{number}.1.1", 25, provider_weight=2.0, provider_endpoints=64
            )
            await probers[number % processes]._chosen([endpoint], shard)
            allowed.append(next(size for size in range(6_400, -1, -1) if shard.stored.afford("bad.example", size)))

    anyio.run(begin)
    assert allowed == [(6_400 + 2 * 640) // 64] * 64


@pytest.mark.parametrize("affordable", [True, False])
def test_a_scan_keeps_the_verdicts_on_what_it_does_not_store(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, affordable: bool
) -> None:
    limits = Limits() if affordable else Limits(stored_bytes=0, stored_bytes_per_domain=0)
    row, certificate = handshake(monkeypatch, LEAF, tmp_path, limits=limits)
    assert (row.outcome, row.strict_valid, row.received_chain) == (Outcome.OK, True, [certificate.sha256])
    assert (certificate.der is not None, certificate.over_budget) == (affordable, None if affordable else True)


def test_a_row_without_text_is_small_whatever_the_certificate() -> None:
    huge: ParsedCertificate = load(der(ROOT.leaf(*(f"{number}.example" for number in range(3_000)))))
    assert WEIGHTS[Certificate](huge.row) > 50_000 and WEIGHTS[Certificate](without_text(huge.row)) == 0
