"""`report`: adoption figures of one run as a static site."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `starttls-crawler`."""
    parser = subparsers.add_parser(
        "report",
        help="write adoption figures of a run as a static site",
        description="Write adoption figures of a run, charts and downloads as a static site.",
    )
    parser.add_argument("--data", metavar="DIR", type=Path, required=True, help="directory that `scan --data` wrote to")
    parser.add_argument("--out", metavar="SITE", type=Path, required=True, help="directory to write the site to")
    parser.add_argument("--run", metavar="ID", dest="run_id", help="which run (default: the newest finished)")
    parser.add_argument(
        "--weights", metavar="CSV", type=Path, help="CSV `domain,messages`: weight domains by message volume"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the site and say where; raises `UsageError` for what cannot be read or written."""
    # The heavy libraries are loaded only when the command runs, so `--help` of any command stays quick.
    from analysis.dataset import Run
    from analysis.publish.site import publish
    from analysis.weights import load_weights

    with Run.open(args.data, args.run_id) as opened:
        weights = None if args.weights is None else load_weights(args.weights, opened)
        page = publish(opened, args.out, weights)
        if not opened.finished:
            sys.stderr.write(f"run {opened.id} is not finished; the report says so and covers what is there\n")
    sys.stdout.write(f"{page}\n")
    return 0
