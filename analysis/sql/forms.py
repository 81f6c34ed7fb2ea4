"""One verdict per host and protocol: how TLS can be had there, by an upgrade, from the first byte, or both.

This module holds SQL and its reasons; `Run` executes it.

`host_forms` has a row for each mail host and protocol that has an implicit form and was asked there (SMTP between servers has
none, so it is not here).  Each form is put together over the addresses and ports of the host, observed or inferred:

- `tls`: at one of them TLS was negotiated;
- `plain`: the host speaks the protocol, and TLS cannot be had by this form (a conclusive no);
- `closed`: every connection was refused.  A port that is silent may be a firewall's doing on the way: `unknown`;
- `unknown`: anything else, a form that was not asked among it, and a host of which not all addresses are known.

**Verdict** (`forms`): `both`, `starttls_only`, `implicit_only`, `plain_only` (spoken without TLS, and no TLS elsewhere), `neither`
(both closed); `unknown` where a form is unknown.  So STARTTLS that is switched off in favour of the implicit port is told from
STARTTLS that is missing, which a share of STARTTLS alone cannot do.

- `both_forms`, `implicit_only`, `without_tls`: three values; false as soon as one form rules it out.
- `opossum_exposed`: both forms of a protocol that the attack concerns (Merget et al., USENIX Security 2026, CVE-2025-49812): who
  is on the path can desynchronise a client of one form with a server's other.  IMAP is not concerned.
- `plaintext_login`: before TLS a login with the password in the clear was offered (RFC 8314 §3.3 asks for none).
- `same_certificate`: both forms send the same leaves;  `implicit_not_older`: the oldest version negotiated on the implicit port is no
  older than by STARTTLS (RFC 8314 §3 prefers that port).  Null where one of the forms has no TLS.
"""

from __future__ import annotations

from analysis.sql.endpoints import HAS_MORE_ADDRESSES
from crawler.protocols.registry import protocol, services

#: Protocols whose two forms can be desynchronised, of those that have both (opossum-attack.com lists them, by the plain form's name).
OPOSSUM = ("submission", "pop3", "lmtp", "nntp", "ftp", "http")


def _paired() -> tuple[str, ...]:
    return tuple(name for name in services() if name == protocol(name).name and protocol(name).implicit is not None)


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)


_FORM = """
    CASE WHEN bool_or(negotiated) THEN 'tls'
        WHEN bool_and(coalesce(outcome = 'connection_refused', false)) THEN 'closed'
        WHEN bool_and(coalesce(outcome = 'connection_refused' OR NOT negotiated, false)) THEN 'plain'
        ELSE 'unknown' END
"""

_IMPLICIT_ONLY = """
    CASE WHEN implicit = 'tls' AND by_starttls IN ('plain', 'closed') THEN true
        WHEN implicit IN ('plain', 'closed') OR by_starttls = 'tls' THEN false END
"""

HOST_FORMS = f"""
CREATE VIEW host_forms AS
WITH forms AS (
    SELECT host, protocol, form, {_FORM} AS seen, min(tls_version) AS oldest,
        list_sort(list_distinct(list(leaf) FILTER (WHERE negotiated AND leaf IS NOT NULL))) AS leaves
    FROM judged WHERE protocol IN ({_listed(_paired())}) GROUP BY ALL
), incomplete AS (
    SELECT forms.host FROM (SELECT DISTINCT host FROM forms) AS forms LEFT JOIN hosts USING (host) WHERE {HAS_MORE_ADDRESSES}
), logins AS (
    SELECT host, protocol, CASE WHEN bool_or(plaintext_login) THEN true
        WHEN count(plaintext_login) = count(*) THEN false END AS plaintext_login
    FROM probes WHERE coalesce(form, 'starttls') = 'starttls' GROUP BY ALL
), paired AS (
    SELECT host, protocol,
        coalesce(any_value(state) FILTER (WHERE form = 'starttls'), 'unknown') AS by_starttls,
        coalesce(any_value(state) FILTER (WHERE form = 'implicit'), 'unknown') AS implicit,
        any_value(oldest) FILTER (WHERE form = 'starttls') AS oldest_by_starttls,
        any_value(oldest) FILTER (WHERE form = 'implicit') AS oldest_implicit,
        any_value(leaves) FILTER (WHERE form = 'starttls') AS leaves_by_starttls,
        any_value(leaves) FILTER (WHERE form = 'implicit') AS leaves_implicit
    FROM (
        SELECT *, CASE WHEN seen <> 'tls' AND host IN (FROM incomplete) THEN 'unknown' ELSE seen END AS state FROM forms
    ) GROUP BY host, protocol
), answered AS (
    SELECT *, CASE WHEN by_starttls = 'tls' AND implicit = 'tls' THEN true
            WHEN by_starttls IN ('plain', 'closed') OR implicit IN ('plain', 'closed') THEN false END AS both_forms,
        {_IMPLICIT_ONLY} AS implicit_only,
        CASE WHEN by_starttls = 'tls' OR implicit = 'tls' THEN false
            WHEN 'unknown' NOT IN (by_starttls, implicit) AND 'plain' IN (by_starttls, implicit) THEN true
            WHEN 'unknown' NOT IN (by_starttls, implicit) THEN false END AS without_tls
    FROM paired
)
SELECT host, protocol, by_starttls, implicit,
    CASE WHEN 'unknown' IN (by_starttls, implicit) THEN 'unknown'
        WHEN both_forms THEN 'both' WHEN implicit_only THEN 'implicit_only' WHEN by_starttls = 'tls' THEN 'starttls_only'
        WHEN without_tls THEN 'plain_only' ELSE 'neither' END AS forms,
    both_forms, implicit_only, without_tls,
    CASE WHEN protocol NOT IN ({_listed(OPOSSUM)}) THEN false ELSE both_forms END AS opossum_exposed,
    plaintext_login,
    CASE WHEN both_forms AND leaves_implicit IS NOT NULL AND leaves_by_starttls IS NOT NULL
        THEN leaves_implicit = leaves_by_starttls END AS same_certificate,
    CASE WHEN both_forms THEN oldest_implicit >= oldest_by_starttls END AS implicit_not_older
FROM answered LEFT JOIN logins USING (host, protocol)
"""
