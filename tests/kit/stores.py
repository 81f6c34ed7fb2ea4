"""An object store in a directory, with failures on demand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from crawler.dataset.run import RunDirectory
from crawler.dataset.stored_manifest import Manifest
from crawler.model.rows import TABLES
from crawler.object_store.checkout import bring_manifests
from crawler.object_store.client import Store, StoreError
from crawler.object_store.sync import Mirror
from crawler.object_store.url import parse_location

BUCKET = parse_location("s3://bucket/scans?region=x")


class Objects(Store):
    """A store that is a directory, remembers what was done to it, and fails when told to."""

    def __init__(self, directory: Path) -> None:
        super().__init__(BUCKET)
        self.directory = directory / "bucket" / "scans"
        self.log: list[str] = []
        self.fails: Callable[[str], bool] = lambda name: False

    def names(self) -> list[str]:
        return sorted(str(p.relative_to(self.directory)) for p in self.directory.rglob("*") if p.is_file())

    def remove(self, name: str) -> None:
        super().remove(name)
        self.log.append(f"-{name}")

    def _put(self, name: str, data: Any) -> None:
        if self.fails(name):
            raise StoreError(f"{self.name}: cannot be written (no route to host)")
        (self.directory / name).parent.mkdir(parents=True, exist_ok=True)
        super()._put(name, data)
        self.log.append(name)


def half_done(data: Path) -> RunDirectory:
    """A run of which one shard is finished and another is being written, locked."""
    run = RunDirectory(data / "run=a")
    for name in ("domains/domains-0000.parquet", "certificates/probes-0000.parquet", "_work/targets/0000.parquet",
                 "_work/targets/0001.parquet", "_work/.tmp-domains-domains-0001-7", "_work/done/domains-0000.json",
                 *(f"{table}/empty.parquet" for table in TABLES)):  # fmt: skip
        (run.path / name).parent.mkdir(parents=True, exist_ok=True)
        (run.path / name).write_bytes(name.encode())
    run.trust_anchors.write_bytes(b"pem")
    run.write_manifest(Manifest.of({"state": "running"}))
    assert run.lock()
    return run


def pushed(store: Store, run: RunDirectory) -> Mirror:
    mirror = Mirror(store, run)
    mirror.push(lambda files: None)
    return mirror


def stub(store: Objects, data: Path) -> RunDirectory:
    bring_manifests(store, data, None)
    run = RunDirectory(data / "run=a")
    assert run.lock()
    return run
