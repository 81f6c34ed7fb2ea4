"""The files of one run on the object store: which are there, and how they get there and back.

Whoever reads the store, or continues from it, finds what a directory would hold.  Parts come
before the markers that count on them, what replaces parts before these are removed, the manifest last.
Nothing is looked at twice to be put once: what counts on files is looked for before them and put after them.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator

from crawler.dataset.files import write_json
from crawler.dataset.run import RunDirectory
from crawler.dataset.steps import STEPS
from crawler.model.errors import UsageError
from crawler.model.rows import TABLES
from crawler.object_store.client import Stamp, Store

MANIFEST = "manifest.json"
WHOLE = ".whole"
"""An object of this name beside a plan says that all its shards are there; a plan counts whole or not at all."""

_PLANS = {f"_work/{step.folder}" for step in STEPS.values()}
_TABLE = f"(?:{'|'.join(TABLES)})"
_PLAN = f"(?:{'|'.join(sorted(_PLANS))})"
#: Names within a run that are ours; whatever else lies there is somebody's, and stays where it is.
_OURS = re.compile(
    rf"{_TABLE}/(?:(?:domains|hosts|probes|merged)-[0-9]{{4}}|empty)\.parquet|trust-anchors\.pem|manifest\.json"
    rf"|{_PLAN}(?:/[0-9]{{4}}\.parquet|\.whole)|_work/done/[a-z]+-[a-z0-9_]+\.json|_work/list"
).fullmatch
_TAKEN_FOR_A_PART = re.compile(rf"{_TABLE}/[^/]*\.parquet").fullmatch


class Mirror:
    """The objects of one run.  Every call may raise `StoreError`."""

    def __init__(self, store: Store, run: RunDirectory) -> None:
        self._store = store
        self._run = run
        self._record = run.work / "pushed.json"
        self._one_at_a_time = threading.RLock()
        self._there: set[str] = set()
        self._pushed: dict[str, Stamp] = {}  #: by name the stamp of the file that was put
        self._recorded: dict[str, Stamp] = {}

    def look(self) -> dict[str, int]:
        """What is there by now: names and sizes.  Raises `UsageError` for what readers would take for our parts."""
        objects = self._store.objects(self._run.path.name)
        if strange := sorted(name for name in objects if _TAKEN_FOR_A_PART(name) and not _OURS(name)):
            raise UsageError(
                f"{self._store.name}/{self._run.path.name}/{strange[0]}: is no part of this run, and readers would take "
                "it for one; move it elsewhere"
            )
        with self._one_at_a_time:
            self._there = {name for name in objects if _OURS(name)}
            self._pushed = {name: stamp for name, stamp in self._known().items() if objects.get(name) == stamp[0]}
        return objects

    def bring(self, on_file: Callable[[int, int], None]) -> None:
        """Have locally what is there and nothing else; `on_file` hears how many of how many files there are."""
        objects = self.look()
        names = [name for name in self._there if not name.endswith(WHOLE)]
        names = [name for name in names if (plan := name.rpartition("/")[0]) not in _PLANS or plan + WHOLE in objects]
        self._clear()
        for table in TABLES:
            (self._run.path / table).mkdir()
        self._run.done.mkdir()
        for number, _ in enumerate(self._store.in_lanes(self._get, names), 1):
            on_file(number, len(names))
        self._pushed = {name: stamp for name in names if (stamp := self._stamp(name))}
        self._save()

    def pending(self) -> int:
        """Files that have yet to be put."""
        return sum(1 for _ in self._changed(self._names("**/*")))

    def push(self, tick: Callable[[int], None]) -> None:
        """Put what is new or changed, remove what is gone here; not all of it, if parts are replaced meanwhile.

        `tick` hears of each file that was put, and 0 before one is removed, and may raise.
        """
        with self._one_at_a_time:
            gone, merged = self._gone(), self._names("_work/done/merged-*.json")
            replaced = {name for name in gone if self._run.is_merged(name.partition("/")[0])}
            markers = self._names("_work/done/*.json")
            plans = [plan for plan in _PLANS if (self._run.path / plan).is_dir()]
            parts = self._names("*.pem", "*/*.parquet", "_work/list", "_work/*/*.parquet")
            try:
                self._put(parts, tick)
                is_whole = all(self._stamp(name) for name in parts) and gone == self._gone()
                if not is_whole or merged != self._names("_work/done/merged-*.json"):
                    return  # parts that the markers count on were replaced meanwhile; next time all is there
                self._remove((name for name in gone if name not in replaced), tick)
                for plan in plans:
                    if plan + WHOLE not in self._there:
                        self._store.put(self._name(plan + WHOLE), b"")
                        self._there.add(plan + WHOLE)
                self._put(markers, tick)
                self._remove(replaced, tick)
                self._put([MANIFEST], tick)
            finally:
                self._save()

    def finish(self) -> None:
        """Put the manifest, which says that the run is finished."""
        self._put([MANIFEST], lambda files: None)

    # --- files and names ---

    def _names(self, *patterns: str) -> list[str]:
        paths = (path for pattern in patterns for path in self._run.path.glob(pattern))
        return [name for path in paths if _OURS(name := str(path.relative_to(self._run.path)))]

    def _name(self, name: str) -> str:
        return f"{self._run.path.name}/{name}"

    def _stamp(self, name: str) -> Stamp | None:
        try:
            status = (self._run.path / name).stat()
        except FileNotFoundError:
            return None
        return status.st_size, status.st_mtime_ns

    def _gone(self) -> set[str]:
        """What is there and no more here."""
        return {name for name in self._there if not name.endswith(WHOLE) and self._stamp(name) is None}

    def _changed(self, names: Iterable[str]) -> Iterator[str]:
        return (name for name in names if self._stamp(name) != self._pushed.get(name))

    def _put(self, names: Iterable[str], tick: Callable[[int], None]) -> None:
        files = [(self._name(name), self._run.path / name) for name in self._changed(names)]
        for name, stamp in self._store.put_files(files):
            within = name.partition("/")[2]
            self._pushed[within] = stamp
            self._there.add(within)
            tick(1)

    def _remove(self, names: Iterable[str], tick: Callable[[int], None]) -> None:
        for name in list(names):
            tick(0)
            self._store.remove(self._name(name))
            self._there.discard(name)
            self._pushed.pop(name, None)

    def _get(self, name: str) -> None:
        self._store.get(self._name(name), self._run.path / name)

    def _clear(self) -> None:
        anchors = self._run.trust_anchors.name
        kept = {self._run.work: ("lock", "copy", "list"), self._run.path: (self._run.work.name, MANIFEST, anchors)}
        for folder, names in kept.items():
            for path in folder.iterdir():
                if path.name not in names:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _known(self) -> dict[str, Stamp]:
        """What was put by now, by this process or the one before it."""
        if not self._pushed:
            try:
                stored = json.loads(self._record.read_text("utf-8"))
                self._pushed = {str(name): (int(size), int(time)) for name, (size, time) in stored.items()}
            except (OSError, ValueError, TypeError, AttributeError):
                pass  # then everything is put again
        return self._pushed

    def _save(self) -> None:
        """Remember what was put; whoever has no record, or an old one, puts more than need be and nothing wrong."""
        if self._pushed != self._recorded:
            try:
                write_json(self._record, self._pushed)
                self._recorded = dict(self._pushed)
            except OSError:
                pass  # such as a full disk, of which the scan hears too
