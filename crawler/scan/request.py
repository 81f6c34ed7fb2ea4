"""What a scan is asked to do, and how many processes do it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crawler.executors.worker_handle import COMMAND
from crawler.model.reporting import Reporter, Silent
from crawler.object_store.client import Store
from crawler.settings.config import Config


@dataclass(frozen=True, slots=True)
class ScanJob:
    """What to scan and where to put it."""

    source: str  #: path of the list, `-` for standard input
    data: Path
    config: Config
    run: str | None = None
    progress: Reporter = field(default_factory=Silent)
    accept_invalid: bool = False  #: scan a list although most of its lines are no names
    command: Sequence[str] = COMMAND  #: how a worker process is started
    store: Store | None = None  #: where the run shall lie; `data` is then where it is worked on


def process_count(config: Config) -> int:
    """Worker processes: as asked, else one for each core that we may use; a provider's limit must go round."""
    return min(config.workers or len(os.sched_getaffinity(0)), config.pacing.per_provider)
