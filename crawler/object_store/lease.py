"""The note beside a run on an object store that says which process works on it, written anew every few seconds.

A store as pyarrow reaches it has no lock, and a note is none either. Two scans that begin one run in the same seconds
may both begin; the one that finds the other's note in place of its own stops. A scan watches a note to see whether it
is still written, so no two clocks are compared.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields

from crawler.dataset.manifest import timestamp
from crawler.model.errors import UsageError
from crawler.object_store.client import Store

BEAT = 10.0
"""Seconds between two notes."""

PATIENCE = 60.0
"""Seconds without a new note after which a scan counts as gone."""

NAME = "_work/copy.json"


@dataclass(frozen=True, slots=True)
class Note:
    """Which copy of the run was worked on last, and by whom."""

    copy: str  #: of that copy alone, however many processes work on it one after another
    host: str
    process: int
    written: str  #: UTC
    is_resting: bool  #: the scan ended, and all it had finished is in the store

    @property
    def who(self) -> str:
        return f"{self.host} (process {self.process}, {self.written})"


def of_this_process(copy: str, *, is_resting: bool = False) -> Note:
    """What this process says of itself."""
    return Note(copy, platform.node(), os.getpid(), timestamp(), is_resting)


def read_note(store: Store, run: str) -> Note | None:
    """The note beside a run; None if there is none that can be read.  Raises `StoreError`."""
    try:
        value = json.loads(store.read(f"{run}/{NAME}") or b"")
        return Note(**{field.name: value[field.name] for field in fields(Note)})
    except (ValueError, TypeError, KeyError):
        return None


def write_note(store: Store, run: str, note: Note) -> None:
    """Put the note in place of the one that is there.  Raises `StoreError`."""
    store.put(f"{run}/{NAME}", json.dumps(asdict(note)).encode())


def ensure_abandoned(store: Store, run: str, note: Note | None, say: Callable[[str], None]) -> None:
    """Watch the note of another copy for a while.  Raises `UsageError` if somebody still writes it."""
    if note is None or note.is_resting:
        return
    say(f"{store.name}/{run}: {note.who} worked on it; watching for {PATIENCE:.0f} s whether it still does")
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        time.sleep(min(1.0, PATIENCE / 4))
        now = read_note(store, run)
        if now != note:
            if now is None or now.is_resting:
                return
            raise UsageError(
                f"{store.name}/{run}: {now.who} is working on this run; wait for it, or name another by --run"
            )
