"""What figures count: domains, messages, hosts, addresses, endpoints, and the lines of the list.

There is one query per unit and rule, answered as a frame of *alike* units with their
`weight`.  A frame has as many rows as there are different verdicts, not as there are units.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from analysis.figures import policy_list
from analysis.figures.grouping import GROUPS, NONE, SMALLEST_GROUP, named_groups
from analysis.runs.run import Run
from analysis.sql.deliveries import DOMAIN_CRITERIA, DOMAIN_RULES, PLAIN_RULES
from analysis.sql.endpoints import CRITERIA
from analysis.sql.senders import LABELS
from crawler.model.names import suffixes

HEADLINE_RULE = "primary"

MAIL_DOMAINS = (
    "domains of the list whose mail has somewhere to go (MX or own address), and those whose DNS failed, as unknown"
)


@dataclass(frozen=True, slots=True)
class View:
    """A way to look at a run: whose shares are counted, and how several endpoints make one verdict."""

    unit: str  #: `domains messages hosts addresses endpoints list`
    rule: str  #: `primary any all …`; empty where no endpoints are put together
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
PUBLISHED = View("domains", "", MAIL_DOMAINS, "")

#: Where a policy list is given: who is on it, and what becomes of its promises.
LISTED = View("domains", "", MAIL_DOMAINS, "by the policy list alone")
MEMBERS = "those of these domains that the policy list names"

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
    "mail": (MESSAGES, DOMAINS),
    "published": (PUBLISHED,),
    "endpoints": (View("endpoints", "", "endpoints: mail hosts times their addresses", ""),),
    "list": (View("list", "", "lines of the list, duplicates dropped", ""),),
    "listed": (LISTED,),
    "members": tuple(View("members", rule, MEMBERS, _RULE_WORDS[rule]) for rule in policy_list.RULES),
}

#: Keys of `VIEWS` that need a policy list.
ON_REQUEST = ("listed", "members")

_TABLES = {"hosts": "host_units", "addresses": "address_units"}

_FACTS = f"""
    SELECT coalesce(outcome, 'not_run') AS outcome, stage, basis, inferred, {", ".join(CRITERIA)},
        tls_version, tls_cipher, tls_group, chain_trusted, trusted_with_known, name_match, within_validity, self_signed, tlsa, dane, dane_error,
        count(*)::DOUBLE AS weight
    FROM endpoint_facts GROUP BY ALL
"""

_LINES = """
    SELECT route, dns_error, domain_units.domain IS NOT NULL AS counted, false AS inferred, count(*)::DOUBLE AS weight
    FROM domains LEFT JOIN (SELECT domain FROM domain_units) AS domain_units USING (domain) GROUP BY ALL
"""

_PUBLISHED = """
    SELECT dnssec, mta_sts_record, mta_sts_fetch, mta_sts_mode, tlsrpt, false AS inferred, count(*)::DOUBLE AS weight
    FROM domains SEMI JOIN domain_units USING (domain) GROUP BY ALL
"""


def counted(
    run: Run, view: View, *, by: str | None = None, largest: int = 20, smallest: int = SMALLEST_GROUP
) -> pd.DataFrame:
    """Count the units of a view that are alike.

    For shares, the frame has `weight` and for each criterion `<criterion>_yes _no _unknown _inferred`,
    the parts of one unit, and for domains whether their MX is `mx_secure`.  Where domains are means a row
    stands for endpoints that are alike, by the part of their domains that they are, and has `senders.LABELS`
    too.  With `by` (`tld provider rank`; domains and messages only) the column `group` names the group.  Groups of
    fewer than `smallest` domains are one, and larger ones join it until it has as many itself; of the others the
    `largest` are kept, and the rest is called `(others)`.
    """
    if view.unit == "endpoints":
        return run.frame(_FACTS)
    if view.unit == "list":
        return run.frame(_LINES)
    if view is PUBLISHED:
        return run.frame(_PUBLISHED)
    if view is LISTED:
        return policy_list.membership(run)
    if view.unit == "members":
        return policy_list.members(run, view.rule)
    if view.unit in _TABLES:
        columns = _columns(view.rule, CRITERIA)
        return run.frame(f"SELECT {columns}, count(*)::DOUBLE AS weight FROM {_TABLES[view.unit]} GROUP BY ALL")
    columns = f"mx_secure, {_columns(view.rule, DOMAIN_CRITERIA)}"
    source, weight = "domain_units", "count(*)::DOUBLE"
    if view.rule == HEADLINE_RULE:
        columns += f", {', '.join(LABELS)}, inferred, parts"
        source = "primary_parts"
    joins = ""
    if view.unit == "messages":
        joins, weight = "JOIN weights USING (domain)", "sum(messages)"
    share = f"{weight} / any_value(parts)" if view.rule == HEADLINE_RULE else weight
    if by is None:
        return run.frame(f"SELECT {columns}, {share} AS weight FROM {source} {joins} GROUP BY ALL")
    if by == "provider":
        _add_providers(run)
        joins += " LEFT JOIN providers ON providers.host = primary_host"
    group = f"coalesce({GROUPS[by]}, '{NONE}')"
    return run.frame(f"""
        WITH {named_groups(by, group, f"domain_units {joins}", weight, largest=largest, smallest=smallest)},
        grouped AS (SELECT *, {group} AS name FROM {source} {joins})
        SELECT "group", {columns}, {share} AS weight FROM grouped JOIN named USING (name) GROUP BY ALL
    """)


def _columns(rule: str, criteria: Iterable[str]) -> str:
    return ", ".join(_fact(name) if rule == HEADLINE_RULE else _verdict(name, rule) for name in criteria)


def _verdict(name: str, rule: str) -> str:
    verdict = f"{name}_{rule}"
    return (
        f"({verdict} IS TRUE)::DOUBLE AS {name}_yes, ({verdict} IS FALSE)::DOUBLE AS {name}_no, "
        f"({verdict} IS NULL)::DOUBLE AS {name}_unknown, "
        f"({verdict} IS NOT NULL AND {verdict}_observed IS NULL)::DOUBLE AS {name}_inferred"
    )


def _fact(name: str) -> str:
    return (
        f"({name} IS TRUE)::DOUBLE AS {name}_yes, ({name} IS FALSE)::DOUBLE AS {name}_no, "
        f"({name} IS NULL)::DOUBLE AS {name}_unknown, (inferred AND {name} IS NOT NULL)::DOUBLE AS {name}_inferred"
    )


def _add_providers(run: Run) -> None:
    """Name the provider of each primary mail host: its registrable domain, or itself if it has none."""
    if run.has("providers"):
        return
    run.execute("CREATE TABLE providers (host VARCHAR, provider VARCHAR)")
    for batch in run.batches("SELECT DISTINCT primary_host FROM domain_units WHERE primary_host IS NOT NULL"):
        hosts = batch.column(0).to_pylist()
        run.add_rows("providers", {"host": hosts, "provider": [suffixes(host)[0] or host for host in hosts]})
