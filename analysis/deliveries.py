"""From stored rows to verdicts: which endpoints a domain's mail may go to, and what is known of each.

Rule of this room: SQL and its reasons, nothing else.  `Run` executes it.

**Three values.**  A verdict is true, false or null, and null is *unknown*: SQL's own AND and OR are
Kleene's.  What was not measured is null, never false.

**An endpoint** (mail host x address x protocol) is judged by these criteria, each of which says
'seen by us, at the last attempt':

- `offered`: STARTTLS among the capabilities.  False also after HELO.  Null if no capabilities were
  seen: refused connection, time-out, rejection at the greeting, blocked, opted out, not run.
- `negotiated`: the protocol was answered inside TLS.  False if STARTTLS was not offered, or the probe
  ended conclusively without TLS (`records.is_conclusive`).  Else null: a 4yz reply to STARTTLS, a
  time-out in the handshake, what only our library lacks.
- `forward_secret`, `post_quantum`, `strict_valid`: `negotiated` AND the fact of that name, so that
  *no TLS* is *no* for each, over all hosts.
- `forward_secret_and_strict`: both at once.

**Basis.**  `observed`: the endpoint's own probe was conclusive.  `inferred`: it was `sampled_out`, and
the probe of its representative (another name at the same address, port and protocol) was conclusive;
TLS facts are taken as they are, but `name_match` is judged again, from the names of the
representative's leaf, and `strict_valid` with it.  That assumes one certificate for all names at the
address.  Else `unknown`.  A representative without a probe of its own leaves everything null.

**accepts**: null if the endpoint was never contacted (opted out, not run); false if the probe ended in
stage `connect`, or the address is special-purpose space where no stranger's mail can arrive; else true.

**Candidates** are the endpoints of one mail host:

- one for each address;
- one unknown candidate (address null, everything null) for a host whose addresses are not known to be
  complete: not resolved yet, or the A or AAAA lookup failed, or only one family was asked and has none;
- none, if both families were answered and there is no address: no mail can go there.

A family that the operator chose not to ask (`not_asked`) adds nothing where the other has addresses:
such a run measures one family.

**Deliveries** join domains with route `explicit` or `implicit` to the candidates of each of their mail
hosts, with the host's `preference` and `is_primary` (the lowest preference published).  MX records that
were dropped beyond the cap are one more unknown delivery.  A host named twice counts once, at its
better preference.  The other routes deliver nothing: `null_mx`, `no_mail_host` and `nxdomain` take no
mail, `null_mx_invalid` contradicts itself, `invalid` and `opted_out` were not asked.

**Domains** that figures count: those with a delivery, and those with route `unknown` (DNS failed), which
are unknown throughout.  A domain none of whose mail hosts has an address takes no mail and is not
counted; `deliverable` in the routes says how many there are.  They are judged by these rules:

- `any`: yes if one delivery is yes, else unknown if one is unknown, else no;  `all`: mirrored;
- `primary_any`, `primary_all`: the same over the best-preference endpoints that accept connections
  (those never contacted might, so they count, as unknown; if none is left, unknown);
- `primary`: over the same endpoints the *mean*, as senders choose among equal preferences at random.
  **This is the headline rule**: the nearest a scan comes to Facebook's delivered messages;
- `worst`: `all` over the endpoints of every preference that accept connections (EFF, Internet.nl).

**Hosts** are the distinct mail hosts of all deliveries, **addresses** their distinct addresses; both by
`any` and `all` over their candidates.

Each verdict has a twin `..._observed`, computed with inferred endpoints taken as unknown.  Where the
twin decides, the verdict rests on observation alone; where only the verdict does, it is inferred.
"""

from __future__ import annotations

#: Criterion -> how the endpoint's facts decide it.
CRITERIA = {
    "offered": "starttls_offered",
    "negotiated": "tls",
    "forward_secret": "tls AND forward_secret",
    "post_quantum": "tls AND post_quantum",
    "strict_valid": "tls AND strict_valid",
    "forward_secret_and_strict": "tls AND forward_secret AND strict_valid",
}

#: Rule of a domain -> how it decides, over which set of deliveries (the mean `primary` looks at the set `primary`).
DOMAIN_RULES = {
    "any": ("any_of", "every"),
    "all": ("all_of", "every"),
    "primary_any": ("any_of", '"primary"'),
    "primary_all": ("all_of", '"primary"'),
    "worst": ("all_of", "reachable"),
}

#: Rule of a host or an address.
PLAIN_RULES = {rule: DOMAIN_RULES[rule] for rule in ("any", "all")}

_REACHABLE = "accepts IS NOT FALSE"
_PRIMARY = f"is_primary AND {_REACHABLE}"

#: Tables made on first use -> what must be there before.
BUILT = {
    "candidates": (),
    "deliveries": ("candidates",),
    "domain_units": ("candidates", "deliveries", "domain_sets"),
    "host_units": ("candidates",),
    "address_units": ("candidates",),
    "endpoint_facts": ("candidates",),
}

