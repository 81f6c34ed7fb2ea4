"""Verdicts in three values: yes, no, and `None` for unknown (Kleene's logic, as SQL's AND and OR have it).

Every verdict that is made of others goes through here.  Python's own `any`, `all`, `and` and `not`
take unknown for no.
"""

from __future__ import annotations

from collections.abc import Iterable


def all_of(*verdicts: bool | None) -> bool | None:
    """Three-valued *and*: no if one is no, else unknown if one is unknown, else yes."""
    return _first(verdicts, False)


def any_of(*verdicts: bool | None) -> bool | None:
    """Three-valued *or*: yes if one is yes, else unknown if one is unknown, else no."""
    return _first(verdicts, True)


def _first(verdicts: Iterable[bool | None], decisive: bool) -> bool | None:
    """The decisive value if it is there, else unknown if that is there, else the other."""
    found: bool | None = not decisive
    for verdict in verdicts:
        if verdict is decisive:
            return decisive
        if verdict is None:
            found = None
    return found
