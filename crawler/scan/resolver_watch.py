"""Whether a resolver answers while names are resolved; without one every domain would be unknown, at great length.

The question is the one that `scan` begins with: the name servers of the root.  A resolver answers it from memory. So
the answer tells that the resolver is there, not that it reaches others. Names that it cannot find out show in the
counts (`plausibility.suspicions`).
"""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio

from crawler.executors.processes import Pool
from crawler.model.errors import ScanFailed
from crawler.preflight.checks import ask_resolver
from crawler.settings.config import Config

_LONGEST_PAUSE = 60.0


async def watch_resolver(config: Config, pool: Pool, is_resolving: Callable[[], bool]) -> None:
    """For ever, while names are resolved: hold the pool while no resolver answers.

    Raises `ScanFailed` when that lasts.
    """
    settings = config.watch
    last_answer = time.time()
    while True:
        await anyio.sleep(settings.resolver_every)
        asked_at = time.time()
        # Twice, as one question may be lost in the scan's own.
        if not is_resolving() or await _any_answers(config) or await _any_answers(config):
            last_answer = asked_at
            continue
        await pool.hold(last_answer, f"no resolver answers ({', '.join(config.resolver)})")
        await _sit_out(config)
        await pool.release()
        last_answer = time.time()


async def _sit_out(config: Config) -> None:
    """Wait until a resolver answers.  Raises `ScanFailed`."""
    settings = config.watch
    began, pause = time.monotonic(), settings.pause
    while not await _any_answers(config):
        if time.monotonic() - began > settings.patience:
            raise ScanFailed(
                f"no resolver answers ({', '.join(config.resolver)}), for {settings.patience:.0f} s; everything finished "
                "before is kept, and the same command continues"
            )
        await anyio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


async def _any_answers(config: Config) -> bool:
    for text in config.resolver:
        found = await anyio.to_thread.run_sync(ask_resolver, text, config, abandon_on_cancel=True)
        if found.answers:
            return True
    return False
