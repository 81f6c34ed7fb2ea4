"""A finished scan of the lab held against the truth: a confusion matrix for every verdict.

This module reads the dataset as anyone can, and computes the truth from list and seed.
The measured value `unknown` (null) is a value of its own: not having found out is no agreement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from crawler.dataset.stored_manifest import read_manifest
from crawler.dataset.stored_runs import WHOLE
from crawler.lab.accuracy import policy_list
from crawler.lab.accuracy.incomplete_chains import incomplete_rows, incomplete_verdicts
from crawler.lab.behaviours.protection import dane_truth, policy_id
from crawler.lab.behaviours.vocabulary import HostBehaviour, Truth
from crawler.lab.world.names import LabDomain, LabHost
from crawler.lab.world.world import World
from crawler.lists.reader import read_targets
from crawler.model.errors import UsageError
from crawler.model.names import MAX_NAME
from crawler.model.rows import DaneStatus, Outcome, Route, Stage, Target

_SHOWN = 40  # disagreements listed; the matrices count all
_UNKNOWN = "unknown"
_SAMPLED_OUT = Truth(None, Outcome.SAMPLED_OUT, conclusive=False)
Key = tuple[str, ...]
Verdicts = dict[str, Any]


@dataclass(slots=True)
class Comparison:
    """What came of it."""

    matrices: dict[str, Counter[tuple[str, str]]] = field(default_factory=dict)
    disagreements: list[str] = field(default_factory=list)
    rows: Counter[str] = field(default_factory=Counter)

    @property
    def is_diagonal(self) -> bool:
        """Every verdict is the truth, and every row is there once."""
        return not self.disagreements

    def compare(
        self, table: str, expected: dict[Key, tuple[str, Verdicts]], rows: Iterable[tuple[Key, Verdicts]]
    ) -> None:
        """Hold the rows of a table against what must be in it; `expected` names the behaviour beside the verdicts."""
        seen: Counter[Key] = Counter()
        for key, measured in rows:
            seen[key] += 1
            self.rows[table] += 1
            if key not in expected:
                self.disagreements.append(f"{table}: {' '.join(key)}: a row that should not be there")
                continue
            behaviour, truth = expected[key]
            for verdict, wanted in truth.items():
                found = measured[verdict]
                self.matrices.setdefault(f"{table}.{verdict}", Counter())[_word(wanted), _word(found)] += 1
                if wanted != found:
                    self.disagreements.append(
                        f"{table}.{verdict}: truth {_word(wanted)}, measured {_word(found)}: {' '.join(key)} ({behaviour})"
                    )
        for key in expected.keys() - seen.keys():
            self.disagreements.append(f"{table}: {' '.join(key)}: the row is missing ({expected[key][0]})")
        for key, count in seen.items():
            if count > 1:
                self.disagreements.append(f"{table}: {' '.join(key)}: {count} rows instead of one")

    def lines(self) -> Iterator[str]:
        """The report: every matrix, the disagreements, and one sentence at the end."""
        for name, matrix in self.matrices.items():
            yield from _matrix_lines(name, matrix)
            yield ""
        yield from self.disagreements[:_SHOWN]
        if len(self.disagreements) > _SHOWN:
            yield f"… and {len(self.disagreements) - _SHOWN} more"
        rows = ", ".join(f"{count} {table}" for table, count in self.rows.items())
        verdict = "every verdict is the truth" if self.is_diagonal else f"{len(self.disagreements)} disagreements"
        yield f"{rows}: {verdict}"


def compare_run(run: Path, source: Path, seed: int) -> Comparison:
    """Hold the run in directory `run=ID`, a scan of the list `source`, against the truth.

    Raises `UsageError` when the run is not finished or not there.
    """
    manifest = read_manifest(run)
    if manifest.state not in WHOLE:
        raise UsageError(f"{run}: the run is {manifest.state}, not finished; its rows cannot be complete")
    settings = manifest.configuration or {}
    # A machine without IPv6 has another lab, and lab.toml said so.
    world = World(seed, _names(source), ipv6=settings["ipv6"])
    return compare(world, read_targets(source), run, settings["pacing"]["names_per_address"])


def compare(world: World, targets: Iterable[Target], run: Path, names_per_address: int) -> Comparison:
    """Hold the tables under `run` against the truth of the list."""
    domains: dict[Key, tuple[str, Verdicts]] = {}
    names: set[str] = set()
    members: dict[str, LabDomain] = {}
    for target in targets:
        if target.domain is None:
            domains[("", target.input or "")] = ("no domain name", {"route": Route.INVALID, "mx": ()})
            continue
        domain = world.domain(target.domain)
        domains[(target.domain,)] = (domain.behaviour.name, domain_verdicts(domain))
        names.update(host for _, host in domain.mail_hosts)
        if domain.listed.mode:
            members[target.domain] = domain
    hosts: dict[Key, tuple[str, Verdicts]] = {}
    tlsa: dict[Key, tuple[str, Verdicts]] = {}
    probes: dict[Key, tuple[str, Verdicts]] = {}
    probed: dict[Key, HostBehaviour] = {}
    for name in names:
        host = world.host(name)
        assert host is not None, f"{name} is the mail host of a domain and nobody's host"
        hosts[(name,)] = (host.behaviour.name, host_verdicts(host))
        tlsa[(name,)] = (host.tlsa.name, {"status": host.tlsa_status})
        for address in host.addresses:
            behaviour = probed[(name, address)] = world.behaviour_at(host, address)
            dane = dane_truth(host.tlsa, host.tlsa_status, behaviour)
            probes[(name, address)] = (f"{behaviour.name}, {host.tlsa.name}", probe_verdicts(behaviour.truth, dane))
    left_out = set(_sampled_out(run, probes, names_per_address))
    for key in left_out:
        probes[key] = (probes[key][0], probe_verdicts(_SAMPLED_OUT, None))
        del probed[key]
    made = Comparison()
    made.compare("domains", domains, map(_domain_row, _rows(run / "domains")))
    made.compare("hosts", hosts, map(_host_row, _rows(run / "hosts")))
    made.compare("tlsa", tlsa, (((row["host"],), row) for row in _rows(run / "tlsa")))
    made.compare("probes", probes, map(_probe_row, _rows(run / "probes")))
    chains = incomplete_rows(_rows(run / "incomplete_chains"), _rows(run / "probes"))
    made.compare("incomplete_chains", incomplete_verdicts(probed), chains)
    promised = policy_list.expected(world, members.values(), left_out)
    made.compare("policy_list", promised, policy_list.measured(run, members.values()))
    return made


def _sampled_out(run: Path, expected: dict[Key, tuple[str, Verdicts]], names_per_address: int) -> Iterator[Key]:
    """The endpoints that a scan may leave to another name at the same address.

    Which names those are is the scan's choice; how many, and that a name beside them was probed, is
    not.  At an address that in truth does not answer, any number may be left to one that was probed.
    """
    at: dict[str, set[str]] = {}
    for host, address in expected:
        at.setdefault(address, set()).add(host)
    left: dict[str, dict[str, str]] = {}
    for row in _rows(run / "probes"):
        if row["outcome"] == Outcome.SAMPLED_OUT:
            left.setdefault(row["address"], {})[row["host"]] = row["representative_host"]
    for address, representatives in left.items():
        names = at.get(address, set())
        probed = names - representatives.keys()
        wanted = min(names_per_address, len(names))
        deaf = all(_is_deaf(expected[host, address][1]) for host in probed)
        if probed.issuperset(representatives.values()) and (len(probed) == wanted or (deaf and probed)):
            yield from ((host, address) for host in representatives.keys() & names)


def _is_deaf(truth: Verdicts) -> bool:
    return truth["outcome"] in (Outcome.TIMEOUT, Outcome.UNREACHABLE) and truth["stage"] in (
        Stage.CONNECT,
        Stage.GREETING,
    )


# --- verdicts: truth and measurement in the same words --------------------------------------------


def domain_verdicts(domain: LabDomain) -> Verdicts:
    """What must be in a row of `domains`."""
    return {
        "route": domain.route,
        "dns_error": domain.behaviour.dns_error,
        "mx": tuple(sorted((preference, host) for preference, host in domain.mail_hosts)),
        "cnames": domain.cnames if domain.mail_hosts else (),
        "dnssec": domain.dnssec,
        **_policy_verdicts(domain),
    }


_WITHOUT_MORE = frozenset({Route.NXDOMAIN, Route.OPTED_OUT, Route.UNKNOWN})  # nothing else is asked about these


def _policy_verdicts(domain: LabDomain) -> Verdicts:
    kind = domain.mta_sts
    asked = domain.route not in _WITHOUT_MORE and len(domain.name) <= MAX_NAME - len("_mta-sts.")
    reporting_asked = domain.route not in _WITHOUT_MORE and len(domain.name) <= MAX_NAME - len("_smtp._tls.")
    hosts = tuple(host for _, host in domain.mail_hosts)
    return {
        "mta_sts_record": kind.record if asked else None,
        "mta_sts_id": policy_id(kind),
        "mta_sts_fetch": kind.fetch,
        "mta_sts_mode": kind.mode,
        "mta_sts_mx": kind.mx(hosts) if kind.mode is not None else (),
        "mta_sts_delegated": bool(kind.delegate),
        "tlsrpt": domain.tlsrpt.status if reporting_asked else None,
        "tlsrpt_rua": domain.tlsrpt.rua(domain.name),
    }


def _domain_row(row: dict[str, Any]) -> tuple[Key, Verdicts]:
    key = (row["domain"],) if row["domain"] is not None else ("", row["input"])
    return key, {
        "route": row["route"],
        "dns_error": row["dns_error"],
        "mx": tuple(sorted((entry["preference"], entry["host"]) for entry in row["mx"] or ())),
        "cnames": tuple(row["cnames"] or ()),
        "dnssec": row["dnssec"],
        **{name: row[name] for name in ("mta_sts_record", "mta_sts_id", "mta_sts_fetch", "mta_sts_mode")},
        "mta_sts_mx": tuple(row["mta_sts_mx"] or ()),
        "mta_sts_delegated": bool(row["mta_sts_cnames"]),
        "tlsrpt": row["tlsrpt"],
        "tlsrpt_rua": tuple(row["tlsrpt_rua"] or ()),
    }


def host_verdicts(host: LabHost) -> Verdicts:
    """What must be in a row of `hosts`."""
    return {
        "ipv4_status": host.ipv4_status,
        "ipv6_status": host.ipv6_status,
        "addresses": tuple(sorted(host.addresses)),
        "dnssec": host.dnssec,
    }


def _host_row(row: dict[str, Any]) -> tuple[Key, Verdicts]:
    verdicts = {name: row[name] for name in ("ipv4_status", "ipv6_status", "dnssec")}
    return (row["host"],), {**verdicts, "addresses": tuple(sorted(row["addresses"] or ()))}


def probe_verdicts(truth: Truth, dane: DaneStatus | None) -> Verdicts:
    """What must be in a row of `probes`."""
    return {**{f.name: getattr(truth, f.name) for f in fields(truth)}, "dane": dane}


#: Verdicts that are not columns of their own.
_DERIVED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "injected": lambda row: bool(row["plaintext_after_upgrade"]),
    "stray": lambda row: bool(row["stray_bytes"]),
    "pq_intolerant": lambda row: bool(row["pq_intolerant"]),
    "certificates": lambda row: None if row["received_chain"] is None else len(row["received_chain"]),
}


def _probe_row(row: dict[str, Any]) -> tuple[Key, Verdicts]:
    verdicts = {f.name: _DERIVED[f.name](row) if f.name in _DERIVED else row[f.name] for f in fields(Truth)}
    return (row["host"], row["address"]), {**verdicts, "dane": row["dane"]}


def _names(source: Path) -> Iterator[str]:
    return (target.domain for target in read_targets(source) if target.domain is not None)


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    for part in sorted(folder.glob("*.parquet")):
        with pq.ParquetFile(part.absolute()) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()


# --- printing ---------------------------------------------------------------------------------------


def _word(value: Any) -> str:
    """A verdict as it is printed; lists only count, as their members are no classes."""
    if value is None:
        return _UNKNOWN
    if isinstance(value, tuple):
        return f"{len(value)} of them"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _matrix_lines(name: str, matrix: Counter[tuple[str, str]]) -> Iterator[str]:
    """One matrix; columns are numbered like the rows, so that long words do not widen it."""
    values = sorted({value for pair in matrix for value in pair})
    width = max(5, len(str(max(matrix.values()))) + 1)
    longest = max(len(value) for value in values)
    wrong = sum(count for (truth, measured), count in matrix.items() if truth != measured)
    yield f"{name}: {matrix.total()} rows, {f'{wrong} off the diagonal' if wrong else 'all on the diagonal'}"
    yield f"     {'truth':<{longest}} " + "".join(f"{number:>{width}}" for number in range(1, len(values) + 1))
    for number, truth in enumerate(values, 1):
        counts = (matrix[truth, measured] for measured in values)
        yield f"  {number:>2} {truth:<{longest}} " + "".join(f"{count or '·':>{width}}" for count in counts)
