"""The verdicts on each endpoint that hold for every domain whose mail goes there.

This module holds SQL and its reasons; `Run` executes it.

**Three values.**  A verdict is true, false or null, and null is *unknown*: SQL's own AND and OR are
Kleene's.  What was not measured is null, never false.

**An endpoint** (mail host x address x protocol) is judged by these criteria, each of which says
'seen by us, at the last attempt':

- `offered`: STARTTLS among the capabilities.  False also after HELO.  Null if no capabilities were
  seen: refused connection, time-out, rejection at the greeting, blocked, opted out, not run.
- `negotiated`: the protocol was answered inside TLS.  False if STARTTLS was not offered, or the probe
  ended conclusively without TLS (`rows.is_conclusive`).  Else null: a 4yz reply to STARTTLS, a
  time-out in the handshake, what only our library lacks.
- `forward_secret`, `post_quantum`: `negotiated` AND the fact of that name, so that *no TLS* is *no* for each, over
  all hosts.
- `strict_valid`: `negotiated` AND a chain that is trusted, the name, and the dates.  The column `strict_valid` of
  `probes` is the same, for endpoints with a probe of their own.
- `forward_secret_and_strict`: both at once.
- `trusted_if_known`, `strict_valid_if_known`: `negotiated` AND a chain that is trusted, or strictly valid, if senders know the
  intermediates that other hosts of the run sent.  Where an issuer is lacking this is told by `incomplete_chains`; a run
  without that table leaves it null.
- `dane_match`: `negotiated` AND the certificate is in the mail host's usable TLSA records.  False also where
  there are none that a sender may use.

So a criterion is *no* as soon as it cannot be *yes*: with a fact that is false it is false though `negotiated` is null,
as where the connection broke inside TLS after a self-signed certificate was seen.

What depends on the domain as well (MTA-STS, DNSSEC of its MX, names) stands in `analysis.sql.senders`.

**Basis.**  `observed`: the endpoint's own probe was conclusive.  `inferred`: it was `sampled_out`, and
the probe of its representative (another name at the same address and port, of the same protocol and form) was conclusive.
Else `unknown`, and then nothing is inferred.  `stage` and `outcome` are the representative's all the same: they say why.
A representative without a probe of its own leaves everything null.

What is inferred depends on what the fact depends on:

- On the address: whether STARTTLS is offered, whether TLS is negotiated, version, cipher, group.  It is inferred where
  all names that were contacted at the address agree, be it yes or no.  Where they do not, or where it is unknown of one of
  them (a time-out in the handshake, say), it is unknown.
- On the name, as the host chooses a certificate by it: the chain and every verdict on it.  It is inferred from a
  representative of the same registrable domain (`representative_related`) alone.  Across registrable domains it is
  unknown, neither yes nor no, as anybody can point a name at an address of somebody else.

Within a registrable domain `name_match` is judged again, from the names of the representative's leaf.  That assumes
one certificate for all names of a registrable domain at the address.  TLSA records are the host's own (`tlsa`, null
where not learnt). `dane` is judged from them as far as the digests of the representative's leaf go. A DANE-EE record
in force with SHA-256 (3 0 1, 3 1 1) that has the digest is a match, whatever the other records say. No match is known
only where every usable record is of that kind and none was left out.  Else `dane` is null: nobody held the other
records against the chain.

**accepts**: null if the endpoint was never contacted (opted out, not run); false if the probe ended in
stage `connect`, or the address is special-purpose space where no stranger's mail can arrive; else true.
"""

from __future__ import annotations

from analysis.sql.names import answers
from crawler.model.rows import MISSING_ISSUER, LookupStatus
from crawler.model.vocabulary import FAILED

#: Criterion -> how the endpoint's facts decide it.
CRITERIA = {
    "offered": "starttls_offered",
    "negotiated": "tls",
    "forward_secret": "tls AND forward_secret",
    "post_quantum": "tls AND post_quantum",
    "strict_valid": "tls AND chain_trusted AND name_match AND within_validity",
    "forward_secret_and_strict": "tls AND forward_secret AND chain_trusted AND name_match AND within_validity",
    "trusted_if_known": "tls AND trusted_with_known",
    "strict_valid_if_known": "tls AND trusted_with_known AND name_match AND within_validity_with_known",
    "dane_match": """tls AND CASE WHEN tlsa IN ('absent', 'insecure', 'unusable', 'bogus') THEN false
        WHEN dane = 'match' THEN true WHEN dane = 'mismatch' THEN false END""",
}

