"""Whether a domain's mail hosts keep what a policy list promises of them.

This module is pure. The demands are stated here alone; `analysis.figures.policy_list` asks the same of a whole run in
SQL, and is tested against this.

RULES.md of STARTTLS Everywhere demands of every mail host that a domain publishes:

1. **host**: its name is one of the policy's `mxs`;
2. **tls**: TLS is negotiated, of the policy's least version (TLS 1.2) or a later one;
3. **certificate**: it is trusted and within its dates, and names either the mail host or one of the `mxs`.  The CN
   counts where there is no DNS name.  Where the policy pins keys as well, a certificate that is in order is *unknown*.

A domain keeps its promise if every endpoint does.  Which endpoints those are is stated in docs/figures.md: an endpoint
that nobody heard from is unknown, a host that verifiably has no address has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from crawler.certificates.verdicts import does_tls
from crawler.model.rows import Certificate, Domain, Host, LookupStatus, Probe, Route
from crawler.model.three_valued import all_of
from crawler.model.vocabulary import ANSWERED
from crawler.policies.policy_list import ListedPolicy


@dataclass(frozen=True, slots=True)
class Compliance:
    """What became of each demand; null is unknown."""

    host: bool | None = None
    tls: bool | None = None
    certificate: bool | None = None

    @property
    def compliant(self) -> bool | None:
        """Whether all are met."""
        return all_of(self.host, self.tls, self.certificate)


def at_endpoint(policy: ListedPolicy, host: str, probe: Probe | None, leaf: Certificate | None) -> Compliance:
    """What the endpoint of `probe` does; `leaf` is the first certificate received."""
    if probe is None:
        return Compliance(policy.allows(host))
    tls = does_tls(probe)
    version = None if probe.tls_version is None else probe.tls_version in policy.tls_versions
    certificate = all_of(tls, probe.chain_trusted, probe.within_validity, _named(policy, probe, leaf))
    return Compliance(policy.allows(host), all_of(tls, version), None if certificate and policy.pinned else certificate)


def together(promises: Iterable[Compliance]) -> Compliance | None:
    """What all endpoints of a domain make of its promise; None if there are none, and so nobody to keep it."""
    found = list(promises)
    if not found:
        return None
    return Compliance(*(all_of(*(getattr(one, fact) for one in found)) for fact in ("host", "tls", "certificate")))


def of_domain(
    policy: ListedPolicy,
    domain: Domain,
    hosts: Mapping[str, Host],
    probes: Mapping[tuple[str, str], tuple[Probe, Certificate | None]],
) -> Compliance | None:
    """What becomes of the domain's promise; `probes` are by host and address.  None: its mail has nowhere to go."""
    if domain.route == Route.UNKNOWN:
        return Compliance()
    names = [entry["host"] for entry in domain.mx or ()]
    found = [
        at_endpoint(policy, name, *probes.get((name, address or ""), (None, None)))
        for name in names
        for address in _addresses(hosts.get(name))
    ]
    if domain.mx_dropped or domain.mx_unreadable:
        found.append(Compliance())
    return together(found)


def _addresses(host: Host | None) -> Iterator[str | None]:
    """The addresses of a mail host, and None for those that are not known."""
    if host is None:
        yield None
        return
    yield from host.addresses or ()
    statuses = (host.ipv4_status, host.ipv6_status)
    asked = [status for status in statuses if status != LookupStatus.NOT_ASKED]
    if (
        any(status not in ANSWERED for status in asked)
        or (host.addresses_dropped or 0) > 0
        or (len(asked) < 2 and not host.addresses)
    ):
        yield None


def _named(policy: ListedPolicy, probe: Probe, leaf: Certificate | None) -> bool | None:
    if probe.name_match:
        return True
    names = leaf_names(leaf)
    if any(policy.allows(name.lower()) for name in names or () if "*" not in name[1:]):
        return True
    are_all_known = names is not None and leaf is not None and not leaf.names_dropped
    return None if not are_all_known or probe.name_match is None else False


def leaf_names(leaf: Certificate | None) -> list[str] | None:
    """The names in a certificate: its DNS names, else its CN; None if they could not be read."""
    if leaf is None or leaf.names is None:
        return None
    if leaf.names or leaf.common_name is None:
        return leaf.names or (None if leaf.subject is None else [])
    return [leaf.common_name]
