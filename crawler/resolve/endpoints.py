"""The endpoints of a mail host: every protocol at every address, with the TLSA records to hold its chain against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from crawler.model.rows import Endpoint, Host, Tlsa, TlsaStatus
from crawler.settings.config import STANDARD_PORTS, Config

_UNKNOWN = Tlsa(status=TlsaStatus.NOT_ASKED)


def endpoints_of(host: Host, tlsa: Mapping[int, Tlsa], config: Config) -> Iterator[Endpoint]:
    """One `Endpoint` for each protocol and address; `tlsa` has the host's RRset for each standard port that was asked."""
    for protocol in config.protocol:
        port, rrset = config.port_of(protocol), tlsa.get(STANDARD_PORTS[protocol], _UNKNOWN)
        for address in dict.fromkeys(host.addresses or ()):
            yield Endpoint(
                protocol, host.host, address, port,
                rrset.base_domain, rrset.status, rrset.records, rrset.records_dropped, aliases=host.cnames or None,
            )  # fmt: skip
