"""Which hosts the rows of table `domains` lead to, and what each is asked on their account.

A run that asks MX hosts alone reads the column `mx` and no other.  Where names of the list lead to hosts and ports of their
own, those stand in `services`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from crawler.dataset.parts import batches, opened
from crawler.model.columns import MX
from crawler.model.rows import MailHost
from crawler.resolve.asked import Gathered
from crawler.settings.config import Config


def mail_hosts(part: Path, config: Config) -> Iterator[MailHost]:
    """The distinct hosts of one part of `domains`, each with what it is asked."""
    if not config.hosts:
        with opened(part) as file:
            mx = file.read(columns=["mx"])["mx"].combine_chunks()
        for host in pc.unique(pc.struct_field(pc.list_flatten(mx), "host")).to_pylist():
            if host:
                yield MailHost(host)
        return
    found: dict[str, Gathered] = {}
    with opened(part) as file:
        for batch in batches(file, ["services"]):
            for services in batch.column("services").to_pylist():
                for entry in services or ():
                    found.setdefault(entry["host"], Gathered()).add({**entry, "domains": 1})
    while found:
        host, gathered = found.popitem()
        yield MailHost(host, gathered.entries())


def hosts_of_domains(batch: pa.RecordBatch, config: Config) -> pa.Array:
    """For each name of the list the hosts that are asked on its account, in the form of the column `mx`."""
    if not config.hosts:
        return batch.column("mx")
    named = batch.column("services").to_pylist()
    hosts = ([{"host": host} for host in dict.fromkeys(e["host"] for e in entries or ())] for entries in named)
    return pa.array(list(hosts), MX)
