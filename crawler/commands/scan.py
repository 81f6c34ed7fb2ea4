"""`scan`: a list of domains in, Parquet tables out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from crawler.commands.arguments import duration
from crawler.commands.console import complain, examples
from crawler.commands.options import add_settings, config_of, words_of


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `starttls-crawler`."""
    parser = commands.add_parser(
        "scan",
        help="the main job: a list of domains in, Parquet tables out",
        description="Resolve every domain of LIST, probe each of their mail hosts once, and write\n"
        "Parquet tables under DIR/run=ID.  The same command continues a run that was\n"
        "interrupted.\n"
        "Exit code 0: done; 1: the run failed or its result is implausible; 2: wrong\n"
        "usage or input; 3: stopped early by --max-runtime, the same command continues;\n"
        "130, 143: interrupted.",
        epilog=examples(
            "scan top-1m.csv.gz --data data --ehlo-name probe.example.net",
            "scan list.txt --data data --config lab/lab.toml",
            "scan top-1m.csv --data data --config night.toml --limit 100000 --max-runtime 8h",
            "scan list.txt --data s3://bucket/scans --ehlo-name probe.example.net",
            "scan - --data data --ehlo-name probe.example.net < list.txt",
            "scan list.txt --protocol mail --data data --ehlo-name probe.example.net",
            "scan hosts.txt --hosts --protocol imap --protocol imaps --data data --ehlo-name probe.example.net",
        ),
    )
    parser.add_argument(
        "list",
        metavar="LIST",
        help="domains, or hosts with --hosts: plain text, CSV, URLs, mail addresses, zone file or Parquet, text also as .gz .zst .xz .zip; - for standard input",
    )
    parser.add_argument(
        "--data",
        metavar="DIR",
        required=True,
        help="directory of all runs, or s3://BUCKET/PREFIX or gs://BUCKET/PREFIX (docs/data.md; there is no lock there: "
        "see to it that one machine at a time works on a run)",
    )
    parser.add_argument(
        "--work-dir",
        metavar="DIR",
        type=Path,
        help="for s3:// and gs://: where a run is kept until it is finished (default: below ~/.local/state)",
    )
    parser.add_argument(
        "--run",
        metavar="ID",
        dest="run_id",
        help="name of this run (default: the unfinished one, else the time in UTC)",
    )
    parser.add_argument(
        "--accept-invalid",
        action="store_true",
        help="scan a list although more than half of its lines are no domain names",
    )
    parser.add_argument(
        "--hosts",
        action="store_true",
        default=None,
        help="LIST is one of hosts: HOST, HOST:PORT, ADDRESS or [ADDRESS]:PORT a line; no MX is looked up",
    )
    parser.add_argument("--limit", metavar="N", type=int, help=words_of("limit"))
    parser.add_argument("--workers", metavar="N", type=int, help=words_of("workers"))
    parser.add_argument(
        "--max-runtime",
        metavar="DURATION",
        type=duration,
        help="stop by itself after this time, e.g. 90m or 8h; exit code 3, and the same command continues",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary; errors only")
    add_settings(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Do or continue a run; returns the exit code."""
    from crawler.commands.progress import Progress
    from crawler.model.errors import ScanFailed
    from crawler.object_store.checkout import place
    from crawler.scan.job import ScanJob, scan

    config = config_of(options)
    data, store = place(options.data, options.work_dir)
    progress = Progress(quiet=options.quiet)
    try:
        return scan(ScanJob(options.list, data, config, options.run_id, progress, options.accept_invalid, store=store))
    except ScanFailed as error:
        return complain(error, 1)
