"""The one door to libraries that read bytes of strangers.

Whatever such a library raises is a finding about the bytes, never a fault of ours.  Which exceptions
those are is nobody's promise: `cryptography` raises some dozen kinds at a hostile certificate, and a panic of its Rust
code is no `Exception` at all.  So nobody lists them; every call goes through `guarded`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from crawler.model.rows import printable
from crawler.settings.declared_limits import limit

P = ParamSpec("P")
T = TypeVar("T")

#: characters of a message that are kept
_LONGEST = limit(
    500,
    "characters kept of what a library says",
    protects="the disk",
    cut="the stored text (`certificates.parse_error`) is cut to so many",
)
_PANIC = "PanicException"
"""What PyO3 makes of a panic in Rust: a `BaseException` that cannot be imported."""


class Unreadable(ValueError):
    """A library could not read what it was given; the message is the library's own, printable, one short line."""


def guarded(call: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """What the library makes of it.  Raises `Unreadable` whatever the library raises.

    Memory that ran out is our trouble and not the bytes'; it goes through as it is.
    """
    try:
        return call(*args, **options)
    except MemoryError:
        raise
    except Exception as error:
        raise Unreadable(_words(error)) from error
    except BaseException as error:
        if type(error).__name__ != _PANIC:
            raise
        raise Unreadable(_words(error)) from error


def _words(error: BaseException) -> str:
    """The library's own, which may be none; the name of a class of Python would be no reason to anybody."""
    return printable(str(error).encode(errors="backslashreplace"))[:_LONGEST] or "the library does not say why"
