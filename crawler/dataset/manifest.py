"""The circumstances of a run as its manifest states them, and how a manifest is amended.

A dataset without its circumstances is no measurement, so the manifest holds every setting, every version and what the
list was.
"""

from __future__ import annotations

import hashlib
import platform
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from crawler import __version__
from crawler.dataset.run import RunDirectory
from crawler.dataset.stored_manifest import Manifest
from crawler.model.names import PSL_VERSION

_PACKAGES = (
    "anyio", "certifi", "cryptography", "dnspython", "idna", "publicsuffixlist", "pyarrow", "pyopenssl",
    "service-identity", "uvloop",
)  # fmt: skip

_AMENDING = threading.Lock()


def with_resumption(manifest: Manifest, opt_outs: dict[str, Any] | None = None) -> Manifest:
    """The manifest with a record that the run is continued, when, and with what may have changed since it was begun."""
    now = timestamp()
    record = {
        "at": now,
        "host_name": platform.node(),
        "public_suffix_list": PSL_VERSION,
        "versions": versions(),
        "opt_outs": opt_outs,
    }
    return replace(
        manifest,
        resumed_at=[*(manifest.resumed_at or ()), now],
        resumed_with=[*(manifest.resumed_with or ()), record],
    )


def with_reload(manifest: Manifest, opt_outs: dict[str, Any] | None) -> Manifest:
    """The manifest with a record that the opt-outs were read again, and what was read."""
    record = {"at": timestamp(), **(opt_outs or {})}
    return replace(manifest, opt_outs_reloaded=[*(manifest.opt_outs_reloaded or ()), record])


def amend(run: RunDirectory, change: Callable[[Manifest], Manifest]) -> None:
    """Change something in the manifest of a run under way; what another thread writes there meanwhile is not lost."""
    with _AMENDING:
        run.write_manifest(change(run.manifest()))


def timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def anchors_of(path: Path, ca_file: str) -> dict[str, Any]:
    """What the manifest says of the trust anchors in a file; `ca_file` is empty if they are certifi's."""
    content = path.read_bytes()
    return {
        "source": ca_file or "certifi",
        # certifi's version is the date of Mozilla's store that it holds.
        "date": datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()
        if ca_file
        else _version_of("certifi"),
        "sha256": hashlib.sha256(content).hexdigest(),
        "certificates": content.count(b"-----BEGIN CERTIFICATE-----"),
    }


def versions() -> dict[str, str | None]:
    """What did it: this program and what it stands on."""
    return {
        "starttls-crawler": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        **{name: _version_of(name) for name in _PACKAGES},
    }


def _version_of(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
