"""The opt-outs in the course of a run: read again when asked to, and how far they reach.

This module says what was read and what that means, to the person and in the manifest; who may be contacted
is decided in `exclusions`.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anyio

from crawler.dataset.manifest import amend, with_reload
from crawler.dataset.run import RunDirectory
from crawler.executors.kept_opt_outs import keep
from crawler.executors.processes import Pool
from crawler.model.errors import ConfigError, ScanFailed
from crawler.politeness.opt_out_file import OptOuts, read_opt_outs
from crawler.politeness.opt_out_reach import Reach
from crawler.scan.plan import Tick, cut_endpoints
from crawler.settings.config import Config


class Consent:
    """What was read of the opt-outs, at first and last."""

    def __init__(self, run: RunDirectory, config: Config, opt_outs: OptOuts, say: Callable[[str], None]) -> None:
        self._run, self._config, self._say = run, config, say
        self.opt_outs = opt_outs  #: those in force

    def keep(self) -> dict[str, str] | None:
        """Have a copy of those in force in the run; returns what a process needs to read it.  Raises `ScanFailed`."""
        try:
            return keep(self._run, self.opt_outs)
        except OSError as error:
            raise ScanFailed(f"{self._run.path}: the opt-outs cannot be written there ({error.strerror})") from error

    async def reload(self, pool: Pool) -> None:
        """Have the opt-outs read again; if they cannot be, those in force stay in force everywhere.

        Raises `ScanFailed` if that cannot be written down.
        """
        if not self.opt_outs.path:
            self._say("no opt-outs to read again; name their file by --exclude")
            return
        try:
            found = await anyio.to_thread.run_sync(_read_again, Path(self.opt_outs.path))
        except ConfigError as error:
            self._say(f"{error}; the opt-outs in force stay in force")
            return
        self._say("reading the opt-outs again")
        self.opt_outs = found
        for line in found.lines():
            self._say(line)
        await pool.reload(await anyio.to_thread.run_sync(self.keep))
        try:
            amend(self._run, lambda manifest: with_reload(manifest, found.as_dict()))
        except OSError as error:
            raise ScanFailed(f"{self._run.path}: the manifest cannot be written ({error.strerror})") from error

    def cut_endpoints(self, workers: int, tick: Tick) -> None:
        """Make the plan of PROBE, and say of opt-outs that reach many names how many, before anybody is contacted."""
        reach = Reach(self.opt_outs)
        cut_endpoints(self._run, self._config, workers, tick, reach)
        amend(self._run, lambda manifest: replace(manifest, opt_outs_that_reach_far=reach.far()))
        for line in reach.lines():
            self._say(line)


def _read_again(path: Path) -> OptOuts:
    """Raises `ConfigError`, for a pipe too: it is empty by now, or never ends."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError(f"{path}: opt-outs cannot be read again, as this is no file")
    except OSError:
        pass  # said by who reads it
    return read_opt_outs(path)
