"""The program `starttls-crawler`: its commands, and what becomes of their errors.

Each command is a module with `add_parser`.  What a command needs is imported when it runs, so that `--help` is quick.
Commands of other packages are found by the entry-point group `starttls_crawler.commands`.  An error becomes one line.

Exit codes: 0 done; 1 the run failed, or is suspect; 2 wrong usage or input; 3 stopped early as asked; 130 and 143
interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import logging
import os
import signal
import sys
import tomllib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from crawler import __version__
from crawler.commands import doctor, probe, rejudge, scan
from crawler.commands.console import PROGRAM, Parser, check_text, complain, examples
from crawler.executors.lean_process import NoPandas
from crawler.model.errors import CommandFailed, UsageError
from crawler.model.visible import log_to_terminal

log = logging.getLogger(__name__)

COMMANDS = "starttls_crawler.commands"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    log_to_terminal()
    try:
        words = list(sys.argv[1:] if arguments is None else arguments)
        check_text(words)
        options = build_parser().parse_args(words)
        if arguments is None and options.run.__module__.startswith(
            "crawler."
        ):  # we are the program, and it only measures
            sys.meta_path.insert(0, NoPandas())
        code = int(options.run(options))
        sys.stdout.flush()  # here, so that a full device is noticed in time
        return code
    except UsageError as error:
        return complain(error, 2)
    except CommandFailed as error:
        return complain(error, 1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has closed the pipe; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        # Such as a full device behind standard output; what was to be stored is guarded where it is stored.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return complain(error, 1)


def build_parser() -> argparse.ArgumentParser:
    """The parser with all commands there are."""
    parser = Parser(
        prog=PROGRAM,
        description="Measure STARTTLS across the Internet: mail hosts, their TLS, and what defends it.",
        epilog=examples(
            "scan list.txt --data data --ehlo-name probe.example.net",
            "stats --data data",
            "lab --domains 1000 --dir lab        # a pretend Internet to try it on",
        ),
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for command in (scan, probe, doctor, rejudge, *_others()):
        command.add_parser(commands)
    return parser


def _others() -> Iterator[Any]:
    """Modules with `add_parser(subparsers)`: the lab's, and those other packages have registered."""
    targets = {"lab": "crawler.commands.lab"} if find_spec("crawler.lab") else {}
    for name, target in (targets | _registered()).items():
        try:
            yield importlib.import_module(target)
        except ImportError as error:
            log.warning("command %s is not available: %s", name, error)


def _registered() -> dict[str, str]:
    """The entry points of the group; of a source tree that was not installed, as its `pyproject.toml` lists them."""
    if found := {entry.name: entry.value for entry in importlib.metadata.entry_points(group=COMMANDS)}:
        return found
    project = Path(__file__).parent.parent.parent / "pyproject.toml"
    if not project.exists():
        return {}
    listed: dict[str, str] = tomllib.loads(project.read_text("utf-8"))["project"]["entry-points"][COMMANDS]
    return listed
