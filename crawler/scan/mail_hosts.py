"""Which hosts the rows of table `domains` lead to, and what each is asked on their account.

A run that asks MX hosts alone reads the column `mx` and no other.  Where names of the list lead to hosts and ports of their
own, those stand in `services`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler.dataset.parts import batches, opened
from crawler.model.columns import MX
from crawler.model.rows import MailHost
from crawler.resolve.asked import Gathered, by_mx
from crawler.settings.config import Config
from crawler.settings.declared_limits import limit

HELD = limit(
    20_000,
    "hosts held while what each is asked is gathered",
    protects="our memory",
    cut="nothing is cut: a host then has several rows, which its shard puts together",
)
"""A domain may name a hundred hosts, and each of them takes about a kilobyte."""


def mail_hosts(part: Path, config: Config, held: int = HELD) -> Iterator[MailHost]:
    """The hosts of one part of `domains`, each with what it is asked; one may come again after `held` others."""
    if not _has_services(config):
        yield from map(MailHost, _of_mx(part))
        return
    found: defaultdict[str, Gathered] = defaultdict(lambda: Gathered(config))
    for host in _of_mx(part) if config.services() and not config.hosts else ():
        for entry in by_mx(config):
            found[host].add(entry)
    with opened(part) as file:
        for batch in batches(file, ["services"]):
            for services in batch.column("services").to_pylist():
                for entry in services or ():
                    found[entry["host"]].add({**entry, "domains": 1})
                if len(found) > held:
                    yield from _emptied(found)
    yield from _emptied(found)


def _emptied(found: dict[str, Gathered]) -> Iterator[MailHost]:
    while found:
        host, gathered = found.popitem()
        yield MailHost(host, gathered.entries())


def domain_batches(file: pq.ParquetFile, config: Config) -> Iterator[pa.RecordBatch]:
    """The columns of one part of `domains` that say whom each name leads to; few rows at once where there may be much in one."""
    columns = ["mx", "services", "domain"]
    return batches(file, columns) if _has_services(config) else file.iter_batches(columns=columns)


def hosts_of_domains(batch: pa.RecordBatch, config: Config) -> pa.Array:
    """For each name of the list the hosts that are asked on its account, in the form of the column `mx`."""
    if not _has_services(config):
        return batch.column("mx")
    columns = [batch.column("services")]
    if config.services() and not config.hosts:
        columns.append(batch.column("mx"))
    named = zip(*(column.to_pylist() for column in columns), strict=True)
    hosts = ([{"host": host} for host in dict.fromkeys(e["host"] for e in chain(*filter(None, row)))] for row in named)
    return pa.array(list(hosts), MX)


def _has_services(config: Config) -> bool:
    return config.hosts or bool(config.looked_up())


def _of_mx(part: Path) -> Iterator[str]:
    """The distinct hosts that MX records name in one part of `domains`."""
    with opened(part) as file:
        mx = file.read(columns=["mx"])["mx"].combine_chunks()
    for host in pc.unique(pc.struct_field(pc.list_flatten(mx), "host")).to_pylist():
        if host:
            yield host
