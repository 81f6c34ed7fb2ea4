"""Processes come and go; the scan goes on as long as work gets done."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest

from crawler.dataset.parts import PartWriter
from crawler.dataset.run import RunDirectory
from crawler.dataset.steps import DOMAINS, PROBES
from crawler.executors.processes import Pool
from crawler.model.errors import ScanFailed
from crawler.model.rows import Target
from crawler.settings.config import Config

#: A worker that does every shard at once and says so; `{}` is what it does after that.
WORKER = """
import json, sys
sys.stdin.readline()
print(json.dumps({{"event": "ready"}}), flush=True)
{before}
for line in sys.stdin:
    job = json.loads(line)
    print(json.dumps({{"event": "done", **job, "rows": {{"domains": 1}}}}), flush=True)
    {after}
"""


def pool(tmp_path: Path, *, before: str = "", after: str = "") -> Pool:
    command = [sys.executable, "-c", WORKER.format(before=before, after=after)]
    return Pool(RunDirectory(tmp_path), Config(), 1, command=command, on_rows=lambda rows: None)


def test_workers_judge_by_the_trust_anchors_of_the_run_whatever_is_installed_now(tmp_path: Path) -> None:
    """Or a run continued after an upgrade of certifi would mix the verdicts of two stores."""

    async def main(pool: Pool) -> None:
        with anyio.fail_after(30):
            async with pool.running():
                await pool.do(DOMAINS, [0], 0)

    greeting = tmp_path / "greeting.json"
    code = WORKER.format(before="", after="").replace(
        "sys.stdin.readline()", f"open({str(greeting)!r}, 'w').write(sys.stdin.readline())", 1
    )
    command = [sys.executable, "-c", code]
    anyio.run(main, Pool(RunDirectory(tmp_path), Config(), 1, command=command, on_rows=lambda rows: None))
    assert json.loads(greeting.read_text())["config"]["ca_file"] == str(tmp_path / "trust-anchors.pem")


@pytest.mark.parametrize("said", ["x" * 100_000, "no JSON"])
def test_a_process_that_says_what_no_worker_says_is_ended_and_the_scan_fails_at_last(tmp_path: Path, said: str) -> None:
    run = RunDirectory(tmp_path)
    run.make_directories({})
    run.shard_path(DOMAINS, 0).parent.mkdir()
    shard = PartWriter(run.shard_path(DOMAINS, 0), Target, {})
    shard.append(Target(domain="a.example", input="a.example"))
    shard.close()

    async def main(pool: Pool) -> None:
        with anyio.fail_after(50):
            async with pool.running():
                await pool.do(DOMAINS, [0], 0)

    with pytest.raises(BaseExceptionGroup) as error:
        anyio.run(main, pool(tmp_path, before=f"print({said!r}, flush=True)\nsys.stdin.read()"))
    assert error.group_contains(ScanFailed, match="could not even be given up: its process ended with signal 9")


def test_processes_that_die_idle_now_and_then_are_replaced_as_often_as_it_takes(tmp_path: Path) -> None:
    """As when the system runs out of memory, in a scan of days."""

    async def main(pool: Pool) -> None:
        with anyio.fail_after(30):
            async with pool.running():
                for shard in range(5):
                    await pool.do(DOMAINS, [shard], 0)
                    last = pool._workers[-1:]
                    for _ in range(1_000):
                        if not last or pool._workers[-1:] not in ([], last):
                            break
                        await anyio.sleep(0.01)

    anyio.run(main, pool(tmp_path, after="sys.exit(9)"))


def test_processes_that_die_one_after_the_other_with_nothing_to_do_end_the_scan(tmp_path: Path) -> None:
    async def wait(pool: Pool) -> None:
        with anyio.fail_after(30):
            async with pool.running():
                await pool.start(1)
                await anyio.sleep_forever()

    with pytest.raises(ExceptionGroup) as raised:
        anyio.run(wait, pool(tmp_path, before="sys.exit(9)"))
    (error,) = raised.value.exceptions
    assert isinstance(error, ScanFailed)
    assert str(error) == (
        "3 worker processes in a row ended without a shard in hand, at last: its process ended with exit code 9; "
        "their messages, if any, are above"
    )


def test_what_a_dead_process_had_in_hand_is_not_taken_for_done(tmp_path: Path) -> None:
    """However long its remains take to be cleared away, and whatever another process says meanwhile."""
    died, done = tmp_path / "died", tmp_path / "done"
    code = f"""