#: Facts of an endpoint that its own probe, or its representative's, supplies.
_FACTS = """
    stage, outcome, conclusive, starttls_offered, negotiated, forward_secret, post_quantum, pq_intolerant,
    tls_version, tls_cipher, tls_group, chain_trusted, chain_error, unexpired, received_chain
"""

_MACROS = (
    # A set of verdicts is bits: 1 yes, 2 no, 4 unknown.  It is gathered with bit_or, in one column for all
    # criteria, because an aggregate for each criterion and rule would need many times the memory.
    "CREATE MACRO set_of(verdict) AS CASE WHEN verdict THEN 1 WHEN NOT verdict THEN 2 ELSE 4 END::BIGINT",
    """
    CREATE MACRO any_of(seen, place) AS CASE
        WHEN (seen >> place) & 1 <> 0 THEN true WHEN (seen >> place) & 4 <> 0 THEN NULL WHEN seen IS NOT NULL THEN false
    END
    """,
    """
    CREATE MACRO all_of(seen, place) AS CASE
        WHEN (seen >> place) & 2 <> 0 THEN false WHEN (seen >> place) & 4 <> 0 THEN NULL WHEN seen IS NOT NULL THEN true
    END
    """,
    # RFC 9525 §6.3, DNS-ID only: a wildcard is the whole left-most label and stands above two labels
    # at least; no wildcard for an A-label. Null if the names are not known.
    """
    CREATE MACRO names_host(names, host) AS CASE
        WHEN names IS NULL THEN NULL
        WHEN list_contains(list_transform(names, lambda name: lower(name)), host) THEN true
        WHEN starts_with(host, 'xn--') OR host NOT LIKE '%_.%_.%_' THEN false
        ELSE list_contains(
            list_transform(names, lambda name: lower(name)), '*.' || substr(host, strpos(host, '.') + 1)
        )
    END
    """,
)

#: Everything known of the endpoints that have a probe row.
_JUDGED = f"""
CREATE VIEW judged AS
WITH facts AS (
    SELECT protocol, host, address, port, false AS inferred, name_match, strict_valid, {_FACTS}
    FROM probes WHERE outcome <> 'sampled_out'
    UNION ALL BY NAME
    SELECT protocol, host, address, port, inferred, {_FACTS},
        names_host(names, host) AS name_match, chain_trusted AND unexpired AND names_host(names, host) AS strict_valid
    FROM (
        SELECT sample.protocol, sample.host, sample.address, sample.port,
            representative.outcome IS NOT NULL AS inferred, certificate.names,
            representative.* EXCLUDE (protocol, host, address, port)
                REPLACE (coalesce(representative.outcome, sample.outcome) AS outcome)
        FROM probes AS sample
        LEFT JOIN (FROM probes WHERE outcome <> 'sampled_out') AS representative
            ON representative.host = sample.representative_host AND representative.address = sample.address
            AND representative.port = sample.port AND representative.protocol = sample.protocol
        LEFT JOIN (
            SELECT sha256, coalesce(names, []) AS names FROM certificates WHERE parse_error IS NULL
        ) AS certificate
            ON certificate.sha256 = representative.received_chain[1]
        WHERE sample.outcome = 'sampled_out'
    )
), upgraded AS (
    SELECT *, CASE WHEN negotiated THEN true WHEN conclusive OR NOT starttls_offered THEN false END AS tls FROM facts
)
SELECT protocol, host, address, port, inferred, stage, outcome, pq_intolerant, tls_version, tls_cipher, tls_group,
    chain_trusted, chain_error, name_match, unexpired, received_chain[1] AS leaf,
    CASE WHEN conclusive IS NOT TRUE THEN 'unknown' WHEN inferred THEN 'inferred' ELSE 'observed' END AS basis,
    CASE WHEN outcome = 'blocked_address' THEN false WHEN stage IS NULL THEN NULL ELSE stage <> 'connect' END AS accepts,
    {", ".join(f"{rule} AS {name}" for name, rule in CRITERIA.items())}
FROM upgraded
"""

_ROUTES = """
CREATE VIEW mail_routes AS
SELECT domain, rank, public_suffix, mx_dropped, mail_host.host AS host, mail_host.preference AS preference,
    mail_host.preference = best AS is_primary
FROM (
    SELECT *, list_min(list_transform(mx, lambda entry: entry.preference)) AS best,
        -- sorted by host, then preference: the first of its name has the better one
        unnest(list_filter(mx, lambda entry, place: place = 1 OR mx[place - 1].host <> entry.host)) AS mail_host
    FROM (SELECT * REPLACE (list_sort(mx) AS mx) FROM domains WHERE route IN ('explicit', 'implicit'))
)
"""

_FAILED = "('servfail', 'refused', 'bogus', 'timeout', 'malformed')"

#: Where the set of a criterion stands among the bits of `seen`, and where that of its observed twin does.
_PLACES = {name: (6 * number, 6 * number + 3) for number, name in enumerate(CRITERIA)}

