"""The three kinds of work of a scan, the tables that each fills, and how their parts are laid out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from crawler.dataset.parts import Layout
from crawler.model.rows import Endpoint, MailHost, Target

EMPTY_PART = "empty.parquet"
"""A part without rows in every table, so that each can be opened from the start."""

MERGED = ("certificates", "policies")
"""Tables whose rows many shards find; in the end each is kept once."""

INCOMPLETE = "incomplete_chains"
"""The table that is made of the others when they are whole (`crawler.chains.incomplete`)."""

FIRST_DIVIDED, LAST_SHARD = 5_000, 9_999
"""Numbers of the shards that others were divided into, and the last that a file can have in its name."""


@dataclass(frozen=True, slots=True)
class Step:
    """One of the three kinds of work: the rows it takes, where they lie cut into shards, what it fills."""

    name: str
    row: type
    folder: str
    tables: tuple[str, ...]
    key: Callable[[Any], Any] | None  #: of the input; rows with a key seen before in the shard are duplicates


DOMAINS = Step(
    "domains", Target, "targets", ("domains", "policies"), lambda t: (t.domain, t.port) if t.domain else ("", t.input)
)
HOSTS = Step("hosts", MailHost, "hosts", ("hosts", "tlsa"), attrgetter("host"))
PROBES = Step("probes", Endpoint, "endpoints", ("probes", "certificates"), None)
STEPS = {step.name: step for step in (DOMAINS, HOSTS, PROBES)}

#: How the tables' parts are laid out.
LAYOUTS = {
    "domains": Layout("domain", ("input", "registrable_domain")),
    "hosts": Layout("host"),
    "tlsa": Layout("host", ("base_domain",)),
    "probes": Layout("host"),
    "certificates": Layout("sha256", ("spki_sha256",)),
    "policies": Layout("sha256"),
    "incomplete_chains": Layout("leaf_sha256"),
}
