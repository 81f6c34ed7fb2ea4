"""Commands and options of `starttls-crawler`; no logic.

An option becomes a setting, a command becomes a call, an error becomes one line.
What a command needs is imported when it runs, so that `--help` is quick.  Commands of other packages
are found by the entry-point group `starttls_crawler.commands`.

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
from typing import Any, NoReturn

from crawler import __version__
from crawler.arguments import directory, duration, named_port
from crawler.config import Config, UsageError
from crawler.errors import CommandFailed

log = logging.getLogger(__name__)

PROGRAM = "starttls-crawler"
COMMANDS = "starttls_crawler.commands"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        options = build_parser().parse_args(arguments)
        code = int(options.run(options))
        sys.stdout.flush()  # here, so that a full device is noticed in time
        return code
    except UsageError as error:
        return _complain(error, 2)
    except CommandFailed as error:
        return _complain(error, 1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        # Such as a full device behind standard output; what was to be stored is guarded where it is stored.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _complain(error, 1)


def _complain(error: Exception, code: int) -> int:
    sys.stderr.write(f"{PROGRAM}: error: {' '.join(str(error).split())}\n")
    return code


class _Parser(argparse.ArgumentParser):
    """Wrong usage is one line, like all wrong input."""

    def __init__(self, **options: Any) -> None:
        fixed = {"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter}
        super().__init__(**{**fixed, **options})

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def build_parser() -> argparse.ArgumentParser:
    """The parser with all commands there are."""
    parser = _Parser(
        prog=PROGRAM,
        description="Measure STARTTLS across the Internet: mail hosts, their TLS, and what defends it.",
        epilog=_examples(
            "scan list.txt --data data --ehlo-name probe.example.net",
            "stats --data data",
            "lab --domains 1000 --dir lab        # a pretend Internet to try it on",
        ),
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    _add_scan(commands)
    _add_probe(commands)
    _add_doctor(commands)
    for adder in _others():
        adder.add_parser(commands)
    return parser


def _examples(*lines: str) -> str:
    return "examples:\n" + "\n".join(f"  {PROGRAM} {line}" for line in lines)


# --- commands --------------------------------------------------------------------------------------


def _add_scan(commands: Any) -> None:
    parser = commands.add_parser(
        "scan",
        help="the main job: a list of domains in, Parquet tables out",
        description="Resolve every domain of LIST, probe each of their mail hosts once, and write Parquet tables\n"
        "under DIR/run=ID.  The same command continues a run that was interrupted.\n"
        "Exit code 0: done; 1: the run failed or its result is implausible; 2: wrong usage or input;\n"
        "3: stopped early by --max-runtime, the same command continues; 130, 143: interrupted.",
        epilog=_examples(
            "scan top-1m.csv.gz --data data --ehlo-name probe.example.net",
            "scan list.txt --data data --config lab/lab.toml",
            "scan top-1m.csv --data data --config night.toml --limit 100000 --max-runtime 8h",
            "scan list.txt --data s3://bucket/scans --ehlo-name probe.example.net",
            "scan - --data data --ehlo-name probe.example.net < list.txt",
        ),
    )
    parser.add_argument(
        "list",
        metavar="LIST",
        help="domains: plain text, CSV, URLs, mail addresses, zone file or Parquet, text also as .gz .zst .xz .zip; - for standard input",
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
    parser.add_argument("--limit", metavar="N", type=int, help="only the first N names of the list")
    parser.add_argument("--workers", metavar="N", type=int, help="processes (default: one per core)")
    parser.add_argument(
        "--max-runtime",
        metavar="DURATION",
        type=duration,
        help="stop by itself after this time, e.g. 90m or 8h; exit code 3, and the same command continues",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary; errors only")
    _add_settings(parser)
    parser.set_defaults(run=_scan)


def _scan(options: argparse.Namespace) -> int:
    from crawler.copies import place
    from crawler.errors import ScanFailed
    from crawler.progress import Progress
    from crawler.scan import Request, scan

    config = config_of(options)
    data, store = place(options.data, options.work_dir)
    progress = Progress(quiet=options.quiet)
    try:
        return scan(Request(options.list, data, config, options.run_id, progress, options.accept_invalid, store=store))
    except ScanFailed as error:
        return _complain(error, 1)


def _add_probe(commands: Any) -> None:
    parser = commands.add_parser(
        "probe",
        help="one domain or mail host, explained for a person",
        description="Resolve and probe one mail domain (or, with --host, one mail host) and explain what was found.\n"
        "Exit code 0: everything was found out, be it good or bad; 1: something stayed unknown; 2: wrong usage.",
        epilog=_examples(
            "probe example.com --ehlo-name probe.example.net",
            "probe mx1.example.com --host --json --ehlo-name probe.example.net",
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
    _add_settings(parser)
    parser.set_defaults(run=_probe)


def _probe(options: argparse.Namespace) -> int:
    explain = importlib.import_module("crawler.explain")
    config, name, listed = config_of(options), options.name, options.policy_list
    code = explain.run(
        config, name, as_host=options.host, address=options.address, as_json=options.json, policy_list=listed
    )
    return int(code)


def _add_doctor(commands: Any) -> None:
    parser = commands.add_parser(
        "doctor",
        help="can this machine measure? resolver, name, limits, clock, disk",
        description="Check what a scan depends on; exit code 1 if something stands in its way.",
        epilog=_examples("doctor --ehlo-name probe.example.net", "doctor --json --data /var/lib/scans"),
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--data", metavar="DIR", type=directory, default=Path(), help="where runs will be written")
    parser.add_argument("--connect", metavar="HOST", help="a mail host of your own: can its port be reached from here?")
    parser.add_argument("--secure-name", metavar="NAME", default=".", help="a name that is signed (default: the root)")
    parser.add_argument(
        "--bogus-name", metavar="NAME", default="dnssec-failed.org", help="a name that is signed wrongly (%(default)s)"
    )
    _add_settings(parser)
    parser.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from crawler import doctor

    questions = doctor.Questions(options.secure_name, options.bogus_name, options.connect)
    return doctor.run(config_of(options), options.data, questions, as_json=options.json)


def _others() -> Iterator[Any]:
    """Modules with `add_parser(subparsers)`: our own, the lab's, and those other packages have registered."""
    targets = {"rejudge": "crawler.commands.rejudge"}
    if find_spec("crawler.lab.commands"):
        targets["lab"] = "crawler.lab.commands"
    for name, target in (targets | _registered()).items():
        try:
            yield importlib.import_module(target)
        except ImportError as error:
            log.warning("command %s is not available: %s", name, error)


