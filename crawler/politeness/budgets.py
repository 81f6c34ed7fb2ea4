"""The most that one domain, mail host, network or provider may cost: endpoints when they are planned, time while they
are probed.

Limits on what happens at once (`pacing`) bound a rate.  A domain that publishes 100 mail hosts with 64 silent
addresses each would still hold up a run for hours, and aim thousands of connections at a network of its choice.  So
each is given a share, by the number of listed domains that send mail there:

- The *weight* of a mail host counts those domains; a domain with n mail hosts gives each of them 1/n.  The weights of
  all hosts of a domain add up to 1, whatever it publishes.  A host that thousands of domains share is no flood.
- A host may have `domain_endpoints` times its weight, and one in any case.
- A network may have `network_endpoints`, and `network_endpoints_per_domain` times the weight of the hosts there.
- A network, and a provider, may take `total_seconds`, and `total_seconds_per_domain` times that weight.
- A provider may take `dh_seconds` of our processor time for large primes, and `dh_seconds_per_domain` times that weight.
- A provider may have `stored_bytes` of certificates stored, and `stored_bytes_per_domain` times that weight.
- A provider lighter than `certain_weight` has only a part of the first of the two, in proportion.

An endpoint beyond them gets a row with the outcome `over_budget`, and a certificate beyond them a row that says so.
The manifest counts both.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Hashable, Mapping
from hashlib import blake2b

import pyarrow as pa
import pyarrow.compute as pc

from crawler.model.names import suffixes
from crawler.model.rows import Endpoint
from crawler.politeness.pacing import network_of
from crawler.settings.config import Limits, Pacing

_HOST_SLOTS = 1 << 22
"""Hashes by which weights of hosts are kept: 16 MiB.  Hosts that share one have the weight of both, so none gets too little.

