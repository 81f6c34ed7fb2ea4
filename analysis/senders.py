"""What a domain's senders would do at each of its endpoints, in SQL: the columns that `deliveries` adds.

Rule of this room: `crawler.senders` states the rules and their sources; here they are said once more
in SQL, for a whole run at once, and a test holds the two against each other.

Of the domain:

- `mx_secure`: the MX answer (or the denial of one) is secure by DNSSEC;  null: not known;
- `mta_sts_enforced`: it has an MTA-STS policy in force;  null: the policy could not be had from here.

Of the domain and the mail host:

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

from crawler.senders import NO_POLICY, Delivery, Sender

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

MACROS = (
    # RFC 8461 §4.1: a wildcard stands for the whole left-most label and nothing else.
    """
    CREATE MACRO allows_host(patterns, host) AS list_contains(patterns, host)
        OR (strpos(host, '.') > 0 AND list_contains(patterns, '*.' || substr(host, strpos(host, '.') + 1)))
    """,
)

#: Columns of `mail_routes`, from a row of `domains`.
OF_DOMAIN = f"""
    CASE dnssec WHEN 'secure' THEN true WHEN 'insecure' THEN false END AS mx_secure,
    CASE WHEN mta_sts_record IN ('absent', 'invalid', 'multiple') THEN false
        WHEN mta_sts_fetch IN ({", ".join(f"'{end}'" for end in NO_POLICY)}) THEN false
        WHEN mta_sts_fetch = 'ok' THEN coalesce(mta_sts_mode = 'enforce', false) END AS mta_sts_enforced,
    mta_sts_mx, coalesce(cnames[-1], domain) AS next_hop
"""

#: Columns of `deliveries`, from `mail_routes` and `candidates`.
FACTS = """
    allows_host(mta_sts_mx, host) AS mta_sts_match,
    host = domain OR ends_with(host, '.' || domain) AS in_domain,
    CASE dane WHEN 'match' THEN true WHEN 'mismatch' THEN
        coalesce(dane_error = 'name', false) AND mx_secure
        AND (names_host(leaf_names, domain) OR names_host(leaf_names, next_hop)) END AS dane_holds
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
