"""One worker process as its parent sees it: its pipes, what it has in hand, how long it has been silent."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from crawler.executors.pool_limits import MAX_MESSAGE

log = logging.getLogger(__name__)

#: Where this package lies: a source tree that was not installed must be found by the workers too.
_ROOT = str(Path(__file__).resolve().parent.parent.parent)

#: `-P`: a folder named `crawler` in the current directory is not what is meant.
COMMAND = (sys.executable, "-P", "-m", "crawler.executors.worker")


@dataclass(eq=False)
class WorkerHandle:
    """A process that does shards, several at once."""

    process: Process
    active: set[int] = field(default_factory=set)  #: shards in hand
    is_quarantined: bool = False  #: what it has in hand is under suspicion; it gets nothing beside it
    silence: float = 0.0  #: seconds since its last message, as far as this process was awake to hear it
    ended_by_us: str | None = None  #: why we ended it
    doubts: bool = False  #: it looks whether there is an outage
    reports: int = 0  #: times that it said how it is, once a second
    answered: float = 0.0  #: when its last connection that stood was made, as it said

    @classmethod
    async def start(cls, command: Sequence[str], lock: int | None) -> WorkerHandle:
        """Start a process.  It inherits the descriptor of the run's lock, so that the run stays locked until it is gone."""
        path = os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH"))))
        process = await anyio.open_process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is for us alone
            pass_fds=() if lock is None else (lock,),
        )
        return cls(process)

    async def tell(self, message: dict[str, Any]) -> None:
        """Send a message.  One to a process that has died is lost, and its end is noticed by who listens."""
        assert self.process.stdin is not None
        try:
            await self.process.stdin.send(json.dumps(message).encode() + b"\n")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """Its messages until it ends."""
        assert self.process.stdout is not None
        lines = BufferedByteReceiveStream(self.process.stdout)
        while True:
            try:
                message = json.loads(await lines.receive_until(b"\n", MAX_MESSAGE))
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                return
            except (anyio.DelimiterNotFound, ValueError):
                log.warning("a worker process said what no worker says, or more than %d bytes at once", MAX_MESSAGE)
                self.process.kill()
                return
            self.silence = 0.0
            yield message

    def kill(self, why: str) -> None:
        """End it at once, stopped or stuck as it may be."""
        self.ended_by_us = why
        self.process.kill()

    async def ending(self) -> str:
        """Wait for its end; returns how it ended, in words."""
        code = await self.process.wait()
        if self.ended_by_us is not None:
            return self.ended_by_us
        return f"its process ended with {ending_of(code)}"


def ending_of(code: int) -> str:
    """How a process ended, in words."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"


async def dismiss(workers: Sequence[WorkerHandle], farewell: float) -> None:
    """End processes: the end of its standard input ends one at once; one that is stuck is killed after `farewell` seconds."""
    with anyio.move_on_after(farewell):
        for worker in workers:
            if worker.process.stdin is not None:
                await worker.process.stdin.aclose()
        for worker in workers:
            await worker.process.wait()
    for worker in workers:
        if worker.process.returncode is None:
            worker.process.kill()
        await worker.process.aclose()
