"""`starttls-crawler` as it is, but for worker processes whose network is made up.

FAKE_PACE is how long it waits for an object store, in place of the seconds and minutes that are right for real ones.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from crawler.commands import main as cli
from crawler.object_store import lease, session
from crawler.scan import job as real

FAKE_WORKER = (sys.executable, "-P", str(Path(__file__).with_name("fake_worker.py")))


def scan(request: real.ScanJob, genuine: object = real.scan) -> int:
    """Do the request with fake workers."""
    assert callable(genuine)
    return int(genuine(replace(request, command=FAKE_WORKER)))


if __name__ == "__main__":
    real.scan = scan
    if pace := float(os.environ.get("FAKE_PACE", "0")):
        session.EVERY = session.BEAT = pace
        session.LAST_TRIES = lease.PATIENCE = 5 * pace
    sys.exit(cli.main())
