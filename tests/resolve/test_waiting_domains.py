"""Policies that take long, faults of ours and a full disk cost no row of another domain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import anyio
import pytest

from crawler.model.rows import (
    Domain,
    MtaStsRecord,
    Target,
)
from crawler.resolve.domains import resolve_domains
from crawler.settings.config import Config
from tests.kit.dns_server import zone
from tests.kit.resolve_runs import run


def test_a_policy_is_fetched_for_a_valid_record_only() -> None:
    fetched = []

    async def fetch(row: Domain, emit: Any) -> None:
        fetched.append(row.domain)
        row.mta_sts_max_age = 60

    script = zone(
        "a.test. 60 IN MX 1 mx.test.",
        '_mta-sts.a.test. 60 IN TXT "v=STSv1; id=1"',
        "b.test. 60 IN MX 1 mx.test.",
        '_mta-sts.b.test. 60 IN TXT "v=STSv1; id=not-an-id"',
    )
    rows, _ = run(
        script,
        lambda dns, config, emit: resolve_domains(
            map(Target, ["a.test", "b.test"]), dns, config, emit, fetch_policy=fetch
        ),
    )
    assert fetched == ["a.test"]
    assert {row.domain: row.mta_sts_max_age for row in rows} == {"a.test": 60, "b.test": None}


def with_policies(first: int, last: int) -> list[str]:
    return [f'_mta-sts.d{n}.test. 60 IN TXT "v=STSv1; id=1"' for n in range(first, last)]


def mail_domains(count: int) -> list[str]:
    return [f"d{n}.test. 60 IN MX 1 mx.test." for n in range(count)]


def test_policies_that_keep_us_waiting_do_not_hold_up_other_domains() -> None:
    emitted: list[str] = []

    async def resolve(dns: Any, config: Config, _: Any) -> None:
        without_policy_done = anyio.Event()

        async def fetch(row: Domain, emit: Any) -> None:
            with anyio.fail_after(10):
                await without_policy_done.wait()

        def emit(row: Any) -> None:
            emitted.append(row.domain)
            if len(emitted) == 30:
                without_policy_done.set()

        targets = [Target(f"d{n}.test") for n in range(50)]
        await resolve_domains(targets, dns, config, emit, fetch_policy=fetch)

    run(zone(*mail_domains(50), *with_policies(0, 20)), resolve, dns={"domains_in_flight": 5, "timeout": 2.0})
    assert sorted(emitted[:30]) == sorted(f"d{n}.test" for n in range(20, 50))
    assert sorted(emitted[30:]) == sorted(f"d{n}.test" for n in range(20))


def test_no_more_domains_wait_for_policies_than_the_setting_says() -> None:
    waiting = most = 0

    async def fetch(row: Domain, emit: Any) -> None:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        await anyio.sleep(0.01)
        waiting -= 1

    async def resolve(dns: Any, config: Config, emit: Any) -> None:
        config = replace(config, https=replace(config.https, waiting=3))
        await resolve_domains([Target(f"d{n}.test") for n in range(20)], dns, config, emit, fetch_policy=fetch)

    rows, _ = run(zone(*mail_domains(20), *with_policies(0, 20)), resolve)
    assert len(rows) == 20 and most == 3


def test_a_bug_in_a_fetch_costs_no_row(caplog: pytest.LogCaptureFixture) -> None:
    async def fetch(row: Domain, emit: Any) -> None:
        raise RuntimeError("our bug")

    async def resolve(dns: Any, config: Config, emit: Any) -> None:
        await resolve_domains([Target("d0.test")], dns, config, emit, fetch_policy=fetch)

    rows, _ = run(zone(*mail_domains(1), *with_policies(0, 1)), resolve)
    assert [row.mta_sts_record for row in rows] == [MtaStsRecord.VALID]
    assert "our bug" in caplog.text


def test_targets_are_taken_as_they_are_needed_and_each_has_exactly_one_row() -> None:
    taken = emitted = 0

    def targets() -> Iterable[Target]:
        nonlocal taken
        for n in range(500):
            taken += 1
            assert taken - emitted <= 20
            yield Target(f"d{n}.test")

    def emit(row: Any) -> None:
        nonlocal emitted
        emitted += 1
        seen.append(row.domain)

    seen: list[str] = []
    run(
        zone(),
        lambda dns, config, _: resolve_domains(targets(), dns, config, emit),
        dns={"domains_in_flight": 20, "timeout": 2.0},
    )
    assert sorted(seen) == sorted(f"d{n}.test" for n in range(500))


def test_a_failing_storage_stops_the_stage() -> None:
    def emit(row: Any) -> None:
        raise OSError("disk full")

    with pytest.raises(BaseExceptionGroup) as raised:
        run(zone(), lambda dns, config, _: resolve_domains([Target("a.test")], dns, config, emit))
    assert raised.group_contains(OSError, match="disk full")
