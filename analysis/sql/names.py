"""Which names a certificate has, and which patterns match a name: SQL for joins, no list carried along.

A leaf may have tens of thousands of names, and stand at thousands of endpoints.  So names and patterns are rows here, a
question is a pair of leaf and name, and each pair is judged once, by a join of names with all that would match them.
The work is linear in the names and the questions; nothing holds a list beside each endpoint.

Whether a leaf has a name is *unknown* where its names could not be read, or some were left out and none of the others is it.
"""

from __future__ import annotations

MACROS = (
    # RFC 9525 §6.3, DNS-ID only: the names in a certificate that name a host. A wildcard is the whole left-most
    # label and stands above two labels at least.
    """
    CREATE MACRO names_for(host) AS CASE WHEN host LIKE '%_.%_.%_'
        THEN [host, '*.' || substr(host, strpos(host, '.') + 1)] ELSE [host] END
    """,
    # RFC 8461 §4.1: the patterns that match a host. A wildcard stands for the whole left-most label and nothing else.
    """
    CREATE MACRO patterns_for(host) AS CASE WHEN strpos(host, '.') > 0
        THEN [host, '*.' || substr(host, strpos(host, '.') + 1)] ELSE [host] END
    """,
    # The DNS names of a certificate, else its CN. Null if those could not be read that decide.
    """
    CREATE MACRO names_or_cn(names, common_name, subject) AS CASE
        WHEN len(names) > 0 THEN names
        WHEN names IS NOT NULL AND common_name IS NOT NULL THEN [common_name]
        WHEN names IS NOT NULL AND subject IS NOT NULL THEN []
    END
    """,
)

#: Whether the list of names that is stored is the whole of it.
_WHOLE = "coalesce(names_dropped, 0) = 0"


def _names(or_cn: bool) -> str:
    return "names_or_cn(names, common_name, subject)" if or_cn else "names"


def names_of(leaves: str, *, or_cn: bool = False) -> str:
    """A SELECT of `leaf` and `name`, a row for each name as it is written, of the certificates in table `leaves`."""
    where = f"sha256 IN (SELECT leaf FROM {leaves})"
    return f"SELECT sha256 AS leaf, unnest({_names(or_cn)}) AS name FROM certificates WHERE {where}"


def read_whole(leaves: str, *, or_cn: bool = False) -> str:
    """A SELECT of `leaf` and `all_read`: whether its names could be read, and those stored are all that it has."""
    where = f"sha256 IN (SELECT leaf FROM {leaves})"
    return (
        f"SELECT sha256 AS leaf, {_names(or_cn)} IS NOT NULL AND {_WHOLE} AS all_read FROM certificates WHERE {where}"
    )


def answers(asked: str, *, or_cn: bool = False) -> str:
    """A SELECT of `leaf`, `host` and whether the leaf names the host, for each pair of table `asked`.

    `asked` may have a pair more than once; the answer has it once.
    """
    return f"""
        SELECT leaf, host, CASE WHEN is_named THEN true WHEN all_read THEN false END AS is_named
        FROM (SELECT DISTINCT leaf, host FROM {asked} WHERE leaf IS NOT NULL AND host IS NOT NULL)
        LEFT JOIN (
            SELECT DISTINCT leaf, host, true AS is_named
            FROM (SELECT DISTINCT leaf, host, unnest(names_for(host)) AS name FROM {asked})
            JOIN (SELECT leaf, lower(name) AS name FROM ({names_of(asked, or_cn=or_cn)})) USING (leaf, name)
        ) USING (leaf, host)
        LEFT JOIN ({read_whole(asked, or_cn=or_cn)}) USING (leaf)
    """
