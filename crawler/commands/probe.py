"""`probe`: one domain or mail host, explained for a person."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from crawler.commands.console import examples
from crawler.commands.options import add_settings, config_of


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `starttls-crawler`."""
    parser = commands.add_parser(
        "probe",
        help="one domain or mail host, explained for a person",
        description="Resolve and probe one mail domain (or, with --host, one mail host) and explain\n"
        "what was found.\n"
        "Exit code 0: everything was found out, be it good or bad;\n"
        "1: something stayed unknown; 2: wrong usage.",
        epilog=examples(
            "probe example.com --ehlo-name probe.example.net",
            "probe mx1.example.com --host --json --ehlo-name probe.example.net",
            "probe example.com --protocol mail --ehlo-name probe.example.net",
            "probe example.com --policy-list policy.json --ehlo-name probe.example.net",
        ),
    )
    parser.add_argument("name", metavar="NAME", help="mail domain, or mail host with --host")
    parser.add_argument("--host", action="store_true", help="NAME is a mail host")
    parser.add_argument("--address", metavar="IP", help="probe only this address of the host")
    parser.add_argument(
        "--policy-list",
        metavar="FILE",
        type=Path,
        help="policy.json in the format of STARTTLS Everywhere: is NAME on it, and does it keep what it promises?",
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    add_settings(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure and explain; returns the exit code."""
    from crawler.explain import explain

    config, name, listed = config_of(options), options.name, options.policy_list
    return explain.run(
        config, name, as_host=options.host, address=options.address, as_json=options.json, policy_list=listed
    )
