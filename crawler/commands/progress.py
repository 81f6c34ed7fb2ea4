"""What a person sees while a scan runs.

It draws bars on a terminal, a few plain lines in a pipe and nothing if asked to be quiet, on standard
error; only the result goes to standard output.
"""

from __future__ import annotations

import sys
import textwrap
import time
from shutil import get_terminal_size
from typing import Any

from tqdm import tqdm

from crawler.model.visible import visible

_WORDS_BEGIN = 34
"""Column at which the words of a summary begin (`crawler.dataset.counts.summary`)."""


class Progress:
    """One bar or line for each part of the work."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bars = not quiet and sys.stderr.isatty()
        self._bar: tqdm[Any] | None = None
        self._label = self._unit = ""
        self._before = self._count = 0
        self._started = time.monotonic()

    def say(self, line: str) -> None:
        """A plain line."""
        if self._bars:
            tqdm.write(visible(line), file=sys.stderr)
        elif not self._quiet:
            sys.stderr.write(visible(f"{line}\n"))
            sys.stderr.flush()

    def begin(self, label: str, unit: str, total: int | None, before: int = 0) -> None:
        """A part of the work starts; `before` of its `total` were done by an earlier process."""
        self._label, self._unit, self._before, self._count = label, unit, before, before
        self._started = time.monotonic()
        if self._bars:
            # A bar of a plan that takes no time would only flicker: it appears after two seconds.
            self._bar = tqdm(
                total=total, initial=before, desc=label, unit=f" {unit}", file=sys.stderr,
                ncols=get_terminal_size().columns, mininterval=0.25, smoothing=0.1, delay=0 if total else 2.0, leave=bool(total),
            )  # fmt: skip

    def reach(self, count: int) -> None:
        """So many are done by now, those before included."""
        if self._bar is not None:
            self._bar.update(count - self._count)
        self._count = count

    def advance(self, count: int) -> None:
        """So many more are done."""
        self.reach(self._count + count)

    def end(self, duplicates: int = 0) -> None:
        """The part is over; in a pipe this is when a line appears."""
        seconds = time.monotonic() - self._started
        done, is_bar = self._count - self._before, self._bar is not None
        self.close()
        if not is_bar:
            rate = f", {done / seconds:,.0f}/s" if done and seconds >= 0.1 else ""
            earlier = f" ({self._before:,} before)" if self._before else ""
            dropped = f" ({duplicates:,} duplicates dropped)" if duplicates else ""
            count = self._count - duplicates
            self.say(f"{self._label}: {count:,} {self._unit}{dropped}{earlier} in {seconds:.1f} s{rate}")

    def conclude(self, text: str) -> None:
        """What the command was for, on standard output; on a terminal its long lines are broken between words."""
        if not self._quiet:
            if sys.stdout.isatty():
                text = _broken(text, get_terminal_size().columns)
            sys.stdout.write(visible(text))
            sys.stdout.flush()

    def close(self) -> None:
        """Leave the terminal tidy, wherever the work ended."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _broken(text: str, columns: int) -> str:
    """Each line within so many columns where its words allow; what goes on stands below the last column of the table."""
    indent = " " * (_WORDS_BEGIN if columns > 2 * _WORDS_BEGIN else 4)
    broken = (
        textwrap.wrap(line, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) or [""]
        for line in text.splitlines()
    )
    return "".join(f"{line}\n" for lines in broken for line in lines)