Python's own hash has a secret for each process, so that nobody can choose a name that shares a large provider's.
"""

_NETWORK_SLOTS = 1 << 16

_PROVIDER_SLOTS = 1 << 21

_SCALE = float(1 << 48)


class EndpointBudgets:
    """Which endpoints of a run are within budget, in bounded memory.

    Every domain is added, then every host; after that `within` answers.  `salt` decides which addresses of a host beyond its
    budget are kept; it must not be known to those who choose the addresses.
    """

    def __init__(self, pacing: Pacing, salt: bytes, protocols: int = 1) -> None:
        """An address of a network may be asked so many `protocols`, each an endpoint."""
        self._pacing = pacing
        self._salt = salt
        self._protocols = max(1, protocols)
        self._weights = array("f", bytes(4 * _HOST_SLOTS))
        self._network_weights = array("d", bytes(8 * _NETWORK_SLOTS))
        self._network_loads = array("Q", bytes(8 * _NETWORK_SLOTS))
        self._provider_weights = array("f", bytes(4 * _PROVIDER_SLOTS))
        self._provider_loads = array("I", bytes(4 * _PROVIDER_SLOTS))
        self._full: frozenset[int] | None = None

    def add_domains(self, mx: pa.Array) -> None:
        """Count the domains of one batch of table `domains`, given its column `mx`."""
        sizes = pc.list_value_length(mx)
        shares = pc.divide(1.0, pc.cast(pc.take(sizes, pc.list_parent_indices(mx)), pa.float64()))
        hosts = pc.struct_field(pc.list_flatten(mx), "host")
        summed = pa.table({"host": hosts, "share": shares}).group_by("host").aggregate([("share", "sum")])
        for host, weight in zip(summed["host"].to_pylist(), summed["share_sum"].to_pylist(), strict=True):
            if host:
                self._weights[hash(host) % _HOST_SLOTS] += weight

    def add_host(self, host: str, addresses: Collection[str], services: int = 1) -> None:
        """Count the endpoints of a host, which is asked so many `services`, towards their networks and its provider."""
        weight = self.weight(host)
        networks = [_network_slot(address) for address in self._within_host(host, addresses, weight, services)]
        provider = _provider_slot(host)
        self._provider_weights[provider] += weight
        self._provider_loads[provider] += len(networks) * services
        for network in networks:
            self._network_loads[network] += services
        for network in set(networks):
            self._network_weights[network] += weight

    def weight(self, host: str) -> float:
        """How many listed domains send mail to a host, each divided among its mail hosts."""
        return self._weights[hash(host) % _HOST_SLOTS]

    def provider(self, host: str) -> tuple[float, int]:
        """The weight of all hosts under the registrable domain of a host, and their endpoints."""
        slot = _provider_slot(host)
        return self._provider_weights[slot], self._provider_loads[slot]

    def within(self, host: str, addresses: Collection[str], services: int = 1) -> Collection[str]:
        """Those addresses of a host that are within the budgets of the host and of their networks."""
        if self._full is None:
            budgets = map(self._network_budget, range(_NETWORK_SLOTS))
            loads = zip(self._network_loads, budgets, strict=True)
            self._full = frozenset(slot for slot, (load, budget) in enumerate(loads) if load > budget)
        weight = self.weight(host)
        kept = self._within_host(host, addresses, weight, services)
        if not self._full:
            return kept
        networks = {address: _network_slot(address) for address in kept}
        if self._full.isdisjoint(networks.values()):
            return kept
        loads_here = Counter(networks.values())
        return {
            address
            for address, network in networks.items()
            if network not in self._full
            or self._chance(host, address, "network") < self._share(network, weight) / (loads_here[network] * services)
        }

    def _within_host(self, host: str, addresses: Collection[str], weight: float, services: int) -> Collection[str]:
        more = max(1.0, services / self._protocols)  # than a host is asked usually
        most = max(1, int(self._pacing.domain_endpoints * weight / more))
        if len(addresses) <= most:
            return addresses
        return sorted(set(addresses), key=lambda address: self._chance(host, address, "host"))[:most]

    def _network_budget(self, network: int) -> float:
        per_domain = self._pacing.network_endpoints_per_domain
        return self._protocols * (self._pacing.network_endpoints + per_domain * self._network_weights[network])

    def _share(self, network: int, weight: float) -> float:
        """Endpoints of a full network's budget that belong to a host of this weight."""
        return self._network_budget(network) * weight / max(self._network_weights[network], weight, 1e-9)

    def chance(self, host: str) -> float:
        """A number from 0 to 1 that who chose the name cannot foresee."""
        return self._chance(host, "", "order")

    def _chance(self, host: str, address: str, purpose: str) -> float:
        """A number from 0 to 1 that who chose the name and the address cannot foresee; another for each purpose."""
        key = blake2b(f"{purpose} {host} {address}".encode(), digest_size=6, key=self._salt)
        return int.from_bytes(key.digest()) / _SCALE


class _Shares:
    """What each provider took of something, against what it may take in all."""

    def __init__(self, base: float, per_domain: float, certain: float) -> None:
        """Each may have `base`, less if it is lighter than `certain`, and `per_domain` times its weight."""
        self._base = base
        self._per_domain = per_domain
        self._certain = certain
        self._allowed: dict[Hashable, float] = {}
        self._taken: dict[Hashable, float] = {}
        self._users: Counter[Hashable] = Counter()  # shards under way with a part in it

    def allow(self, key: Hashable, weight: float, part: float = 1.0) -> None:
        """A shard begins with endpoints of a provider of this weight in the whole run; `part` of all is allowed here.

        It sets what is allowed: the number of shards that a provider's endpoints are in gives it nothing.
        """
        self._users[key] += 1
        self._allowed[key] = _allowed(self._base, self._per_domain, weight, self._certain) * part

    def take(self, key: Hashable, amount: float) -> None:
        """It took so much."""
        self._taken[key] = self._taken.get(key, 0.0) + amount

    def is_spent(self, key: Hashable) -> bool:
        """Whether the provider may take no more."""
        return self._left(key) <= 0

    def afford(self, key: Hashable, amount: float) -> bool:
        """Take so much if that is left; returns whether it was."""
        if amount > self._left(key):
            return False
        self.take(key, amount)
        return True

    def _left(self, key: Hashable) -> float:
        return self._allowed.get(key, self._base) - self._taken.get(key, 0.0)

    def forget(self, parts: Mapping[str, float]) -> None:
        """A shard has ended that had these parts of the providers' endpoints; keep nothing of who took no more than its part.

        There are as many providers as a list has domains.  What is forgotten adds up to no more than each may have.
        """
        for key, part in parts.items():
            self._users[key] -= 1
            if self._users[key] > 0:
                continue
            del self._users[key]
            if self._taken.get(key, 0.0) <= self._allowed.pop(key, self._base) * part:
                self._taken.pop(key, None)


