"""Replies of three digits, as SMTP, FTP and NNTP share them (RFC 5321 §4.2.1, RFC 959 §4.2)."""

from __future__ import annotations

import re
from typing import NamedTuple

from crawler.model.rows import Outcome
from crawler.protocols.protocol import FOREIGN_BYTES, Ended, ReplyLimits, Turn, stray

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?\Z", re.DOTALL)
_WHOLE = re.compile(rb"(?:[2-5][0-9][0-9]-[^\n]*\n)*([2-5][0-9][0-9])(?: [^\n]*|\r)?\n")
_TEXT = 4  # where the text of a line begins
_OPENING = re.compile(rb"[2-5][0-9][0-9][ \r-]")


class ThreeDigitReply(NamedTuple):
    """One reply: its code, and the text of each line without code and line end."""

    code: int
    lines: list[bytes]
    raw: bytes  #: as received


_LINE_ENDS = frozenset(b"\r\n")


class ThreeDigitReplies:
    """Cuts multi-line replies out of a stream; a TCP segment is never taken for a reply.

    Lines end with LF, with or without CR before it.  The bare `250` without a space is legal.
    Every reply is held to `limits`: bytes in all, bytes of a line, number of lines.

    An empty line in front of a reply is read over and kept in `stray`: Postfix goes on, Exim gives up.
    """

    __slots__ = ("_begin", "_limits", "_lines", "_scanned", "_short", "stray")

    def __init__(self, limits: ReplyLimits) -> None:
        self._limits = limits
        self._short = min(limits.line_bytes, limits.reply_bytes)
        self._lines: list[bytes] = []
        self._begin = 0  # of the line being looked for
        self._scanned = 0  # no line end before this
        self.stray = bytearray()

    def expect(self, turn: Turn) -> None:
        """See `Replies.expect`; a reply of this kind says by itself where it ends."""

    def cut(self, buffer: bytearray) -> ThreeDigitReply | None:
        """See `Replies.cut`."""
        limits = self._limits
        if buffer and buffer[0] in _LINE_ENDS:
            self._pass_over_empty_lines(buffer)
        if not self._scanned and len(buffer) <= self._short:
            # Nearly always: one reply in one segment, and shorter than even one line may be.
            raw = bytes(buffer)
            whole = _WHOLE.fullmatch(raw)
            if whole is not None and raw.count(b"\n") <= limits.reply_lines:
                buffer.clear()
                lines = [line[_TEXT:].removesuffix(b"\r") for line in raw.split(b"\n")[:-1]]
                return ThreeDigitReply(int(whole[1]), lines, raw)
        while True:
            end = buffer.find(b"\n", self._scanned)
            self._hold_to_limits(buffer, end + 1 or len(buffer))
            if end < 0:
                self._scanned = len(buffer)
                return None
            line = bytes(buffer[self._begin : end]).removesuffix(b"\r")
            match = _LINE.match(line)
            if match is None:
                raise stray(line)
            self._lines.append(match[3] or b"")
            self._begin = self._scanned = end + 1
            if len(self._lines) > limits.reply_lines:
                raise Ended(Outcome.LIMIT_EXCEEDED)
            if match[2] != b"-":
                break
        raw = bytes(buffer[: self._begin])
        del buffer[: self._begin]
        lines, self._lines = self._lines, []
        self._begin = self._scanned = 0
        # The last line's code stands for the reply, should the lines disagree (Postfix reads it so).
        return ThreeDigitReply(int(match[1]), lines, raw)

    def _pass_over_empty_lines(self, buffer: bytearray) -> None:
        while not self._begin and buffer.startswith((b"\n", b"\r\n")):
            end = buffer.index(b"\n") + 1
            self.stray += buffer[:end]
            del buffer[:end]
            self._scanned = 0
            if len(self.stray) > self._limits.reply_bytes:
                raise Ended(Outcome.LIMIT_EXCEEDED)

    def _hold_to_limits(self, buffer: bytearray, end: int) -> None:
        """Raise what is wrong first with the line so far; the verdict must not depend on segments.

        Bytes that can no longer become a reply line are not waited upon, once there are enough of them
        to tell what they are.
        """
        foreign = self._begin + FOREIGN_BYTES
        too_much = min(self._begin + self._limits.line_bytes + 1, self._limits.reply_bytes + 1)
        line_feed = buffer[end - 1 : end] == b"\n"
        if end - line_feed >= foreign and foreign <= too_much and not _OPENING.match(buffer, self._begin):
            raise stray(bytes(buffer[self._begin : end]))
        if end > self._limits.reply_bytes or end - line_feed >= too_much:
            raise Ended(Outcome.LIMIT_EXCEEDED)
