"""Lists of hosts: one host a line, by name or address, with a port or without.

`host`, `host:port`, `address`, `address:port`, `[address]` and `[address]:port`; what follows a `#` is a comment.  No line
is fatal: what is no host, or a port of which nobody can tell what is spoken there, is a `Target` with a `problem`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO

from crawler.lists.cells import target_of
from crawler.lists.formats import lines_of, text_of
from crawler.model.rows import Target
from crawler.model.vocabulary import ONE_HOST_A_LINE
from crawler.protocols.registry import services
from crawler.settings.config import Config

_WITH_PORT = re.compile(r"(\[[^\]]*\]|[^:\[\]]*):([^:]*)").fullmatch


@dataclass(frozen=True, slots=True)
class HostLines:
    """What is asked of a host, by the port that its line names."""

    everywhere: tuple[str, ...]  #: asked of a host without a port, by names of the command line
    at_port: Mapping[int, str]  #: what is spoken on a port, by its name on the command line

    @classmethod
    def of(cls, config: Config) -> HostLines:
        """By the protocols of a run.  Its own ports come first, then those that are registered."""
        registered = {found.port: name for name, found in services().items()}
        everywhere = tuple(found.name for found in config.services())
        return cls(everywhere, registered | {config.port_of(name): name for name in reversed(everywhere)})

    def targets(self, stream: BinaryIO, told: Callable[[str], None]) -> Iterator[Target]:
        """The hosts of a text; `told` hears its form in words, before the first of them."""
        told(ONE_HOST_A_LINE)
        for line in lines_of(stream):
            text = text_of(line)
            if isinstance(text, Target):
                yield text
            elif written := text.partition("#")[0].strip():
                yield self.target(written)

    def target(self, written: str) -> Target:
        """One host as a list has it."""
        host, port = written, ""
        if (found := _WITH_PORT(written)) is not None:
            host, port = found[1], found[2]
            if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65_535):
                return Target(None, written, problem=f"{port[:20]!r} is no port between 1 and 65535")
        if (address := _address(host)) is not None:
            target = Target(address, written)
        elif "/" in host or "@" in host or "[" in host:
            return Target(None, written, problem="not a host; write HOST, HOST:PORT, ADDRESS or [ADDRESS]:PORT")
        else:
            target = replace(target_of(host), input=written)
        if target.domain is None:
            return target
        return self._with_services(target, int(port)) if port else replace(target, services=list(self.everywhere))

    def _with_services(self, target: Target, port: int) -> Target:
        if (known := self.at_port.get(port)) is not None:
            return replace(target, port=port, services=[known])
        if len(self.everywhere) == 1:
            return replace(target, port=port, services=list(self.everywhere))
        problem = (
            f"no protocol is registered for port {port}; name the one that is spoken there by --protocol, and no other"
        )
        return replace(target, domain=None, problem=problem)


def _address(text: str) -> str | None:
    """An IP address in its usual form, from one with or without brackets; None if it is none."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if bare != text and ":" not in bare:
        return None
    try:
        return str(ipaddress.ip_address(bare)) if "%" not in bare else None
    except ValueError:
        return None
