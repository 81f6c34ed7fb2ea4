"""A run on an object store, brought down to be read: `--data s3://BUCKET/PREFIX` or `gs://…`.

Each object is fetched once, as every figure reads the tables anew.  What was fetched lies in a
temporary directory and goes with it; what is wrong with the run is said of the address.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs

from analysis.runs.leftovers import working_directory
from analysis.runs.run import NoRoom, Run
from crawler.dataset.stored_manifest import MANIFEST
from crawler.dataset.stored_runs import choose_run
from crawler.model.errors import UsageError
from crawler.model.rows import TABLES
from crawler.object_store.url import Location, is_location, parse_location

LANES = 8
"""Objects fetched at once: most of the time of a small one is waiting."""

_READ = {*TABLES, "trust-anchors.pem"}


@contextmanager
def opened_run(data: str, run_id: str | None = None, **options: Any) -> Iterator[Run]:
    """The run `run_id` of `--data`, or the newest, open for reading with the options of `Run`.

    Raises `UsageError` and `NoRoom` as `Run.open` does.
    """
    with local(data, run_id) as directory, Run.open(directory, run_id, **options) as run:
        yield run


@contextmanager
def local(data: str, run_id: str | None = None) -> Iterator[Path]:
    """A directory that holds the run that `Run.open` would choose: `data` itself, or what was brought from a store.

    Raises `UsageError`.
    """
    if not is_location(data):
        yield Path(data)
        return
    location = parse_location(data)
    with working_directory("starttls-analysis-", Path(tempfile.gettempdir())) as directory:
        try:
            try:
                _bring(location, directory, run_id)
            except OSError as error:
                where = directory.parent
                raise UsageError(
                    f"{where}: cannot be written ({error.strerror or error}); TMPDIR names another"
                ) from error
            yield directory
        except (UsageError, NoRoom) as error:
            raise type(error)(str(error).replace(str(directory), location.name)) from error


def _bring(location: Location, directory: Path, run_id: str | None) -> None:
    with _reading(location):
        files, base = _filesystem(location.uri)
        base = base.rstrip("/")
        prefix = f"{base}/run={run_id}" if run_id else base
        listed = files.get_file_info(pyarrow.fs.FileSelector(prefix, recursive=True, allow_not_found=True))
    names = [
        Path(entry.path[len(base) + 1 :])
        for entry in listed
        if entry.type == pyarrow.fs.FileType.File and ".." not in entry.path
    ]

    def read(source: pa.NativeFile) -> bytes:
        with _reading(location):
            return bytes(source.read(1 << 20))

    def fetch(name: Path) -> None:
        to = directory / name
        to.parent.mkdir(parents=True, exist_ok=True)
        with _reading(location):
            source = files.open_input_stream(f"{base}/{name}")
        with source, to.open("wb") as out:
            while piece := read(source):
                out.write(piece)

    with ThreadPoolExecutor(LANES) as lanes:
        manifests = [name for name in names if len(name.parts) == 2 and name.name == MANIFEST]
        list(lanes.map(fetch, manifests))
        chosen = choose_run(directory, run_id).run.path.name
        parts = [name for name in names if name.parts[0] == chosen and name.parts[1] in _READ]
        list(lanes.map(fetch, parts))


@contextmanager
def _reading(location: Location) -> Iterator[None]:
    """What fails within is said of the store; a full local disk is not within."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{location.name}: cannot be read ({' '.join(str(error).split())[:300]})") from error


def _filesystem(uri: str) -> tuple[pyarrow.fs.FileSystem, str]:
    found: tuple[pyarrow.fs.FileSystem, str] = pyarrow.fs.FileSystem.from_uri(uri)
    return found
