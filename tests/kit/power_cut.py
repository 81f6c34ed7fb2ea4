"""A disk that knows what a power cut would leave: what was synced, and of the rest the worst.

`Disk(root)` listens to every `os.fsync` while it is entered.  `restore` builds what would be found
after a cut at this moment, in one of two ways a file system may have it: names are as they were
when their directory was last synced, or they are the newest; bytes that were not synced are gone in
both.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self


class Disk:
    """What of a directory is durable; `moment` is called after each sync."""

    def __init__(self, root: Path, moment: Callable[[Disk], None]) -> None:
        self._root = root
        self._moment = moment
        self._content: dict[int, bytes] = {}
        self._names: dict[int, dict[str, tuple[int, bool]]] = {}
        self._held: list[int] = []  # as long as a file is open its inode is no other's
        self._genuine = os.fsync

    def __enter__(self) -> Self:
        os.fsync = self._fsync  # type: ignore[assignment]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.fsync = self._genuine
        for descriptor in self._held:
            os.close(descriptor)

    def _fsync(self, descriptor: int) -> None:
        self._genuine(descriptor)
        status = os.fstat(descriptor)
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if not path.is_relative_to(self._root):
            return
        self._held.append(os.dup(descriptor))
        if stat.S_ISDIR(status.st_mode):
            self._names[status.st_ino] = _names(path)
        else:
            self._content[status.st_ino] = path.read_bytes()
        self._moment(self)

    def restore(self, to: Path, *, newest_names: bool) -> None:
        """Write what a cut now would leave; the root's own names are always the newest."""
        self._restore(self._root, _names(self._root), to, newest_names)

    def _restore(self, here: Path | None, names: dict[str, tuple[int, bool]], to: Path, newest: bool) -> None:
        to.mkdir()
        for name, (inode, is_directory) in names.items():
            if not is_directory:
                (to / name).write_bytes(self._content.get(inode, b""))
                continue
            below = here / name if here is not None and newest else None
            entries = _names(below) if below is not None else self._names.get(inode, {})
            self._restore(below, entries, to / name, newest)


def _names(directory: Path) -> dict[str, tuple[int, bool]]:
    return {entry.name: (entry.inode(), entry.is_dir()) for entry in os.scandir(directory)}
