"""What is known when a scan starts, for tests that choose a run without a machine to check."""

from __future__ import annotations

from pathlib import Path

import certifi

from crawler.lists.reader import ListFacts
from crawler.politeness.opt_out_file import OptOuts
from crawler.preflight.checks import Resolver
from crawler.preflight.readiness import Readiness
from crawler.scan.choose_run import RunContext


def run_context(trust_anchors: Path | None = None) -> RunContext:
    """A list of one line, one resolver, no opt-outs."""
    readiness = Readiness(
        OptOuts(),
        trust_anchors or Path(certifi.where()),
        {"library": "OpenSSL"},
        resolvers=(Resolver("127.0.0.1:53", True, True, True),),
    )
    return RunContext("list.txt", ListFacts("00" * 32, 10, 1), readiness)
