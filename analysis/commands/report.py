"""`report`: adoption figures of one run as a static site."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from analysis.commands import add_shared, ensure_installed
from crawler.model.visible import visible


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `starttls-crawler`."""
    parser = subparsers.add_parser(
        "report",
        help="write adoption figures of a run as a static site",
        description="Write adoption figures of a run, charts and downloads as a static site.",
        epilog="examples:\n"
        "  starttls-crawler report --data data --out site\n"
        "  starttls-crawler report --data data --out site --weights volumes.csv --policy-list policy.json\n",
    )
    add_shared(parser)
    parser.add_argument("--out", metavar="SITE", type=Path, required=True, help="directory to write the site to")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the site and say where; raises `UsageError` for what cannot be read or written."""
    ensure_installed()
    # The heavy libraries are loaded only when the command runs, so `--help` of any command stays quick.
    from analysis.figures.compute import compute
    from analysis.figures.policy_list import load_policy_list
    from analysis.figures.weights import load_weights
    from analysis.runs.remote import opened_run
    from analysis.site.report import GROUPED_BY, check_site, publish
    from crawler.dataset.stored_runs import check_apart
    from crawler.object_store.url import is_location

    check_site(args.out)
    if not is_location(args.data):
        check_apart(Path(args.data), args.out)
    with opened_run(args.data, args.run_id, memory_limit=args.memory_limit) as opened:
        sys.stderr.writelines(visible(f"{note}\n") for note in opened.notes)
        weights = None if args.weights is None else load_weights(args.weights, opened)
        listing = None if args.policy_list is None else load_policy_list(args.policy_list, opened)
        sys.stderr.writelines(visible(f"{line}\n") for line in (listing.warnings if listing else ()))
        computed = compute(opened, weights, listing, by=GROUPED_BY, smallest_group=args.smallest_group)
    page = publish(computed, args.out)
    sys.stdout.write(visible(f"{page}\n"))
    return 0
