"""The commands `lab`, `accuracy` and `demo`.

It holds options and their order.  `accuracy` and `demo` start the lab and the scan as processes
of their own, as a person would, and end the lab whatever happens.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from crawler.commands import lab_options
from crawler.lab.alone import alone_in
from crawler.model.errors import UsageError
from crawler.model.visible import visible

_PROGRAM = (sys.executable, "-m", "crawler")
_START_UP = 300.0  # seconds a lab may take until it listens; a million names take about one minute
_PATIENCE = 10.0  # seconds a lab may take to stop


def add_parser(subparsers: Any) -> None:
    """Add the three commands to the parser of `starttls-crawler`."""
    lab = subparsers.add_parser(
        "lab",
        help="run a pretend Internet on loopback",
        description="Run a pretend Internet on loopback, name server and mail hosts, until stopped.\n"
        "DIR/lab.toml is for `scan --config`, DIR/policy.json for `--policy-list`.",
    )
    _add_list_options(lab)
    lab.add_argument("--dir", metavar="DIR", type=Path, default=Path("lab"), help="where lab.toml goes (default: lab)")
    lab.add_argument(
        "--smtp-port",
        metavar="PORT",
        type=lab_options.port,
        default=0,
        help="port of all mail hosts (default: a free one)",
    )
    lab.add_argument(
        "--dns-port",
        metavar="PORT",
        type=lab_options.port,
        default=0,
        help="port of the name server (default: a free one)",
    )
    lab.add_argument(
        "--https-port",
        metavar="PORT",
        type=lab_options.port,
        default=0,
        help="port of all policy hosts (default: a free one)",
    )
    lab.add_argument(
        "--outage",
        metavar="KIND:AFTER:SECONDS",
        type=lab_options.outage,
        action="append",
        help="let all mail hosts (`mail`) or the resolver (`resolver`) be gone after so many connections or questions, for so "
        "long; 0 seconds: for good; repeatable",
    )
    lab.add_argument(
        "--hostile",
        metavar="N",
        type=lab_options.hostile,
        default=0,
        help="N domains beside the others that attack whoever measures them (default: 0)",
    )
    lab.add_argument("--hostile-size", type=float, default=1.0, help=argparse.SUPPRESS)  # less than 1: for a quick test
    lab.add_argument("--until-eof", action="store_true", help="stop when standard input ends as well, for scripts")
    lab.set_defaults(run=run_lab)

    accuracy = subparsers.add_parser(
        "accuracy",
        help="scan the lab and hold every verdict against the truth",
        description="Scan the lab and print a confusion matrix of every verdict against the truth.\n"
        "Exit code 0: all are diagonal; 1: not all are.",
    )
    _add_list_options(accuracy)
    accuracy.add_argument("--data", metavar="DIR", type=Path, help="keep the dataset there (default: it is not kept)")
    accuracy.set_defaults(run=run_accuracy)

    demo = subparsers.add_parser(
        "demo",
        help="lab, scan, figures and report in one go",
        description="Start the lab, scan it, print the figures, write the report and say where it is.",
    )
    demo.add_argument(
        "--domains", metavar="N", type=lab_options.count, default=1_000, help="length of the list (default: 1000)"
    )
    demo.add_argument(
        "--seed", metavar="N", type=int, default=1, help="another number is another Internet (default: 1)"
    )
    demo.add_argument(
        "--data", metavar="DIR", type=Path, default=Path("demo/data"), help="dataset (default: demo/data)"
    )
    demo.add_argument("--out", metavar="SITE", type=Path, default=Path("demo/site"), help="report (default: demo/site)")
    demo.set_defaults(run=run_demo)


def _add_list_options(parser: argparse.ArgumentParser) -> None:
    names = parser.add_mutually_exclusive_group()
    names.add_argument(
        "--domains", metavar="N", type=lab_options.count, default=1_000, help="make up N domains (default: 1000)"
    )
    names.add_argument("--list", metavar="FILE", type=Path, help="the domains of this list")
    parser.add_argument(
        "--seed", metavar="N", type=int, default=1, help="another number is another Internet (default: 1)"
    )


# --- lab ------------------------------------------------------------------------------------------


def run_lab(args: argparse.Namespace) -> int:
    """Run the lab until SIGINT (130), SIGTERM (143) or, if asked for, the end of standard input (0)."""
    import anyio

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:  # every mail host is a listening socket
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with alone_in(args.dir):
        source = _list_file(args, args.dir)
        return anyio.run(_serve, args, source, backend_options={"use_uvloop": sys.implementation.name == "cpython"})


async def _serve(args: argparse.Namespace, source: Path) -> int:
    import asyncio

    from crawler.lab.lab import Lab

    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[int] = loop.create_future()

    def stop(code: int) -> None:
        if not stopped.done():
            stopped.set_result(code)

    def heed_input() -> None:
        if not os.read(sys.stdin.fileno(), 4_096):
            stop(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, 128 + number)
    if args.until_eof:
        loop.add_reader(sys.stdin.fileno(), heed_input)
    lab = Lab(
        partial(_names, source), seed=args.seed, directory=args.dir, smtp_port=args.smtp_port, dns_port=args.dns_port,
        https_port=args.https_port, outages=args.outage or (), hostile=args.hostile, hostile_size=args.hostile_size,
    )  # fmt: skip
    async with lab:
        _say(
            f"lab: {len(lab.mail)} addresses listen; scan it with: "
            f"starttls-crawler scan {source} --data DATA --config {lab.config_path}"
        )
        code = await stopped
    if args.until_eof:
        loop.remove_reader(sys.stdin.fileno())
    return code


def _names(source: Path) -> Iterator[str]:
    from crawler.lists.reader import read_targets

    return (target.domain for target in read_targets(source) if target.domain is not None)


def _list_file(args: argparse.Namespace, directory: Path) -> Path:
    """The list to scan; one that is made up is written down.  Raises `UsageError`."""
    from crawler.lab.adversary.names import hostile_names
    from crawler.lab.world.generated import generated_domains
    from crawler.lists.reader import survey

    given: Path | None = getattr(args, "list", None)
    hostile = getattr(args, "hostile", 0)
    if given is not None and hostile:
        raise UsageError("--hostile: its domains go into a list that is made up, so give --domains instead of --list")
    if given is not None:
        survey(given)
        return given
    path = directory / "list.txt"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as out:
            out.writelines(f"{name}\n" for name in generated_domains(args.domains, args.seed))
            out.writelines(f"{name}\n" for name in hostile_names(hostile))
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
    return path


# --- accuracy and demo ------------------------------------------------------------------------------


def run_accuracy(args: argparse.Namespace) -> int:
    """Lab, scan, comparison; 0 when every verdict is the truth, 1 when not."""
    from crawler.lab.accuracy.compare import compare_run

    with tempfile.TemporaryDirectory(prefix="accuracy-") as temporary, _orderly_end():
        source = _list_file(args, Path(temporary))
        data = args.data or Path(temporary, "data")
        run = f"accuracy-{datetime.now(UTC):%Y%m%dT%H%M%S}"
        with _lab(source, args.seed, Path(temporary, "lab")) as config:
            if code := _call("scan", source, "--data", data, "--config", config, "--run", run):
                return code
        comparison = compare_run(data / f"run={run}", source, args.seed)
    for line in comparison.lines():
        _say(line)
    return 0 if comparison.is_diagonal else 1


def run_demo(args: argparse.Namespace) -> int:
    """Lab, scan, figures and report, one after the other; the code of the first that fails."""
    from crawler.dataset.stored_runs import check_apart

    check_apart(args.data, args.out)
    with tempfile.TemporaryDirectory(prefix="demo-") as temporary, _orderly_end():
        source = _list_file(args, Path(temporary))
        run = f"demo-{datetime.now(UTC):%Y%m%dT%H%M%S}"
        _say(f"A pretend Internet with {args.domains} domains starts on loopback …")
        with _lab(source, args.seed, Path(temporary, "lab")) as config:
            if code := _call("scan", source, "--data", args.data, "--config", config, "--run", run):
                return code
        promised = Path(temporary, "lab", "policy.json")
        steps: tuple[Callable[[], int], ...] = (
            partial(_call, "stats", "--data", args.data, "--run", run, "--policy-list", promised),
            partial(_call, "report", "--data", args.data, "--run", run, "--out", args.out, "--policy-list", promised),
        )
        for step in steps:
            if code := step():
                return code
    _say(f"dataset: {args.data / f'run={run}'}")
    _say(f"report:  {(args.out / 'index.html').resolve().as_uri()}")
    return 0


@contextmanager
def _lab(source: Path, seed: int, directory: Path) -> Iterator[Path]:
    """A lab of its own process; gives its lab.toml and ends it in any case.

    It has a session of its own, so that Ctrl-C lets the scan come to its orderly end first, and it
    ends with our standard output's other end, so that not even SIGKILL leaves it behind.
    """
    command = (*_PROGRAM, "lab", "--list", source, "--seed", str(seed), "--dir", directory, "--until-eof")
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    config = directory / "lab.toml"
    try:
        deadline = time.monotonic() + _START_UP
        while not config.exists():
            if process.poll() is not None:
                raise UsageError(f"the lab did not start (exit code {process.returncode}); its words are above")
            if time.monotonic() > deadline:
                raise UsageError(f"the lab did not start within {_START_UP:g} seconds")
            time.sleep(0.02)
        yield config
    finally:
        process.terminate()
        try:
            process.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _call(*arguments: str | Path) -> int:
    """Run a command of this program and wait for it, through Ctrl-C too; returns its exit code."""
    process = subprocess.Popen((*_PROGRAM, *map(str, arguments)))
    try:
        return process.wait()
    except KeyboardInterrupt:  # it has had the signal as well
        return process.wait() or 128 + signal.SIGINT
    except BaseException:
        process.terminate()
        process.wait()
        raise


@contextmanager
def _orderly_end() -> Iterator[None]:
    """SIGTERM ends us through every `finally`."""

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _say(line: str) -> None:
    sys.stdout.write(visible(line + "\n"))
    sys.stdout.flush()
