"""`doctor`: whether this machine can measure."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from crawler.commands.arguments import directory
from crawler.commands.console import examples
from crawler.commands.options import add_settings, config_of


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `starttls-crawler`."""
    parser = commands.add_parser(
        "doctor",
        help="can this machine measure? resolver, name, limits, clock, disk",
        description="Check what a scan depends on; exit code 1 if something stands in its way.",
        epilog=examples("doctor --ehlo-name probe.example.net", "doctor --json --data /var/lib/scans"),
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--data", metavar="DIR", type=directory, default=Path(), help="where runs will be written")
    parser.add_argument("--connect", metavar="HOST", help="a mail host of your own: can its port be reached from here?")
    parser.add_argument("--secure-name", metavar="NAME", default=".", help="a name that is signed (default: the root)")
    parser.add_argument(
        "--bogus-name", metavar="NAME", default="dnssec-failed.org", help="a name that is signed wrongly (%(default)s)"
    )
    add_settings(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check this machine; returns the exit code."""
    from crawler.preflight import doctor

    questions = doctor.Questions(options.secure_name, options.bogus_name, options.connect)
    return doctor.run(config_of(options), options.data, questions, as_json=options.json)
