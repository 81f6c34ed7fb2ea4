"""The words in which a measurement ends: stages, outcomes, routes, statuses.

Each word is stated here and nowhere else, with its meaning.  *Unknown* is never
folded into *no*: where something may not have been found out, there is a word for that.
"""

from __future__ import annotations

from enum import StrEnum

ONE_A_LINE = "one name a line"
"""The form of a list of which every line is one name, so that its length is the number of its names."""

ONE_HOST_A_LINE = "one host a line"
"""The form of a list of hosts."""


class Stage(StrEnum):
    """How far a probe got, in order; named alike in all protocols so that they compare."""

    CONNECT = "connect"
    GREETING = "greeting"
    CAPABILITIES = "capabilities"
    UPGRADE = "upgrade"
    HANDSHAKE = "handshake"
    AFTER_TLS = "after_tls"
    DONE = "done"


class Form(StrEnum):
    """How a connection comes to TLS."""

    STARTTLS = "starttls"  #: by an upgrade within a conversation that begins in the clear
    IMPLICIT = "implicit"  #: at once, on a port of its own


class Outcome(StrEnum):
    """How a probe ended at its stage."""

    OK = "ok"  #: the protocol was answered inside TLS; only with stage `done`
    NOT_OFFERED = "not_offered"  #: capabilities were seen and STARTTLS is not among them
    CONNECTION_REFUSED = "connection_refused"  #: RST to our SYN
    UNREACHABLE = "unreachable"  #: no route, ICMP unreachable
    TIMEOUT = "timeout"  #: a step or the whole target ran out of time
    CLOSED = "closed"  #: an orderly FIN before the step was complete
    RESET = "reset"  #: RST after the connection stood
    REJECTED = "rejected"  #: the host said, in its protocol, that it will not talk to us
    UPGRADE_REFUSED = "upgrade_refused"  #: STARTTLS was offered, then answered without go-ahead
    STARTTLS_IMPOSSIBLE = "starttls_impossible"  #: the host opened in a state that allows no upgrade (IMAP PREAUTH)
    PROTOCOL_ERROR = "protocol_error"  #: a reply outside the protocol's grammar
    WRONG_PROTOCOL = "wrong_protocol"  #: recognisably another protocol
    LIMIT_EXCEEDED = "limit_exceeded"  #: more bytes, lines, replies or work than we take (our limit)
    TLS_ALERT = "tls_alert"  #: the host sent a fatal TLS alert; so does one that knows only what our library lacks
    TLS_ERROR = "tls_error"  #: what came was not acceptable TLS
    TLS_UNSUPPORTED_BY_US = "tls_unsupported_by_us"  #: only versions or ciphers our library lacks
    ADDRESS_NOT_ALLOWED = "address_not_allowed"  #: special-purpose space that the operator did not allow
    OPTED_OUT = "opted_out"  #: the operator of the target asked not to be probed
    SAMPLED_OUT = "sampled_out"  #: another name at the same address was probed in its stead
    OVER_BUDGET = "over_budget"  #: its domain, network or provider has had all the endpoints or time it may have
    NOT_RUN = "not_run"  #: not tried: the run ended, a circuit breaker opened, or its address took no connection
    GAVE_UP = "gave_up"  #: our process ended in the middle of it, each time it was tried (our limit)
    INTERNAL_ERROR = "internal_error"  #: our bug; the trace is in the log


class Route(StrEnum):
    """Where a domain's mail goes (RFC 5321 §5.1, RFC 7505)."""

    EXPLICIT = "explicit"  #: MX records exist
    IMPLICIT = "implicit"  #: no MX, but the domain has an address: it is its own mail host
    NULL_MX = "null_mx"  #: a single `0 .`: takes no mail
    NULL_MX_INVALID = "null_mx_invalid"  #: `.` among other MX records, or with another preference
    NO_MAIL_HOST = "no_mail_host"  #: neither MX nor address
    NXDOMAIN = "nxdomain"  #: the name does not exist
    UNKNOWN = "unknown"  #: DNS failed; `dns_error` says how
    INVALID = "invalid"  #: the line of the list is not a domain name (in a list of hosts: no host)
    OPTED_OUT = "opted_out"
    HOST = "host"  #: the list is one of hosts (`--hosts`): no MX was looked up


class FoundBy(StrEnum):
    """Which way led to a host and port."""

    LISTED = "listed"  #: the list names the host (`--hosts`)
    MX = "mx"  #: an MX record of the domain, or the domain itself where it has none
    SRV = "srv"  #: an SRV record of the service (RFC 6186, RFC 8314)
    SRV_OTHER_FORM = "srv_other_form"  #: an SRV record of the protocol's other form; the port is the standard one
    FALLBACK = "fallback"  #: a name by custom, such as `imap.` before the domain, as no SRV record says anything


class SrvStatus(StrEnum):
    """What the SRV records of one service say (RFC 2782, RFC 6186)."""

    NAMED = "named"  #: they name hosts
    NOT_AVAILABLE = "not_available"  #: the target is `.`: the domain does not offer the service
    ABSENT = "absent"  #: there are none
    LOOKUP_FAILED = "lookup_failed"
    BOGUS = "bogus"
    OPTED_OUT = "opted_out"  #: the records are an alias into a domain that asked not to be probed


class Fallback(StrEnum):
    """How the search by custom ended, where SRV records say nothing of a protocol."""

    FOUND = "found"
    NONE = "none"  #: none of the names has an address, and there is no MX host
    LOOKUP_FAILED = "lookup_failed"  #: so which name a client would have come to is unknown
    OPTED_OUT = "opted_out"  #: the name that would be next, or one that it is an alias of, asked not to be probed


