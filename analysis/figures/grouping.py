"""How `--by` divides domains into groups, and which groups are shown apart: names and SQL, no computing.

A share of few domains is nearly a verdict on a named host, which aggregates must not give (docs/citizenship.md).  So
groups below a size are one group, in every format.
"""

from __future__ import annotations

from crawler.settings.declared_limits import limit

#: `--by` -> the SQL that names a domain's group.
GROUPS = {
    "tld": "public_suffix",
    "provider": "provider",
    "rank": """CASE WHEN rank IS NULL THEN NULL WHEN rank <= 100 THEN '1 to 100' WHEN rank <= 1000 THEN '101 to 1,000'
        WHEN rank <= 10000 THEN '1,001 to 10,000' WHEN rank <= 100000 THEN '10,001 to 100,000'
        WHEN rank <= 1000000 THEN '100,001 to 1,000,000' ELSE 'above 1,000,000' END""",
}

#: `--by` -> what groups of too few domains are called together.
SMALLER = {"tld": "(smaller suffixes)", "provider": "(smaller providers)", "rank": "(smaller bands)"}
OTHERS = "(others)"
NONE = "(none)"

SMALLEST_GROUP = limit(
    10,
    "domains of a group that is shown by itself",
    protects="the domains in it",
    cut="smaller groups are shown as one, such as `(smaller suffixes)`",
)
"""Domains that a group has at least to be shown apart."""


def named_groups(by: str, group: str, source: str, weight: str, *, largest: int, smallest: int) -> str:
    """Expressions of a WITH whose last, `named`, has for each `name` of a group the `"group"` it is shown as.

    `group` is the SQL for a domain's group, `source` what domains are counted in, `weight` the size that groups are
    ordered by.  Groups of fewer than `smallest` domains are one; the next larger ones join it until it has as many
    itself.  The `largest` of the others stay, and the rest are `OTHERS`.  `NONE` names nobody and is left alone.
    """
    return f"""
        sizes AS (
            SELECT {group} AS name, count(*) AS domains, {weight} AS size FROM {source} GROUP BY name
        ), rising AS (
            SELECT name, domains, coalesce(sum(domains) OVER (
                ORDER BY domains, name ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ), 0) AS in_smaller
            FROM sizes WHERE name <> '{NONE}'
        ), small AS (
            SELECT name FROM rising WHERE domains < {smallest} OR (in_smaller > 0 AND in_smaller < {smallest})
        ), largest AS (
            SELECT name FROM sizes ANTI JOIN small USING (name) ORDER BY size DESC, name LIMIT {largest}
        ), named AS (
            SELECT name, CASE WHEN name IN (FROM small) THEN '{SMALLER[by]}' WHEN name IN (FROM largest) THEN name
                ELSE '{OTHERS}' END AS "group"
            FROM sizes
        )
    """
