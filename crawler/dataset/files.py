"""Files that appear whole or not at all, and survive a power cut.

A file is never written under the name that readers look for.  It is written under a hidden name, synced and
renamed, and then its directory is synced.  Modules that write what is to stay take names and last step from here.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from functools import cache
from pathlib import Path
from typing import Any


class Damaged(Exception):
    """A part no longer holds what was written into it; the message is one line."""

    def __init__(self, path: Path, why: Exception) -> None:
        super().__init__(f"{path}: is damaged ({' '.join(str(why).split())})")
        self.path = path


def sync_directory(path: Path) -> None:
    """Make names in a directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make a file's content survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_name(path: Path) -> Path:
    """The name under which `path` is written: no glob for the real one matches it."""
    return path.with_name(f".tmp-{path.name}-{process_space()}-{os.getpid()}")


@cache
def process_space() -> str:
    """Where numbers of processes mean what they mean here: this machine since it was started, this container."""
    try:
        boot, space = Path("/proc/sys/kernel/random/boot_id").read_text("ascii"), os.readlink("/proc/self/ns/pid")
    except OSError:
        boot, space = platform.node(), ""
    return hashlib.sha256(f"{boot.strip()} {space}".encode()).hexdigest()[:8]


def replace_durably(written: Path, path: Path) -> None:
    """Let what was written and synced appear under its real name, at once and for good."""
    written.rename(path)
    sync_directory(path.parent)


def write_whole(path: Path, data: bytes) -> None:
    """Write a small file that is there whole or not at all."""
    temporary = temporary_name(path)
    temporary.write_bytes(data)
    sync_file(temporary)
    replace_durably(temporary, path)


def write_json(path: Path, value: Any) -> None:
    """The same for a JSON document.  A name of a file that is no text stays what it is, by escapes."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_whole(path, f"{text}\n".encode(errors="backslashreplace"))


def digest(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
