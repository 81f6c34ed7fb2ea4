"""A family of addresses that this machine cannot send to is `unreachable`; no free port is a fault of ours."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import anyio
import pytest

from crawler.model.rows import Endpoint, Outcome, Probe, Stage
from crawler.preflight import routes
from crawler.probe.prober import Prober
from crawler.settings.config import Config


def probed(monkeypatch: pytest.MonkeyPatch, code: int, has_a_source: bool) -> Probe:
    """What an attempt comes to where connecting fails so, on a machine with an address of the family or without."""

    async def create_connection(*_: Any, **__: Any) -> None:
        raise OSError(code, "said the kernel")

    class Datagram(socket.socket):
        def connect(self, address: Any) -> None:
            if not has_a_source:
                raise OSError(errno.EADDRNOTAVAIL, "no source address")

    monkeypatch.setattr("crawler.probe.connection.socket.socket", Datagram)
    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", create_connection)
    config = Config.from_mapping({"allow_network": ["127.0.0.0/8"]})

    async def main() -> Probe:
        probe, _ = await Prober(config).probe_one(Endpoint("smtp", "mx.example", "127.0.0.1", 25))
        return probe

    return anyio.run(main)


@pytest.mark.parametrize(
    ("code", "has_a_source", "outcome"),
    [
        (errno.EADDRNOTAVAIL, False, Outcome.UNREACHABLE),
        (errno.EADDRNOTAVAIL, True, Outcome.INTERNAL_ERROR),  # every port is taken
        (errno.EAFNOSUPPORT, True, Outcome.UNREACHABLE),
        (errno.EMFILE, True, Outcome.INTERNAL_ERROR),
    ],
)
def test_what_the_kernel_lacks_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, code: int, has_a_source: bool, outcome: Outcome
) -> None:
    probe = probed(monkeypatch, code, has_a_source)
    assert (probe.stage, probe.outcome, probe.conclusive) == (Stage.CONNECT, outcome, False)


def test_a_family_without_a_way_is_named_with_the_option_that_leaves_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "source_towards", lambda family: "192.0.2.7" if family == "IPv4" else None)
    assert [family for family, advice in routes.without_a_way(Config()) if "--ipv4" in advice] == ["IPv6"]
    assert routes.without_a_way(Config(ipv6=False)) == []