#: Facts of an address: those of the names probed there, where they agree.
_ADDRESS_FACTS = (
    "starttls_offered", "tls", "forward_secret", "post_quantum", "pq_intolerant", "tls_version", "tls_cipher", "tls_group",
)  # fmt: skip

#: Facts that depend on the name: those of a representative of the same registrable domain.
_NAME_FACTS = ("chain_trusted", "chain_error_code", "chain_error", "chain_dropped", "within_validity", "received_chain")

#: Facts of an endpoint that its own probe supplies, or what is inferred.
_FACTS = ", ".join(("stage", "outcome", "conclusive", "started_at", *_ADDRESS_FACTS, *_NAME_FACTS))

#: What is unknown of one name agrees with nothing.
_AGREED = ", ".join(
    f"CASE WHEN count({fact}) = count(*) AND min({fact}) = max({fact}) THEN min({fact}) END AS {fact}"
    for fact in _ADDRESS_FACTS
)
_OF_RELATED = ", ".join(
    f"CASE WHEN conclusive AND sample.representative_related THEN {fact} END AS {fact}" for fact in _NAME_FACTS
)

#: When certificates were held against their dates: at the probe, unless a run was judged again for another time.
_AT = "coalesce(getvariable('judged_at')::TIMESTAMPTZ, started_at)"

#: Facts about a host's TLSA records; a representative's are another host's.
_DANE = "dane, dane_error"

#: Facts about a host's TLSA RRset: its state, the digests of its DANE-EE records, and whether it has no others.
_RRSET = """
    SELECT host, CASE WHEN status NOT IN ('lookup_failed', 'not_asked') THEN status END AS tlsa,
        ee_digests(records, 0) AS leaf_digests, ee_digests(records, 1) AS key_digests,
        status = 'usable' AND coalesce(records_dropped, 0) = 0
            AND len(list_filter(records, lambda r: r.usable AND (r.usage <> 3 OR r.matching <> 1))) = 0 AS only_digests
    FROM tlsa WHERE port = getvariable('tlsa_port')
"""

#: The verdict on a representative's leaf by those digests.
_BY_DIGEST = """
    CASE WHEN tlsa IS DISTINCT FROM 'usable' THEN NULL
        WHEN list_contains(leaf_digests, received_chain[1]) OR list_contains(key_digests, spki_sha256) THEN 'match'
        WHEN only_digests AND received_chain[1] IS NOT NULL AND (key_digests = [] OR spki_sha256 IS NOT NULL)
        THEN 'mismatch' END
"""

#: What a chain is that known intermediates do not complete: of one that was cut, what was left out might.
_NOT_COMPLETED = "CASE WHEN coalesce(chain_dropped, 0) = 0 THEN false END"

_FAILED = f"({', '.join(repr(str(status)) for status in LookupStatus if status in FAILED)})"

#: Whether a mail host, given its row of `hosts` or none, may have addresses that are not known.
HAS_MORE_ADDRESSES = f"""(
    ipv4_status IS NULL OR ipv6_status IS NULL OR ipv4_status IN {_FAILED} OR ipv6_status IN {_FAILED}
    OR addresses_dropped > 0 OR ('not_asked' IN (ipv4_status, ipv6_status) AND coalesce(len(addresses), 0) = 0)
)"""

MACROS = (
    # SHA-256, hex, of the DANE-EE records of one selector; none where SHA-512 outdoes them (RFC 7671 §9).
    """
    CREATE MACRO ee_digests(records, wanted) AS CASE WHEN len(list_filter(
        records, lambda r: r.usable AND r.usage = 3 AND r.selector = wanted AND r.matching = 2
    )) = 0 THEN list_transform(list_filter(
        records, lambda r: r.usable AND r.usage = 3 AND r.selector = wanted AND r.matching = 1
    ), lambda r: lower(hex(r.data))) ELSE [] END
    """,
)


