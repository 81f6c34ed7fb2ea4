"""From stored rows to verdicts: which endpoints a domain's mail may go to, and what they make of the domain.

This module holds SQL and its reasons; `Run` executes it. `analysis.sql.endpoints` has the verdicts on one endpoint,
and `analysis.sql.senders` has the answers of senders there for one domain.

**Candidates** are the endpoints of one mail host:

- one for each address;
- one unknown candidate (address null, everything null) for a host whose addresses are not known to be
  complete: not resolved yet, or the A or AAAA lookup failed, or only one family was asked and has none, or
  some were dropped beyond the cap;
- none, if both families were answered and there is no address: no mail can go there.

A family that the operator chose not to ask (`not_asked`) adds nothing where the other has addresses:
such a run measures one family.

**Deliveries** join domains with route `explicit` or `implicit` to the candidates of each of their mail
hosts, with the host's `preference` and `is_primary` (the lowest preference published).  So does
`null_mx_invalid` where hosts stand beside the null MX, for senders deliver to them all the same (RFC 7505 §3
speaks of a null MX that stands alone).  MX records that were dropped beyond the cap are one more unknown
delivery.  The cap drops the last by preference, so some of them may be primary where those kept have all the
same preference.  A host named twice counts once, at its better preference.  The other routes deliver nothing:
`null_mx`, `no_mail_host` and `nxdomain` take no mail, `invalid` and `opted_out` were not asked.

**Domains** that figures count: those with a delivery, and those with route `unknown` (DNS failed), which
are unknown throughout.  A domain none of whose mail hosts has an address takes no mail and is not
counted; `deliverable` in the routes says how many there are.  They are judged by these rules:

- `any`: yes if one delivery is yes, else unknown if one is unknown, else no;  `all`: mirrored;
- `primary_any`, `primary_all`: the same over the best-preference endpoints that accept connections
  (those never contacted might, so they count, as unknown; if none is left, unknown);
- `primary`: over the same endpoints the *mean*, as senders choose among equal preferences at random
  (`primary_parts` has a row for each of them, and `parts`, how many there are).  **This is the headline
  rule**: the nearest a scan comes to Facebook's delivered messages;
- `worst`: `all` over the endpoints of every preference that accept connections (EFF, Internet.nl).

**Hosts** are the distinct mail hosts of all deliveries, **addresses** their distinct addresses; both by
`any` and `all` over their candidates.  Hosts that the list itself names (route `host`) are among them, and no domain is
counted for those.

Each verdict has a twin `..._observed`, computed with inferred endpoints taken as unknown.  Where the
twin decides, the verdict rests on observation alone; where only the verdict does, it is inferred.
"""

from __future__ import annotations

from datetime import datetime

from analysis.sql import endpoints, forms, names, senders, verdict_sets
from analysis.sql.endpoints import CRITERIA, HAS_MORE_ADDRESSES, columns
from analysis.sql.verdict_sets import VerdictSets
from crawler.protocols.registry import services

#: What deliveries, and so domains, are judged by: the criteria of endpoints and those of senders.
DOMAIN_CRITERIA = CRITERIA | senders.CRITERIA

#: Rule of a domain -> how it decides, over which set of deliveries (the mean `primary` looks at the set `best`).
DOMAIN_RULES = {
    "any": ("any_of", "every"),
    "all": ("all_of", "every"),
    "primary_any": ("any_of", "best"),
    "primary_all": ("all_of", "best"),
    "worst": ("all_of", "reachable"),
}

#: Rule of a host or an address.
PLAIN_RULES = {rule: DOMAIN_RULES[rule] for rule in ("any", "all")}

_REACHABLE = "accepts IS NOT FALSE"
_PRIMARY = f"is_primary AND {_REACHABLE}"

#: What deliveries are joined with, each pair judged once.
_JOINED = ("policy_hosts", "next_hops")

#: Tables made on first use -> what must be there before.
BUILT = {
    "candidates": (),
    "deliveries": ("candidates", *_JOINED),
    "domain_units": ("candidates", *_JOINED, "deliveries", "domain_sets"),
    "host_units": ("candidates",),
    "address_units": ("candidates",),
    "endpoint_facts": ("candidates",),
    "primary_parts": ("candidates", *_JOINED, "deliveries", "domain_sets"),
    "host_forms": (),
}

_MACROS = (
    *verdict_sets.MACROS,
    *endpoints.MACROS,
    *names.MACROS,
)

#: With these routes mail goes to the hosts of `mx`; an invalid null MX may have none beside it.
_DELIVERED = ("explicit", "implicit", "null_mx_invalid")

_ROUTES = f"""
CREATE VIEW mail_routes AS
SELECT * EXCLUDE (best, worst, mail_host), mail_host.host AS host, mail_host.preference AS preference,
    mail_host.preference = best AS is_primary,
    worst = best OR coalesce(mx_unreadable, 0) > 0 AS dropped_are_primary
FROM (
    SELECT * EXCLUDE (mx), list_min(list_transform(mx, lambda entry: entry.preference)) AS best,
        list_max(list_transform(mx, lambda entry: entry.preference)) AS worst,
        -- sorted by host, then preference: the first of its name has the better one
        unnest(list_filter(mx, lambda entry, place: place = 1 OR mx[place - 1].host <> entry.host)) AS mail_host
    FROM (
        SELECT domain, rank, public_suffix, mx_dropped, mx_unreadable, list_sort(mx) AS mx, {senders.OF_DOMAIN}
        FROM domains WHERE route IN {_DELIVERED}
    )
)
"""

_SETS = VerdictSets(DOMAIN_CRITERIA)

