"""How the program speaks to a person: its name, one line for an error, the form of its help."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterable
from typing import Any, NoReturn

from crawler.model.errors import UsageError
from crawler.model.visible import visible

PROGRAM = "starttls-crawler"


def complain(error: Exception, code: int) -> int:
    sys.stderr.write(visible(f"{PROGRAM}: error: {' '.join(str(error).split())}\n"))
    return code


def check_text(words: Iterable[str]) -> None:
    """Raises `UsageError` for a word of the command line that is no UTF-8: manifests, tables and pages could not hold it."""
    for word in words:
        if not word.isascii() and any("\ud800" <= character <= "\udfff" for character in word):
            shown = word.encode("ascii", "backslashreplace").decode()
            raise UsageError(f"{shown}: is not UTF-8; give files and places names that are")


class HelpFormatter(argparse.HelpFormatter):
    """Lines as they were written, but none of prose wider than the terminal; what is indented is copied, and stays whole."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines: list[str] = []
        for line in text.splitlines():
            fits = line.startswith("  ") or len(line) <= width
            lines += [line] if fits else textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)
        return "\n".join(indent + line for line in lines)


class Parser(argparse.ArgumentParser):
    """Wrong usage is one line, like all wrong input."""

    def __init__(self, **options: Any) -> None:
        fixed = {"allow_abbrev": False, "formatter_class": HelpFormatter}
        super().__init__(**{**fixed, **options})

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def examples(*lines: str) -> str:
    return "examples:\n" + "\n".join(f"  {PROGRAM} {line}" for line in lines)
