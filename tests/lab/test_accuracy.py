"""The accuracy of the whole crawler over every behaviour of the lab, and the comparison itself."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crawler.chains.rejudge import Rule, rejudge
from crawler.lab.accuracy.compare import Comparison, compare_run
from crawler.lab.behaviours.protection import dane_truth, policy_id
from crawler.lab.behaviours.vocabulary import HOSTS, HostBehaviour, Tls, Truth
from crawler.lab.world.generated import generated_domains
from crawler.lab.world.names import LabDomain
from crawler.lab.world.world import World
from crawler.model.errors import UsageError
from crawler.model.rows import TABLES, Dnssec, Route, schema_of
from crawler.settings.config import Config

ROOT = Path(__file__).resolve().parent.parent.parent
NAMES = [*generated_domains(260), "not a name"]
Rows = dict[str, list[dict[str, Any]]]


def perfect_rows() -> Rows:
    """What a scan without fault would store, as far as it is compared."""
    world = World(1, NAMES[:-1])
    domains: list[dict[str, Any]] = [{"domain": None, "input": NAMES[-1], "route": Route.INVALID}]
    hosts, probes, incomplete, certificates = {}, [], [], []
    for name in NAMES[:-1]:
        domain = world.domain(name)
        mx = [{"host": host, "preference": preference} for preference, host in domain.mail_hosts]
        domains.append(
            {
                "domain": name,
                "route": domain.route,
                "dns_error": domain.behaviour.dns_error,
                "dnssec": domain.dnssec,
                "mx": mx,
                "cnames": domain.cnames if mx else None,
                "mta_sts_record": domain.mta_sts.record if is_asked_more(domain) else None,
                "mta_sts_id": policy_id(domain.mta_sts),
                "mta_sts_fetch": domain.mta_sts.fetch,
                "mta_sts_mode": domain.mta_sts.mode,
                "mta_sts_mx": domain.mta_sts.mx(tuple(h for _, h in domain.mail_hosts))
                if domain.mta_sts.mode
                else None,
                "mta_sts_cnames": [domain.mta_sts.delegate] if domain.mta_sts.delegate else [],
                "tlsrpt": domain.tlsrpt.status if is_asked_more(domain) else None,
                "tlsrpt_rua": list(domain.tlsrpt.rua(name)) or None,
            }
        )
        hosts |= {host: world.host(host) for _, host in domain.mail_hosts}
    for host in hosts.values():
        assert host is not None
        for address in host.addresses:
            behaviour = world.behaviour_at(host, address)
            truth = behaviour.truth
            row = {f.name: getattr(truth, f.name) for f in fields(Truth) if f.name not in ("injected", "certificates")}
            row["plaintext_after_upgrade"] = b"250 injected" if truth.injected else None
            row["stray_bytes"] = b"\r\n" if truth.stray else None
            chain = [f"{host.name} {n}" for n in range(truth.certificates or 0)]
            row["received_chain"] = chain or None
            if chain:
                certificates.append(leaf(host.name, behaviour) | {"sha256": chain[0]})
            if behaviour.lacks:
                known = behaviour.lacks == "intermediate"
                issuers = ["the intermediate"] if known else None
                incomplete.append({"received_chain": chain, "trusted_if_known": known, "known_issuers": issuers})
            dane = dane_truth(host.tlsa, host.tlsa_status, behaviour)
            probes.append({**row, "host": host.name, "address": address, "dane": dane})
    names = ("addresses", "ipv4_status", "ipv6_status", "dnssec")
    columns = [{"host": h.name, **{name: getattr(h, name) for name in names}} for h in hosts.values() if h]
    tlsa = [{"host": h.name, "port": 25, "status": h.tlsa_status} for h in hosts.values() if h]
    measured = {"hosts": columns, "tlsa": tlsa, "probes": probes, "certificates": certificates}
    return {"domains": domains, **measured, "incomplete_chains": incomplete}


def leaf(host: str, behaviour: HostBehaviour) -> dict[str, Any]:
    """The names in the certificate of a host."""
    tls = behaviour.server.tls
    assert isinstance(tls, Tls)
    behind = host.partition(".")[2]
    names = [name.format(host=host, domain=behind if "." in behind else host) for name in tls.leaf.names]
    return {"names": [] if tls.leaf.in_subject else names, "common_name": names[0] if len(names[0]) <= 64 else None}


def is_asked_more(domain: LabDomain) -> bool:
    """Below a name that does not exist, or whose DNS fails, there is nothing to ask for."""
    return domain.dnssec not in (None, Dnssec.BOGUS, Dnssec.UNKNOWN) and domain.route is not Route.NXDOMAIN


def judged(tmp_path: Path, rows: Rows, *, state: str = "finished") -> Comparison:
    """Store the rows as a run and hold it against the truth."""
    source = tmp_path / "list.txt"
    source.write_text("".join(f"{name}\n" for name in NAMES))
    for table, content in rows.items():
        folder = tmp_path / "run=x" / table
        folder.mkdir(parents=True)
        schema = schema_of(TABLES[table])
        full = [{name: row.get(name) for name in schema.names} for row in content]
        pq.write_table(pa.Table.from_pylist(full, schema), folder / "part.parquet")
    manifest = {"state": state, "configuration": Config().as_dict()}
    (tmp_path / "run=x" / "manifest.json").write_text(json.dumps(manifest))
    return compare_run(tmp_path / "run=x", source, seed=1)


def test_a_scan_without_fault_is_diagonal(tmp_path: Path) -> None:
    comparison = judged(tmp_path, perfect_rows())
    assert comparison.disagreements == []
    assert list(comparison.lines())[-1].endswith("every verdict is the truth")


def test_a_wrong_verdict_is_off_the_diagonal_and_named(tmp_path: Path) -> None:
    rows = perfect_rows()
    victim = next(row for row in rows["probes"] if row["starttls_offered"])
    victim["starttls_offered"] = False
    comparison = judged(tmp_path, rows)
    assert comparison.matrices["probes.starttls_offered"]["true", "false"] == 1
    (disagreement,) = comparison.disagreements
    assert victim["host"] in disagreement
    assert victim["address"] in disagreement


def test_a_promise_that_was_judged_wrongly_is_off_the_diagonal_and_named(tmp_path: Path) -> None:
    rows = perfect_rows()
    world = World(1, NAMES[:-1])
    member = next(
        domain
        for domain in (world.domain(name) for name in NAMES[:-1])
        if domain.listed.name == "listed-enforce" and domain.own_behaviour == "tls13-x25519"
    )
    for row in rows["domains"]:
        if row["domain"] == member.name:
            row["mx"] = [{"host": "mx.elsewhere.example", "preference": 10}]
    comparison = judged(tmp_path, rows)
    assert comparison.matrices["policy_list.host"]["true", "false"] == 1
    assert comparison.matrices["policy_list.kept"]["true", "false"] == 1
    assert f"policy_list.kept: truth true, measured false: {member.name} (listed-enforce)" in comparison.disagreements


def test_not_having_found_out_is_no_agreement(tmp_path: Path) -> None:
    rows = perfect_rows()
    next(row for row in rows["probes"] if row["starttls_offered"] is False)["starttls_offered"] = None
    assert judged(tmp_path, rows).matrices["probes.starttls_offered"]["false", "unknown"] == 1


def test_a_wrong_word_on_a_chain_that_lacks_an_issuer_is_off_the_diagonal(tmp_path: Path) -> None:
    rows = perfect_rows()
    rows["incomplete_chains"].sort(key=lambda row: not row["trusted_if_known"])
    rows["incomplete_chains"][0]["trusted_if_known"] = False
    stranger = {"received_chain": ["stranger"], "leaf_sha256": "stranger", "trusted_if_known": False}
    rows["incomplete_chains"] += [rows["incomplete_chains"].pop(), rows["incomplete_chains"][-1], stranger]
    comparison = judged(tmp_path, rows)
    assert comparison.matrices["incomplete_chains.trusted_if_known"]["true", "false"] == 1
    assert sum("stranger: a row that should not be there" in line for line in comparison.disagreements) == 1


@pytest.mark.parametrize("table", ["domains", "hosts", "probes"])
def test_a_missing_row_a_row_twice_and_a_row_too_many_are_reported(tmp_path: Path, table: str) -> None:
    rows = perfect_rows()
    rows[table].pop(5)
    rows[table].append(rows[table][7])
    stranger = {"domain": "stranger.test", "host": "stranger.test", "address": "127.1.1.1"}
    rows[table].append({**rows[table][8], **stranger})
    found = "\n".join(judged(tmp_path, rows).disagreements)
    assert "the row is missing" in found
    assert "2 rows instead of one" in found
    assert "stranger.test" in found


def test_a_scan_may_leave_names_beyond_the_cap_to_another_and_no_others(tmp_path: Path) -> None:
    rows = perfect_rows()
    empty = dict.fromkeys(rows["probes"][0])
    for row in rows["probes"][3:5]:
        sampled = {"outcome": "sampled_out", "conclusive": False, "representative_host": "other.example"}
        row |= {**empty, **sampled, "host": row["host"], "address": row["address"]}
    comparison = judged(tmp_path, rows)
    assert comparison.matrices["probes.outcome"].total() == len(rows["probes"])
    assert sum("measured sampled_out" in line for line in comparison.disagreements) == 2


def test_a_run_that_is_not_finished_is_not_judged(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="interrupted"):
        judged(tmp_path, perfect_rows(), state="interrupted")


def test_a_directory_without_a_run_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run"):
        compare_run(tmp_path, tmp_path / "list.txt", seed=1)


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """What `accuracy` said of a scan of every behaviour, and its run.  A hundred and sixty names show each once."""
    data = tmp_path_factory.mktemp("accuracy")
    command = [sys.executable, "-m", "crawler", "accuracy", "--domains", "160", "--seed", "2", "--data", str(data)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done, next(data.glob("run=*"))


@pytest.mark.timeout(180)
def test_every_verdict_of_a_scan_of_every_behaviour_is_the_truth(
    scanned: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, _ = scanned
    wrong = [line for line in done.stdout.splitlines() if "truth " in line and "measured" in line]
    assert wrong == []
    assert done.stdout.splitlines()[-1].endswith("every verdict is the truth")
    assert done.returncode == 0


@pytest.mark.timeout(180)
def test_the_chains_of_every_behaviour_judged_again_have_the_verdicts_of_the_scan(
    scanned: tuple[subprocess.CompletedProcess[str], Path], tmp_path: Path
) -> None:
    _, run = scanned
    assert "no verdict has changed" in rejudge(run.parent, None, tmp_path, Rule())
    for table in TABLES:
        before, after = (pq.read_table(path / table, partitioning=None) for path in (run, tmp_path / run.name))
        assert sorted(after.to_pylist(), key=repr) == sorted(before.to_pylist(), key=repr), table


@pytest.mark.timeout(180)
def test_judged_as_if_intermediates_were_known_the_hosts_that_lack_one_are_trusted_and_no_others(
    scanned: tuple[subprocess.CompletedProcess[str], Path], tmp_path: Path
) -> None:
    _, run = scanned
    rejudge(run.parent, None, tmp_path, Rule(intermediates="known"))
    before, after = (
        {(row["host"], row["address"]): row for row in pq.read_table(path / "probes", partitioning=None).to_pylist()}
        for path in (run, tmp_path / run.name)
    )
    changed = {key for key in before if before[key]["chain_trusted"] is not after[key]["chain_trusted"]}
    world = World(2, generated_domains(160, 2))
    names = {host.behaviour.name for host in (world.host(name) for name, _ in changed) if host is not None}
    assert names == {name for name, behaviour in HOSTS.items() if behaviour.lacks == "intermediate"}
    assert all(after[key]["strict_valid"] for key in changed)
