"""The form of a list, told by its first lines together: one name a line, several, CSV, a zone file.

A header says which column has the names where it is right; the content of the columns decides, for a column
called `name` may well hold the names of companies.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import BinaryIO, ClassVar, Protocol

from crawler.lists.cells import KEPT, is_domain, is_number, rank_of, target_of
from crawler.lists.zone_files import zone_of
from crawler.model.rows import Target
from crawler.model.vocabulary import ONE_A_LINE
from crawler.settings.declared_limits import limit

MAX_LINE = limit(
    16_384,
    "bytes of a line of a list, or of a name in Parquet",
    protects="our memory",
    cut="the row in `domains` is `invalid`, and has the first 1,024 bytes of the line",
)
"""Bytes of a line that are read; a name has at most 253 octets, the rest is room for a CSV's other columns."""

DOMAIN_COLUMNS = (
    "domain", "domain_name", "hostname", "host", "fqdn", "origin", "site", "website", "url", "email", "e-mail", "mail", "name",
)  # fmt: skip
"""Names of columns that hold domains, the surest first."""

RANK_COLUMNS = ("rank", "globalrank", "global_rank", "position")

_SAMPLE = 200
"""Lines by which the form is told."""

_CLEARLY = 0.5
"""Share of a column's cells that must hold a domain name."""

Told = Callable[[str], None]

#: No name has a `#` in it; a URL has, and so have the other columns of a list.
_ANYWHERE = re.compile("#")
_BEHIND_BLANK = re.compile(r"(?:^|\s)#")
_AT_START = re.compile("^#")


def _ignore(words: str) -> None:
    """For who does not want to know the form."""


def targets_of(stream: BinaryIO, told: Told = _ignore) -> Iterator[Target]:
    """The targets of a text; `told` hears its form in words, before the first of them."""
    lines = lines_of(stream)
    first = list(islice(lines, _SAMPLE))
    form = _recognised([text for line in first if isinstance(text := text_of(line), str)])
    told(form.words)
    for line in chain(first, lines):
        text = text_of(line)
        if isinstance(text, Target):
            yield text
            continue
        if not form.keeps_white_space:
            text = text.strip()
        if "#" in text and form.comment is not None and (found := form.comment.search(text)) is not None:
            text = text[: found.start()].rstrip()
        if text:
            yield from form.targets(text)


def text_of(line: bytes) -> str | Target:
    """A line without its end; a target with a problem if it is too long or no text."""
    if len(line) > MAX_LINE:
        text = line[:KEPT].decode("utf-8", "backslashreplace")
        return Target(input=text, problem=f"longer than {MAX_LINE} bytes")
    try:
        return line.decode().rstrip()
    except UnicodeDecodeError:
        return Target(input=line.decode("utf-8", "backslashreplace").strip(), problem="not UTF-8 text")


def columns_of(names: Sequence[str]) -> tuple[int | None, int | None]:
    """Where the name is and where the rank, by the columns' own names."""
    lower = [name.strip().strip('"').lower() for name in names]
    domain = next((lower.index(name) for name in DOMAIN_COLUMNS if name in lower), None)
    rank = next((lower.index(name) for name in RANK_COLUMNS if name in lower), None)
    return domain, rank


def share_of_domains(cells: Sequence[str]) -> float:
    """Share of a column's cells that hold a domain name, empty ones apart."""
    filled = [cell for cell in cells if cell.strip()]
    return sum(map(is_domain, filled)) / len(filled) if filled else 0.0


def lines_of(stream: BinaryIO) -> Iterator[bytes]:
    """Lines with their ends; of a line beyond the limit the beginning, one byte longer than the limit."""
    line = stream.readline(MAX_LINE + 1).removeprefix(b"\xef\xbb\xbf")  # an editor's byte-order mark
    while line:
        yield line
        while len(line) > MAX_LINE and not line.endswith(b"\n"):
            line = stream.readline(MAX_LINE + 1)
        line = stream.readline(MAX_LINE + 1)


class _Form(Protocol):
    """How a line is read."""

    comment: ClassVar[re.Pattern[str] | None]  #: what begins a comment, which goes to the end of the line
    keeps_white_space: ClassVar[bool]  #: white space at the beginning of a line means something

    @property
    def words(self) -> str:
        """For people: what kind of list this is, and where its names are."""

    def targets(self, text: str) -> list[Target]:
        """What a line names; nothing if that is nothing new."""


def _recognised(sample: list[str]) -> _Form:
    """The form of a list by its first lines."""
    if (zone := zone_of(sample)) is not None:
        return zone
    lines = [text for line in sample if (text := line.strip()) and not _AT_START.search(text)]
    texts = [line[: found.start()].rstrip() if (found := _BEHIND_BLANK.search(line)) else line for line in lines]
    delimiter = _delimiter(texts)
    if delimiter is None:
        texts = [text for line in texts if (text := line.partition("#")[0].rstrip())]
        return _Plain(header=texts[0].lower() if texts and texts[0].lower() in DOMAIN_COLUMNS else None)
    rows = [cells for text in lines if (cells := _cells(text, delimiter)) is not None]
    return _columns(rows, delimiter)


