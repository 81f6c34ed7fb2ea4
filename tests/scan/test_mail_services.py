"""A scan of the lab for IMAP, POP3 and submission: whom SRV records name, and what is found there."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from analysis.runs.run import Run
from crawler.lab.behaviours.services import OWN_HOST
from crawler.lab.lab import Lab
from crawler.lab.world.generated import generated_domains
from crawler.lab.world.world import World
from crawler.model.rows import Route, SrvStatus
from crawler.model.three_valued import all_of, any_of

ROOT = Path(__file__).resolve().parents[2]
NAMES = list(generated_domains(120))
WITH_MORE = ("explicit", "implicit", "null_mx", "null_mx_invalid", "no_mail_host")


async def scanned(directory: Path) -> tuple[int, str, World, int]:
    async with Lab(NAMES, directory=directory / "lab") as lab:
        (directory / "list").write_text("\n".join(NAMES))
        command = [
            "-m",
            "crawler",
            "scan",
            str(directory / "list"),
            "--protocol",
            "mail",
            "--no-mta-sts",
            "--no-tlsrpt",
        ]
        command += ["--data", str(directory / "data"), "--config", str(lab.config_path), "--ehlo-name", "probe.example"]
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, stderr=asyncio.subprocess.PIPE, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        _, err = await process.communicate()
        return process.returncode or 0, err.decode(), lab.world, lab.smtp_port


def rows_of(run: Path, table: str) -> list[dict[str, Any]]:
    return [row for part in (run / table).glob("*.parquet") for row in pq.ParquetFile(part).read().to_pylist()]


def judged_by_readme(run: Path, domains: list[dict[str, Any]], probes: list[dict[str, Any]]) -> None:
    """The query of the README says of each domain what its endpoints say."""
    (query,) = re.findall(r"```sql\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    found = duckdb.connect().execute(query.replace("data/run=ID", str(run))).fetchall()
    services = {(row["domain"], s["protocol"], s["form"]) for row in domains for s in row["services"] or ()}
    assert {row[:3] for row in found} == services and len(found) == len(services)
    strict = {row[:3]: row[3] for row in found}
    truth: dict[tuple[str, str, str], list[bool | None]] = {}
    for row in domains:
        for s in row["services"] or ():
            here = [p for p in probes if all(p[name] == s[name] for name in ("host", "port", "protocol", "form"))]
            verdicts = truth.setdefault((row["domain"], s["protocol"], s["form"]), [])
            for p in here or [dict.fromkeys(("negotiated", "chain_trusted", "within_validity", "reference_matches"))]:
                matches = p["reference_matches"]
                named = None if matches is None else bool(set(matches) & set(s["reference_names"]))
                verdicts.append(all_of(p["negotiated"], p["chain_trusted"], p["within_validity"], named))
    assert strict == {key: any_of(*verdicts) for key, verdicts in truth.items()}
    assert {True, None} <= set(strict.values()), "both are there"


@pytest.mark.timeout(240)
def test_hosts_that_srv_records_name_are_found_and_asked_and_those_that_opted_out_are_not(tmp_path: Path) -> None:
    code, said, world, port = asyncio.run(scanned(tmp_path))
    assert code == 0, said
    (run,) = (tmp_path / "data").glob("run=*")
    seen: set[SrvStatus] = set()
    for row in rows_of(run, "domains"):
        truth = world.domain(row["domain"])
        if row["route"] not in WITH_MORE:
            assert row["srv"] is None and row["services"] is None
            continue
        (state,) = [s for s in row["srv"] if (s["protocol"], s["form"]) == ("submission", "starttls")]
        assert state["status"] == truth.services.status, row["domain"]
        seen.add(SrvStatus(state["status"]))
        own = truth.mail_hosts[0][1] if truth.mail_hosts else ""
        expected = [(one.target.replace(OWN_HOST, own), port) for one in truth.services.places]
        found = [(s["host"], s["port"]) for s in row["services"] if s["found_by"] == "srv"]
        assert found == list(dict.fromkeys(expected)), row["domain"]
        names = {name for s in row["services"] if s["found_by"] == "srv" for name in s["reference_names"]}
        assert names <= {row["domain"], *(host for host, _ in found)} and (row["domain"] in names) is bool(found)
    assert {SrvStatus.NAMED, SrvStatus.NOT_AVAILABLE, SrvStatus.ABSENT} <= seen, "the list shows them"

    probes = rows_of(run, "probes")
    named = [row for row in probes if "srv" in row["found_by"]]
    assert {(row["protocol"], row["form"], row["port"]) for row in named} == {("submission", "starttls", port)}
    assert any(row["outcome"] == "ok" and row["negotiated"] for row in named)
    for row in named:
        if row["received_chain"]:
            assert set(row["reference_matches"]) <= set(row["reference_names"])
    assert {row["protocol"] for row in probes} == {"submission", "imap", "pop3"}, "nobody asked for SMTP"
    assert {"srv", "srv_other_form", "fallback", "mx"} == {way for row in probes for way in row["found_by"]}
    endpoints = [(row["protocol"], row["form"], row["host"], row["address"], row["port"]) for row in probes]
    assert len(endpoints) == len(set(endpoints)), "each is probed once, whatever ways lead there"
    judged_by_readme(run, rows_of(run, "domains"), probes)
    with Run.open(tmp_path / "data") as opened:
        judged = opened.frame("SELECT any_value(route) AS route FROM domains JOIN domain_units USING (domain)")
        assert set(judged["route"]) <= {Route.EXPLICIT, Route.IMPLICIT, Route.NULL_MX_INVALID, Route.UNKNOWN}
        unknown = opened.frame("SELECT count(*) AS n FROM domain_units WHERE negotiated_any IS NOT NULL")
    assert int(unknown["n"][0]) == 0, "no figure of SMTP is made of what was not asked"