class DnsError(StrEnum):
    """Why `route` is unknown."""

    SERVFAIL = "servfail"
    REFUSED = "refused"
    BOGUS = "bogus"
    TIMEOUT = "timeout"
    MALFORMED = "malformed"
    GAVE_UP = "gave_up"  #: our process ended in the middle of it, each time it was tried


class LookupStatus(StrEnum):
    """How the question for one name and type ended."""

    OK = "ok"
    NODATA = "nodata"
    NXDOMAIN = "nxdomain"
    SERVFAIL = "servfail"
    REFUSED = "refused"
    BOGUS = "bogus"
    TIMEOUT = "timeout"
    MALFORMED = "malformed"
    NOT_ASKED = "not_asked"
    GAVE_UP = "gave_up"  #: our process ended in the middle of it, each time it was tried


#: Look-ups that say that there is nothing of the kind.
ABSENT = frozenset({LookupStatus.NODATA, LookupStatus.NXDOMAIN})
#: Look-ups that say whether there is something.
ANSWERED = ABSENT | {LookupStatus.OK}
#: Look-ups that leave it unknown though it was asked.
FAILED = frozenset(LookupStatus) - ANSWERED - {LookupStatus.NOT_ASKED}


class Dnssec(StrEnum):
    """DNSSEC state as a stub sees it through a resolver it trusts (RFC 4033 §5)."""

    SECURE = "secure"
    INSECURE = "insecure"
    BOGUS = "bogus"
    UNKNOWN = "unknown"


class TlsaStatus(StrEnum):
    """What an SMTP client may make of a host's TLSA RRset (RFC 7671, RFC 7672 §2.2)."""

    ABSENT = "absent"
    INSECURE = "insecure"
    BOGUS = "bogus"
    LOOKUP_FAILED = "lookup_failed"  #: no answer, or none usable among the records kept, and others left out
    NOT_ASKED = "not_asked"
    UNUSABLE = "unusable"
    USABLE = "usable"


class DaneStatus(StrEnum):
    """The TLSA RRset held against the certificates received."""

    MATCH = "match"
    MISMATCH = "mismatch"
    UNUSABLE = "unusable"
    ABSENT = "absent"
    INSECURE = "insecure"
    BOGUS = "bogus"
    UNKNOWN = "unknown"


class DaneError(StrEnum):
    """Why a usable TLSA RRset and the certificates received do not match, the furthest that any record got; or why
    that is unknown."""

    NO_MATCH = "no_match"  #: no certificate received is in a record that is in force
    PATH = "path"  #: DANE-TA: the anchor is there, but no valid path leads from the leaf to it
    EXPIRED = "expired"  #: DANE-TA: a certificate of the path is not within its dates
    NAME = "name"  #: DANE-TA: the leaf names neither the TLSA base domain nor the host
    TOO_COSTLY = "too_costly"  #: unknown: to find out would have cost more than one verdict may (our limit)


class MtaStsRecord(StrEnum):
    """State of the `_mta-sts` TXT record (RFC 8461 §3.1)."""

    ABSENT = "absent"
    VALID = "valid"
    INVALID = "invalid"
    MULTIPLE = "multiple"


class MtaStsFetch(StrEnum):
    """How fetching the MTA-STS policy ended (RFC 8461 §3.3)."""

    OK = "ok"
    NO_HOST = "no_host"  #: the policy host does not exist, or has no address
    DNS = "dns"  #: whether it has an address is not known: a lookup failed, or one family was not asked
    CONNECT = "connect"  #: none of its addresses takes a connection; where one was left out, it is null
    TLS = "tls"  #: the handshake failed; so does one without a valid certificate for the policy host
    BROKEN_OFF = "broken_off"  #: the connection ended in the handshake or in the answer, in a second try too
    UNAVAILABLE = "unavailable"  #: the policy host cannot answer now, and could not a while later (408, 425, 429, 5xx)
    HTTP = "http"  #: not a 200 with text/plain; redirects are not followed
    TIMEOUT = "timeout"
    TOO_LARGE = "too_large"
    SYNTAX = "syntax"  #: what came is no policy
    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    OPTED_OUT = "opted_out"  #: the policy host, a name that it is an alias of, or its address asked not to be contacted


class MtaStsMode(StrEnum):
    """Mode of an MTA-STS policy (RFC 8461 §3.2)."""

    ENFORCE = "enforce"
    TESTING = "testing"
    NONE = "none"


class TlsrptStatus(StrEnum):
    """State of the `_smtp._tls` TXT record (RFC 8460 §3)."""

    ABSENT = "absent"
    VALID = "valid"
    INVALID = "invalid"


#: Outcomes that answer the question of TLS wherever they occur.
_CONCLUSIVE = frozenset(
    {Outcome.OK, Outcome.NOT_OFFERED, Outcome.STARTTLS_IMPOSSIBLE, Outcome.TLS_ALERT, Outcome.TLS_ERROR}
)


def is_conclusive(stage: Stage | None, outcome: Outcome, *, for_good: bool, inside_tls: bool) -> bool:
    """Whether the outcome answers 'does this endpoint do TLS?', so that a retry is not expected to differ.

    A refused upgrade is conclusive when refused `for_good` (5yz, RFC 5321 §4.2.1) and not when the host says 'not now'
    (4yz).  A reply outside the grammar is conclusive only from the upgrade on, because before it nothing was learnt
    about TLS.  A host that turns us away inside TLS does TLS.
    """
    if outcome is Outcome.REJECTED:
        return inside_tls
    if outcome is Outcome.UPGRADE_REFUSED:
        return for_good
    if outcome is Outcome.PROTOCOL_ERROR:
        return inside_tls or stage is Stage.UPGRADE
    return outcome in _CONCLUSIVE