class TimeBudget(_Shares):
    """Seconds of connections to each provider, beyond what is ordinary.

    Ordinary seconds are free, as a busy machine of ours makes every connection slow.
    """

    def __init__(self, pacing: Pacing, processes: int = 1) -> None:
        """`processes` divide the budget of a provider among them."""
        base, per_domain = pacing.total_seconds / processes, pacing.total_seconds_per_domain / processes
        super().__init__(base, per_domain, pacing.certain_weight)
        self._ordinary = pacing.ordinary_seconds

    def take(self, key: Hashable, amount: float) -> None:
        """A connection took so many seconds."""
        super().take(key, max(0.0, amount - self._ordinary))


class StoredBudget(_Shares):
    """Bytes of certificates and stapled responses stored for each provider, in one shard.

    A shard has the part of a provider's bytes that it has of its endpoints.  So no process, order of shards or
    interruption has a say in what is stored; where the part does not suffice, the order of the probes in the shard has.
    """

    def __init__(self, limits: Limits, pacing: Pacing) -> None:
        super().__init__(limits.stored_bytes, limits.stored_bytes_per_domain, pacing.certain_weight)


class EffortBudget:
    """Seconds of our processor time for finite-field key exchanges over large primes, of each provider.

    Each endpoint has an equal part of its provider's seconds.  Where that is less than a handshake costs, some endpoints
    have one, by chance in proportion: so neither the order of the probes nor the number of processes has a say in whose.
    An endpoint that is tried again may cost as much each time (`pacing.attempts`).
    """

    def __init__(self, limits: Limits, pacing: Pacing) -> None:
        self._base, self._per_domain = limits.dh_seconds, limits.dh_seconds_per_domain
        self._certain = pacing.certain_weight

    def may_spend(self, endpoint: Endpoint, seconds: float) -> bool:
        """Whether a handshake with the endpoint may cost so much."""
        weight = 1.0 if endpoint.provider_weight is None else endpoint.provider_weight
        part = _allowed(self._base, self._per_domain, weight, self._certain) / (endpoint.provider_endpoints or 1)
        key = repr(endpoint.chance).encode()  # which nobody knew when the addresses were chosen
        drawn = blake2b(f"{endpoint.host} {endpoint.address} {endpoint.port}".encode(), digest_size=6, key=key).digest()
        return part >= seconds * int.from_bytes(drawn) / _SCALE


def _allowed(base: float, per_domain: float, weight: float, certain: float) -> float:
    """What a provider of this weight may have.

    The hosts of one domain may have as many providers as it likes.  So a lighter one than `certain` has only a part of the
    base, and all of them together no more than 1 / `certain` times the base.
    """
    return base * min(1.0, weight / certain) + per_domain * weight


def _network_slot(address: str) -> int:
    return hash(network_of(address)) % _NETWORK_SLOTS


def _provider_slot(host: str) -> int:
    return hash(suffixes(host)[0] or host) % _PROVIDER_SLOTS
