"""How a long piece of work tells what it does; who shows it, and where, is for the one who asks for the work.

Nothing here writes to a terminal.
"""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Takes what is to be shown, one part of the work after the other."""

    def say(self, line: str) -> None:
        """A plain line."""

    def begin(self, label: str, unit: str, total: int | None, before: int = 0) -> None:
        """A part of the work starts; `before` of its `total` were done by an earlier process."""

    def reach(self, count: int) -> None:
        """So many are done by now, those before included."""

    def advance(self, count: int) -> None:
        """So many more are done."""

    def end(self, duplicates: int = 0) -> None:
        """The part is over."""

    def close(self) -> None:
        """The work has ended, wherever that was."""

    def conclude(self, text: str) -> None:
        """The result of the whole work, for the one who asked for it."""


class Silent:
    """A `Reporter` that shows nothing."""

    def say(self, line: str) -> None:
        pass

    def begin(self, label: str, unit: str, total: int | None, before: int = 0) -> None:
        pass

    def reach(self, count: int) -> None:
        pass

    def advance(self, count: int) -> None:
        pass

    def end(self, duplicates: int = 0) -> None:
        pass

    def close(self) -> None:
        pass

    def conclude(self, text: str) -> None:
        pass