def columns(criteria: dict[str, str]) -> str:
    """The criteria as columns of a SELECT."""
    return ", ".join(f"{rule} AS {name}" for name, rule in criteria.items())


#: Everything known of the endpoints that have a probe row.
JUDGED = f"""
CREATE VIEW judged AS
WITH probed AS (
    SELECT * REPLACE (coalesce(form, 'starttls') AS form), CASE WHEN negotiated THEN true WHEN conclusive OR NOT starttls_offered THEN false END AS tls
    FROM probes WHERE outcome <> 'sampled_out'
), sample AS (
    SELECT protocol, coalesce(form, 'starttls') AS form, host, address, port, outcome, representative_host, representative_related
    FROM probes WHERE outcome = 'sampled_out'
), agreed AS (
    SELECT protocol, form, address, port, {_AGREED}
    FROM probed SEMI JOIN sample USING (protocol, form, address, port) WHERE stage IS NOT NULL GROUP BY ALL
), inferred AS (
    SELECT sample.protocol, sample.form, sample.host, sample.address, sample.port, coalesce(conclusive, false) AS inferred,
        coalesce(representative.outcome, sample.outcome) AS outcome, stage, conclusive, started_at,
        agreed.* EXCLUDE (protocol, form, address, port), {_OF_RELATED}
    FROM sample
    LEFT JOIN (
        SELECT protocol, form, host, address, port, stage, outcome, conclusive, started_at, {", ".join(_NAME_FACTS)} FROM probed
    ) AS representative
        ON representative.host = sample.representative_host AND representative.address = sample.address
        AND representative.port = sample.port AND representative.protocol = sample.protocol
        AND representative.form = sample.form
    LEFT JOIN agreed
        ON representative.conclusive AND representative.address = agreed.address
        AND representative.port = agreed.port AND representative.protocol = agreed.protocol
        AND representative.form = agreed.form
), asked AS (
    SELECT DISTINCT received_chain[1] AS leaf, host FROM inferred
), named AS (
    {answers("asked")}
), facts AS (
    SELECT protocol, form, host, address, port, false AS inferred, name_match, {_DANE}, {_FACTS}
    FROM probed
    UNION ALL BY NAME
    SELECT protocol, form, inferred.host, address, port, inferred, {_FACTS}, spki_sha256, is_named AS name_match
    FROM inferred
    LEFT JOIN named ON named.leaf = received_chain[1] AND named.host = inferred.host
    LEFT JOIN (SELECT sha256, spki_sha256 FROM certificates) AS certificate ON certificate.sha256 = received_chain[1]
), upgraded AS (
    SELECT * REPLACE (
            CASE WHEN inferred THEN by_digest ELSE dane END AS dane,
            CASE WHEN NOT inferred THEN dane_error WHEN by_digest = 'mismatch' THEN 'no_match' END AS dane_error
        ),
        CASE WHEN chain_error_code IN {MISSING_ISSUER} THEN completed OR {_NOT_COMPLETED} ELSE chain_trusted END
            AS trusted_with_known,
        CASE WHEN completed THEN {_AT} BETWEEN valid_from AND valid_until ELSE within_validity END AS within_validity_with_known
    FROM (SELECT *, {_BY_DIGEST} AS by_digest FROM facts LEFT JOIN ({_RRSET}) USING (host))
    LEFT JOIN (
        SELECT received_chain, trusted_if_known AS completed, valid_from, valid_until FROM incomplete_chains
    ) USING (received_chain)
)
SELECT protocol, form, host, address, port, inferred, stage, outcome, pq_intolerant, tls_version, tls_cipher, tls_group,
    chain_trusted, chain_error, trusted_with_known, name_match, within_validity, received_chain[1] AS leaf, tlsa, {_DANE},
    CASE WHEN conclusive IS NOT TRUE THEN 'unknown' WHEN inferred THEN 'inferred' ELSE 'observed' END AS basis,
    CASE WHEN outcome = 'address_not_allowed' THEN false WHEN stage IS NULL THEN NULL ELSE stage <> 'connect' END AS accepts,
    {columns(CRITERIA)}
FROM upgraded
"""