import json, os, sys, time
sys.stdin.readline()
for line in sys.stdin:
    job = json.loads(line)
    if job["shard"] == 0 and not os.path.exists({str(died)!r}):
        open({str(died)!r}, "w").close()
        sys.exit(9)
    while not os.path.exists({str(died)!r}):
        time.sleep(0.01)
    time.sleep(0.3)
    open({str(done)!r}, "a").write(f"{{job['shard']}}\\n")
    print(json.dumps({{"event": "done", **job, "rows": {{"domains": 1}}}}), flush=True)
"""

    async def main(pool: Pool) -> None:
        with anyio.fail_after(30):
            async with pool.running():
                await pool.start(2)
                for worker in pool._workers:
                    worker.process = SlowToClose(worker.process)  # type: ignore[assignment]
                await pool.do(DOMAINS, [0, 1], 0)

    command = [sys.executable, "-c", code]
    anyio.run(main, Pool(RunDirectory(tmp_path), Config(), 2, command=command, on_rows=lambda rows: None))
    assert sorted(done.read_text().split()) == ["0", "1"]


def test_two_processes_share_a_giant_network_and_each_lot_of_it_is_with_one_at_a_time(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    code = f"""
import json, os, sys, threading, time
sys.stdin.readline()
def work(job):
    for word in ("begin", "end"):
        with open({str(journal)!r}, "a") as out:
            out.write(f"{{word}} {{job['shard']}} {{os.getpid()}}\\n")
        time.sleep(0.05)
    done = json.dumps({{"event": "done", **job, "rows": {{"probes": 1}}}})
    os.write(1, done.encode() + b"\\n")  # in one piece
for line in sys.stdin:
    threading.Thread(target=work, args=(json.loads(line),)).start()
"""
    lots = {shard: f"lot {shard % 2}" for shard in range(12)}  # half of all shards, and the largest

    async def main(pool: Pool) -> None:
        with anyio.fail_after(60):
            async with pool.running():
                await pool.do(PROBES, range(24), 0, lots)

    command = [sys.executable, "-c", code]
    anyio.run(main, Pool(RunDirectory(tmp_path), Config(), 2, command=command, on_rows=lambda rows: None))
    at: dict[str, Counter[str]] = {lot: Counter() for lot in lots.values()}
    begun, owners = [], set()
    for word, shard, pid in (line.split() for line in journal.read_text().splitlines()):
        if word == "begin":
            begun.append(int(shard))
        if (lot := lots.get(int(shard))) is not None:
            owners.add((lot, pid))
            at[lot][pid] += 1 if word == "begin" else -1
            assert sum(count > 0 for count in at[lot].values()) <= 1, "two processes in one lot"
    assert sorted(begun) == list(range(24))
    assert len({pid for _, pid in owners}) == 2, "both work on the giant"


class SlowToClose:
    """A process whose pipes take a second to be closed."""

    def __init__(self, process: anyio.abc.Process) -> None:
        self._process = process

    def __getattr__(self, name: str) -> object:
        return getattr(self._process, name)

    async def aclose(self) -> None:
        await anyio.sleep(1)
        await self._process.aclose()


#: A worker that sees an outage after every shard, which is over at once; and one of two that does, as the other has answers.
ALARMED = """
import json, os, sys, time
def say(event, **more):
    print(json.dumps({{"event": event, **more}}), flush=True)
sys.stdin.readline()
say("ready")
try:
    open({first!r}, "x")
    alarmed = True
except FileExistsError:
    alarmed = {both}
for line in sys.stdin:
    job = json.loads(line)
    if "shard" in job:
        if alarmed:
            with open({journal!r}, "a") as journal:
                journal.write("shard\\n")
            say("doubt")
            say("done", **job, rows={{"domains": 1}})
            looked = time.time()
            time.sleep(0.1)
            say("outage", since=0, looked=looked, asked=[["mx.example", "192.0.2.1"]])
        else:
            for _ in range(40):
                say("idle", answered=time.time())
                time.sleep(0.05)
            say("done", **job, rows={{"domains": 1}})
    elif "hold" in job:
        say("over", asked=[["mx2.example", "192.0.2.2"]])
        say("calm")
        say("idle", answered=0.0)
    elif "calm" in job:
        with open({journal!r}, "a") as journal:
            journal.write("calm\\n")
        say("calm")
        say("idle", answered=0.0)
