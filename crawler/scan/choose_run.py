"""Which run a scan continues or starts.

A run is continued only with the same list and the same settings.  A new one has its manifest before the first row.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crawler.dataset.files import replace_durably, sync_file, temporary_name
from crawler.dataset.manifest import anchors_of, timestamp, versions
from crawler.dataset.run import RunDirectory
from crawler.dataset.stored_manifest import MANIFEST, Manifest, read_manifest, stated_schema
from crawler.dataset.stored_runs import WHOLE, check_run_id
from crawler.dataset.verify import ensure_columns
from crawler.lists.reader import ListFacts
from crawler.model.errors import UsageError
from crawler.model.names import PSL_VERSION
from crawler.model.rows import SCHEMA_VERSION
from crawler.preflight.readiness import Readiness
from crawler.settings.config import Config

log = logging.getLogger(__name__)

#: Settings that may differ when a run is continued: they change no finding.
_FREE = ("workers", "max_runtime", "lists")

#: Entries without which a run is not continued.
_NEEDED = ("run", "state", "started_at", "configuration", "config_sha256", "list")

#: A lock of a process that was killed is free as soon as its workers have noticed.
_LOCK_PATIENCE = 3.0


@dataclass(frozen=True, slots=True)
class RunContext:
    """What is known when a scan starts, apart from its settings."""

    list_path: str
    list_facts: ListFacts
    readiness: Readiness


def open_run(data: Path, wanted: str | None, config: Config, circumstances: RunContext) -> RunDirectory:
    """The run to work on, new or to be continued, locked.

    `wanted` names it; without it the newest unfinished run with the same list and settings is
    continued.  Raises `UsageError` if it is in use, or is a run over something else, and `OSError`.
    """
    check_run_id(wanted)
    if wanted is not None:
        run = RunDirectory(data / f"run={wanted}")
        if not run.path.exists():
            return _create(run, config, circumstances)
        _must_match(run, config, circumstances)
        return _continued(run)
    for path in sorted(data.glob("run=*"), reverse=True):
        run = RunDirectory(path)
        if not (path / MANIFEST).exists():
            continue  # somebody's directory, or a run that is just being made
        try:
            manifest = read_manifest(path)
            if manifest.state in WHOLE:
                continue
            manifest = _continuable(run)
        except UsageError as error:
            log.warning("%s", error)
            continue
        difference = _difference(manifest, config, circumstances)
        if not difference:
            return _continued(run)
        log.warning("%s is unfinished, but was started with %s; this is a new run", run.path, difference)
    stem = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    names = [stem, *(f"{stem}-{number}" for number in range(2, 100))]
    free = next(name for name in names if not (data / f"run={name}").exists())
    return _create(RunDirectory(data / f"run={free}"), config, circumstances)


def config_sha256(config: Config) -> str:
    """One hash for all settings that shape the measurement."""
    return hashlib.sha256(json.dumps(_shaping(config.as_dict()), sort_keys=True).encode()).hexdigest()


def _shaping(settings: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(settings))  # tuples become lists, as in a stored manifest
    return {name: value for name, value in plain.items() if name not in _FREE}


def _create(run: RunDirectory, config: Config, circumstances: RunContext) -> RunDirectory:
    """Make the run's directory under a hidden name, with lock and manifest, and let it appear whole."""
    made = RunDirectory(temporary_name(run.path))
    shutil.rmtree(made.path, ignore_errors=True)
    manifest = _first_manifest(run.id, config, circumstances)
    made.make_directories(made.signature(manifest))
    run.adopt(_locked(made))
    shutil.copyfile(circumstances.readiness.trust_anchors, made.trust_anchors)
    sync_file(made.trust_anchors)
    made.write_manifest(manifest)
    replace_durably(made.path, run.path)
    return run


def _locked(run: RunDirectory) -> RunDirectory:
    give_up = time.monotonic() + _LOCK_PATIENCE
    while not run.lock():
        if time.monotonic() > give_up:
            raise UsageError(f"{run.path}: another scan is working on this run; wait for it, or name another by --run")
        time.sleep(0.1)
    return run


def _continued(run: RunDirectory) -> RunDirectory:
    """The run, locked; refused if somebody's files are among its parts."""
    _locked(run)
    if stranger := next(run.foreign_files(), None):
        run.unlock()
        raise UsageError(f"{stranger}: is no part of this run, and readers would take it for one; move it elsewhere")
    return run


def _continuable(run: RunDirectory) -> Manifest:
    """The manifest of a run that the present version can continue.  Raises `UsageError`."""
    advice = "name another run by --run"
    if (schema := stated_schema(run.path)) not in (None, SCHEMA_VERSION):
        raise UsageError(
            f"{run.path}: is of schema {schema} and this version writes {SCHEMA_VERSION}; "
            f"continue it with the version that began it, or {advice}"
        )
    try:
        manifest = read_manifest(run.path)
    except UsageError as error:
        raise UsageError(f"{error}; {advice}") from error
    if lacking := manifest.lacking(_NEEDED):
        raise UsageError(f"{run.path}: its manifest says nothing of `{lacking}`, so it cannot be continued; {advice}")
    try:
        anchors = run.trust_anchors.stat().st_size
    except OSError:
        anchors = 0
    if not anchors:
        raise UsageError(f"{run.path}: has no trust anchors that this version can continue with; {advice}")
    ensure_columns(run)
    return manifest


def _must_match(run: RunDirectory, config: Config, circumstances: RunContext) -> None:
    if not run.path.is_dir():
        raise UsageError(f"{run.path}: is not a directory; name another run by --run")
    manifest = _continuable(run)
    if difference := _difference(manifest, config, circumstances):
        raise UsageError(f"{run.path}: was started with {difference}; give the same, or name another run by --run")


def _difference(manifest: Manifest, config: Config, circumstances: RunContext) -> str | None:
    """What keeps a run from being continued with this list and these settings."""
    stored = manifest.list_sha256
    if stored != circumstances.list_facts.sha256:
        return f"another list (its hash was {str(stored)[:12]}…, now {circumstances.list_facts.sha256[:12]}…)"
    before, now = _shaping(manifest.configuration or {}), _shaping(config.as_dict())
    if changed := sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name)):
        return f"other settings ({', '.join(changed)})"
    return None


def _first_manifest(run_id: str, config: Config, circumstances: RunContext) -> Manifest:
    """The manifest of a run that has just begun."""
    return Manifest(
        run=run_id,
        state="running",
        schema_version=SCHEMA_VERSION,
        started_at=timestamp(),
        ended_at=None,
        resumed_at=[],
        resumed_with=[],
        configuration=config.as_dict(),
        config_sha256=config_sha256(config),
        listed={"path": circumstances.list_path, **circumstances.list_facts.as_dict()},
        vantage=config.vantage or None,
        source_address=list(config.source_address),
        host_name=platform.node(),
        ehlo_name=config.ehlo_name,
        resolvers=[resolver.as_dict() for resolver in circumstances.readiness.resolvers],
        opt_outs=circumstances.readiness.opt_outs.as_dict(),
        trust_anchors=anchors_of(circumstances.readiness.trust_anchors, config.ca_file),
        public_suffix_list=PSL_VERSION,
        tls_offered=circumstances.readiness.tls_offered,
        versions=versions(),
        divided_networks=[],
        counts=None,
    )
