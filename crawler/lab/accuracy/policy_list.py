"""The lab's policy list held against a scan: whether each member keeps its promise, in truth and as measured.

The truth comes from the world, what was measured from the dataset by `crawler.policies.list_compliance`.  An endpoint
that was left to another name at its address is unknown on both sides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from crawler.lab.behaviours.policy_list import ListedBehaviour, ListedTruth, every, policy_list, truth_at
from crawler.lab.world.names import LabDomain
from crawler.lab.world.world import World
from crawler.model.rows import Certificate, Domain, Host, Probe
from crawler.policies import list_compliance
from crawler.policies.policy_list import parse_policy_list

Key = tuple[str, ...]
Verdicts = dict[str, Any]

_DOMAIN = ("domain", "route", "mx", "mx_dropped", "mx_unreadable")
_HOST = ("host", "addresses", "ipv4_status", "ipv6_status", "addresses_dropped")
_PROBE = (
    *("host", "address", "conclusive", "starttls_offered", "negotiated", "tls_version"),
    *("chain_trusted", "within_validity", "name_match", "received_chain"),
)
_CERTIFICATE = ("sha256", "names", "common_name")


def expected(world: World, domains: Iterable[LabDomain], left_out: set[Key]) -> dict[Key, tuple[str, Verdicts]]:
    """The truth about every member; `left_out` are hosts and addresses that another name was probed for."""
    made: dict[Key, tuple[str, Verdicts]] = {}
    for domain in domains:
        truths = []
        for _, name in domain.mail_hosts:
            host = world.host(name)
            assert host is not None
            for address in host.addresses:
                truth = truth_at(domain.listed, name, world.behaviour_at(host, address))
                truths.append(ListedTruth(truth.host, None, None) if (name, address) in left_out else truth)
        together = ListedTruth(
            every(truth.host for truth in truths),
            every(truth.tls for truth in truths),
            every(truth.certificate for truth in truths),
        )
        made[(domain.name,)] = domain.listed.name, _verdicts(domain.listed.mode, together)
    return made


def measured(run: Path, domains: Iterable[LabDomain]) -> Iterator[tuple[Key, Verdicts]]:
    """The verdicts that follow from the dataset under `run` for the same members, by the list that the lab would
    write."""
    members: list[tuple[str, ListedBehaviour, tuple[str, ...]]] = [
        (domain.name, domain.listed, tuple(host for _, host in domain.mail_hosts)) for domain in domains
    ]
    listed = parse_policy_list(policy_list(members, datetime.now(UTC)).encode(), "the lab's policy list")
    rows = [row for row in _rows(run / "domains", _DOMAIN) if row["domain"] in listed.policies]
    names = {entry["host"] for row in rows for entry in row["mx"] or ()}
    hosts = {row["host"]: Host(**row) for row in _rows(run / "hosts", _HOST) if row["host"] in names}
    probes = [Probe(**row) for row in _rows(run / "probes", _PROBE) if row["host"] in names]
    wanted = {probe.received_chain[0] for probe in probes if probe.received_chain}
    leaves = {
        row["sha256"]: Certificate(**row)
        for row in _rows(run / "certificates", _CERTIFICATE)
        if row["sha256"] in wanted
    }
    at = {(p.host or "", p.address or ""): (p, leaves.get((p.received_chain or [""])[0])) for p in probes}
    for row in rows:
        policy = listed.policies[row["domain"]]
        found = list_compliance.of_domain(policy, Domain(**row), hosts, at)
        yield (row["domain"],), _verdicts(policy.mode, found)


def _verdicts(mode: str, truth: ListedTruth | list_compliance.Compliance | None) -> Verdicts:
    facts = dict.fromkeys(("host", "tls", "certificate")) if truth is None else asdict(truth)
    return {"mode": str(mode), **facts, "kept": truth and truth.compliant}


def _rows(folder: Path, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for part in sorted(folder.glob("*.parquet")):
        with pq.ParquetFile(part.absolute()) as file:
            for batch in file.iter_batches(columns=list(columns)):
                yield from batch.to_pylist()
