"""Mail hosts that answered in this run, of whom a few are asked again when everybody seems to be gone.

They are a sample by chance of all that answered, each with the share of its weight.  The weights of all hosts that one listed
domain names add up to 1, so it has one domain's chance to be drawn, whatever it publishes and whenever its hosts answer.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from heapq import nsmallest

from crawler.model.names import suffixes
from crawler.model.rows import Endpoint
from crawler.politeness.pacing import network_of

_SCALE = float(1 << 48)


@dataclass(frozen=True, slots=True)
class _Witness:
    order: float  #: those with the least are kept
    weight: float
    endpoint: Endpoint


class Witnesses:
    """A sample, in bounded memory, of the hosts that answered a process."""

    def __init__(self, kept: int) -> None:
        self._most = kept
        self._kept: dict[str, _Witness] = {}  # by host, so that many addresses of one are one chance
        self._limit = math.inf  # order of the last that was kept
        self._secret = os.urandom(16)

    def note(self, endpoint: Endpoint) -> None:
        """It answered."""
        host, weight = endpoint.host or "", endpoint.weight or 0.0
        if weight <= 0 or host in self._kept:
            return
        # The same for each answer of a host, so that answering often is no advantage.
        number = int.from_bytes(blake2b(host.encode(), digest_size=6, key=self._secret).digest())
        order = -math.log((number + 1) / (_SCALE + 1)) / weight
        if order < self._limit:
            self._kept[host] = _Witness(order, weight, replace(endpoint, tlsa=None))
            if len(self._kept) > 2 * self._most:
                best = nsmallest(self._most, self._kept.items(), key=lambda item: item[1].order)
                self._kept = dict(best)
                self._limit = best[-1][1].order

    def draw(self, count: int, before: Collection[Endpoint] = ()) -> list[Endpoint]:
        """So many by chance, of other providers and networks than each other and those drawn before; each is given once."""
        providers = {provider_of(endpoint) for endpoint in before}
        networks = {network_of(endpoint.address or "") for endpoint in before}
        drawn: list[Endpoint] = []
        # An exponential race: the order in which hosts come is by chance, in proportion to weight.
        for witness in sorted(self._kept.values(), key=lambda witness: random.expovariate(witness.weight)):
            if len(drawn) == count:
                break
            endpoint = witness.endpoint
            provider, network = provider_of(endpoint), network_of(endpoint.address or "")
            if provider not in providers and network not in networks:
                drawn.append(endpoint)
                providers.add(provider)
                networks.add(network)
        for endpoint in drawn:
            del self._kept[endpoint.host or ""]
        return drawn


def provider_of(endpoint: Endpoint) -> str:
    """Registrable domain of the host."""
    return _registrable(endpoint.host or "")


@lru_cache(1_024)  # the hosts of a window are looked at again for each failure
def _registrable(host: str) -> str:
    return suffixes(host)[0] or host
