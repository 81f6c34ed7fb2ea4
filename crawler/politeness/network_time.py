"""The time that all connections to one network may take, and which of its owners may still begin one.

Strangers share a network: the customers of a cloud share a /48. So its time is also accounted to each registrable
domain with hosts there, its *owner*. Where all of it is spent, an owner may go on up to its part by weight. The owner
of one listed domain has a weight of 1 in all, whatever names and addresses it publishes.

The bound on the time of a network has four parts. The first is `total_seconds` and `total_seconds_per_domain` times its
weight. The second is as much again: the sum of the parts of all owners. The third is the connections under way when
the time was spent. The fourth is the one connection by which an owner goes beyond its part.  An owner of
`certain_weight` has that one, and a lighter one by chance, so there are four for each listed domain on average.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from crawler.settings.config import Pacing


@dataclass(slots=True)
class _Account:
    """The time of a network, or of one owner in it."""

    weight: float = 0.0
    taken: float = 0.0  #: seconds beyond what is ordinary
    chance: float = 0.0  #: of an owner: decides whether a light one may go on


class NetworkTime:
    """Seconds of connections to each network of one shard, beyond what is ordinary."""

    def __init__(self, pacing: Pacing, shards: int = 1) -> None:
        """`shards` divide a network among them."""
        self._base = pacing.total_seconds / shards
        self._per_domain = pacing.total_seconds_per_domain
        self._ordinary = pacing.ordinary_seconds
        self._certain = pacing.certain_weight
        self._networks: dict[Hashable, _Account] = {}
        self._owners: dict[tuple[Hashable, str], _Account] = {}

    def allow(self, network: bytes, owner: str, weight: float, chance: float) -> None:
        """There is one more endpoint; the weights of a host's endpoints in a network add up to the host's."""
        self._networks.setdefault(network, _Account()).weight += weight
        self._owners.setdefault((network, owner), _Account(chance=chance)).weight += weight

    def take(self, network: bytes, owner: str, seconds: float) -> None:
        """A connection took so long."""
        beyond = seconds - self._ordinary
        if beyond > 0:
            self._networks.setdefault(network, _Account()).taken += beyond
            self._owners.setdefault((network, owner), _Account()).taken += beyond

    def is_spent(self, network: bytes) -> bool:
        """Whether the time of the network is used up, so that each owner has only its part."""
        account = self._networks.get(network)
        return account is not None and account.taken > 0 and account.taken >= self._allowed(account)

    def may_begin(self, network: bytes, owner: str) -> bool:
        """Whether the owner may have another connection to the network."""
        if not self.is_spent(network):
            return True
        everybody, own = self._networks[network], self._owners.get((network, owner), _Account())
        if own.weight <= 0:
            return False
        part = self._allowed(everybody) * own.weight / everybody.weight
        return own.taken < part and own.chance * self._certain < own.weight

    def _allowed(self, network: _Account) -> float:
        return self._base + self._per_domain * network.weight
