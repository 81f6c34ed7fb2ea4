"""What the lab knows of a name: as a domain of the list, and as a mail host.

It holds what was drawn for the name, and what follows from it; `world` draws.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from crawler.lab.behaviours.policy_list import LISTED, ListedBehaviour
from crawler.lab.behaviours.protection import MTA_STS, TLSA, StsBehaviour, TlsaBehaviour
from crawler.lab.behaviours.reporting import TLSRPT, TlsrptBehaviour
from crawler.lab.behaviours.routes import RouteBehaviour
from crawler.lab.behaviours.services import SERVICES, ServicesBehaviour
from crawler.lab.behaviours.vocabulary import HostBehaviour
from crawler.model.names import MAX_NAME
from crawler.model.rows import Dnssec, LookupStatus, Route, TlsaStatus


@dataclass(frozen=True, slots=True)
class LabDomain:
    """A name of the list: what a scan must find out about it."""

    name: str
    behaviour: RouteBehaviour
    mx: tuple[tuple[int, str], ...]  #: preference and host as DNS has them; for implicit MX the domain itself
    cnames: tuple[str, ...]
    secure: bool
    own_behaviour: str  #: of the hosts it runs itself; empty: each has its own
    mta_sts: StsBehaviour = field(default=MTA_STS["no-mta-sts"])
    tlsrpt: TlsrptBehaviour = field(default=TLSRPT["no-tlsrpt"])
    listed: ListedBehaviour = field(default=LISTED["unlisted"])
    services: ServicesBehaviour = field(default=SERVICES["no-srv"])

    @property
    def route(self) -> Route:
        return self.behaviour.route

    @property
    def dnssec(self) -> Dnssec | None:
        if self.behaviour.asked_not_to:
            return None
        return self.behaviour.dnssec or (Dnssec.SECURE if self.secure else Dnssec.INSECURE)

    @property
    def mail_hosts(self) -> tuple[tuple[int, str], ...]:
        """The hosts that a scan takes, by preference."""
        if self.behaviour.asked_not_to:
            return ()
        hosts = sorted(entry for entry in self.mx if entry[1] != ".")
        return tuple(hosts[: self.behaviour.mx_kept])


@dataclass(frozen=True, slots=True)
class LabHost:
    """A mail host: what its address lookups give, and how it behaves."""

    name: str
    behaviour: HostBehaviour
    addresses: tuple[str, ...]
    status: LookupStatus
    cnames: tuple[str, ...]
    secure: bool
    tlsa: TlsaBehaviour = field(default=TLSA["no-tlsa"])

    @property
    def tlsa_status(self) -> TlsaStatus:
        if self.status is not LookupStatus.OK or not self.addresses:
            return TlsaStatus.NOT_ASKED
        if not self.secure:
            return TlsaStatus.INSECURE
        if max(map(len, (self.name, *self.cnames))) > MAX_NAME - len("_25._tcp."):
            return TlsaStatus.LOOKUP_FAILED  # no room for the question
        return self.tlsa.status

    @property
    def dnssec(self) -> Dnssec:
        if self.status is LookupStatus.SERVFAIL:
            return Dnssec.UNKNOWN
        return Dnssec.SECURE if self.secure else Dnssec.INSECURE

    @property
    def ipv4_status(self) -> LookupStatus:
        return self._status(any("." in address for address in self.addresses))

    @property
    def ipv6_status(self) -> LookupStatus:
        return self._status(any(":" in address for address in self.addresses))

    def _status(self, has_addresses: bool) -> LookupStatus:
        return LookupStatus.NODATA if self.status is LookupStatus.OK and not has_addresses else self.status
