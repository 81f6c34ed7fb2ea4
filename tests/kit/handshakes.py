"""Full conversations of a prober with a TLS server in memory."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from cryptography.hazmat.primitives import serialization

from crawler.model.rows import Endpoint, Outcome
from crawler.probe import attempt as room
from crawler.probe.conversation import Conversation
from crawler.probe.prober import Prober
from crawler.settings.config import Config, Pacing
from tests.kit.conversations import ROOT, Leaf


def handshake(
    monkeypatch: pytest.MonkeyPatch,
    leaf: Leaf,
    tmp_path: Any,
    *,
    resets: Container[int] = (),
    closes: Container[int] = (),
    busy: Container[int] = (),
    inside: bytes = b"250 mx\r\n",
    **settings: Any,
) -> list[Any]:
    """The rows of a full conversation with a TLS server in memory.

    It resets the attempts of some numbers before the handshake, and closes those of others behind it; it turns `busy` ones away; `inside` is what it
    answers to EHLO inside TLS.
    """
    from tests.kit.conversations import _Stage  # the stage of a transcript, here without its script

    numbers = iter(range(9))

    async def run_conversation(talk: Conversation, *_: Any, **__: Any) -> None:
        number = next(numbers)
        stage = _Stage(size=0, context=leaf.context())
        stage.conversation = talk
        stage.said = talk.connected()
        if number in busy:
            talk.receive(b"421 busy\r\n")
            return
        for line in (b"220 mx\r\n", b"250-mx\r\n250 STARTTLS\r\n"):
            talk.receive(line)
        stage.said = talk.receive(b"220 go\r\n")
        if number in resets:
            talk.end(Outcome.RESET)
            return
        stage.upgrade()
        if number in closes:
            talk.end(Outcome.CLOSED)
            return
        stage.host_says(inside)

    monkeypatch.setattr(room, "run_conversation", run_conversation)
    anchors = tmp_path / "anchors.pem"
    anchors.write_bytes(ROOT.certificate.public_bytes(serialization.Encoding.PEM))
    config = Config(ca_file=str(anchors), ehlo_name="probe.example", pacing=Pacing(retry_delay=0), **settings)
    rows: list[Any] = []
    anyio.run(Prober(config).probe_endpoints, [Endpoint("smtp", "mx.example", "127.0.0.1", 25)], rows.append)
    return rows
