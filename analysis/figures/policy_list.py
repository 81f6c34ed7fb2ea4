"""A policy list held against a run: who is on it, and who keeps what it promises, in SQL.

`crawler.policies.list_compliance` states the demands; here they are said once more for a whole run at once, and a
test holds the two against each other.  What is not on the run's list is counted and shown, never dropped in silence.

The tables that `load_policy_list` makes: `listed` (domain, and the number of its policy), `listed_policies`.  Policies
are kept once each, as thousands of domains may share an alias.  `members` is made when first asked for: the
mail domains that are listed, with `<demand>_<rule>` and its twin `..._observed`, as in `analysis.sql.deliveries`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.runs.run import Run
from analysis.sql.names import names_of, read_whole
from crawler.dataset.stored_manifest import time_of
from crawler.policies.policy_list import ListedPolicy, PolicyList, read_policy_list

_BATCH = 50_000

#: Demand -> how the facts of a delivery to a listed domain decide it.
DEMANDS = {
    "host": "host_is_listed",
    "tls": "negotiated AND list_contains(tls_versions, tls_version)",
    "certificate": """negotiated AND chain_trusted AND within_validity AND (name_match OR leaf_is_listed)
        AND CASE WHEN NOT pinned THEN true END""",
    "compliant": "met_host AND met_tls AND met_certificate",
}

#: The same of observed endpoints; the name of a mail host is known of all.
_OBSERVED = {
    "host": "met_host",
    "tls": "CASE WHEN NOT inferred THEN met_tls END",
    "certificate": "CASE WHEN NOT inferred THEN met_certificate END",
    "compliant": "met_host AND CASE WHEN NOT inferred THEN met_tls AND met_certificate END",
}

#: Rule -> which endpoints it is about; each of them must meet the demand.
RULES = {"all": "true", "worst": "accepts IS NOT FALSE"}

#: The parts of a name that a pattern with a leading dot may stand for (older lists): from each of its dots on.
_DOTTED = """
    CREATE OR REPLACE MACRO dotted_for(name) AS list_transform(
        list_filter(range(1, len(name) + 1), lambda place: name[place] = '.'), lambda place: substr(name, place)
    )
