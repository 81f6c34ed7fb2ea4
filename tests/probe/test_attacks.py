"""Hosts that attack: each costs its deadline and no more, memory stays flat, and nobody else is harmed.

The attackers run in a process of their own, so that what is measured here is ours.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from crawler.model.rows import Endpoint, Outcome, Probe, Stage
from crawler.probe.prober import Prober
from crawler.settings.config import Config, Pacing, Timeouts
from tests.kit.attackers import ATTACKS

#: Deadlines of three seconds; an attack that went unnoticed would last for a minute.
TIMEOUTS = Timeouts(connect=5, greeting=3, reply=3, handshake=3, quit=0.5, target=6)
ROUNDS = 3
SLACK = 3  # seconds for which a busy machine may hold us up
MIB = 1 << 20

GREETING, CAPABILITIES, HANDSHAKE, AFTER_TLS = Stage.GREETING, Stage.CAPABILITIES, Stage.HANDSHAKE, Stage.AFTER_TLS
EXPECTED = {
    "tarpit": (GREETING, Outcome.TIMEOUT),
    "tarpit_of_lines": (GREETING, Outcome.TIMEOUT),
    "endless_banner": (GREETING, Outcome.LIMIT_EXCEEDED),
    "endless_line": (GREETING, Outcome.LIMIT_EXCEEDED),
    "huge_hello": (CAPABILITIES, Outcome.LIMIT_EXCEEDED),
    "many_replies": (CAPABILITIES, Outcome.NOT_OFFERED),
    "silent": (GREETING, Outcome.TIMEOUT),
    "zero_window": (HANDSHAKE, Outcome.TIMEOUT),
    "zero_window_after_refusal": (GREETING, Outcome.REJECTED),
    "dripped_handshake": (HANDSHAKE, Outcome.TIMEOUT),
    "huge_chain": (HANDSHAKE, Outcome.LIMIT_EXCEEDED),
    "promised_chain": (HANDSHAKE, Outcome.LIMIT_EXCEEDED),
    "huge_prime": (HANDSHAKE, Outcome.LIMIT_EXCEEDED),
    "largest_prime": (HANDSHAKE, Outcome.TIMEOUT),
    "huge_prime_in_pieces": (HANDSHAKE, Outcome.LIMIT_EXCEEDED),
    "endless_change_cipher_spec": (HANDSHAKE, Outcome.TLS_ERROR),
    "endless_warnings": (HANDSHAKE, Outcome.TLS_ERROR),
    "half_a_handshake": (HANDSHAKE, Outcome.TIMEOUT),
    "endless_tickets": (AFTER_TLS, Outcome.LIMIT_EXCEEDED),
    "endless_key_updates": (AFTER_TLS, Outcome.LIMIT_EXCEEDED),
    "key_updates_with_data": (AFTER_TLS, Outcome.LIMIT_EXCEEDED),
    "endless_empty_records": (AFTER_TLS, Outcome.TLS_ERROR),
    "empty_records_now_and_then": (AFTER_TLS, None),  # OpenSSL's patience or ours, whichever ends first
    "endless_reply_inside": (AFTER_TLS, Outcome.LIMIT_EXCEEDED),
    "endless_renegotiation": (AFTER_TLS, Outcome.LIMIT_EXCEEDED),
    "renegotiation": (AFTER_TLS, Outcome.TIMEOUT),
    "reset_inside": (AFTER_TLS, Outcome.RESET),
}


@dataclass
class Siege:
    """What came of probing all attackers, in rounds, and the healthy hosts at the same time."""

    rows: dict[str, list[Probe]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)  #: of each round
    resident: list[int] = field(default_factory=list)  #: bytes after each round
    highest: int = 0  #: bytes resident at any moment, after the first round
    longest_turn: float = 0.0  #: CPU-seconds between two turns of the event loop, after the first round


@pytest.fixture(scope="module")
def siege() -> Iterator[Siege]:
    command = [sys.executable, "-m", "tests.kit.attackers"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as attackers:
        assert attackers.stdin is not None and attackers.stdout is not None
        try:
            where = json.loads(attackers.stdout.readline())
            gc.collect()
            gc.freeze()  # as in a worker: what all other tests have left is no garbage of ours to look through
            yield anyio.run(hold_out, where, backend_options={"use_uvloop": True})
        finally:
            gc.unfreeze()
            attackers.stdin.close()


async def hold_out(where: dict[str, tuple[str, int]]) -> Siege:
    made = Siege()
    config = Config(
        ehlo_name="probe.example", allow_network=("127.0.0.0/8",), timeouts=TIMEOUTS, pacing=Pacing(attempts=1)
    )
    prober = Prober(config)

    async def one(name: str) -> None:
        address, port = where[name]
        row, _ = await prober.probe_one(Endpoint("smtp", "mx.example", address, port))
        made.rows.setdefault(name, []).append(row)

    async def watch() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.01)
            made.longest_turn = max(made.longest_turn, time.thread_time() - before)
            made.highest = max(made.highest, resident())

    async with anyio.create_task_group() as watching:
        for number in range(ROUNDS):
            begin = time.monotonic()
            async with anyio.create_task_group() as tasks:
                for name in where:
                    tasks.start_soon(one, name)
            made.seconds.append(time.monotonic() - begin)
            made.resident.append(resident())
            if number == 0:  # what is loaded once is loaded by now
                watching.start_soon(watch)
        watching.cancel_scope.cancel()
    return made


def resident() -> int:
    """Memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_called_what_it_is(siege: Siege, name: str) -> None:
    stage, outcome = EXPECTED[name]
    assert len(siege.rows[name]) == ROUNDS
    for row in siege.rows[name]:
        assert row.stage is stage
        assert row.outcome is outcome or (outcome is None and row.outcome in (Outcome.TIMEOUT, Outcome.TLS_ERROR))
        assert row.negotiated is not True, "nothing was answered inside TLS"


def test_every_attack_ends_within_its_deadline(siege: Siege) -> None:
    assert max(siege.seconds) < TIMEOUTS.target + TIMEOUTS.quit + SLACK
    for rows in siege.rows.values():
        for row in rows:
            times = [row.greeting_ms, row.capabilities_ms, row.upgrade_ms, row.handshake_ms, row.after_tls_ms]
            assert max(spent or 0 for spent in times) < 1_000 * (TIMEOUTS.reply + SLACK)


def test_healthy_hosts_beside_attackers_are_unharmed(siege: Siege) -> None:
    healthy = [row for name, rows in siege.rows.items() if name not in ATTACKS for row in rows]
    assert len(healthy) == 10 * ROUNDS
    assert {(row.stage, row.outcome, row.negotiated) for row in healthy} == {(Stage.DONE, Outcome.OK, True)}


def test_no_attacker_holds_up_the_others(siege: Siege) -> None:
    assert siege.longest_turn < 0.25


def test_attacks_leave_memory_flat(siege: Siege) -> None:
    assert siege.resident[-1] - siege.resident[0] < 4 * MIB
    assert siege.highest - siege.resident[0] < 24 * MIB, "no more than buffers for what is under way"
