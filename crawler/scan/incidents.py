"""The incidents of a run: outages, alarms in vain, and what was given up.

Figures must be read with them, and a process that is killed writes nothing more.  So each is in the manifest as soon
as it happened, and before anything follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from crawler.dataset.manifest import amend
from crawler.dataset.run import RunDirectory
from crawler.dataset.steps import STEPS
from crawler.dataset.stored_manifest import Manifest
from crawler.model.errors import ScanFailed, disk_trouble

_ENTRIES = ("outages", "doubts", "given_up")


class IncidentRecord:
    """The incidents of earlier calls, which the manifest holds, and those of this call."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._before: dict[str, list[Any]] = {name: [] for name in _ENTRIES}
        self._now: Mapping[str, Sequence[Any]] = {}

    def begin(self, manifest: Manifest) -> None:
        """Take over the incidents of earlier calls."""
        self._before = {name: list(getattr(manifest, name) or ()) for name in _ENTRIES}

    def forget_what_is_tried_again(self) -> None:
        """Drop what was given up in a shard that is not finished: a call that was killed may have left such entries."""
        finished = {name: self._run.finished(step) for name, step in STEPS.items()}
        self._before["given_up"] = [
            entry
            for entry in self._before["given_up"]
            if "shard" not in entry or entry["shard"] in finished.get(entry.get("step"), ())
        ]

    def entries(self) -> dict[str, Any]:
        """All of them, by their entry of the manifest."""
        return {name: [*before, *self._now.get(name, ())] for name, before in self._before.items()}

    def write(self, now: Mapping[str, Sequence[Any]]) -> None:
        """Write the incidents of this call into the manifest, beside the earlier ones.  Raises `ScanFailed`."""
        self._now = now
        try:
            amend(self._run, lambda manifest: replace(manifest, **self.entries()))
        except OSError as error:
            words = disk_trouble(error) or error.strerror
            raise ScanFailed(f"{self._run.path}: the manifest cannot be written ({words})") from error
