"""The address space of a process, bounded by the system, for work on files that strangers may have made."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crawler.model.errors import UsageError
from crawler.settings.declared_limits import limit

MOST_MEMBERS = limit(
    100_000,
    "members of a list in the footer of a Parquet file, such as columns or row groups",
    protects="our memory, from a list or a dataset that somebody else made",
    cut="the file is damaged: one line, exit code 2",
)

RUN_MEMORY = limit(
    3 << 30,
    "bytes of address space that `rejudge` may take beside the program itself; row groups are 8 MiB, what is remembered of "
    "certificates 150, and the allocator reserves 1,024 ahead",
    protects="our memory, from a dataset that somebody else made",
    cut="one line, exit code 2; nothing is left of the new run",
)


def limit_memory(more: int) -> None:
    """Let this process have so many bytes of address space beside those that it has now; and leave no core dump."""
    resource.setrlimit(resource.RLIMIT_AS, (_most(more), resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextmanager
def limited_memory(more: int) -> Iterator[None]:
    """The same within it, for this process and those that it starts; a lack of memory is a `MemoryError` then."""
    before, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_most(more), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))


@contextmanager
def memory_in_words(data: Path) -> Iterator[None]:
    """Raises `UsageError` where the limit of `rejudge` is reached within it."""
    try:
        yield
    except MemoryError as error:
        raise UsageError(
            f"{data}: to read its parts takes more than {RUN_MEMORY >> 20:,} MiB of memory, which no run that was written "
            "by this program does"
        ) from error


def _most(more: int) -> int:
    """The address space now and so much more, or less where a limit is set already."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + more
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return most if soft == resource.RLIM_INFINITY else min(most, soft)
