"""What figures count: domains, messages, hosts, addresses, endpoints, and the lines of the list.

Rule of this room: one query per unit and rule, answered as a frame of *alike* units with their
`weight`.  A frame has as many rows as there are different verdicts, not as there are units.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from analysis.dataset import Run
from analysis.deliveries import CRITERIA, DOMAIN_RULES, PLAIN_RULES
from crawler.names import suffixes

HEADLINE_RULE = "primary"

MAIL_DOMAINS = (
    "domains of the list whose mail has somewhere to go (MX or own address), and those whose DNS failed, as unknown"
)


@dataclass(frozen=True, slots=True)
class View:
    """A way to look at a run: whose shares are counted, and how several endpoints make one verdict."""

    unit: str  #: `domains messages hosts addresses endpoints list`
    rule: str  #: `primary any all …`; empty where a unit is an endpoint or a line itself
    population: str  #: who is counted
    words: str  #: how the rule decides


_RULE_WORDS = {
    "primary": "mean over the best-preference endpoints that accept connections",
    "any": "at least one endpoint",
    "all": "every endpoint",
    "primary_any": "at least one best-preference endpoint that accepts connections",
    "primary_all": "every best-preference endpoint that accepts connections (Dukhovni's rule)",
    "worst": "every endpoint that accepts connections, of any preference (EFF's rule)",
}

MESSAGES = View(
    "messages",
    HEADLINE_RULE,
    "messages of the weights file to domains whose mail has somewhere to go",
    _RULE_WORDS[HEADLINE_RULE],
)
DOMAINS = View("domains", HEADLINE_RULE, MAIL_DOMAINS, _RULE_WORDS[HEADLINE_RULE])

#: Unit -> its views, the headline first.
VIEWS: dict[str, tuple[View, ...]] = {
    "messages": (MESSAGES,),
    "domains": (DOMAINS, *(View("domains", rule, MAIL_DOMAINS, _RULE_WORDS[rule]) for rule in DOMAIN_RULES)),
    "hosts": tuple(
        View("hosts", rule, "mail hosts of those domains that have an address, or may", _RULE_WORDS[rule])
        for rule in PLAIN_RULES
    ),
    "addresses": tuple(
        View(
            "addresses", rule, "addresses of those mail hosts", _RULE_WORDS[rule].replace("endpoint", "host name at it")
        )
        for rule in PLAIN_RULES
    ),
    "endpoints": (View("endpoints", "", "endpoints: mail hosts times their addresses", ""),),
    "list": (View("list", "", "lines of the list, duplicates dropped", ""),),
}

_TABLES = {"hosts": "host_units", "addresses": "address_units", "domains": "domain_units"}

#: `--by` -> the SQL that names a domain's group.
GROUPS = {
    "tld": "public_suffix",
    "provider": "provider",
    "rank": """CASE WHEN rank IS NULL THEN NULL WHEN rank <= 100 THEN '1 to 100' WHEN rank <= 1000 THEN '101 to 1,000'
        WHEN rank <= 10000 THEN '1,001 to 10,000' WHEN rank <= 100000 THEN '10,001 to 100,000'
        WHEN rank <= 1000000 THEN '100,001 to 1,000,000' ELSE 'above 1,000,000' END""",
}

OTHERS = "(others)"
NONE = "(none)"

_FACTS = f"""
    SELECT coalesce(outcome, 'not_run') AS outcome, stage, basis, inferred, {", ".join(CRITERIA)},
        tls_version, tls_cipher, tls_group, chain_trusted, name_match, unexpired, self_signed,
        count(*)::DOUBLE AS weight
    FROM endpoint_facts GROUP BY ALL
"""

_LINES = """
    SELECT route, dns_error, domain_units.domain IS NOT NULL AS counted, false AS inferred, count(*)::DOUBLE AS weight
    FROM domains LEFT JOIN (SELECT domain FROM domain_units) AS domain_units USING (domain) GROUP BY ALL
"""


def counted(run: Run, view: View, *, by: str | None = None, largest: int = 20) -> pd.DataFrame:
    """Count the units of a view that are alike.

    For shares, the frame has `weight` and for each criterion `<criterion>_yes _no _unknown _inferred`,
    the parts of one unit.  With `by` (`tld provider rank`; domains and messages only) the column
    `group` names the group, of which the `largest` are kept and the rest called `(others)`.
    """
    if view.unit == "endpoints":
        return run.frame(_FACTS)
    if view.unit == "list":
        return run.frame(_LINES)
    parts = ", ".join(_mean(name) if view.rule == HEADLINE_RULE else _verdict(name, view.rule) for name in CRITERIA)
    weight = "count(*)::DOUBLE" if view.unit != "messages" else "sum(messages)"
    source = _TABLES.get(view.unit, "domain_units JOIN weights USING (domain)")
    if by is None:
        return run.frame(f"SELECT {parts}, {weight} AS weight FROM {source} GROUP BY ALL")
    if by == "provider":
        _add_providers(run)
        source += " LEFT JOIN providers ON providers.host = primary_host"
    return run.frame(f"""
        WITH grouped AS (SELECT *, coalesce({GROUPS[by]}, '{NONE}') AS own_group FROM {source}),
        largest AS (
            SELECT own_group FROM grouped GROUP BY own_group ORDER BY {weight} DESC, own_group LIMIT {largest}
        )
        SELECT coalesce(largest.own_group, '{OTHERS}') AS "group", {parts}, {weight} AS weight
        FROM grouped LEFT JOIN largest USING (own_group) GROUP BY ALL
    """)


def _verdict(name: str, rule: str) -> str:
    verdict = f"{name}_{rule}"
    return (
        f"({verdict} IS TRUE)::DOUBLE AS {name}_yes, ({verdict} IS FALSE)::DOUBLE AS {name}_no, "
        f"({verdict} IS NULL)::DOUBLE AS {name}_unknown, "
        f"({verdict} IS NOT NULL AND {verdict}_observed IS NULL)::DOUBLE AS {name}_inferred"
    )


def _mean(name: str) -> str:
    of_all = "/ nullif(endpoints, 0), 0)"
    return (
        f"coalesce({name}_yes {of_all} AS {name}_yes, coalesce({name}_no {of_all} AS {name}_no, "
        f"coalesce((endpoints - {name}_yes - {name}_no) / nullif(endpoints, 0), 1) AS {name}_unknown, "
        f"coalesce({name}_inferred {of_all} AS {name}_inferred"
    )


def _add_providers(run: Run) -> None:
    """Name the provider of each primary mail host: its registrable domain, or itself if it has none."""
    if run.has("providers"):
        return
    run.execute("CREATE TABLE providers (host VARCHAR, provider VARCHAR)")
    for batch in run.batches("SELECT DISTINCT primary_host FROM domain_units WHERE primary_host IS NOT NULL"):
        hosts = batch.column(0).to_pylist()
        run.add_rows("providers", {"host": hosts, "provider": [suffixes(host)[0] or host for host in hosts]})
