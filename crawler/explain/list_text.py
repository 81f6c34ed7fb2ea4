"""The entry of a policy list for one domain that `probe` measured, and whether the domain keeps it.

This module is pure.  `crawler.policies.list_compliance` judges; here it becomes a sentence and a document, with what is
needed to cite the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from crawler.certificates.parsing import ParsedCertificate
from crawler.model.rows import Domain, Host, Probe
from crawler.policies import list_compliance as promise
from crawler.policies.list_compliance import Compliance
from crawler.policies.policy_list import ListedPolicy, PolicyList
from crawler.policies.senders import takes_deliveries


class Measured(Protocol):
    """The rows about one domain."""

    name: str
    domain: Domain | None
    hosts: list[Host]
    probes: list[tuple[Probe, list[ParsedCertificate]]]


@dataclass(frozen=True, slots=True)
class ListedDomain:
    """A domain beside a policy list."""

    source: PolicyList
    expired: bool
    policy: ListedPolicy | None  #: None: it is not on the list
    promise: Compliance | None  #: None: it is not on the list, or takes no mail

    @property
    def compliant(self) -> bool | None:
        """Whether the domain keeps its promise; null is unknown, or that there is none."""
        return self.promise.compliant if self.promise is not None else None

    def sentence(self) -> str:
        """For a person, in one line."""
        name = f"policy list {self.source.source} ({self._state()})"
        if self.policy is None:
            return f"{name}: does not name this domain"
        on = f"{name}: mode {self.policy.mode}"
        if self.promise is None:
            return f"{on}; the domain takes no mail, so there is nothing to keep"
        if self.compliant:
            return f"{on}; the domain keeps what it promises"
        facts = asdict(self.promise)
        broken = [words for fact, words in _BROKEN.items() if facts[fact] is False]
        if broken:
            return f"{on}; the domain breaks what it promises: {', '.join(broken)}"
        return f"{on}; whether the domain keeps what it promises is unknown"

    def _state(self) -> str:
        expires = self.source.expires
        if expires is None:
            return "without an end"
        return f"{'expired' if self.expired else 'valid until'} {expires:%Y-%m-%d}"

    def as_document(self) -> dict[str, Any]:
        """The same for programs; what is not known is null."""
        source, policy = self.source, self.policy
        return {
            "source": source.source,
            "sha256": source.sha256,
            "author": source.author,
            "timestamp": source.timestamp and source.timestamp.isoformat(),
            "expires": source.expires and source.expires.isoformat(),
            "expired": self.expired,
            "listed": policy is not None,
            "mode": policy and policy.mode,
            "mxs": policy and list(policy.mxs),
            "min_tls_version": policy and policy.min_tls_version,
            "pinned": policy and policy.pinned,
            **(asdict(self.promise) if self.promise else dict.fromkeys(("host", "tls", "certificate"))),
            "kept": self.compliant,
        }


_BROKEN = {
    "host": "a mail host that is not on it",
    "tls": "no TLS, or an older version than it demands",
    "certificate": "no certificate as it demands",
}


def listed_domain_of(measured: Measured, source: PolicyList, at: datetime | None = None) -> ListedDomain:
    """What the list says of the domain, and whether the domain keeps it; the list may have expired `at` (now)."""
    policy = source.policy_of(measured.name)
    found = None
    if policy is not None and measured.domain is not None:
        probes: Mapping[tuple[str, str], Any] = {
            (probe.host or "", probe.address or ""): (probe, chain[0].row if chain else None)
            for probe, chain in measured.probes
            if takes_deliveries(probe)
        }
        found = promise.of_domain(policy, measured.domain, {host.host or "": host for host in measured.hosts}, probes)
    return ListedDomain(source, source.is_expired(at or datetime.now(UTC)), policy, found)
