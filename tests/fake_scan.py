"""`starttls-crawler` as it is, but for worker processes whose network is made up.

FAKE_PACE is how long it waits for an object store, in place of the seconds and minutes that are right for real ones.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from crawler import cli, copy_note, working_copy
from crawler import scan as real

FAKE_WORKER = (sys.executable, "-P", str(Path(__file__).with_name("fake_worker.py")))


def scan(request: real.Request, genuine: object = real.scan) -> int:
    """Do the request with fake workers."""
    assert callable(genuine)
    return int(genuine(replace(request, command=FAKE_WORKER)))


if __name__ == "__main__":
    real.scan = scan
    if pace := float(os.environ.get("FAKE_PACE", "0")):
        working_copy.EVERY = working_copy.BEAT = pace
        working_copy.LAST_TRIES = copy_note.PATIENCE = 5 * pace
    sys.exit(cli.main())
