"""Which hosts a domain of the lab names to mail clients by SRV records, with the truth about it.

This module does no I/O.  Every host of the lab speaks SMTP and so submission, on one port.  Shares are weights among the
names of a list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from crawler.lab.behaviours.routes import ASKED_NOT_TO
from crawler.model.rows import SrvStatus

OWN_HOST = "{host}"  #: the first mail host of the domain


class Offered(NamedTuple):
    """One SRV record; port 0 stands for the port on which the lab's hosts listen, -1 for no port."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class ServicesBehaviour:
    """What a domain says of one service, submission with an upgrade; of the others it says nothing."""

    name: str
    about: str
    share: float
    status: SrvStatus
    records: tuple[Offered, ...] = ()
    alias: str = ""  #: the records are at this name, and the domain's is an alias for it

    @property
    def places(self) -> tuple[Offered, ...]:
        """The records that a scan takes, in their order."""
        if self.status is not SrvStatus.NAMED:
            return ()
        kept = sorted(one for one in self.records if one.target != "." and one.port >= 0)
        return tuple(sorted(kept, key=lambda one: (one.priority, -one.weight)))


SERVICES: dict[str, ServicesBehaviour] = {}
"""Every behaviour by name."""


def _services(
    name: str, about: str, share: float, status: SrvStatus, *records: tuple[int, int, int, str], alias: str = ""
) -> None:
    SERVICES[name] = ServicesBehaviour(name, about, share, status, tuple(Offered(*one) for one in records), alias)


_services("no-srv", "no SRV record", 80, SrvStatus.ABSENT)
_services("srv", "an SRV record for submission, at its own mail host", 10, SrvStatus.NAMED, (0, 1, 0, OWN_HOST))
_services(
    "srv-several",
    "SRV records of two priorities and weights; one has no port, and one is there twice",
    3,
    SrvStatus.NAMED,
    (20, 1, 0, "mx2.fleet.example"),
    (10, 1, 0, "mx3.fleet.example"),
    (10, 5, 0, "mx1.fleet.example"),
    (30, 5, 0, "mx1.fleet.example"),
    (0, 0, -1, "mx4.fleet.example"),
)
_services(
    "srv-not-available",
    "an SRV record with the target `.`: no such service",
    3,
    SrvStatus.NOT_AVAILABLE,
    (0, 0, 0, "."),
)
_services("srv-servfail", "the resolver cannot find out", 1, SrvStatus.LOOKUP_FAILED)
_services(
    "srv-alias-of-opted-out",
    "an alias into a domain that asked not to be probed",
    1,
    SrvStatus.OPTED_OUT,
    (0, 1, 0, "mx1.fleet.example"),
    alias=f"_submission._tcp.{ASKED_NOT_TO}",
)
