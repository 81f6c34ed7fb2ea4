"""Cutting work into shards between the steps: the list, its mail hosts, their endpoints.

This module streams from parts to parts in bounded memory and asks nobody.  A plan appears
as a whole directory or not at all, and one that stands is never made again, so a resumed run does
the same shards.

Rows go to shards by a hash of what must stay together. In the first step that is the name, so that duplicates meet. In
the second it is the mail host. In the third it is the network of the address (/24 or /48), so that limits per address
and network are exact within one shard. A network with more endpoints than a shard should have is divided by address
all the same. Its shards form lots, and `NetworkShare` keeps its limit exact.
"""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from crawler.dataset.files import digest, replace_durably, sync_directory, temporary_name
from crawler.dataset.manifest import amend
from crawler.dataset.parts import PartWriter, opened, read_rows
from crawler.dataset.run import RunDirectory
from crawler.dataset.shard_output import lookup_of
from crawler.dataset.steps import DOMAINS, HOSTS, PROBES, Step
from crawler.executors.network_shares import divided_networks, metadata_of
from crawler.lists.hosts import HostLines
from crawler.lists.reader import InputError, read_targets
from crawler.model.errors import ListChanged
from crawler.model.rows import Endpoint, Host, LookupStatus, Target, Tlsa
from crawler.politeness.budgets import EndpointBudgets
from crawler.politeness.opt_out_reach import Reach
from crawler.politeness.pacing import NetworkShare, network_of
from crawler.resolve.endpoints import endpoints_of
from crawler.scan.mail_hosts import domain_batches, hosts_of_domains, mail_hosts
from crawler.settings.config import Config
from crawler.settings.declared_limits import limit

MAX_SHARDS = limit(
    2_000, "shards of one step", protects="the disk", cut="nothing is cut: a longer list gets larger shards"
)
"""Files written at once while a plan is made; a longer list gets larger shards."""

_SMALLEST = 500
"""Rows worth a shard of their own, so that a short list still occupies every process."""

_SLOTS = 65_536
"""Hashes by which the endpoints of networks are counted."""

_BUFFERED_ROWS = 16_384
_BUFFERED_BYTES = limit(
    32 << 20,
    "bytes of rows held while a plan is made",
    protects="our memory",
    cut="nothing is cut: they are written earlier",
)

Tick = Callable[[int], None]
"""Told how many rows went by; may raise to stop the work."""


def cut_targets(run: RunDirectory, source: Path, names: int, config: Config, workers: int, tick: Tick) -> None:
    """The list by A-label (what is no name by its text); `names` is how many are taken of it.

    Raises `ListChanged` if it is not, or not any more, the one that the manifest vouches for; then there is no plan.
    """
    shards = shard_count(names, config.shards.domains, workers)
    rows = _as_surveyed(source, config, run.manifest().list_sha256)
    _scatter(run, DOMAINS, shards, rows, lambda t: _hash((t.domain or t.input or "").encode()) % shards, tick)


def _as_surveyed(source: Path, config: Config, sha256: str | None) -> Iterator[Target]:
    """The names of a list, and in the end whether it was one list from first to last, of this digest."""
    changed = ListChanged(
        f"{source}: the list was changed while it was read; nothing was measured, give the command again"
    )
    try:
        before = _state(source)
        hosts = HostLines.of(config) if config.hosts else None
        yield from read_targets(source, config.limit, lists=config.lists, hosts=hosts)
        # A list that was written to has another digest now; one that was put back has another time of change.
        if (sha256 is None or digest(source) == sha256) and _state(source) == before:
            return
    except (InputError, FileNotFoundError) as error:  # it was a list when it was looked at
        raise changed from error
    raise changed


