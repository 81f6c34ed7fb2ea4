"""The units that figures count: domains, messages, hosts, addresses, endpoints, and the lines of the list.

There is one query per unit and rule, answered as a frame of *alike* units with their
`weight`.  A frame has as many rows as there are different verdicts, not as there are units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

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


Query = str | Callable[[Run], pd.DataFrame]
"""How the units of a view are counted: SQL, or a function where more than one statement is needed."""


@dataclass(frozen=True, slots=True)
class View:
    """A way to look at a run: whose shares are counted, and how several endpoints make one verdict."""

    unit: str  #: `domains messages hosts addresses endpoints list`
    rule: str  #: `primary any all …`; empty where no endpoints are put together
    population: str  #: who is counted
    words: str  #: how the rule decides
    query: Query = field(compare=False, repr=False)

    def count(self, run: Run) -> pd.DataFrame:
        """The units that are alike, a row each, with their `weight`.

        For shares, the frame has for each criterion `<criterion>_yes _no _unknown _inferred`, the parts of one unit, and for
        domains whether their MX is `mx_secure`.  Where domains are means, a row stands for endpoints that are alike, by the
        part of their domains that they are, and has `senders.LABELS` too.
        """
        return run.frame(self.query) if isinstance(self.query, str) else self.query(run)


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

#: What a row of a mean stands for: endpoints that are alike, by the part of their domains that they are.
_PARTS = f"mx_secure, {', '.join(_fact(name) for name in DOMAIN_CRITERIA)}, {', '.join(LABELS)}, inferred, parts"

#: What units that are domains are joined with, and what one weighs.
_JOINS = {"domains": ("", "count(*)::DOUBLE"), "messages": ("JOIN weights USING (domain)", "sum(messages)")}


def _mean(unit: str) -> Query:
    joins, weight = _JOINS[unit]
    return f"SELECT {_PARTS}, {weight} / any_value(parts) AS weight FROM primary_parts {joins} GROUP BY ALL"


def _by_rule(table: str, rule: str, criteria: Iterable[str], more: str = "") -> Query:
    verdicts = ", ".join(_verdict(name, rule) for name in criteria)
    return f"SELECT {more}{verdicts}, count(*)::DOUBLE AS weight FROM {table} GROUP BY ALL"


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
    "messages of the weights file to domains whose mail has somewhere to go, and to those whose DNS failed, as unknown",
    _RULE_WORDS[HEADLINE_RULE],
    _mean("messages"),
)
DOMAINS = View("domains", HEADLINE_RULE, MAIL_DOMAINS, _RULE_WORDS[HEADLINE_RULE], _mean("domains"))
PUBLISHED = View("domains", "", MAIL_DOMAINS, "", _PUBLISHED)

#: Where a policy list is given: who is on it, and what becomes of its promises.
LISTED = View("domains", "", MAIL_DOMAINS, "by the policy list alone", policy_list.membership)
MEMBERS = "those of these domains that the policy list names"

#: Unit -> its views, the headline first.
VIEWS: dict[str, tuple[View, ...]] = {
    "messages": (MESSAGES,),
    "domains": (
        DOMAINS,
        *(
            View(
                "domains",
                rule,
                MAIL_DOMAINS,
                _RULE_WORDS[rule],
                _by_rule("domain_units", rule, DOMAIN_CRITERIA, "mx_secure, "),
            )
            for rule in DOMAIN_RULES
        ),
    ),
    "hosts": tuple(
        View(
            "hosts",
            rule,
            "mail hosts of those domains, or of a list of hosts, that have an address, or may",
            _RULE_WORDS[rule],
            _by_rule("host_units", rule, CRITERIA),
        )
        for rule in PLAIN_RULES
    ),
    "addresses": tuple(
        View(
            "addresses",
            rule,
            "addresses of those mail hosts",
            _RULE_WORDS[rule].replace("endpoint", "host name at it"),
            _by_rule("address_units", rule, CRITERIA),
        )
        for rule in PLAIN_RULES
    ),
    "mail": (MESSAGES, DOMAINS),
    "published": (PUBLISHED,),
    "endpoints": (View("endpoints", "", "endpoints: mail hosts times their addresses", "", _FACTS),),
    "list": (View("list", "", "lines of the list, duplicates dropped", "", _LINES),),
    "listed": (LISTED,),
    "members": tuple(
        View("members", rule, MEMBERS, _RULE_WORDS[rule], partial(policy_list.members, rule=rule))
        for rule in policy_list.RULES
    ),
}

#: Keys of `VIEWS` that need a policy list.
ON_REQUEST = ("listed", "members")


def counted_by(run: Run, view: View, by: str, *, largest: int = 20, smallest: int = SMALLEST_GROUP) -> pd.DataFrame:
    """Count the units of the view `DOMAINS` or `MESSAGES` that are alike, group by group.

    The column `group` names the group, by `tld provider rank`.  Groups of fewer than `smallest` domains are one, and larger
    ones join it until it has as many itself; of the others the `largest` are kept, and the rest is called `(others)`.
    """
    joins, weight = _JOINS[view.unit]
    if by == "provider":
        _add_providers(run)
        joins += " LEFT JOIN providers ON providers.host = primary_host"
    group = f"coalesce({GROUPS[by]}, '{NONE}')"
    return run.frame(f"""
        WITH {named_groups(by, group, f"domain_units {joins}", weight, largest=largest, smallest=smallest)},
        grouped AS (SELECT *, {group} AS name FROM primary_parts {joins})
        SELECT "group", {_PARTS}, {weight} / any_value(parts) AS weight FROM grouped JOIN named USING (name) GROUP BY ALL
    """)


def _add_providers(run: Run) -> None:
    """Name the provider of each primary mail host: its registrable domain, or itself if it has none."""
    if run.has("providers"):
        return
    run.execute("CREATE TABLE providers (host VARCHAR, provider VARCHAR)")
    for batch in run.batches("SELECT DISTINCT primary_host FROM domain_units WHERE primary_host IS NOT NULL"):
        hosts = batch.column(0).to_pylist()
        run.add_rows("providers", {"host": hosts, "provider": [suffixes(host)[0] or host for host in hosts]})
