"""One file per protocol: the conversation up to the go-ahead for TLS, as a generator.

It does no I/O and has no clock.  A dialog yields a `Turn` (what to say, and the stage it
belongs to), is sent the `Reply`, writes what it learnt into the `Probe` row at once, so that it
survives a later failure, returns when the go-ahead was given and raises `Ended` when it was not.

A new protocol is a new file here that ends with `PROTOCOL = Protocol(…)`; it is found by its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import NamedTuple
from typing import Protocol as Interface

from crawler.model.rows import Outcome, Probe, Stage
from crawler.settings.config import Limits


class Reply(NamedTuple):
    """One whole reply of the host."""

    code: int
    lines: list[bytes]  #: text of each line, without code and line end
    raw: bytes  #: as received


class Turn(NamedTuple):
    """What to say next (nothing, to listen first) and which stage the answer belongs to."""

    stage: Stage
    say: bytes = b""
    if_closed: Outcome = Outcome.CLOSED  #: what a FIN instead of an answer means


Dialog = Generator[Turn, Reply, None]


class Ended(Exception):
    """The conversation is over before its goal; `outcome` says how."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class Replies(Interface):
    """Cuts replies out of a byte stream, remembering where it stopped looking."""

    stray: bytearray  #: what was read over between replies

    def cut(self, buffer: bytearray) -> Reply | None:
        """Remove one whole reply from the front of the buffer, or return None until more has come.

        Raises `Ended` with `protocol_error`, `wrong_protocol` or `limit_exceeded`.
        """


@dataclass(frozen=True, slots=True)
class Protocol:
    """How one protocol comes to TLS."""

    name: str
    replies: Callable[[Limits], Replies]
    before_tls: Callable[[Probe, bytes], Dialog]  #: given the row and our name
    after_tls: Callable[[Probe, bytes], Dialog]
    goodbye: bytes  #: said last, inside TLS or not


@cache
def protocol(name: str) -> Protocol:
    """The protocol of that name, e.g. `smtp`."""
    found: Protocol = import_module(f"crawler.probe.dialogs.{name}").PROTOCOL
    return found


#: Openings of protocols that are not ours, seen where a greeting should be.
FOREIGN = re.compile(rb"SSH-|HTTP/|<[!a-z]|\* (OK|BYE|PREAUTH)|\+OK|-ERR|RFB |\x15\x03|\x16\x03|@RSYNCD", re.IGNORECASE)
FOREIGN_BYTES = 10  #: as many as it takes to tell


def stray(data: bytes | bytearray) -> Ended:
    """What bytes outside the grammar mean: another protocol that we recognise, or an error."""
    return Ended(Outcome.WRONG_PROTOCOL if FOREIGN.match(data) else Outcome.PROTOCOL_ERROR)