"""


def alarmed(tmp_path: Path, size: int) -> tuple[Pool, list[str], list[dict[str, Any]]]:
    """A pool whose first process sees an outage after every shard, once its shards are done; and what became of it."""
    for folder in ("_work/done", "domains"):
        (tmp_path / folder).mkdir(parents=True)
    journal = tmp_path / "journal"
    code = ALARMED.format(first=str(tmp_path / "first"), both=size == 1, journal=str(journal))
    told: list[dict[str, Any]] = []
    found = Pool(
        RunDirectory(tmp_path),
        Config(),
        size,
        command=[sys.executable, "-c", code],
        on_rows=lambda rows: None,
        on_incident=lambda incidents: told.append(json.loads(json.dumps(incidents))),
    )

    async def main() -> None:
        with anyio.fail_after(30):
            async with found.running():
                await found.do(DOMAINS, list(range(size)), 0)

    anyio.run(main)
    return found, journal.read_text().split(), told


def test_a_shard_is_withdrawn_for_outages_as_often_as_may_be_and_then_stands(tmp_path: Path) -> None:
    """Or alarms without end would be contacts of honest hosts without end."""
    found, journal, _ = alarmed(tmp_path, 1)
    assert journal.count("shard") == 1 + Config().watch.withdrawals
    assert [(outage["withdrawn"], outage["stand"]) for outage in found.outages] == [(1, 0), (1, 0), (0, 1)]
    assert found.outages[0]["asked"] == [["mx.example", "192.0.2.1"], ["mx2.example", "192.0.2.2"]]


def test_an_outage_is_told_when_it_begins_and_when_it_is_over(tmp_path: Path) -> None:
    found, _, told = alarmed(tmp_path, 1)
    assert [len(incidents["outages"]) for incidents in told] == [1, 1, 2, 2, 3, 3]
    assert [incidents["outages"][-1]["until"] is None for incidents in told] == 3 * [True, False]
    assert told[-1] == {"outages": found.outages, "doubts": [], "given_up": []}


def test_one_process_that_sees_an_outage_holds_nobody_while_another_makes_connections(tmp_path: Path) -> None:
    found, journal, _ = alarmed(tmp_path, 2)
    assert found.outages == [] and "calm" in journal


def test_a_process_that_can_do_nothing_ends_the_scan_with_what_it_said(tmp_path: Path) -> None:
    found = pool(tmp_path, before="print(json.dumps({'event': 'fatal', 'problem': 'no opt-outs'}), flush=True)")

    async def main() -> None:
        with anyio.fail_after(30):
            async with found.running():
                await found.do(DOMAINS, [0], 0)

    with pytest.RaisesGroup(pytest.RaisesExc(ScanFailed, match="^no opt-outs$"), flatten_subgroups=True):
        anyio.run(main)


def test_a_process_that_comes_later_is_told_of_the_opt_outs_in_force(tmp_path: Path) -> None:
    greetings = tmp_path / "greetings"
    greetings.touch()
    code = WORKER.format(before="sys.stdin.readline(); sys.exit()", after="").replace(
        "sys.stdin.readline()", f"open({str(greetings)!r}, 'a').write(sys.stdin.readline())", 1
    )
    found = Pool(RunDirectory(tmp_path), Config(), 1, command=[sys.executable, "-c", code], on_rows=lambda rows: None)

    async def main() -> None:
        with anyio.fail_after(30):
            async with found.running():
                await found.start(1)
                await found.reload({"path": "a", "kept": "b", "sha256": "c"})
                while greetings.read_text().count("\n") < 2:  # noqa: ASYNC110 - another process writes it
                    await anyio.sleep(0.02)

    anyio.run(main)
    told = [json.loads(line)["opt_outs"] for line in greetings.read_text().splitlines()]
    assert told[1] == {"path": "a", "kept": "b", "sha256": "c"}
