"""Directories for what is not finished yet, and what processes that were killed left of theirs.

Each is locked as long as its process lives, and the kernel lets go of the lock however that ends.  So one that can be
locked is nobody's, and the next process that wants such a directory removes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SETTLED = 60.0
"""Seconds after which a directory that is not locked is nobody's; before, its process may be about to lock it."""


@contextmanager
def working_directory(prefix: str, parent: Path) -> Iterator[Path]:
    """A directory of this process in `parent`, removed in the end; those of dead processes go first.  Raises `OSError`."""
    _sweep(prefix, parent)
    path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _sweep(prefix: str, parent: Path) -> None:
    for path in parent.glob(f"{prefix}*"):
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # somebody else's, or gone already
        try:
            found = os.fstat(lock)
            if found.st_uid == os.geteuid() and time.time() - found.st_mtime > _SETTLED:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            pass  # at work
        finally:
            os.close(lock)
