"""Which part of a giant network a shard of PROBE is: written into the shard, and read back from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crawler.dataset.parts import opened, row_count
from crawler.dataset.run import RunDirectory
from crawler.dataset.steps import PROBES
from crawler.politeness.pacing import NetworkShare

DIVIDED = "divided."
"""Beginning of the name of a lot: the shards that one of PROBE was divided into may have a network in common, so one
process at a time works on them."""


def network_share_of(path: Path) -> NetworkShare | None:
    """The lot that a shard of PROBE belongs to, if it has part of a giant network.  Raises `Damaged`."""
    with opened(path) as file:
        metadata = file.metadata.metadata or {}
    if b"lot" not in metadata:
        return None
    return NetworkShare(
        metadata[b"lot"].decode(), int(metadata[b"per_network"]), int(metadata.get(b"networks_shards", b"1"))
    )


def divided_networks(run: RunDirectory) -> list[dict[str, Any]]:
    """For the manifest: each lot with the connections it may have at once to a network, its shards and endpoints."""
    found: dict[NetworkShare, list[int]] = {}
    for shard in run.shards(PROBES):
        path = run.shard_path(PROBES, shard)
        if (lot := network_share_of(path)) and not lot.name.startswith(DIVIDED):
            found.setdefault(lot, []).append(row_count(path))
    return [
        {"lot": lot.name, "per_network": lot.per_network, "shards": len(rows), "endpoints": sum(rows)}
        for lot, rows in found.items()
    ]


def metadata_of(lot: NetworkShare | None) -> dict[str, str]:
    """What a shard says of its lot in its metadata."""
    if lot is None:
        return {}
    return {"lot": lot.name, "per_network": str(lot.per_network), "networks_shards": str(lot.shards)}
