"""The directory that holds all runs: made if need be, and swept of what processes that are gone left there."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crawler.dataset.files import process_space
from crawler.model.errors import UsageError, disk_trouble

#: Names under which `begin` and `choose_run` write what is not whole yet, with the process that does and where it is.
_OURS = re.compile(r"\.tmp-(?:list|run=.+)-([0-9a-f]{8})-([0-9]+)").fullmatch


_FOREIGN_FOR = 24 * 3600
"""Seconds without a change after which what was written on another machine or in another container is nobody's."""


@contextmanager
def made_directory(data: Path, option: str = "--data") -> Iterator[None]:
    """Have the directory of all runs; if nothing comes of it, what was made for it goes again."""
    missing = [path for path in (data, *data.parents) if not path.exists()]
    try:
        data.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, UsageError) as error:
        for path in missing:
            try:
                path.rmdir()
            except OSError:  # not empty, or not made
                break
        if isinstance(error, UsageError):
            raise
        words = disk_trouble(error) or error.strerror or error
        raise UsageError(f"{data}: cannot be written ({words}); check {option}") from error


def sweep(data: Path) -> None:
    """Remove what processes that are gone left under hidden names, and nothing else."""
    for path in data.glob(".tmp-*"):
        if (ours := _OURS(path.name)) and _is_nobodys(path, ours[1], int(ours[2])):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _is_nobodys(path: Path, space: str, process: int) -> bool:
    """Whether its writer is gone; of one that is not among the processes we see, only its silence can tell."""
    if space == process_space():
        return not Path("/proc", str(process)).exists()
    try:
        return time.time() - path.stat().st_mtime > _FOREIGN_FOR
    except FileNotFoundError:
        return False