def _registered() -> dict[str, str]:
    """The entry points of the group; of a source tree that was not installed, as its `pyproject.toml` lists them."""
    if found := {entry.name: entry.value for entry in importlib.metadata.entry_points(group=COMMANDS)}:
        return found
    project = Path(__file__).parent.parent / "pyproject.toml"
    if not project.exists():
        return {}
    listed: dict[str, str] = tomllib.loads(project.read_text("utf-8"))["project"]["entry-points"][COMMANDS]
    return listed


# --- options that are settings ---------------------------------------------------------------------


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Options of every command that measures; each is a setting of `Config`, and none has a default here."""
    group = parser.add_argument_group("settings", "Each may stand in a TOML file given by --config; options here win.")
    group.add_argument("--config", metavar="FILE.toml", type=Path, help="settings, and every limit and time-out")
    group.add_argument(
        "--resolver",
        metavar="HOST[:PORT]",
        action="append",
        help="validating resolver (default 127.0.0.1:53); repeatable",
    )
    group.add_argument("--trust-ad", action="store_true", default=None, help="trust a remote resolver's validation")
    group.add_argument("--ehlo-name", metavar="FQDN", help="who we say we are: this machine's full name")
    group.add_argument("--protocol", metavar="NAME", action="append", help="what to probe (default smtp); repeatable")
    group.add_argument(
        "--port", metavar="NAME=PORT", action="append", type=named_port, help="a protocol's port, e.g. smtp=2525"
    )
    group.add_argument(
        "--allow-network",
        metavar="CIDR",
        action="append",
        help="special-purpose space that may be contacted; repeatable",
    )
    group.add_argument("--exclude", metavar="FILE", help="names and networks that asked not to be probed")
    group.add_argument("--ca-file", metavar="PEM", help="trust anchors (default: certifi's)")
    group.add_argument("--vantage", metavar="NAME", help="name of the place measured from")
    group.add_argument(
        "--source-address", metavar="IP", action="append", help="address to connect from; one per family"
    )
    for name, asked in (("tlsa", "TLSA records"), ("mta-sts", "MTA-STS"), ("tlsrpt", "TLSRPT")):
        dest = name.replace("-", "_")
        group.add_argument(
            f"--no-{name}", dest=dest, action="store_false", default=None, help=f"do not ask for {asked}"
        )
    group.add_argument("--ipv4", action="store_true", help="IPv4 only (with --ipv6: both, whatever the file says)")
    group.add_argument("--ipv6", action="store_true", help="IPv6 only")


_SETTINGS = (
    "resolver", "trust_ad", "ehlo_name", "protocol", "allow_network", "exclude", "ca_file", "vantage", "source_address",
    "tlsa", "mta_sts", "tlsrpt", "limit", "workers", "max_runtime",
)  # fmt: skip


def config_of(options: argparse.Namespace) -> Config:
    """The settings of a command: defaults, then the file, then its options.  Raises `ConfigError`."""
    flags = {name: value for name in _SETTINGS if (value := getattr(options, name, None)) is not None}
    if options.port:
        flags["port"] = dict(options.port)
    if options.ipv4 or options.ipv6:
        flags |= {"ipv4": options.ipv4, "ipv6": options.ipv6}
    return Config.load(options.config, flags)
