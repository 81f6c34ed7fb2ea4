"""Strangers' text on a terminal: nothing in it may move the cursor, change colours, or answer for the person at it.

Everything that this program writes for people goes through here, as does what programs read from its standard output.
An escape is that of JSON, so a JSON document stays one.
"""

from __future__ import annotations

import logging
import re
from collections import Counter

_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # control characters but TAB and LF; some terminals take the upper ones for ESC [
    "\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"  # what turns the direction of text, and ends its lines
    "\ud800-\udfff]"  # what no encoding has
    "|\r(?!\n)"
)


def visible(text: str) -> str:
    """The text with `\\u001b` and the like in place of characters that a terminal obeys."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


MESSAGES_OF_A_PLACE = 20
"""Messages of one place in the code that a process writes."""


class VisibleFormatter(logging.Formatter):
    """Lines of the log."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


class FewOfEach(logging.Filter):
    """Lets a few messages of each place in the code through: a fault that thousands of hosts meet is told, and the log stays short.

    The last of them says that more are left out.  The rows have every one (`internal_error`).
    """

    def __init__(self) -> None:
        super().__init__()
        self._told: Counter[tuple[str, int]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        place = record.pathname, record.lineno
        self._told[place] += 1
        if self._told[place] == MESSAGES_OF_A_PLACE:
            record.msg = f"{record.msg} (more of this kind are not written)"
        return self._told[place] <= MESSAGES_OF_A_PLACE


def log_to_terminal() -> None:
    """Write warnings to standard error, a few of each kind."""
    handler = logging.StreamHandler()
    handler.setFormatter(VisibleFormatter("%(levelname)s %(name)s: %(message)s"))
    handler.addFilter(FewOfEach())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
