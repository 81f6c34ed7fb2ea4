"""Replies made of lines, as POP3, IMAP and ManageSieve have them (RFC 1939 §3, RFC 9051 §2.2, RFC 5804 §1.2).

How many lines a reply has depends on the command: its `Turn` says which line is the last.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from crawler.model.rows import Outcome, printable
from crawler.protocols.protocol import FOREIGN_BYTES, Ended, ReplyLimits, Turn, stray


class LineReply(NamedTuple):
    """One reply: its lines without line ends; a literal stays in the line that announces it."""

    lines: list[bytes]
    raw: bytes  #: as received
    code: None = None  #: there are no codes

    @property
    def text(self) -> str:
        """The reply as stored: lines joined by LF, every byte that is not printable ASCII escaped."""
        return printable(b"\n".join(self.lines))


class LineReplies:
    """Cuts replies out of a stream, line by line; a TCP segment is never taken for a line.

    Lines end with LF, with or without CR before it.  `opening` is what the first line of a reply may begin with.
    `literal` finds the announcement of a literal at the end of a line; its bytes belong to that line, whatever they are.
    """

    __slots__ = (
        "_at",
        "_begin",
        "_is_whole",
        "_limits",
        "_lines",
        "_literal",
        "_opening",
        "_scanned",
        "_text",
        "stray",
    )

    def __init__(
        self, limits: ReplyLimits, opening: re.Pattern[bytes], literal: re.Pattern[bytes] | None = None
    ) -> None:
        self._limits, self._opening, self._literal = limits, opening, literal
        self._is_whole: Callable[[list[bytes]], bool] | None = None
        self._lines: list[bytes] = []
        self._begin = 0  # of the line being looked for
        self._text = 0  # where its text begins, or goes on behind a literal
        self._scanned = 0  # no end of it before this
        self.stray = bytearray()

    def expect(self, turn: Turn) -> None:
        """See `Replies.expect`."""
        self._is_whole = turn.is_whole

    def cut(self, buffer: bytearray) -> LineReply | None:
        """See `Replies.cut`."""
        while True:
            end = buffer.find(b"\n", self._scanned)
            self._hold_to_limits(buffer, end)
            if end < 0:
                self._scanned = max(self._scanned, len(buffer))
                return None
            self._scanned = end + 1
            text = bytes(buffer[self._text : end]).removesuffix(b"\r")
            if self._literal is not None and (announced := self._literal.search(text)) is not None:
                self._pass_over(int(announced[1][:20]))
                continue
            self._lines.append(bytes(buffer[self._begin : self._text]) + text)
            self._begin = self._text = end + 1
            if len(self._lines) > self._limits.reply_lines:
                raise Ended(Outcome.LIMIT_EXCEEDED)
            if self._is_whole is None or self._is_whole(self._lines):
                break
        raw = bytes(buffer[: self._begin])
        del buffer[: self._begin]
        lines, self._lines = self._lines, []
        self._begin = self._text = self._scanned = 0
        return LineReply(lines, raw)

    def _pass_over(self, octets: int) -> None:
        """Look for the end of the line behind a literal."""
        self._scanned = self._text = self._scanned + octets
        if self._scanned > self._limits.reply_bytes:
            raise Ended(Outcome.LIMIT_EXCEEDED)

    def _hold_to_limits(self, buffer: bytearray, end: int) -> None:
        """Raise what is wrong first, whatever the segments: bytes that begin no reply, then too many of them."""
        if not self._lines and not self._begin:
            first = bytes(buffer[: FOREIGN_BYTES if end < 0 else min(end, FOREIGN_BYTES)])
            if (end >= 0 or len(first) == FOREIGN_BYTES) and not self._opening.match(first):
                raise stray(first)
        most = min(self._limits.reply_bytes, self._text + self._limits.line_bytes + 1)
        if (len(buffer) if end < 0 else end + 1) > most:
            raise Ended(Outcome.LIMIT_EXCEEDED)