def _delimiter(texts: list[str]) -> str | None:
    """What divides the columns of most lines; None where they have but one."""
    for mark in (",", "\t", ";", "|", " "):
        if sum(len(text.split(None if mark == " " else mark)) > 1 for text in texts) * 2 > len(texts):
            return mark
    return None


def _columns(rows: list[list[str]], delimiter: str) -> _Form:
    """Which column has the names and which the ranks, by content first and by the header where that leaves a choice."""
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else 1
    first = rows[0] if rows else []
    data = rows[1:] or rows
    shares = [share_of_domains([row[place] for row in data if place < len(row)]) for place in range(width)]
    likely = [place for place, share in enumerate(shares) if share >= max(_CLEARLY, 0.9 * max(shares))]
    by_name, rank = columns_of(first)
    has_header = not any(map(is_number, first)) and not any(
        is_domain(first[place]) for place in likely if place < len(first)
    )
    if not likely:
        has_header = has_header and by_name is not None
        fallback = next((place for place, cell in enumerate(first) if cell.strip() and not is_number(cell)), 0)
        name = by_name if has_header and by_name is not None else fallback
    elif not has_header and width > 1 and len(likely) == width:
        return _Several(delimiter)
    else:
        header = [first[place].strip().lower() if place < len(first) else "" for place in likely]
        called = next((likely[header.index(word)] for word in DOMAIN_COLUMNS if word in header), None)
        name = called if has_header and called is not None else likely[0]
    if not has_header:
        numbers = (place for place in range(name) if _is_of_numbers([row[place] for row in rows if place < len(row)]))
        rank = next(numbers, None)
    return _Columns(delimiter, name, rank, tuple(first) if has_header else None)


def _is_of_numbers(cells: list[str]) -> bool:
    return sum(map(is_number, cells)) * 2 >= len(cells)


def _cells(text: str, delimiter: str) -> list[str] | None:
    """The cells of a line; None if it is no CSV line."""
    if delimiter == " ":
        return text.split()
    if '"' not in text:
        return text.split(delimiter)
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return None


@dataclass
class _Plain:
    """One name a line."""

    header: str | None = None  #: the first line, if it is the name of a column
    comment: ClassVar[re.Pattern[str] | None] = _ANYWHERE
    keeps_white_space: ClassVar[bool] = False

    @property
    def words(self) -> str:
        return ONE_A_LINE

    def targets(self, text: str) -> list[Target]:
        if self.header is not None and text.lower() == self.header:
            self.header = None
            return []
        return [target_of(text)]


@dataclass
class _Several:
    """Names only, several a line."""

    delimiter: str
    comment: ClassVar[re.Pattern[str] | None] = _BEHIND_BLANK
    keeps_white_space: ClassVar[bool] = False

    @property
    def words(self) -> str:
        return f"several names a line, divided by {_spelt(self.delimiter)}"

    def targets(self, text: str) -> list[Target]:
        cells = _cells(text, self.delimiter)
        if cells is None:
            return [Target(input=text, problem="not a CSV line")]
        return [target_of(cell.strip()) for cell in cells if cell.strip()]


@dataclass
class _Columns:
    """Which column of a line is the name and which the rank."""

    delimiter: str
    domain: int
    rank: int | None
    header: tuple[str, ...] | None
    comment: ClassVar[re.Pattern[str] | None] = _AT_START
    keeps_white_space: ClassVar[bool] = False

    @property
    def words(self) -> str:
        words = f"columns divided by {_spelt(self.delimiter)}, names in column {self._place(self.domain)}"
        return words if self.rank is None else f"{words}, ranks in column {self._place(self.rank)}"

    def _place(self, column: int) -> str:
        called = self.header[column].strip() if self.header and column < len(self.header) else ""
        return f"{column + 1} (`{called[:60]}`)" if called else f"{column + 1}"

    def targets(self, text: str) -> list[Target]:
        cells = _cells(text, self.delimiter)
        if cells is None:
            return [Target(input=text, problem="not a CSV line")]
        if self.header is not None and tuple(cells) == self.header:
            self.header = None if self.header is None else ("",) * len(self.header)  # once, and not again
            return []
        if len(cells) == 1:  # a bare name among ranked ones
            return [target_of(text)]
        if len(cells) <= self.domain:
            return [Target(input=text, problem="no column with a name")]
        rank = rank_of(cells[self.rank]) if self.rank is not None and self.rank < len(cells) else None
        return [target_of(cells[self.domain].strip(), rank)]


def _spelt(delimiter: str) -> str:
    return {"\t": "tabs", " ": "blanks"}.get(delimiter, f"`{delimiter}`")