_SEEN = " | ".join(
    f"(set_of({name}) << {place}) | (set_of(CASE WHEN NOT inferred THEN {name} END) << {twin})"
    for name, (place, twin) in _PLACES.items()
)

_CANDIDATES = f"""
CREATE TABLE candidates AS
WITH wanted AS (
    SELECT DISTINCT host FROM mail_routes
), addressed AS (
    SELECT host, address FROM (SELECT host, unnest(addresses) AS address FROM hosts)
), incomplete AS (
    SELECT wanted.host FROM wanted LEFT JOIN hosts USING (host)
    WHERE ipv4_status IS NULL OR ipv6_status IS NULL
        OR ipv4_status IN {_FAILED} OR ipv6_status IN {_FAILED}
        OR ('not_asked' IN (ipv4_status, ipv6_status) AND coalesce(len(addresses), 0) = 0)
), all_candidates AS (
    SELECT host, address, getvariable('protocol') AS protocol, coalesce(judged.basis, 'unknown') AS basis,
        coalesce(inferred, false) AS inferred, judged.* EXCLUDE (host, address, protocol, basis, inferred)
    FROM wanted JOIN addressed USING (host)
    LEFT JOIN (FROM judged WHERE protocol = getvariable('protocol')) AS judged USING (host, address)
    UNION ALL BY NAME
    SELECT host, getvariable('protocol') AS protocol, 'unknown' AS basis, false AS inferred FROM incomplete
)
SELECT *, {_SEEN} AS seen FROM all_candidates
"""

_UNKNOWN = sum(4 << place for places in _PLACES.values() for place in places)

_DELIVERIES = f"""
CREATE VIEW deliveries AS
SELECT domain, rank, public_suffix, preference, is_primary, candidates.*
FROM mail_routes JOIN candidates USING (host)
UNION ALL BY NAME
SELECT DISTINCT domain, rank, public_suffix, false AS is_primary, getvariable('protocol') AS protocol,
    'unknown' AS basis, false AS inferred, {_UNKNOWN} AS seen
FROM mail_routes WHERE mx_dropped > 0
"""


def _verdicts(rules: dict[str, tuple[str, str]]) -> str:
    return ", ".join(
        f"{decide}({seen}, {place}) AS {name}_{rule}, {decide}({seen}, {twin}) AS {name}_{rule}_observed"
        for rule, (decide, seen) in rules.items()
        for name, (place, twin) in _PLACES.items()
    )


#: Per criterion, how many of the primary endpoints are yes, are no, and are decided by inference: for the mean.
_COUNTS = ", ".join(
    f"count(*) FILTER (WHERE {_PRIMARY} AND {condition})::INTEGER AS {name}_{count}"
    for name in CRITERIA
    for count, condition in (("yes", name), ("no", f"NOT {name}"), ("inferred", f"inferred AND {name} IS NOT NULL"))
)

_STATEMENTS = {
    "candidates": _CANDIDATES,
    "deliveries": _DELIVERIES,
    "domain_sets": f"""
        CREATE TABLE domain_sets AS
        SELECT domain, any_value(rank) AS rank, any_value(public_suffix) AS public_suffix,
            min(host) FILTER (WHERE is_primary) AS primary_host, bit_or(seen) AS every,
            bit_or(seen) FILTER (WHERE {_REACHABLE}) AS reachable, bit_or(seen) FILTER (WHERE {_PRIMARY}) AS "primary",
            count(*) FILTER (WHERE {_PRIMARY})::INTEGER AS endpoints, {_COUNTS}
        FROM deliveries GROUP BY domain
        UNION ALL BY NAME
        SELECT domain, rank, public_suffix FROM domains WHERE route = 'unknown'
    """,
    "domain_units": f"""
        CREATE VIEW domain_units AS
        SELECT * EXCLUDE (every, reachable, "primary"), {_verdicts(DOMAIN_RULES)} FROM domain_sets
    """,
    "host_units": f"""
        CREATE TABLE host_units AS
        SELECT host, {_verdicts(PLAIN_RULES)} FROM (SELECT host, bit_or(seen) AS every FROM candidates GROUP BY host)
    """,
    "address_units": f"""
        CREATE TABLE address_units AS
        SELECT address, {_verdicts(PLAIN_RULES)}
        FROM (SELECT address, bit_or(seen) AS every FROM candidates WHERE address IS NOT NULL GROUP BY address)
    """,
    "endpoint_facts": """
        CREATE VIEW endpoint_facts AS
        SELECT candidates.*, self_signed
        FROM candidates LEFT JOIN (SELECT sha256, self_signed FROM certificates) ON sha256 = leaf
        WHERE address IS NOT NULL
    """,
}


def views(protocol: str) -> list[str]:
    """Statements that every opened run executes; they read nothing yet."""
    return [f"SET VARIABLE protocol = '{protocol.replace(chr(39), '')}'", *_MACROS, _JUDGED, _ROUTES]


def statement(name: str) -> str:
    """The statement that makes the derived table or view `name`."""
    return _STATEMENTS[name]
