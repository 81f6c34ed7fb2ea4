"""`stats` and `report` run as the command line does, and their results taken apart."""

from __future__ import annotations

import argparse
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pandas as pd

from analysis.commands import report, stats
from analysis.runs.run import Run


def run_stats(*arguments: str) -> int:
    """Parse and run `stats` as the command line does."""
    parser = argparse.ArgumentParser()
    stats.add_parser(parser.add_subparsers())
    args = parser.parse_args(["stats", *arguments])
    code = args.run(args)
    assert isinstance(code, int)
    return code


def run_report(*arguments: str) -> int:
    """Parse and run `report` as the command line does."""
    parser = argparse.ArgumentParser()
    report.add_parser(parser.add_subparsers())
    args = parser.parse_args(["report", *arguments])
    code = args.run(args)
    assert isinstance(code, int)
    return code


class Page(HTMLParser):
    """A page taken apart; whatever is opened must be closed in order."""

    VOID = frozenset({"meta", "br", "link", "img", "hr", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, name: str) -> list[str]:
        """Every value of one attribute."""
        return [value for _, attribute, value in self.attributes if attribute == name]


def values(run: Run, sql: str) -> list[tuple[Any, ...]]:
    """Rows of an answer, nulls as None."""
    return [tuple(None if pd.isna(value) else value for value in row) for row in run.frame(sql).itertuples(index=False)]
