"""Objects on a store that speaks the protocol of S3 or of Google Cloud Storage, through pyarrow's file systems.

An object appears whole or not at all.  A store sees to that if it is left in peace: an
object is handed over in one write, by a thread that no signal interrupts, as a stream that is closed
early would leave its beginning under the final name.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.fs

from crawler.dataset.files import replace_durably, sync_file, temporary_name
from crawler.model.errors import UsageError
from crawler.object_store.url import Location
from crawler.settings.declared_limits import limit

T = TypeVar("T")

LANES = limit(8, "transfers to an object store at once", protects="the store", cut="nothing is cut: the others wait")
"""Transfers at once: most of the time of a small object is waiting."""

_MOST_READ = limit(
    16 << 20,
    "bytes of an object that is read whole from a store: a manifest, a note, the trust anchors",
    protects="our memory",
    cut="a refusal, exit code 2",
)

_AHEAD = 4 * LANES
"""Transfers asked for at once, so that none waits for one that is slow."""

_MAPPED = 1 << 20
"""Bytes from which a file is mapped, not read."""

Stamp = tuple[int, int]
"""Size and time of change (ns) of a local file."""


class StoreError(UsageError):
    """The object store cannot be used, or not any more."""


class Store:
    """Whole objects under one prefix.  Every call may raise `StoreError`."""

    def __init__(self, location: Location) -> None:
        self.name = location.name
        self._bucket = location.bucket
        self._lanes = ThreadPoolExecutor(LANES, "store")
        self._short_lane = ThreadPoolExecutor(1, "store-small")
        with self._trouble("reached"):
            self._files, base = _filesystem(location.uri)
        self._base = base.rstrip("/")

    def runs(self) -> list[str]:
        """Names `run=ID` of what lies here."""
        # Google's listing of one level shows no directories.
        names = self._list(self._base, recursive=self._files.type_name == "gcs")
        runs = sorted({run for name in names if (run := name.partition("/")[0]).startswith("run=")})
        if not runs:
            with self._trouble("reached"):
                missing = self._files.get_file_info(self._bucket).type == pyarrow.fs.FileType.NotFound
            if missing:
                raise StoreError(f"{self.name}: there is no such bucket; make it, or check --data")
        return runs

    def objects(self, run: str) -> dict[str, int]:
        """Names within a run and sizes of all its objects."""
        return {
            name.removeprefix(f"{run}/"): entry.size
            for name, entry in self._list(f"{self._base}/{run}", recursive=True).items()
            if entry.type == pyarrow.fs.FileType.File
        }

    def read(self, name: str) -> bytes | None:
        """A small object; None if there is none."""
        with self._trouble("read"):
            try:
                with self._files.open_input_stream(f"{self._base}/{name}") as stream:
                    content = bytes(stream.read(_MOST_READ + 1))
            except FileNotFoundError:
                return None
        if len(content) > _MOST_READ:
            raise StoreError(
                f"{self.name}/{name}: is larger than {_MOST_READ >> 20} MiB, so it is nothing that a scan puts there"
            )
        return content

    def get(self, name: str, to: Path) -> None:
        """Bring an object to a local name, whole or not at all.  Raises `OSError` for what the local disk says."""
        to.parent.mkdir(parents=True, exist_ok=True)
        path = f"{self._base}/{name}"
        with self._trouble("read"):
            source = self._files.open_input_stream(path)
        with source, temporary_name(to).open("wb") as out:
            while piece := self._piece(source):
                out.write(piece)
        sync_file(temporary_name(to))
        replace_durably(temporary_name(to), to)

    def put(self, name: str, data: bytes) -> None:
        """Let a small object appear, or another in its place; it waits behind no files."""
        self._short_lane.submit(self._put, name, data).result()

    def put_files(self, files: Iterable[tuple[str, Path]]) -> Iterator[tuple[str, Stamp]]:
        """Let objects appear, several at once; yields the name and the file's stamp of each as soon as it is there.

        A file that is gone meanwhile is left out.
        """
        for found in self.in_lanes(self._put_file, files):
            if found is not None:
                yield found

    def remove(self, name: str) -> None:
        """Remove an object."""
        with self._trouble("written"):
            try:
                self._files.delete_file(f"{self._base}/{name}")
            except FileNotFoundError:
                pass  # that is what was wanted

    def remove_below(self, name: str) -> None:
        """Remove all objects whose names begin with `name/`."""
        with self._trouble("written"):
            self._files.delete_dir(f"{self._base}/{name}")

    def in_lanes(self, work: Callable[[Any], T], items: Iterable[Any]) -> Iterator[T]:
        """`work` of each item in order, several at once.

        After the first failure no other is begun, and none is under way any more when this ends.
        """
        pending: deque[Future[T]] = deque()
        try:
            for item in items:
                if len(pending) == _AHEAD:
                    yield pending.popleft().result()
                pending.append(self._lanes.submit(work, item))
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
            wait(pending)

    def _list(self, path: str, *, recursive: bool) -> dict[str, pyarrow.fs.FileInfo]:
        with self._trouble("listed"):
            found = self._files.get_file_info(pyarrow.fs.FileSelector(path, allow_not_found=True, recursive=recursive))
        return {entry.path[len(self._base) + 1 :]: entry for entry in found}

    def _piece(self, source: pa.NativeFile) -> bytes:
        with self._trouble("read"):
            return bytes(source.read(1 << 20))

    def _put(self, name: str, data: pa.Buffer | bytes) -> None:
        with self._trouble("written"), self._files.open_output_stream(f"{self._base}/{name}") as out:
            out.write(data)

    def _put_file(self, file: tuple[str, Path]) -> tuple[str, Stamp] | None:
        name, path = file
        try:
            status = path.stat()
            if status.st_size < _MAPPED:
                self._put(name, path.read_bytes())
            else:
                with pa.memory_map(str(path)) as mapped:  # what replaces or removes the file leaves this as it is
                    self._put(name, mapped.read_buffer())
        except FileNotFoundError:
            return None
        return name, (status.st_size, status.st_mtime_ns)

    @contextmanager
    def _trouble(self, done: str) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            said = " ".join(str(error).split())
            said = said if len(said) <= 300 else f"{said[:300]}…"
            raise StoreError(f"{self.name}: cannot be {done} ({said})") from error


def _filesystem(uri: str) -> tuple[pyarrow.fs.FileSystem, str]:
    found: tuple[pyarrow.fs.FileSystem, str] = pyarrow.fs.FileSystem.from_uri(uri)
    return found
