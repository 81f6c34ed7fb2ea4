"""Copies of runs that lie on an object store: where on this machine, and which of them is up to date.

Each run's copy bears a name of its own, which the store knows too.  A copy is the run as long as the
store's note names it; when it names another, somebody has worked on the run since, and what is here counts no more.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

from crawler.dataset.files import write_whole
from crawler.dataset.run import RunDirectory
from crawler.dataset.stored_manifest import read_manifest
from crawler.dataset.stored_runs import WHOLE
from crawler.model.errors import UsageError
from crawler.object_store.client import Store
from crawler.object_store.lease import read_note
from crawler.object_store.sync import MANIFEST
from crawler.object_store.url import is_location, parse_location


def place(data: str, directory: Path | None) -> tuple[Path, Store | None]:
    """Where to work for `--data`, and the store it names, if any.

    `directory` holds the copies for all stores; without it that is the user's directory for such things
    (XDG_STATE_HOME).  Raises `UsageError`.
    """
    if not is_location(data):
        if directory is not None:
            raise UsageError("--work-dir: is for --data s3://… or gs://… only; a run in a directory has no copy")
        return Path(data), None
    location = parse_location(data)
    if directory is None:
        try:
            state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        except RuntimeError:
            raise UsageError("--work-dir is missing, and this user has no home directory") from None
        directory = Path(state, "starttls-crawler")
    mark = hashlib.sha256(location.cache_key.encode()).hexdigest()[:12]
    return directory / f"{location.bucket}-{mark}", Store(location)


def bring_manifests(store: Store, data: Path, wanted: str | None) -> None:
    """Have in `data` what a run is chosen by: a copy, or manifest and trust anchors alone.

    A finished run is brought only if it is `wanted` by name.  Raises `StoreError`.
    """
    runs = [run for run in store.runs() if wanted is None or run == f"run={wanted}"]
    manifests = store.in_lanes(lambda run: store.read(f"{run}/{MANIFEST}"), runs)
    for name, manifest in zip(runs, manifests, strict=True):
        run = RunDirectory(data / name)
        is_done = is_finished(manifest)
        if manifest is None or (is_done and wanted is None and not run.path.exists()):
            continue
        run.done.mkdir(parents=True, exist_ok=True)
        if run.lock():  # else a scan on this machine is working on it
            try:
                _refresh(store, run, manifest, is_done=is_done)
                if is_done and wanted is None:
                    shutil.rmtree(run.path)
            finally:
                run.unlock()


def _refresh(store: Store, run: RunDirectory, manifest: bytes, *, is_done: bool) -> None:
    copy = copy_of(run)
    note = None if is_done else read_note(store, run.path.name)
    if copy and not is_done and (note is None or note.copy == copy):
        local = read_manifest(run.path)
        if local.state in WHOLE:  # cut off before the store heard of it
            run.write_manifest(replace(local, state="interrupted"))
        return
    if copy is None:
        set_copy(run, "")
    write_whole(run.trust_anchors, store.read(f"{run.path.name}/{run.trust_anchors.name}") or b"")
    write_whole(run.path / MANIFEST, manifest)


def copy_of(run: RunDirectory) -> str | None:
    """Which copy this is; empty if it is none yet; None if the run was begun here and the store knows nothing of it."""
    try:
        return (run.work / "copy").read_text("ascii")
    except FileNotFoundError:
        return None


def set_copy(run: RunDirectory, copy: str) -> None:
    """Say which copy this is, or that it is none yet."""
    write_whole(run.work / "copy", copy.encode())


def is_finished(manifest: bytes | None) -> bool:
    """Whether a manifest as stored says that the run is finished; no manifest says nothing."""
    try:
        return bool(json.loads(manifest or b"")["state"] in WHOLE)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