def _state(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def cut_hosts(run: RunDirectory, config: Config, workers: int, tick: Tick) -> None:
    """The mail hosts of all domains; one in several parts meets its doubles in its shard."""
    parts = run.parts("domains")
    bound = 0
    for part in parts:
        bound += sum(1 for _ in mail_hosts(part, config))
        tick(0)
    shards = shard_count(bound, config.shards.hosts, workers)
    rows = (host for part in parts for host in mail_hosts(part, config))
    _scatter(run, HOSTS, shards, rows, lambda h: _hash(h.host.encode()) % shards, tick)


def cut_endpoints(run: RunDirectory, config: Config, workers: int, tick: Tick, reach: Reach | None = None) -> None:
    """Hosts x addresses x what they are asked, each with the TLSA records to hold its chain against.

    An endpoint beyond a budget stays in, marked, as it gets a row.  `reach` is told of the names that go by.
    """
    budgets = EndpointBudgets(config.pacing, _salt(run), len(config.all_services()))
    for part in run.parts("domains"):
        with opened(part) as file:
            for batch in domain_batches(file, config):
                budgets.add_domains(hosts_of_domains(batch, config))
                if reach:
                    reach.add_domains(batch.column("domain").to_pylist())
                tick(0)
    loads = [0] * _SLOTS
    lookups: defaultdict[str, float] = defaultdict(float)
    for part in run.parts("hosts"):
        with opened(part) as file:
            for batch in file.iter_batches(
                columns=["host", "addresses", "cnames", "ipv4_status", "ipv6_status", "asked"]
            ):
                asked = batch.column("asked")
                services_of = pc.fill_null(pc.list_value_length(asked), len(config.services())).to_pylist()
                columns = (column.to_pylist() for column in batch.columns[:-1])
                for services, host, addresses, cnames, *statuses in zip(services_of, *columns, strict=True):
                    budgets.add_host(host, addresses or (), services)
                    lookups[lookup_of(*statuses) or LookupStatus.NOT_ASKED] += budgets.weight(host)
                    if reach:
                        reach.add_host((host, *(cnames or ())), budgets.weight(host))
                    for address in addresses or ():
                        loads[_slot(address)] += services
                tick(0)
    in_domains = {status: round(domains, 3) for status, domains in lookups.items()}
    amend(run, lambda manifest: replace(manifest, host_lookups_in_domains=in_domains))
    spread = _Spread(loads, config.shards.endpoints, workers, config.pacing.per_network)
    rows = _endpoints(run, config, budgets)
    _scatter(run, PROBES, spread.shards, rows, lambda e: spread.shard(e.address), tick, spread.lots)


def state_divided_networks(run: RunDirectory, tick: Tick) -> None:
    """Write into the manifest which networks are cut by address."""
    lots = divided_networks(run)
    tick(0)
    amend(run, lambda manifest: replace(manifest, divided_networks=lots))


class _Spread:
    """Which shard of PROBE an address goes to.

    Networks go where the hash of theirs goes, its slot.  A slot with far more endpoints than a shard
    should have, which is a giant network, has shards of its own, by address.  So many of them are a
    lot that every process can have one, but no more than the network's limit can be divided among.
    """

    def __init__(self, loads: list[int], size: int, workers: int, per_network: int) -> None:
        total = sum(loads)
        # A heavy slot has up to 5/3 of the shards that its endpoints would fill.
        most = max(-(-total // shard_count(total, size, workers)), -(-total * 5 // (3 * MAX_SHARDS)), 1)
        heavy = {slot: load for slot, load in enumerate(loads) if load > most + most // 2}
        self._light = shard_count(total - sum(heavy.values()), most, workers)
        self._heavy: dict[int, tuple[int, int]] = {}  # first shard and number of shards
        self.shards = self._light
        self.lots: dict[int, NetworkShare] = {}  #: of those shards that belong to one
        for slot, load in heavy.items():
            count = -(-load // most)
            lots = min(count, workers, per_network)
            for number in range(count):
                lot = number % lots
                share = per_network * (lot + 1) // lots - per_network * lot // lots
                self.lots[self.shards + number] = NetworkShare(f"{slot}.{lot}", share, count)
            self._heavy[slot] = self.shards, count
            self.shards += count

    def shard(self, address: str) -> int:
        slot = _slot(address)
        if slot not in self._heavy:
            return slot % self._light
        first, count = self._heavy[slot]
        return first + _hash(address.encode()) % count


def shard_count(count: int, size: int, workers: int) -> int:
    """Shards of about `size`, but work for every process as long as there is enough of it."""
    return max(1, min(MAX_SHARDS, max(-(-count // size), min(2 * workers, count // _SMALLEST))))


def _salt(run: RunDirectory) -> bytes:
    """What nobody knew when the records of the list's domains were written: when and with what this run was begun."""
    manifest = run.manifest()
    words = (manifest.run, manifest.started_at, manifest.config_sha256, manifest.listed)
    return blake2b(repr(words).encode(), digest_size=32).digest()


def _endpoints(run: RunDirectory, config: Config, budgets: EndpointBudgets) -> Iterator[Endpoint]:
    for shard in run.shards(HOSTS):
        # One shard wrote both parts, so the join needs no other.
        hosts, tlsa = run.part_path("hosts", HOSTS, shard), run.part_path("tlsa", HOSTS, shard)
        found: defaultdict[str, dict[int, Tlsa]] = defaultdict(dict)
        for rrset in read_rows(tlsa, Tlsa) if tlsa.exists() else ():
            found[rrset.host][rrset.port] = rrset
        for host in read_rows(hosts, Host) if hosts.exists() else ():
            services = len(config.services() if host.asked is None else host.asked)
            within = budgets.within(host.host, dict.fromkeys(host.addresses or ()), services)
            weight, chance = budgets.weight(host.host), budgets.chance(host.host)
            provider_weight, provider_endpoints = budgets.provider(host.host)
            here = Counter(map(network_of, within))
            for endpoint in endpoints_of(host, found.get(host.host, {}), config):
                endpoint.weight, endpoint.chance = weight, chance
                endpoint.provider_weight = provider_weight
                endpoint.provider_endpoints = provider_endpoints
                endpoint.over_budget = endpoint.address not in within
                if endpoint.over_budget:
                    endpoint.tlsa = None
                else:
                    endpoint.network_weight = weight / (here[network_of(endpoint.address or "")] * services)
                    endpoint.share = weight / (len(within) * services)
                yield endpoint


def _slot(address: str) -> int:
    return _hash(network_of(address)) % _SLOTS


def _hash(key: bytes) -> int:
    return int.from_bytes(blake2b(key, digest_size=6).digest())


def _scatter(
    run: RunDirectory,
    step: Step,
    shards: int,
    rows: Iterable[Any],
    shard_of: Callable[[Any], int],
    tick: Tick,
    lots: Mapping[int, NetworkShare] | None = None,
) -> None:
    """Write each row to its shard, then let all shards appear together."""
    folder = run.work / step.folder
    temporary = temporary_name(folder)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    writers: dict[int, PartWriter] = {}
    signature = run.signature(run.manifest())
    try:
        for number, row in enumerate(rows, 1):
            shard = shard_of(row)
            writer = writers.get(shard)
            if writer is None:
                writer = writers[shard] = PartWriter(
                    temporary / f"{shard:04d}.parquet",
                    step.row,
                    signature | metadata_of(lots.get(shard) if lots else None),
                    rows_at_once=max(32, min(1_024, _BUFFERED_ROWS // shards)),
                    group_bytes=max(1 << 16, min(8 << 20, _BUFFERED_BYTES // shards)),
                )
            writer.append(row)
            if not number % 4_096:
                tick(4_096)
        for writer in writers.values():
            writer.close()
            tick(0)
    except BaseException:
        for writer in writers.values():
            writer.abandon()
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_directory(temporary)
    replace_durably(temporary, folder)
