"""Lines of a list to targets: plain text, CSV with a rank or a header, zone files.

Rule of this room: no line is fatal; what is not a domain name is a `Target` with a `problem`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, ClassVar, Protocol

from crawler.names import InvalidName, a_label
from crawler.records import Target

MAX_LINE = 16_384
"""Bytes of a line that are read; a name has at most 253 octets, the rest is room for a CSV's other columns."""

DOMAIN_COLUMNS = ("domain", "domain_name", "hostname", "host", "name")
RANK_COLUMNS = ("rank", "globalrank", "global_rank", "position")

_KEPT = 256
"""Characters kept of a line that is too long."""

_MAX_RANK = 10**18


def targets_of(stream: BinaryIO) -> Iterator[Target]:
    """The targets of a text; its first line that is no comment tells its form."""
    form: _Form | None = None
    for line in _lines(stream):
        text = text_of(line)
        if isinstance(text, Target):
            yield text
            continue
        if "#" in text and (form is None or form.has_comments):
            text = text.partition("#")[0].rstrip()
        if not text:
            continue
        if form is None:
            form, says_form_only = _recognised(text)
            if says_form_only:
                continue
        if (target := form.target(text)) is not None:
            yield target


def text_of(line: bytes) -> str | Target:
    """A line without white space about it; a target with a problem if it is too long or no text."""
    if len(line) > MAX_LINE:
        text = line[: 4 * _KEPT].decode("utf-8", "backslashreplace")[:_KEPT]
        return Target(input=text, problem=f"longer than {MAX_LINE} bytes")
    try:
        return line.decode().strip()
    except UnicodeDecodeError:
        return Target(input=line.decode("utf-8", "backslashreplace").strip(), problem="not UTF-8 text")


def target_of(written: str, rank: int | None = None) -> Target:
    """One name as a list has it; a rank that is none is left out."""
    rank = rank if rank is not None and 0 <= rank < _MAX_RANK else None
    try:
        return Target(a_label(written), written, rank)
    except InvalidName as error:
        return Target(None, written, rank, str(error))


def columns_of(names: list[str]) -> tuple[int | None, int | None]:
    """Where the name is and where the rank, by the columns' own names."""
    lower = [name.strip().strip('"').lower() for name in names]
    domain = next((lower.index(name) for name in DOMAIN_COLUMNS if name in lower), None)
    rank = next((lower.index(name) for name in RANK_COLUMNS if name in lower), None)
    return domain, rank


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines with their ends; of a line beyond the limit the beginning, one byte longer than the limit."""
    line = stream.readline(MAX_LINE + 1).removeprefix(b"\xef\xbb\xbf")  # an editor's byte-order mark
    while line:
        yield line
        while len(line) > MAX_LINE and not line.endswith(b"\n"):
            line = stream.readline(MAX_LINE + 1)
        line = stream.readline(MAX_LINE + 1)


class _Form(Protocol):
    """How a line is read."""

    has_comments: ClassVar[bool]  #: from `#` to the end of the line

    def target(self, text: str) -> Target | None:
        """What a line names; None if that is nothing new."""


def _recognised(first: str) -> tuple[_Form, bool]:
    """The form of a list by its first line, and whether that line says so and nothing more."""
    if (zone := _zone_of(first)) is not None:
        return zone, True
    delimiter = next((mark for mark in ",\t;" if mark in first), None)
    columns = first.split(delimiter) if delimiter else [first]
    domain, rank = columns_of(columns)
    if delimiter is None:
        return _Plain(), domain is not None
    if domain is not None:
        return _Columns(delimiter, domain, rank), True
    domain = next((i for i, column in enumerate(columns) if column.strip() and not _is_number(column)), 0)
    return _Columns(delimiter, domain, 0 if domain > 0 else None), False


def _is_number(column: str) -> bool:
    text = column.strip().strip('"')
    return text.isascii() and text.isdigit()


class _Plain:
    """One name a line."""

    has_comments: ClassVar[bool] = True

    def target(self, text: str) -> Target:
        return target_of(text)


@dataclass(frozen=True)
class _Columns:
    """Which column of a line is the name and which the rank."""

    delimiter: str
    domain: int
    rank: int | None
    has_comments: ClassVar[bool] = True

    def target(self, text: str) -> Target:
        if '"' in text:
            try:
                columns = next(csv.reader([text], delimiter=self.delimiter, strict=True))
            except csv.Error as error:
                return Target(input=text, problem=f"not a CSV line: {error}")
        else:
            columns = text.split(self.delimiter)
        if len(columns) == 1:  # a bare name among ranked ones
            return target_of(text)
        if len(columns) <= self.domain:
            return Target(input=text, problem="no column with a name")
        rank = columns[self.rank].strip() if self.rank is not None and self.rank < len(columns) else ""
        return target_of(columns[self.domain].strip(), int(rank) if _is_number(rank) else None)


# --- zone files -------------------------------------------------------------------------------------


def _zone_of(first: str) -> _Zone | None:
    """A zone file as registries publish it through ICANN's CZDS begins with its SOA record."""
    fields = first.split("\t", 4)
    if len(fields) == 5 and _is_number(fields[1]) and [field.lower() for field in fields[2:4]] == ["in", "soa"]:
        return _Zone(fields[0])
    return None


class _Zone:
    """The names delegated from one zone: the owners of NS records but for the zone itself.

    The format is that of ICANN's base registry agreement, specification 4 §2.1.4: a record a line, owner, TTL,
    class, type and data with one tab between them, every name in full, records of one owner side by side.
    """

    has_comments: ClassVar[bool] = False

    def __init__(self, apex: str) -> None:
        self._apex = self._last = apex

    def target(self, text: str) -> Target | None:
        fields = text.split("\t", 4)
        if len(fields) < 5:
            return Target(input=text, problem="not a record of a zone file")
        owner = fields[0]
        if fields[3].lower() != "ns" or owner in (self._apex, self._last):
            return None
        self._last = owner
        return target_of(owner)
