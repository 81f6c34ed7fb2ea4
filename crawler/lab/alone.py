"""One lab a directory: its lock."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crawler.model.errors import UsageError


@contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Have the directory for this lab: another would write over its lab.toml, and remove it at its own end.

    The kernel lets go of the lock when its holder is gone, however it died.  Raises `UsageError`.
    """
    path = directory / "lab.lock"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = _locked(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is locked, so that it is ours
        os.close(lock)


def _locked(path: Path) -> int:
    """The descriptor of a lock file that lies there and is ours.  Raises `UsageError` if another process has it."""
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
            os.close(lock)
            raise UsageError(
                f"{path.parent}: in use by process {holder or '(unknown)'}; end that lab, or give another --dir"
            ) from None
        try:
            if os.path.samestat(os.fstat(lock), path.stat()):
                return lock
        except FileNotFoundError:
            pass
        os.close(lock)  # its holder has ended and removed it
