"""The endpoints of a mail host: every protocol at every address, with the TLSA records to hold its chain against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from crawler.model.rows import Endpoint, Host, Tlsa, TlsaStatus
from crawler.settings.config import Config

_UNKNOWN = Tlsa(status=TlsaStatus.NOT_ASKED)


def endpoints_of(host: Host, tlsa: Mapping[int, Tlsa], config: Config) -> Iterator[Endpoint]:
    """One `Endpoint` for each protocol in each of its forms and each address; `tlsa` has the host's RRset for each standard port that was asked."""
    for service in config.services():
        port, rrset = config.port_of(service.name), tlsa.get(service.port, _UNKNOWN)
        for address in dict.fromkeys(host.addresses or ()):
            yield Endpoint(
                service.protocol.name, host.host, address, port,
                rrset.base_domain, rrset.status, rrset.records, rrset.records_dropped, aliases=host.cnames or None,
                form=service.form,
            )  # fmt: skip
