"""A scan of hosts in the lab, by name and by address, with and without a port."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from analysis.runs.run import Run
from crawler.lab.lab import Lab
from crawler.lab.world.generated import generated_domains

ROOT = Path(__file__).resolve().parents[2]
NAMES = list(generated_domains(60))


async def scanned(directory: Path) -> tuple[int, str, str]:
    async with Lab(NAMES, directory=directory / "lab") as lab:
        world = lab.world
        found = ((world.host(host), lab.smtp_port) for name in NAMES for _, host in world.domain(name).mail_hosts)
        host = next(
            h for h, _ in found if h is not None and h.behaviour.name == "tls13-x25519" and len(h.addresses) == 1
        )
        lines = [
            host.name,
            f"{host.name}:{lab.smtp_port}",
            f"{host.addresses[0]}:{lab.smtp_port}",
            "no host",
            "203.0.113.1",
        ]
        (directory / "list").write_text("\n".join(lines))
        command = ["-m", "crawler", "scan", str(directory / "list"), "--hosts", "--data", str(directory / "data")]
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, "--config", str(lab.config_path), "--ehlo-name", "probe.example", "--ipv4",
            stderr=asyncio.subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        _, err = await process.communicate()
        return process.returncode or 0, err.decode(), host.name


def rows_of(run: Path, table: str) -> list[dict[str, Any]]:
    return [row for part in (run / table).glob("*.parquet") for row in pq.ParquetFile(part).read().to_pylist()]


@pytest.mark.timeout(120)
def test_hosts_of_a_list_are_asked_themselves_and_their_rows_say_so(tmp_path: Path) -> None:
    code, said, name = asyncio.run(scanned(tmp_path))
    assert code == 0, said
    assert "list: one host a line" in said and "4 hosts" in said and "1 line that is no host" in said
    (run,) = (tmp_path / "data").glob("run=*")
    domains = rows_of(run, "domains")
    assert sorted(row["route"] for row in domains) == ["host"] * 4 + ["invalid"]
    assert all(row["mx"] is None and row["mta_sts_record"] is None for row in domains)
    (host,) = [row for row in rows_of(run, "hosts") if row["host"] == name]
    assert [(entry["found_by"], entry["domains"]) for entry in host["asked"]] == [(["listed"], 2)]
    probes = {row["host"]: row for row in rows_of(run, "probes")}
    assert probes[name]["outcome"] == "ok" and probes[name]["strict_valid"] and probes[name]["found_by"] == ["listed"]
    assert probes["203.0.113.1"]["outcome"] == "address_not_allowed"
    (by_address,) = [row for host, row in probes.items() if host not in (name, "203.0.113.1")]
    assert by_address["host"] == by_address["address"] == probes[name]["address"]
    assert (by_address["negotiated"], by_address["name_match"], by_address["strict_valid"]) == (True, None, None)
    assert json.loads((run / "manifest.json").read_text())["configuration"]["hosts"] is True
    with Run.open(tmp_path / "data") as opened:
        assert len(opened.frame("SELECT * FROM domain_units")) == 0, "no domain was asked about"
        verdicts = opened.frame("SELECT host, negotiated_any FROM host_units")
    assert dict(zip(verdicts["host"], verdicts["negotiated_any"], strict=True))[name]