"""


def _matching(table: str, column: str) -> str:
    """A SELECT of `policy` and `column`: policies one of whose patterns matches the `name` beside it in `table`.

    One label for `*.`, any number for `.`.
    """
    return f"""
        SELECT DISTINCT policy, {column}
        FROM (
            SELECT {column}, unnest(patterns_for(name)) AS pattern FROM {table}
            UNION ALL
            SELECT {column}, unnest(dotted_for(name)) AS pattern FROM {table}
            WHERE EXISTS (FROM listed_patterns WHERE starts_with(pattern, '.'))
        )
        JOIN listed_patterns USING (pattern)
    """


@dataclass(frozen=True, slots=True)
class ListedDomains:
    """A policy list beside a run: what the file is, so that it can be cited, and how much of it meets the run."""

    source: str  #: name of the file, without its directories: reports are published
    sha256: str  #: of the file, hex
    author: str
    timestamp: datetime | None
    expires: datetime | None
    expired: bool  #: before the run began
    domains: int  #: that it names
    counted: int  #: of them, mail domains of the run: the members
    undeliverable: int  #: of them, names of the run that take no mail, or were not asked
    unmatched: int  #: of them, not in the run
    warnings: tuple[str, ...]  #: a line each

    def state(self) -> str:
        """When it was made and until when it held, in a few words."""
        made = f"of {self.timestamp:%Y-%m-%d}" if self.timestamp else "without a date"
        if self.expires is None:
            return f"{made}, without an end"
        return f"{made}, {'expired' if self.expired else 'valid until'} {self.expires:%Y-%m-%d}"


def load_policy_list(path: Path, run: Run) -> ListedDomains:
    """Read the file into the tables of the run.  Raises `UsageError` where it cannot be used."""
    read = replace(read_policy_list(path), source=path.name)
    _store(run, read)
    counts = run.frame("""
        SELECT count(*) AS domains, count(*) FILTER (WHERE counted) AS counted,
            count(*) FILTER (WHERE measured AND counted IS NULL) AS undeliverable,
            count(*) FILTER (WHERE measured IS NULL) AS unmatched
        FROM listed LEFT JOIN (SELECT domain, true AS counted FROM domain_units) USING (domain)
        LEFT JOIN (SELECT DISTINCT domain, true AS measured FROM domains) USING (domain)
    """).iloc[0]
    at = _began(run)
    return ListedDomains(
        read.source, read.sha256, read.author, read.timestamp, read.expires, read.is_expired(at),
        **{str(name): int(count) for name, count in counts.items()}, warnings=tuple(read.warnings(at)),
    )  # fmt: skip


def _store(run: Run, read: PolicyList) -> None:
    numbers: dict[ListedPolicy, int] = {}
    run.execute("DROP TABLE IF EXISTS members")  # of a list that was loaded before
    run.execute("CREATE OR REPLACE TABLE listed (domain VARCHAR, policy INTEGER)")
    entries = iter(read.policies.items())
    while batch := list(islice(entries, _BATCH)):
        rows: dict[str, list[Any]] = {
            "domain": [domain for domain, _ in batch],
            "policy": [numbers.setdefault(policy, len(numbers)) for _, policy in batch],
        }
        run.add_rows("listed", rows)
    run.execute(
        "CREATE OR REPLACE TABLE listed_policies (policy INTEGER, mode VARCHAR, mxs VARCHAR[],"
        " tls_versions VARCHAR[], pinned BOOLEAN)"
    )
    policies = iter(numbers.items())
    while kinds := list(islice(policies, _BATCH)):
        columns: dict[str, list[Any]] = {
            "policy": [number for _, number in kinds],
            "mode": [str(policy.mode) for policy, _ in kinds],
            "mxs": [list(policy.mxs) for policy, _ in kinds],
            "tls_versions": [list(policy.tls_versions) for policy, _ in kinds],
            "pinned": [policy.pinned for policy, _ in kinds],
        }
        run.add_rows("listed_policies", columns)


def membership(run: Run) -> pd.DataFrame:
    """Mail domains that are alike: whether they are listed, and with which mode, with their `weight`."""
    return run.frame("""
        SELECT (mode IS NOT NULL)::DOUBLE AS listed_yes, (mode IS NULL)::DOUBLE AS listed_no,
            0.0::DOUBLE AS listed_unknown, 0.0::DOUBLE AS listed_inferred,
            mode, mode IS NOT NULL AS listed, false AS inferred, count(*)::DOUBLE AS weight
        FROM domain_units LEFT JOIN listed USING (domain) LEFT JOIN listed_policies USING (policy) GROUP BY ALL
    """)


def members(run: Run, rule: str) -> pd.DataFrame:
    """Listed mail domains that are alike, with `<demand>_yes _no _unknown _inferred` and whether they `enforce`."""
    _add_members(run)
    columns = ", ".join(
        f"({verdict} IS TRUE)::DOUBLE AS {name}_yes, ({verdict} IS FALSE)::DOUBLE AS {name}_no, "
        f"({verdict} IS NULL)::DOUBLE AS {name}_unknown, "
        f"({verdict} IS NOT NULL AND {verdict}_observed IS NULL)::DOUBLE AS {name}_inferred"
        for name in DEMANDS
        for verdict in (f"{name}_{rule}",)
    )
    return run.frame(
        f"SELECT mode = 'enforce' AS enforced, {columns}, count(*)::DOUBLE AS weight FROM members GROUP BY ALL"
    )


def _add_members(run: Run) -> None:
    if run.has("members"):
        return
    run.execute(_DOTTED)
    verdicts = ", ".join(
        f"{_every(fact, condition)} AS {name}_{rule}{twin}"
        for rule, condition in RULES.items()
        for name in DEMANDS
        for twin, fact in (("", f"met_{name}"), ("_observed", _OBSERVED[name]))
    )
    facts = ", ".join(f"{rule} AS met_{name}" for name, rule in DEMANDS.items())
    run.execute(f"""
        CREATE TABLE members AS
        WITH member AS (
            SELECT domain, policy, mode, tls_versions, pinned FROM listed JOIN listed_policies USING (policy)
            SEMI JOIN domain_units USING (domain)
        ), delivered AS (
            SELECT member.*, delivery.* EXCLUDE (domain)
            FROM member JOIN (
                SELECT domain, host, accepts, inferred, negotiated, tls_version, chain_trusted, within_validity, name_match, leaf
                FROM deliveries
            ) AS delivery USING (domain)
        ), listed_patterns AS (
            SELECT policy, unnest(mxs) AS pattern FROM listed_policies WHERE policy IN (SELECT policy FROM member)
        ), hosts_asked AS (
            SELECT DISTINCT host, host AS name FROM delivered WHERE host IS NOT NULL
        ), listed_hosts AS (
            {_matching("hosts_asked", "host")}
        ), leaves_asked AS (
            SELECT DISTINCT leaf FROM delivered WHERE leaf IS NOT NULL
        ), leaf_names AS (  -- a wildcard is the whole left-most label
            SELECT leaf, lower(name) AS name FROM ({names_of("leaves_asked", or_cn=True)})
            WHERE strpos(substr(name, 2), '*') = 0
        ), listed_leaves AS (
            {_matching("leaf_names", "leaf")}
        ), met AS (
            SELECT *, {facts}
            FROM (
                SELECT delivered.*, CASE WHEN delivered.host IS NOT NULL THEN listed_hosts.host IS NOT NULL END AS host_is_listed,
                    CASE WHEN listed_leaves.leaf IS NOT NULL THEN true WHEN all_read THEN false END AS leaf_is_listed
                FROM delivered
                LEFT JOIN listed_hosts ON listed_hosts.policy = delivered.policy AND listed_hosts.host = delivered.host
                LEFT JOIN listed_leaves ON listed_leaves.policy = delivered.policy AND listed_leaves.leaf = delivered.leaf
                LEFT JOIN ({read_whole("leaves_asked", or_cn=True)}) AS known ON known.leaf = delivered.leaf
            )
        ), judged_domains AS (
            SELECT domain, {verdicts} FROM met GROUP BY domain
        )
        SELECT domain, mode, judged_domains.* EXCLUDE (domain) FROM member LEFT JOIN judged_domains USING (domain)
    """)


def _every(fact: str, condition: str) -> str:
    """Whether all endpoints of a set meet a demand, in three values; null for an empty set."""
    chosen = f"FILTER (WHERE {condition})"
    return (
        f"CASE WHEN bool_or(({fact}) IS FALSE) {chosen} THEN false "
        f"WHEN NOT bool_or(({fact}) IS NULL) {chosen} THEN true END"
    )


def _began(run: Run) -> datetime:
    """When the run began; now, if its manifest does not say."""
    if not run.stored.started_at:
        return datetime.now(UTC)
    return time_of(run.stored.started_at)
