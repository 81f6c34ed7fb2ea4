"""What others published: our copy of the adoption history, and which of it stands beside which of our figures.

A published figure never loses its population or its confidence level, and one that others dispute is never shown
without what they say.  Rows marked `from-memory` were checked by nobody: they stay in the file, to be looked up, and
are not published.
"""

from __future__ import annotations

import csv
import datetime
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from analysis.tables.csv_text import csv_text

FILE_NAME = "adoption_history.csv"

#: In a source tree, and in an installed wheel.
_PLACES = (
    Path(__file__).parents[2] / "data" / "reference" / FILE_NAME,
    Path(__file__).parents[1] / "reference" / FILE_NAME,
)

#: Confidence level -> what it means to a reader, surest first.
CONFIDENCE = {
    "quoted-from-source": "quoted from the source",
    "derived-from-source": "computed from the source's numbers",
    "from-secondary-source": "as reported by others",
}

_UNCHECKED = "from-memory"
_DISPUTED = "disputed: "

#: Their metric -> our indicator.
COMPARABLE = {
    "starttls_offered": "starttls_offered",
    "tls_negotiated": "tls_negotiated",
    "pfs": "forward_secrecy",
    "cert_strict_valid": "strict_validation",
    "pfs_and_strict_valid": "forward_secrecy_and_strict_validation",
    "other:pqc_x25519mlkem768": "post_quantum",
}

#: Their unit -> our word.
UNITS = {"messages": "messages", "domains": "domains", "mx_hosts": "hosts", "ips": "addresses"}

# Shares of encrypted mail are another number than shares of all mail; they cannot stand in one chart.
_OF_TLS_ONLY = re.compile(r"encrypted outbound|support(ing)? STARTTLS|over TLS|TLS messages", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Published:
    """One published figure."""

    date: str  #: `YYYY`, `YYYY-MM` or `YYYY-MM-DD`, as precisely as it is known
    source: str
    publisher: str
    population: str
    unit: str
    metric: str
    value_percent: float
    n: str
    citation: str
    confidence: str
    note: str  #: ends with `disputed: …` where others say something against it

    @property
    def day(self) -> datetime.date:
        """Where it stands on a time axis: the middle of what the date leaves open."""
        year, month, day, *_ = (*map(int, self.date.split("-")), 0, 0)
        return datetime.date(year, month or 7, day or (15 if month else 1))

    @property
    def of_all(self) -> bool:
        """Whether its denominator is everything, not only what was encrypted already."""
        return not _OF_TLS_ONLY.search(self.population)

    @property
    def remark(self) -> str:
        """The note without what is disputed."""
        return self.note.partition(_DISPUTED)[0].rstrip("; ")

    @property
    def disputed(self) -> str:
        """Objections to the figure, with their authors; empty: we know of none."""
        return self.note.partition(_DISPUTED)[2]

    @property
    def off_a_chart(self) -> bool:
        """Whether somebody read it off another's chart: about that much, at about that day."""
        return self.note.startswith("chart reading")

    @property
    def is_lower_bound(self) -> bool:
        """Whether the source said 'over' or 'at least'."""
        return "lower bound" in self.note


def reference_file() -> Path:
    """Our copy of the published figures; raises `FileNotFoundError` if the installation lacks it."""
    for path in _PLACES:
        if path.is_file():
            return path
    raise FileNotFoundError(f"{FILE_NAME} is not part of this installation")


@cache
def published() -> tuple[Published, ...]:
    """All published figures that somebody has checked, oldest first."""
    rows = [Published(**{**row, "value_percent": float(row["value_percent"])}) for row in _checked()]  # type: ignore[arg-type]  # the one number among texts
    return tuple(sorted(rows, key=lambda row: row.date))


def published_csv() -> str:
    """The same as a file to download."""
    rows = _checked()
    return csv_text(list(rows[0]), rows)


def _checked() -> list[dict[str, str]]:
    with reference_file().open(encoding="utf-8", newline="") as text:
        return [row for row in csv.DictReader(text) if row["confidence"] != _UNCHECKED]
