"""What becomes of shards that end the process that does them: done again apart, divided, and in the end given up.

`Quarantine` knows who is suspected; here is what is done about it, and said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

import anyio

from crawler.dataset.files import Damaged
from crawler.dataset.run import RunDirectory, damage_of
from crawler.dataset.steps import FIRST_DIVIDED, PROBES, Step
from crawler.executors.division import Contents, NoRoom, divide, look_into
from crawler.executors.network_shares import DIVIDED
from crawler.executors.quarantine import Quarantine
from crawler.model.errors import ScanFailed, disk_trouble
from crawler.settings.config import Config


class Culprits:
    """The suspected and guilty shards of a scan, one step after the other."""

    def __init__(
        self,
        run: RunDirectory,
        config: Config,
        say: Callable[[str], None],
        on_incident: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_incident` is called when `given_up` has grown, before the shard is done."""
        self._run = run
        self._config = config
        self._say = say
        self._on_incident = on_incident
        self._step: Step | None = None
        self._last_tries: set[int] = set()  # guilty shards of one row that are tried once more
        self._undecided: set[int] = set()  # guilty shards that are being looked into
        self._given_up_of: Counter[str] = Counter()  # times that something was given up, by registrable domain
        self.quarantine = Quarantine()
        self.hopeless: set[int] = set()  #: shards of the step that are given up
        self.given_up: list[dict[str, Any]] = []  #: for the manifest

    def begin(self, step: Step) -> None:
        """Forget the shards of the step before."""
        self._step, self.quarantine = step, Quarantine()
        self._last_tries, self._undecided, self.hopeless = set(), set(), set()

    def __bool__(self) -> bool:
        """Whether there are shards to be done in quarantine, or to be decided on."""
        return bool(self.quarantine or self._undecided)

    def suspect(self, shards: Collection[int], problem: str) -> int | None:
        """What ended a process is among these.  Returns the shard that did it once that is known; `condemn` must follow."""
        assert self._step is not None
        guilty = self.quarantine.suspect(shards)
        if guilty is not None:
            self._undecided.add(guilty)
        elif len(shards) > 1:
            self._say(f"{problem}, with {len(shards)} shards of {self._step.name} in hand; they are done again apart")
        return guilty

    async def condemn(self, shard: int, problem: str, lots: dict[int, object]) -> None:
        """Divide a shard that ends its process; give it up if it is one row, or if its owner's rows did so often before.

        The new shards get their lots.  Raises `ScanFailed`.
        """
        assert self._step is not None
        if shard in self.hopeless:
            raise ScanFailed(f"{self._step.name} shard {shard} could not even be given up: {problem}")
        try:
            contents = await anyio.to_thread.run_sync(look_into, self._run, self._step, shard)
            half = contents.first_half
            if half is not None and self._given_up_of[contents.owner or ""] < self._config.watch.given_up_alone:
                per_network = self._config.pacing.per_network
                pieces = await anyio.to_thread.run_sync(divide, self._run, self._step, shard, half, per_network)
                self._say(f"{self._step.name} shard {shard}: {problem}; it is divided to find what does so")
                lot = lots.get(shard) or (f"{DIVIDED}{shard}" if self._step is PROBES else None)
                for piece in reversed(pieces):
                    if lot is not None:
                        lots[piece] = lot
                    self.quarantine.add(piece, ended_alone=1)  # half of what is known to be guilty
            elif shard >= FIRST_DIVIDED and shard not in self._last_tries:
                self._last_tries.add(shard)  # as the last time may have been an accident
                self.quarantine.add(shard, ended_alone=1)
            else:
                self._give_up(shard, contents, problem)
        except Damaged as error:
            raise damage_of(error) from error
        except OSError as error:
            if (words := disk_trouble(error)) is None:
                raise
            raise ScanFailed(f"{self._run.path}: cannot be written ({words})") from error
        except NoRoom as error:
            raise ScanFailed(f"{error}; at last: {problem}") from error
        self._undecided.discard(shard)

    def _give_up(self, shard: int, contents: Contents, problem: str) -> None:
        assert self._step is not None
        self._given_up_of[contents.owner or contents.name] += 1
        words = contents.name + (f" and {contents.rows - 1:,} more" if contents.first_half is not None else "")
        if len(self._given_up_of) > (most := self._config.watch.given_up):
            raise ScanFailed(
                f"more than {most} domains had to be given up (watch.given_up), at last {words}: {problem}"
            )
        self._say(f"gave up {words}: {problem}")
        self.given_up.append({"step": self._step.name, "shard": shard, "name": words, "problem": problem})
        self._on_incident()
        self.hopeless.add(shard)
        self.quarantine.add(shard)
