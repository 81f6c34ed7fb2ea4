"""Message volumes per domain, from a CSV `domain,messages`: what makes shares of domains shares of messages.

A weight that matches nothing is counted and shown, never dropped in silence.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader, RawIOBase, TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import pandas as pd

from analysis.runs.run import Run
from crawler.model.errors import UsageError
from crawler.model.names import InvalidName, a_label
from crawler.settings.declared_limits import limit

_BATCH = 50_000

_LONGEST_LINE = limit(
    65_536,
    "characters of a line of the file given by `--weights`; a name and a number have at most some 300",
    protects="our memory",
    cut="a refusal, exit code 2",
)


@dataclass(frozen=True, slots=True)
class Weights:
    """What a weights file holds and how much of it meets the run.  Counts are messages unless named domains."""

    sha256: str  #: of the file, hex
    domains: int  #: distinct domains in the file
    messages: float
    counted: float  #: to domains whose mail has somewhere to go: the population of weighted figures
    undeliverable: float  #: to domains of the run that take no mail, or were not asked
    unmatched: float  #: to domains that are not in the run
    unmatched_domains: int
    domains_without_weight: int  #: domains that figures count and the file does not name


def load_weights(path: Path, run: Run) -> Weights:
    """Read the file into the run's table `weights`; domains named twice are added up.

    Raises `UsageError` with file, line and reason: unreadable, not CSV with the header
    `domain,messages`, a name that is not a domain, a number that is not a finite count >= 0.
    """
    run.execute("CREATE OR REPLACE TABLE weights_read (domain VARCHAR, messages DOUBLE)")
    digest = hashlib.sha256()
    try:
        with path.open("rb") as binary:  # read once: it may be a pipe
            text = TextIOWrapper(BufferedReader(_Hashed(binary, digest), 1 << 20), "utf-8-sig", newline="")
            rows = csv.reader(_lines(text, path))
            header = [name.strip().lower() for name in next(rows, [])]
            if header[:2] != ["domain", "messages"]:
                raise UsageError(f"{path}:1: the header must be `domain,messages`, not {','.join(header)[:60]!r}")
            read = (_row(row, path, rows.line_num) for row in rows if row)
            while batch := list(islice(read, _BATCH)):
                names, counts = zip(*batch, strict=True)
                run.add_rows("weights_read", {"domain": names, "messages": counts})
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); --weights takes a CSV domain,messages") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: is not CSV text ({error}); --weights takes a CSV domain,messages") from error
    run.execute(
        "CREATE OR REPLACE TABLE weights AS SELECT domain, sum(messages) AS messages FROM weights_read GROUP BY domain"
    )
    summary = run.frame("""
        SELECT count(*) AS domains, coalesce(sum(messages), 0) AS messages,
            coalesce(sum(messages) FILTER (WHERE counted), 0) AS counted,
            coalesce(sum(messages) FILTER (WHERE listed AND counted IS NULL), 0) AS undeliverable,
            coalesce(sum(messages) FILTER (WHERE listed IS NULL), 0) AS unmatched,
            count(*) FILTER (WHERE listed IS NULL) AS unmatched_domains,
            (SELECT count(*) FROM domain_units ANTI JOIN weights USING (domain)) AS domains_without_weight
        FROM weights LEFT JOIN (SELECT domain, true AS counted FROM domain_units) USING (domain)
        LEFT JOIN (SELECT DISTINCT domain, true AS listed FROM domains) USING (domain)
    """).iloc[0]
    if not math.isfinite(summary["messages"] if pd.notna(summary["messages"]) else math.inf):
        raise UsageError(
            f"{path}: its messages add up to more than a number can hold; --weights takes counts of messages"
        )
    return Weights(
        digest.hexdigest(),
        domains=int(summary["domains"]),
        messages=float(summary["messages"]),
        counted=float(summary["counted"]),
        undeliverable=float(summary["undeliverable"]),
        unmatched=float(summary["unmatched"]),
        unmatched_domains=int(summary["unmatched_domains"]),
        domains_without_weight=int(summary["domains_without_weight"]),
    )


def _lines(text: TextIO, path: Path) -> Iterator[str]:
    """Lines, none of them endless.  Raises `UsageError`."""
    number = 0
    while line := text.readline(_LONGEST_LINE + 1):
        number += 1
        if len(line) > _LONGEST_LINE:
            raise UsageError(
                f"{path}:{number}: is longer than {_LONGEST_LINE:,} characters; --weights takes a CSV domain,messages"
            )
        yield line


class _Hashed(RawIOBase):
    """A file of which all that is read is hashed."""

    def __init__(self, binary: BinaryIO, digest: hashlib._Hash) -> None:
        self._binary = binary
        self._digest = digest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._binary.read(len(buffer))
        self._digest.update(block)
        buffer[: len(block)] = block
        return len(block)


def _row(row: list[str], path: Path, line: int) -> tuple[str, float]:
    if len(row) < 2:
        raise UsageError(f"{path}:{line}: {','.join(row)[:60]!r} has no second column; the file is domain,messages")
    try:
        domain = a_label(row[0].strip())
    except InvalidName as error:
        raise UsageError(f"{path}:{line}: {row[0][:60]!r} is not a domain name ({error})") from error
    try:
        messages = float(row[1])
    except ValueError:
        messages = math.nan
    if not (math.isfinite(messages) and messages >= 0):
        raise UsageError(f"{path}:{line}: {row[1][:60]!r} is not a number of messages (a number, 0 or more)")
    return domain, messages
