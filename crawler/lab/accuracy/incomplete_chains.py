"""The truth about chains that lack an issuer: whether a sender who knew the run's intermediates would trust them.

This module follows from what the probed hosts of the lab send; the table is read as anyone can.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from crawler.lab.behaviours.vocabulary import HOSTS, HostBehaviour, Tls

Key = tuple[str, ...]


def incomplete_verdicts(probed: Mapping[Key, HostBehaviour]) -> dict[Key, tuple[str, dict[str, Any]]]:
    """Host and address of each endpoint that must have its chain in `incomplete_chains`, and what must be said of it.

    A chain lacks one certificate at most; it is known if another host that was probed sent it.
    """
    sending = (HOSTS[name] for name in {behaviour.name for behaviour in probed.values()})
    sent = {
        certificate
        for behaviour in sending
        if behaviour.truth.certificates is not None and isinstance(behaviour.server.tls, Tls)
        for certificate in behaviour.server.tls.leaf.chain
    }
    return {
        key: (behaviour.name, {"trusted_if_known": (known := behaviour.lacks in sent), "known_issuers": int(known)})
        for key, behaviour in probed.items()
        if behaviour.lacks
    }


def incomplete_rows(
    chains: Iterable[dict[str, Any]], probes: Iterable[dict[str, Any]]
) -> Iterator[tuple[Key, dict[str, Any]]]:
    """What is said of each endpoint, as often as its chain is in the table; a chain that nobody sent is by itself."""
    senders: dict[tuple[str, ...], list[Key]] = {}
    for probe in probes:
        if probe["received_chain"]:
            senders.setdefault(tuple(probe["received_chain"]), []).append((probe["host"], probe["address"]))
    for row in chains:
        verdicts = {"trusted_if_known": row["trusted_if_known"], "known_issuers": len(row["known_issuers"] or ())}
        for key in senders.get(tuple(row["received_chain"]), [(row["leaf_sha256"],)]):
            yield key, verdicts
