"""Errors whose message is one line for a person, and which of several errors is the one to report.

Tasks that fail together are one failure to a person, told in the words of one.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable


class UsageError(ValueError):
    """Bad input from a person; the message is one line: what, where, what to do.  Exit code 2."""


class CommandFailed(Exception):
    """What was asked is in order and cannot be done here and now; the message is one line.  Exit code 1."""


class ConfigError(UsageError):
    """A setting that cannot be used."""


class ScanFailed(Exception):
    """The scan cannot go on; the message is one line.  Everything finished is kept."""


class ListChanged(ScanFailed):
    """The list was changed between being looked at and being cut; nothing was measured."""


_DISK_TROUBLES = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.EACCES, errno.EPERM,
)  # fmt: skip


def disk_trouble(error: OSError) -> str | None:
    """The words for a disk that will not take more; None for what another try may cure."""
    return os.strerror(error.errno) if error.errno in _DISK_TROUBLES else None


def root_error(error: BaseException, is_first: Callable[[BaseException], bool]) -> BaseException:
    """The error to report of several that came at once, in groups of any depth: the first that `is_first`, else the first."""
    if isinstance(error, BaseExceptionGroup):
        error = error.subgroup(is_first) or error
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def is_disk_trouble(error: BaseException) -> bool:
    """Whether this is a disk that will not take more."""
    return isinstance(error, OSError) and disk_trouble(error) is not None
