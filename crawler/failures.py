"""Which of several errors is the one to tell.

Tasks that go wrong together are one failure to a person, told in the words of one.
"""

from __future__ import annotations

from collections.abc import Callable

from crawler.preflight import disk_trouble


def foremost(error: BaseException, is_first: Callable[[BaseException], bool]) -> BaseException:
    """Of what went wrong at once, however deep in groups, what to report: the first that `is_first`, or the first."""
    if isinstance(error, BaseExceptionGroup):
        error = error.subgroup(is_first) or error
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def is_disk_trouble(error: BaseException) -> bool:
    """Whether this is a disk that will not take more."""
    return isinstance(error, OSError) and disk_trouble(error) is not None
