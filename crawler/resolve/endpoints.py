"""The endpoints of a mail host: whatever it is asked, at every address, with the TLSA records to hold its chain against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from crawler.model.rows import Endpoint, Host, Tlsa, TlsaStatus
from crawler.protocols.registry import service_of
from crawler.resolve.asked import by_mx
from crawler.settings.config import Config

_UNKNOWN = Tlsa(status=TlsaStatus.NOT_ASKED)


def endpoints_of(host: Host, tlsa: Mapping[int, Tlsa], config: Config) -> Iterator[Endpoint]:
    """One `Endpoint` for each protocol, form and port that the host is asked, and each address.

    `tlsa` has the host's RRset for each port of an owner name that was asked.
    """
    for entry in by_mx(config) if host.asked is None else host.asked:
        asked = service_of(entry["protocol"], entry["form"])
        rrset = tlsa.get(config.owner_port(asked, entry["port"]), _UNKNOWN)
        for address in dict.fromkeys(host.addresses or ()):
            yield Endpoint(
                asked.protocol.name, host.host, address, entry["port"],
                rrset.base_domain, rrset.status, rrset.records, rrset.records_dropped, aliases=host.cnames or None,
                form=asked.form, found_by=entry["found_by"], reference_names=entry["reference_names"],
            )  # fmt: skip
