"""Commands that `starttls-crawler` finds by entry point: arguments in, exit code out; no logic of measuring.

What both commands take is here.  The heavy libraries are loaded only when a command runs, so `--help` stays quick.
"""

from __future__ import annotations

import argparse
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from analysis.figures.grouping import SMALLEST_GROUP
from analysis.runs.limits import MEMORY_LIMIT
from crawler.model.errors import UsageError

#: What the extra `analysis` of pyproject.toml installs.
_LIBRARIES = ("duckdb", "jinja2", "matplotlib", "pandas", "pytz")

_SIZE = re.compile(r"[1-9][0-9]{0,5}(?:\.[0-9]{1,3})?[KMGT]i?B", re.ASCII).fullmatch


def add_shared(parser: Any) -> None:
    """Options of every command that shows the figures of a run."""
    parser.add_argument(
        "--data", metavar="DIR", required=True, help="where `scan --data` wrote to: a directory, s3://… or gs://…"
    )
    parser.add_argument(
        "--run", metavar="ID", dest="run_id", help="which run (default: the newest finished one without a limit)"
    )
    parser.add_argument(
        "--weights", metavar="CSV", type=Path, help="CSV `domain,messages`: weight domains by message volume"
    )
    parser.add_argument(
        "--policy-list",
        metavar="FILE",
        type=Path,
        help="policy.json in the format of STARTTLS Everywhere: who is on it and keeps what it promises",
    )
    parser.add_argument(
        "--smallest-group",
        metavar="N",
        type=_count,
        default=SMALLEST_GROUP,
        help="groups of fewer domains are shown as one, so that none is about a few named hosts (default: %(default)s)",
    )
    parser.add_argument(
        "--memory-limit",
        metavar="SIZE",
        type=_size,
        default=MEMORY_LIMIT,
        help="memory that joins may take; what does not fit goes to the temporary directory (default: %(default)s)",
    )


def ensure_installed() -> None:
    """Raise `UsageError`, which says what to install, where the libraries that count are not there."""
    missing = [library for library in _LIBRARIES if not _is_there(library)]
    if missing:
        raise UsageError(
            f"this command needs {', '.join(missing)}, with which only the analysis is installed; "
            "pip install 'starttls-crawler[analysis]' installs it"
        )


def _is_there(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except ImportError:
        return False


def _size(text: str) -> str:
    if not _SIZE(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no size, e.g. 500MB or 8GB")
    return text


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1_000_000_000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of domains, 1 or more")
    return int(text)
