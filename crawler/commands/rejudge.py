"""`rejudge`: the stored chains of a finished run judged again, by another store or another rule."""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path
from typing import Any

from crawler.commands.arguments import directory


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `starttls-crawler`."""
    parser = subparsers.add_parser(
        "rejudge",
        help="judge the stored chains of a finished run again, without a new scan",
        description="Judge the stored chains of a finished run again, by other trust anchors or\n"
        "another rule, without a new scan.  DIR2/run=ID is a run like the other: verdicts\n"
        "on chains are new, everything else is as it was, and the manifest says how it\n"
        "came about.",
        epilog="examples:\n"
        "  starttls-crawler rejudge --data data --out windows --ca-file windows-roots.pem\n"
        "  starttls-crawler rejudge --data data --run 20260101T000000Z --out known --intermediates known\n"
        "  starttls-crawler stats --data windows",
    )
    parser.add_argument(
        "--data", metavar="DIR", type=directory, required=True, help="directory that `scan --data` wrote to"
    )
    parser.add_argument(
        "--run", metavar="ID", dest="run_id", help="which run (default: the newest finished one without a limit)"
    )
    parser.add_argument("--out", metavar="DIR2", type=Path, required=True, help="directory to put the new run into")
    parser.add_argument("--ca-file", metavar="PEM", default="", help="trust anchors (default: those of the run)")
    parser.add_argument(
        "--intermediates",
        choices=("as-sent", "known"),
        default="as-sent",
        help="judge each chain as it was sent (default), or as if senders knew every intermediate that a host of the "
        "run sent and that leads to a trust anchor",
    )
    parser.add_argument(
        "--at",
        metavar="TIME",
        type=_time,
        help="judge dates at this time, e.g. 2026-01-01T00:00:00Z (default: at each probe); DANE verdicts stay",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary; errors only")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Judge again and say what changed; raises `UsageError` for what cannot be read or written."""
    from crawler.chains.rejudge import Rule, rejudge
    from crawler.commands.progress import Progress

    rule = Rule(args.ca_file, args.intermediates, args.at)
    progress = Progress(quiet=args.quiet)
    progress.conclude(rejudge(args.data, args.run_id, args.out, rule, progress))
    return 0


def _time(text: str) -> datetime:
    from crawler.dataset.stored_manifest import time_of

    try:
        return time_of(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time of the years 1970 to 8999, e.g. 2026-01-01T00:00:00Z"
        ) from None
