"""CSV whose cells no spreadsheet takes for formulas.

Names come from DNS and from lists, so a stranger may choose one that begins with `=`.  Opened in a spreadsheet it
would be computed.  An apostrophe in front makes it text, as OWASP advises; numbers stay numbers.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\n", " ")


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A header and a line for each row; what a row lacks, or is None, is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    value = value.replace("\r", " ")  # Python does not quote it, and readers end a line there
    return f"'{value}" if value.startswith(_FORMULA) else value
