"""Hostile domains in the list cost no other domain a row; `make hostile` is the same at full size, with what it costs."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from crawler.lab.adversary.dns import answer_hostile, policy_addresses
from crawler.lab.adversary.domains import Adversary, attacks
from crawler.lab.adversary.names import hostile_names, is_hostile
from crawler.lab.servers.authority import Authority
from crawler.lab.world.generated import generated_domains
from crawler.lab.world.world import World
from tests.kit.hostile_measure import ROOT, Taken
from tests.kit.hostile_rows import differences, honest_rows
from tools.hostile import Done, lab, table, verdicts, write_inputs

KINDS = len(attacks(1.0))


@pytest.mark.timeout(120)
def test_every_other_domain_has_the_rows_that_it_has_without_the_hostile_ones(tmp_path: Path) -> None:
    with lab(tmp_path / "lab", 40, KINDS, 0.05, 1) as made:
        few = {"domain_endpoints": 17, "retry_delay": 0.2}
        config, whole, honest = write_inputs(made, None, few)
        scan = (sys.executable, "-m", "crawler", "scan", "--config", config, "--run", "mine", "--quiet")
        scans = {
            world: subprocess.Popen(
                [*scan, names, "--data", tmp_path / world], cwd=ROOT, stderr=subprocess.PIPE, text=True
            )
            for world, names in (("with", whole), ("without", honest))
        }
        said = {world: process.communicate(timeout=90)[1] for world, process in scans.items()}
    assert {world: process.returncode for world, process in scans.items()} == {"with": 0, "without": 0}, said
    found, wanted = (honest_rows(tmp_path / world, "mine") for world in ("with", "without"))
    assert differences(found, wanted) == []
    assert wanted["domains"].total() == 40 and wanted["probes"].total() > 20 and wanted["certificates"].total() > 10
    attacked = rows(tmp_path / "with", "probes")
    reached = {row["host"].split(".")[-2] for row in attacked if is_hostile(row["host"]) and row["stage"]}
    assert reached == {name.split(".")[0] for name in hostile_names(KINDS)}, "each attack was met with"
    assert Counter(row["outcome"] for row in attacked if is_hostile(row["host"]))["over_budget"] > 1_000
    assert any(row["dane_error"] == "too_costly" for row in attacked)


def rows(data: Path, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(data / "run=mine" / name, partitioning=None).to_pylist()
    return found


def test_the_adversary_depends_on_nothing_but_the_list_and_leaves_the_world_as_it_is() -> None:
    names = list(generated_domains(60))
    first, second = (Adversary(World(1, names), names, KINDS) for _ in range(2))
    assert first.bank and first.bank == second.bank
    assert [domain.name for domain in first] == list(hostile_names(KINDS))
    assert {domain.attack.name for domain in first} == {attack.name for attack in attacks(1.0)}
    assert not any(is_hostile(name) for name in names) and all(map(is_hostile, hostile_names(250)))
    assert is_hostile("mx7.bad3.test") and not is_hostile("bad.test") and not is_hostile("notbad3.test")


def test_its_answers_fit_into_a_message_and_lead_to_addresses_where_somebody_is() -> None:
    names = list(generated_domains(60))
    adversary, authority = Adversary(World(1, names), names, KINDS), Authority()
    listening = {address for address, _ in adversary.listeners()}
    for domain in adversary:
        for name, rdtype in ((domain.name, 15), (f"mx1.{domain.name}", 1), (f"_smtp._tls.{domain.name}", 16)):
            answer = answer_hostile(adversary, authority, name, rdtype)
            assert answer is not None and answer.answers and answer.secure
            assert len(answer.records) < 65_000
        addresses = adversary.addresses(domain, 1)
        assert listening.issuperset(addresses) or addresses == [adversary.bank]
        assert policy_addresses(domain)
    assert answer_hostile(adversary, authority, "example.test", 15) is None


def test_a_row_that_differs_is_named_and_a_reach_that_is_missed_is_told() -> None:
    wanted = {"probes": Counter({"a": 1, "b": 2})}
    found = {"probes": Counter({"a": 1, "b": 1, "c": 1})}
    assert differences(found, wanted) == [
        "probes: without the hostile domains alone: b",
        "probes: with them alone: c",
    ]
    turn = {"cpu": 0.2, "wall": 0.3, "where": ""}
    without = Done({"scan": Taken(0, 10.0, 20.0, 300.0, ""), "probe": Taken(1, 1.0, 1.0, 1.0, "")})
    with_them = Done({"scan": Taken(0, 12.0, 31.0, 300.0, "", [turn]), "probe": Taken(1, 1.0, 1.0, 1.0, "")})
    missed = [demand for demand, is_met in verdicts(without, with_them).items() if not is_met]
    assert missed == ["wall at most 1.5 times", "no turn of the loop over 100 ms"]
    assert all(verdicts(without, without).values())
    assert any("1.55" in line for line in table(without, with_them))
