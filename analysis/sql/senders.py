"""The answers of a domain's senders at each of its endpoints, in SQL: the columns that `deliveries` adds.

`crawler.policies.senders` states the rules and their sources; here they are said once more
in SQL, for a whole run at once, and a test holds the two against each other.

Columns on the domain:

- `mx_secure`: the MX answer (or the denial of one) is secure by DNSSEC;  null: not known;
- `mta_sts_enforced`: it has an MTA-STS policy in force;  null: the policy could not be had from here.

Columns on the domain and the mail host:

- `mta_sts_match`: the host matches a pattern of the domain's policy, whatever its mode; null without policy;
- `in_domain`: the host's name is the domain's, or lies below it;
- `dane_holds`: the TLSA records match for this domain, the next-hop names included (RFC 7672 §3.2.2).

**Criteria** over these: `dane_authenticated` … `dane_refused`, `mta_sts_enforcing_authenticated` …, one for each
answer of the two senders that ask the domain, and `downgrade_resistant`: one of the two would deliver
authenticated.  A criterion is false as soon as it cannot be true: without a secure MX answer nobody is
authenticated by DANE, whatever the mail host would have said.  The other two senders need none: where
`negotiated` the opportunistic one encrypts, else it sends in the clear; where `strict_valid` the strict one
delivers authenticated, else it refuses.

`by_opportunistic`, `by_pkix_strict`, `by_dane`, `by_mta_sts_enforcing`: the one answer of each sender for the
domain at this endpoint, `authenticated encrypted clear refused`; null: unknown.

`authentication`, after Bider (2015): `no_tls`; `unauthenticated`; `mx_name`: the certificate is strictly valid
for the mail host; `recipient_domain`: and the mail host's name is inside the domain, so that whoever
forged the MX record could not have it.
"""

from __future__ import annotations

from analysis.sql.names import answers
from crawler.policies.senders import NO_POLICY, Delivery, Sender

#: Columns with words for distributions.
LABELS = (*(f"by_{sender}" for sender in Sender), "authentication")

CRITERIA = {
    "dane_authenticated": "mx_secure AND tlsa = 'usable' AND negotiated AND dane_holds",
    "dane_encrypted": """negotiated AND
        (tlsa IN ('absent', 'insecure', 'unusable') OR (tlsa = 'usable' AND dane_holds AND NOT mx_secure))""",
    "dane_clear": "tlsa IN ('absent', 'insecure') AND NOT negotiated",
    "dane_refused": """tlsa = 'bogus' OR (tlsa = 'usable' AND NOT (negotiated AND dane_holds))
        OR (tlsa = 'unusable' AND NOT negotiated)""",
    "mta_sts_enforcing_authenticated": "mta_sts_enforced AND mta_sts_match AND strict_valid",
    "mta_sts_enforcing_encrypted": "NOT mta_sts_enforced AND negotiated",
    "mta_sts_enforcing_clear": "NOT mta_sts_enforced AND NOT negotiated",
    "mta_sts_enforcing_refused": "mta_sts_enforced AND NOT (mta_sts_match AND strict_valid)",
    "downgrade_resistant": "dane_authenticated OR mta_sts_enforcing_authenticated",
}

#: Columns of `mail_routes`, from a row of `domains`.
OF_DOMAIN = f"""
    CASE dnssec WHEN 'secure' THEN true WHEN 'insecure' THEN false END AS mx_secure,
    CASE WHEN mta_sts_record IN ('absent', 'invalid', 'multiple') THEN false
        WHEN mta_sts_fetch IN ({", ".join(f"'{end}'" for end in NO_POLICY)}) THEN false
        WHEN mta_sts_fetch = 'ok' THEN coalesce(mta_sts_mode = 'enforce', false) END AS mta_sts_enforced,
    mta_sts_mx IS NOT NULL AS has_policy, coalesce(cnames[-1], domain) AS next_hop
"""

#: Mail hosts that their domain's MTA-STS policy allows.
POLICY_HOSTS = """
    SELECT DISTINCT domain, host
    FROM (SELECT domain, host, unnest(patterns_for(host)) AS pattern FROM mail_routes WHERE has_policy)
    JOIN (SELECT domain, unnest(mta_sts_mx) AS pattern FROM domains) USING (domain, pattern)
"""

#: Leaves that name neither TLSA base domain nor mail host, and whether they name the next hop (RFC 7672 §3.2.2).
NEXT_HOPS = f"""
    WITH wanted AS (
        SELECT DISTINCT domain, leaf, unnest([domain, next_hop]) AS host
        FROM mail_routes JOIN (SELECT DISTINCT host, leaf FROM candidates WHERE dane_error = 'name') USING (host)
        WHERE mx_secure IS NOT FALSE
    ), answered AS ({answers("wanted", or_cn=True)})
    SELECT domain, leaf, CASE WHEN bool_or(is_named) THEN true WHEN NOT bool_or(is_named IS NULL) THEN false END
        AS names_next_hop
    FROM wanted JOIN answered USING (leaf, host) GROUP BY ALL
"""

#: Columns of `deliveries`, from `mail_routes`, `candidates`, and the two above.
FACTS = """
    CASE WHEN has_policy THEN policy_hosts.host IS NOT NULL END AS mta_sts_match,
    mail_routes.host = mail_routes.domain OR ends_with(mail_routes.host, '.' || mail_routes.domain) AS in_domain,
    CASE dane WHEN 'match' THEN true WHEN 'mismatch' THEN
        coalesce(dane_error = 'name', false) AND mx_secure AND names_next_hop END AS dane_holds
"""


def _answer(sender: Sender) -> str:
    return " ".join(("CASE", *(f"WHEN {sender}_{answer} THEN '{answer}'" for answer in Delivery), "END"))


#: Columns with words, from those above.
VERDICTS = f"""
    CASE WHEN negotiated THEN 'encrypted' WHEN NOT negotiated THEN 'clear' END AS by_opportunistic,
    CASE WHEN strict_valid THEN 'authenticated' WHEN NOT strict_valid THEN 'refused' END AS by_pkix_strict,
    {_answer(Sender.DANE)} AS by_dane, {_answer(Sender.MTA_STS_ENFORCING)} AS by_mta_sts_enforcing,
    CASE WHEN NOT negotiated THEN 'no_tls' WHEN negotiated AND NOT strict_valid THEN 'unauthenticated'
        WHEN strict_valid AND in_domain THEN 'recipient_domain' WHEN strict_valid THEN 'mx_name' END AS authentication
"""
