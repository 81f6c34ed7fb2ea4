"""What a list of names may cost: how much it may unpack to, and which memory reading it may take.

A file of some hundred bytes can hold gigabytes, honestly packed or forged.  Whoever made the list, reading it stays
within the settings of the group `lists`, and what goes beyond them is refused before anybody is contacted.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from crawler.model.errors import UsageError
from crawler.settings.config import Lists


class InputError(UsageError):
    """A list that cannot be used."""


class Unpacked:
    """Counts the bytes that a packed list has unpacked to."""

    def __init__(self, path: Path, lists: Lists) -> None:
        self._path = path
        self._ratio = lists.unpacked_ratio
        self._most = max(lists.unpacked_bytes, lists.unpacked_ratio * path.stat().st_size)
        self._count = 0

    def add(self, count: int) -> None:
        """So many more bytes.  Raises `InputError` beyond the bound."""
        self._count += count
        if self._count > self._most:
            raise InputError(
                f"{self._path}: unpacks to more than {self._most:,} bytes, which no list of its size does; unpack it "
                "yourself, or raise lists.unpacked_ratio or lists.unpacked_bytes"
            )


class Counted(io.RawIOBase):
    """The bytes that another reader gives, counted."""

    def __init__(self, plain: io.RawIOBase, unpacked: Unpacked) -> None:
        self._plain = plain
        self._unpacked = unpacked

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._plain.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        count = self._plain.readinto(buffer) or 0
        self._unpacked.add(count)
        return count


def too_costly(path: Path, lists: Lists) -> InputError:
    """The refusal of a list whose reading would take more memory than it may."""
    return InputError(
        f"{path}: to read it takes more than {lists.memory_bytes >> 20:,} MiB of memory, which no ordinary list does; "
        "give it as plain text, or raise lists.memory_bytes"
    )
