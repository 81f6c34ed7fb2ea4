"""Where coloured text and tables go: only colours of our own reach the terminal (see `visible`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from crawler.model.visible import visible


class VisibleConsole(Console):
    """A console for strangers' text, which also re-raises a broken pipe, so that `| head` gives the usual exit code."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"highlight": False, "emoji": False, "markup": False, **options})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The pieces of what is printed, none of which a terminal obeys."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(visible(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """rich would end with exit code 1."""
        raise BrokenPipeError
