"""`stats`: adoption figures of one run as a table, CSV or JSON."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from analysis.commands import add_shared, ensure_installed
from analysis.figures.grouping import GROUPS
from crawler.model.visible import visible

LARGEST = {"table": 20, "csv": 1_000, "json": 1_000}
"""Groups kept apart by `--by`; the rest is one group, so that output stays bounded."""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser of `starttls-crawler`."""
    parser = subparsers.add_parser(
        "stats",
        help="print adoption figures of a run",
        description="Print adoption figures of a run, with what is observed, inferred and unknown.",
        epilog="examples:\n"
        "  starttls-crawler stats --data data\n"
        "  starttls-crawler stats --data data --by provider --format csv\n"
        "  starttls-crawler stats --data data --policy-list policy.json\n",
    )
    add_shared(parser)
    parser.add_argument("--by", choices=tuple(GROUPS), help="break the figures of the headline rule down by this")
    parser.add_argument("--format", choices=("table", "csv", "json"), default="table", help="default: table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the figures; raises `UsageError` for what cannot be read."""
    ensure_installed()
    # The heavy libraries are loaded only when the command runs, so `--help` of any command stays quick.
    from analysis.figures.compute import compute
    from analysis.figures.policy_list import load_policy_list
    from analysis.figures.weights import load_weights
    from analysis.runs.remote import opened_run
    from analysis.tables import json_csv as machine
    from analysis.tables import terminal

    with opened_run(args.data, args.run_id, memory_limit=args.memory_limit) as opened:
        sys.stderr.writelines(visible(f"{note}\n") for note in opened.notes)
        weights = None if args.weights is None else load_weights(args.weights, opened)
        listing = None if args.policy_list is None else load_policy_list(args.policy_list, opened)
        sys.stderr.writelines(visible(f"{line}\n") for line in (listing.warnings if listing else ()))
        computed = compute(
            opened,
            weights,
            listing,
            by=() if args.by is None else (args.by,),
            largest=LARGEST[args.format],
            smallest_group=args.smallest_group,
        )
    if args.format == "json":
        document = machine.document(computed, args.by)
        sys.stdout.write(visible(json.dumps(document, indent=2, ensure_ascii=False) + "\n"))
    elif args.format == "csv":
        chosen = computed.figures if args.by is None else computed.groups[args.by]
        sys.stdout.write(visible(machine.table(chosen + (computed.listed.figures if computed.listed else []))))
    else:
        terminal.print_stats(terminal.console(), computed, args.by)
    return 0
