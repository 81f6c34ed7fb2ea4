"""How the lab's domains ask for reports on failed TLS: TLSRPT records (RFC 8460 §3).

The rules of `protection.py` hold here too; a kind is one entry with the truth beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

from crawler.model.rows import TlsrptStatus


@dataclass(frozen=True, slots=True)
class TlsrptBehaviour:
    """What stands at `_smtp._tls` below a domain; `{domain}` is its name."""

    name: str
    about: str
    share: float  #: weight among the domains that take mail
    status: TlsrptStatus | None  #: None: the question fails
    texts: tuple[str, ...] = ()
    reports_to: tuple[str, ...] = ()  #: `rua` of a valid record

    def records(self, domain: str) -> list[bytes]:
        """The TXT records."""
        return [text.format(domain=domain).encode() for text in self.texts]

    def rua(self, domain: str) -> tuple[str, ...]:
        """Where reports are to go."""
        return tuple(address.format(domain=domain) for address in self.reports_to)


TLSRPT: dict[str, TlsrptBehaviour] = {}
"""Every kind by name."""


def _tlsrpt(name: str, about: str, share: float, status: TlsrptStatus | None, *texts: str, to: str = "") -> None:
    TLSRPT[name] = TlsrptBehaviour(name, about, share, status, texts, tuple(to.split()))


_ABSENT, _VALID, _INVALID = TlsrptStatus.ABSENT, TlsrptStatus.VALID, TlsrptStatus.INVALID
_MAIL, _WEB = "mailto:tls@{domain}", "https://reports.lab.example/v1?of={domain}"
_tlsrpt("no-tlsrpt", "no record", 1_000, _ABSENT)
_tlsrpt("rpt-mail", "reports by mail", 8, _VALID, f"v=TLSRPTv1; rua={_MAIL}", to=_MAIL)
_tlsrpt("rpt-https", "reports by HTTPS", 3, _VALID, f"v=TLSRPTv1;rua={_WEB};", to=_WEB)
_tlsrpt("rpt-both", "reports to two places", 1, _VALID, f"v=TLSRPTv1; rua={_MAIL},{_WEB}", to=f"{_MAIL} {_WEB}")
_tlsrpt("rpt-extended", "an extension beside `rua`", 0.1, _VALID, f"v=TLSRPTv1; rua={_MAIL}; x-note=a:b", to=_MAIL)
_tlsrpt(
    "rpt-long", "a record of several strings", 0.1, _VALID, f"v=TLSRPTv1; rua={_MAIL}; x-note={'long-' * 60}.", to=_MAIL
)
_tlsrpt(
    "rpt-beside-others", "a record among other texts", 0.2, _VALID, "v=spf1 -all", f"v=TLSRPTv1; rua={_MAIL}", to=_MAIL
)
_tlsrpt("rpt-others-only", "other texts, as a wildcard gives them", 1, _ABSENT, "v=spf1 -all")
_tlsrpt(
    "rpt-twice",
    "two records, which are as good as none",
    0.1,
    _INVALID,
    f"v=TLSRPTv1; rua={_MAIL}",
    f"v=TLSRPTv1; rua={_MAIL};",
)
_tlsrpt(
    "rpt-blank-alone",
    "a blank before the first semicolon, and no other text",
    0.1,
    _VALID,
    f"v=TLSRPTv1 ; rua={_MAIL}",
    to=_MAIL,
)
_tlsrpt("rpt-blank-beside", "the same beside another text: no record", 0.1, _ABSENT, "v", f"v=TLSRPTv1 ; rua={_MAIL}")
_tlsrpt("rpt-no-rua", "a record without `rua`", 0.1, _INVALID, "v=TLSRPTv1;")
_tlsrpt("rpt-plain-http", "reports to an `http:` address", 0.1, _INVALID, "v=TLSRPTv1; rua=http://{domain}/")
_tlsrpt("rpt-no-scheme", "a mail address without `mailto:`", 0.2, _INVALID, "v=TLSRPTv1; rua=tls@{domain}")
_tlsrpt("rpt-version", "a version that there is not", 0.1, _INVALID, "v=TLSRPT1; rua=mailto:tls@{domain}")
_tlsrpt("rpt-servfail", "the question fails", 0.3, None)