_CANDIDATES = f"""
CREATE TABLE candidates AS
WITH wanted AS (
    SELECT host FROM mail_routes
    UNION
    SELECT service.host FROM (SELECT unnest(services) AS service FROM domains WHERE route = 'host')
    WHERE service.protocol = getvariable('protocol') AND service.form = 'starttls'
), addressed AS (
    SELECT host, address FROM (SELECT host, unnest(addresses) AS address FROM hosts)
), incomplete AS (
    SELECT wanted.host FROM wanted LEFT JOIN hosts USING (host) WHERE {HAS_MORE_ADDRESSES}
), all_candidates AS (
    SELECT host, address, getvariable('protocol') AS protocol, coalesce(judged.basis, 'unknown') AS basis,
        coalesce(inferred, false) AS inferred, judged.* EXCLUDE (host, address, protocol, basis, inferred)
    FROM wanted JOIN addressed USING (host)
    LEFT JOIN (FROM judged WHERE protocol = getvariable('protocol') AND form = 'starttls') AS judged USING (host, address)
    UNION ALL BY NAME
    SELECT host, getvariable('protocol') AS protocol, 'unknown' AS basis, false AS inferred FROM incomplete
)
SELECT *, {_SETS.of(CRITERIA)} FROM all_candidates
"""

_DELIVERIES = f"""
CREATE VIEW deliveries AS
SELECT * REPLACE ({_SETS.of(senders.CRITERIA, onto=True)}), {senders.VERDICTS} FROM (
    SELECT *, {columns(senders.CRITERIA)} FROM (
        SELECT mail_routes.domain, rank, public_suffix, preference, is_primary, mx_secure, mta_sts_enforced, candidates.*,
            {senders.FACTS}
        FROM mail_routes JOIN candidates ON candidates.host = mail_routes.host
        LEFT JOIN policy_hosts ON policy_hosts.domain = mail_routes.domain AND policy_hosts.host = mail_routes.host
        LEFT JOIN next_hops ON next_hops.domain = mail_routes.domain AND next_hops.leaf = candidates.leaf
    )
)
UNION ALL BY NAME
SELECT DISTINCT domain, rank, public_suffix, dropped_are_primary AS is_primary, mx_secure, mta_sts_enforced,
    getvariable('protocol') AS protocol, 'unknown' AS basis, false AS inferred, {_SETS.unknown()}
FROM mail_routes WHERE mx_dropped > 0 OR mx_unreadable > 0
"""


_STATEMENTS = {
    "candidates": _CANDIDATES,
    "deliveries": _DELIVERIES,
    "policy_hosts": f"CREATE TABLE policy_hosts AS {senders.POLICY_HOSTS}",
    "next_hops": f"CREATE TABLE next_hops AS {senders.NEXT_HOPS}",
    "domain_sets": f"""
        CREATE TABLE domain_sets AS
        SELECT domain, any_value(rank) AS rank, any_value(public_suffix) AS public_suffix,
            min(host) FILTER (WHERE is_primary) AS primary_host, any_value(mx_secure) AS mx_secure,
            {_SETS.gathered("every")}, {_SETS.gathered("reachable", _REACHABLE)}, {_SETS.gathered("best", _PRIMARY)},
            count(*) FILTER (WHERE {_PRIMARY})::INTEGER AS endpoints
        FROM deliveries GROUP BY domain
        UNION ALL BY NAME
        SELECT domain, rank, public_suffix FROM domains WHERE route = 'unknown'
    """,
    "domain_units": f"""
        CREATE VIEW domain_units AS
        SELECT * EXCLUDE ({_SETS.names("every", "reachable", "best")}),
            {_SETS.verdicts(DOMAIN_RULES, DOMAIN_CRITERIA)} FROM domain_sets
    """,
    "primary_parts": f"""
        CREATE VIEW primary_parts AS
        SELECT domain, domain_sets.rank, domain_sets.public_suffix, primary_host, domain_sets.mx_secure,
            greatest(endpoints, 1) AS parts, coalesce(inferred, false) AS inferred,
            {", ".join((*DOMAIN_CRITERIA, *senders.LABELS))}
        FROM domain_sets LEFT JOIN (FROM deliveries WHERE {_PRIMARY}) AS delivery USING (domain)
    """,
    "host_units": f"""
        CREATE TABLE host_units AS
        SELECT host, {_SETS.verdicts(PLAIN_RULES, CRITERIA)}
        FROM (SELECT host, {_SETS.gathered("every")} FROM candidates GROUP BY host)
    """,
    "address_units": f"""
        CREATE TABLE address_units AS
        SELECT address, {_SETS.verdicts(PLAIN_RULES, CRITERIA)}
        FROM (SELECT address, {_SETS.gathered("every")} FROM candidates WHERE address IS NOT NULL GROUP BY address)
    """,
    "host_forms": forms.HOST_FORMS,
    "endpoint_facts": """
        CREATE VIEW endpoint_facts AS
        SELECT candidates.*, self_signed
        FROM candidates LEFT JOIN (SELECT sha256, self_signed FROM certificates) ON sha256 = leaf
        WHERE address IS NOT NULL
    """,
}


def views(protocol: str, judged_at: datetime | None = None) -> list[str]:
    """Statements that every opened run executes; they read nothing yet.

    `judged_at` is the time for which a run was judged again.
    """
    at = "NULL" if judged_at is None else f"'{judged_at.isoformat()}'"
    return [
        f"SET VARIABLE judged_at = {at}",
        f"SET VARIABLE protocol = '{protocol.replace(chr(39), '')}'",
        f"SET VARIABLE tlsa_port = {services()[protocol].port if protocol in services() else 0}",
        *_MACROS,
        endpoints.JUDGED,
        _ROUTES,
    ]


def statement(name: str) -> str:
    """The statement that makes the derived table or view `name`."""
    return _STATEMENTS[name]
