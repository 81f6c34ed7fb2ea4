"""A shard that ends the process that does it, divided into two.

The new shards count from the moment that the marker of the division stands, which is written after them; from then on the old
one does not count.  A process that is killed meanwhile leaves either the one shard or the two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from crawler.dataset.files import replace_durably, temporary_name
from crawler.dataset.parts import PartWriter, batches, opened, read_rows
from crawler.dataset.run import RunDirectory
from crawler.dataset.steps import FIRST_DIVIDED, LAST_SHARD, PROBES, Step
from crawler.executors.network_shares import DIVIDED, metadata_of
from crawler.model.names import suffixes
from crawler.model.rows import Endpoint
from crawler.politeness.pacing import NetworkShare, network_of


class NoRoom(Exception):
    """Shards were divided so often that there is no number for another; the message is one line."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What is to be known of a shard under suspicion."""

    rows: int
    owner: str | None  #: the registrable domain of its names, if they have one
    name: str  #: that of its first row, for a message
    first_half: Sequence[bool] | None  #: which rows a half takes; None: all are one row, or its duplicates


def look_into(run: RunDirectory, step: Step, shard: int) -> Contents:
    """Where a shard can be divided: between networks, else between addresses, else between names.

    Raises `Damaged`.
    """
    levels: list[tuple[Hashable, ...]] = []
    owners: set[str] = set()
    first = ""
    for row in read_rows(run.shard_path(step, shard), step.row):
        name = _name_of(row)
        first = first or (f"{name} at {row.address}" if isinstance(row, Endpoint) else name)
        owners.add(suffixes(name)[0] or name)
        levels.append(_levels(step, row))
    halves = (_half(keys) for keys in zip(*levels, strict=True))
    return Contents(
        len(levels),
        owners.pop() if len(owners) == 1 else None,
        first,
        next((half for half in halves if half is not None), None),
    )


def divide(run: RunDirectory, step: Step, shard: int, first_half: Sequence[bool], per_network: int) -> list[int]:
    """Put the rows of a shard into two new ones, by `first_half`; returns their numbers.

    `per_network` connections at once to a network are allowed to the new shards, unless the old one is in a lot.  Raises `Damaged`, and `NoRoom`.
    """
    known = run.divided(step)
    number = max((piece for pieces in known.values() for piece in pieces), default=FIRST_DIVIDED - 1) + 1
    if number + 1 > LAST_SHARD:
        raise NoRoom(f"shards of {step.name} were divided {len(known):,} times, which is too often")
    run.withdraw(step, shard)  # nothing that an earlier try wrote may stay beside what the new shards write
    pieces = [number, number + 1]
    with opened(run.shard_path(step, shard)) as file:
        found = file.schema_arrow.metadata or {}
        words = {key.decode(): value.decode() for key, value in found.items() if not key.startswith(b"ARROW:")}
        if step is PROBES:
            networks = {network_of(address or "") for address in file.read(["address"])["address"].to_pylist()}
            shards = int(words.get("networks_shards", "1")) * (2 if len(networks) == 1 else 1)  # else none is divided
            words = (
                metadata_of(NetworkShare(f"{DIVIDED}{shard}", per_network)) | words | {"networks_shards": str(shards)}
            )
        paths = [run.shard_path(step, piece) for piece in pieces]
        writers = [PartWriter(temporary_name(path), step.row, words) for path in paths]
        try:
            begin = 0
            for batch in batches(file):
                mask = pa.array(first_half[begin : begin + batch.num_rows], pa.bool_())
                begin += batch.num_rows
                for writer, chosen in zip(writers, (mask, pa.compute.invert(mask)), strict=True):
                    writer.extend(batch.filter(chosen))
            for writer in writers:
                writer.close()
        except BaseException:
            for writer in writers:
                writer.abandon()
            raise
    for path in paths:
        replace_durably(temporary_name(path), path)
    run.mark_divided(step, shard, pieces)
    return pieces


def _name_of(row: Any) -> str:
    return str((row.host if hasattr(row, "host") else row.domain or row.input) or "")


def _levels(step: Step, row: Any) -> tuple[Hashable, ...]:
    """What rows may have in common, the largest first; rows that have all in common are one row."""
    if isinstance(row, Endpoint):
        return network_of(row.address or ""), row.address, (row.address, row.host, row.protocol, row.form, row.port)
    assert step.key is not None
    return (step.key(row),)


def _half(keys: Sequence[Hashable]) -> list[bool] | None:
    """Which rows have a key of the first half of all; None if there is one key only."""
    counts = Counter(keys)
    if len(counts) < 2:
        return None
    first: set[Hashable] = set()
    rows = 0
    for key, count in counts.items():
        if first and (rows + count > len(keys) // 2 or len(first) == len(counts) - 1):
            break
        first.add(key)
        rows += count
    return [key in first for key in keys]
