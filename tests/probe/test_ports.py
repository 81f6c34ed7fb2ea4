"""One address on several ports: paced as one, not asked further when it is dead, each port with its own names; ALPN."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import pytest
from OpenSSL import SSL

from crawler.model.rows import Endpoint, Form, Outcome, Probe, Stage
from crawler.probe import attempt as room
from crawler.probe.conversation import Conversation, Identity
from crawler.probe.prober import Prober
from crawler.probe.shard_rows import AddressLife
from crawler.protocols.registry import service
from crawler.settings.config import Config, Limits, Pacing
from crawler.tls.handshake import TlsClient
from crawler.tls.refusals import NO_ALPN
from tests.kit.conversations import CONTEXTS, LEAF, play
from tests.kit.played_network import LOOPBACK, Played

SERVICES = ("smtp", "imap", "pop3")


@pytest.mark.parametrize(("outcome", "tried"), [(Outcome.TIMEOUT, 2), (Outcome.UNREACHABLE, 1)])
def test_an_address_that_takes_no_connection_is_not_asked_on_its_next_port(
    monkeypatch: pytest.MonkeyPatch, outcome: Outcome, tried: int
) -> None:
    """One silent port may be a firewall's doing; two are the host's, and what cannot be reached is so on every port."""
    played = Played(monkeypatch, lambda *_: outcome, attempts=1, unconnected=True)
    rows = played.probe(("mx.example", "127.0.0.1"), services=SERVICES)
    assert played.tries["127.0.0.1"] == tried
    assert Counter(row.outcome for row in rows) == {outcome: tried, Outcome.NOT_RUN: 3 - tried}
    assert all(row.negotiated is None and row.conclusive is False for row in rows)


def test_silent_ports_say_nothing_of_an_address_that_took_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a firewall that drops what is sent to some ports, the others are asked all the same."""
    services = ("imap", "imaps", "pop3", "pop3s", "submission")
    life = AddressLife(2)
    for port, stage in ((993, Stage.GREETING), (143, Stage.CONNECT), (110, Stage.CONNECT), (587, Stage.CONNECT)):
        life.note(Probe(port=port, stage=stage, outcome=Outcome.TIMEOUT))
        assert not life.is_gone
    played = Played(monkeypatch, lambda *_: "554 no\r\n", attempts=1)
    played.probe(("mx.example", "127.0.0.1"), services=services)
    assert played.tries["127.0.0.1"] == 5


def test_a_dead_address_is_asked_again_on_one_port_and_on_the_others_if_that_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dead = Played(monkeypatch, lambda *_: Outcome.TIMEOUT, attempts=2, unconnected=True)
    rows = dead.probe(("mx.example", "127.0.0.1"), services=SERVICES)
    assert dead.tries["127.0.0.1"] == 3, "two ports, and one of them again"
    assert sorted(len(row.attempts or ()) for row in rows) == [0, 1, 2]
    assert Counter(row.outcome for row in rows) == {Outcome.TIMEOUT: 2, Outcome.NOT_RUN: 1}

    def back(_: str, number: int) -> str | Outcome:
        return Outcome.TIMEOUT if number <= 2 else Outcome.CONNECTION_REFUSED

    revived = Played(monkeypatch, back, attempts=2, unconnected=True)
    rows = revived.probe(("mx.example", "127.0.0.1"), services=SERVICES)
    assert revived.tries["127.0.0.1"] == 4
    assert Counter(row.outcome for row in rows) == {Outcome.CONNECTION_REFUSED: 2, Outcome.NOT_RUN: 1}


def test_an_address_is_tried_on_so_many_ports_and_on_those_of_the_protocols_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    played = Played(monkeypatch, lambda *_: "554 no\r\n", attempts=1, address_ports=3)
    stranger = [Endpoint("imap", f"a{port}.example", "127.0.0.1", port, weight=9.0) for port in range(2_000, 2_006)]
    own = [Endpoint("smtp", "mx.example", "127.0.0.1", 25, weight=0.1)]
    rows = played.probe_all([*stranger, *own])
    assert played.tries["127.0.0.1"] == 3
    assert Counter(row.outcome for row in rows)[Outcome.OVER_BUDGET] == 4
    (smtp,) = [row for row in rows if row.protocol == "smtp"]
    assert smtp.outcome is not Outcome.OVER_BUDGET


def test_a_port_that_refuses_or_is_silent_says_nothing_of_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    for outcome in (Outcome.CONNECTION_REFUSED, Outcome.TIMEOUT):
        played = Played(monkeypatch, lambda *_, outcome=outcome: outcome, attempts=1)
        played.probe(("mx.example", "127.0.0.1"), services=SERVICES)
        assert played.tries["127.0.0.1"] == 3 and played.most["127.0.0.1"] == 1, "one after the other"


def test_each_port_of_an_address_has_its_own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch, lambda *_: "554 no\r\n", attempts=1, names_per_address=2)
    hosts = [(f"mx{n}.example", "127.0.0.1") for n in range(6)]
    rows = played.probe(*hosts, services=SERVICES)
    assert len(rows) == 18 and played.tries["127.0.0.1"] == 6
    asked = Counter(row.protocol for row in rows if row.outcome is not Outcome.SAMPLED_OUT)
    assert asked == dict.fromkeys(SERVICES, 2)
    for row in rows:
        if row.outcome is Outcome.SAMPLED_OUT:
            stands = next(one for one in rows if (one.protocol, one.host) == (row.protocol, row.representative_host))
            assert stands.outcome is not Outcome.SAMPLED_OUT


def context_that_answers(choose: Any) -> SSL.Context:
    context = LEAF.context()
    context.set_alpn_select_callback(choose)
    return context


def test_the_protocol_that_the_host_chose_by_alpn_is_kept() -> None:
    asked: list[list[bytes]] = []

    def choose(_: Any, offered: list[bytes]) -> bytes:
        asked.append(offered)
        return offered[0]

    probe = play("TLS\nS: * OK\nC: a3 CAPABILITY\nFIN\n", name="imaps", context=context_that_answers(choose)).probe
    assert asked == [[b"imap"]] * 2 and probe.tls_alpn == "imap"


def test_a_host_that_refuses_the_name_ends_the_handshake_with_its_own_alert() -> None:
    def refuse(_: Any, offered: list[bytes]) -> bytes:
        raise SSL.Error(offered)

    probe = play("TLS\n", name="imaps", context=context_that_answers(refuse)).probe
    assert (probe.stage, probe.outcome, probe.tls_alert) == (Stage.HANDSHAKE, Outcome.TLS_ALERT, NO_ALPN)


def test_after_that_alert_the_handshake_is_tried_once_without_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    hellos: list[bool] = []

    async def refuse(talk: Conversation, *_: Any, **__: Any) -> None:
        hellos.append(b"\x04imap" in talk.connected())
        talk.probe.tls_alert = NO_ALPN
        talk.end(Outcome.TLS_ALERT)

    monkeypatch.setattr(room, "run_conversation", refuse)
    pacing = Pacing(attempts=4, retry_delay=0, address_pause=0)
    prober = Prober(Config(allow_network=LOOPBACK, ehlo_name="probe.example", pacing=pacing, post_quantum=False))
    rows: list[Any] = []
    endpoint = Endpoint("imap", "mx.example", "127.0.0.1", 993, form=Form.IMPLICIT)
    anyio.run(prober.probe_endpoints, [endpoint], rows.append)
    assert hellos == [True, False]
    assert [len(row.attempts) for row in rows] == [2] and rows[0].outcome is Outcome.TLS_ALERT


def test_a_name_that_does_not_fit_into_sni_is_our_limit_where_tls_comes_first() -> None:
    imaps = service("imaps")
    talk = Conversation(
        Probe(protocol="imap", form=Form.IMPLICIT, host="x" * 300),
        imaps.protocol,
        Identity(b"probe.example", b"x" * 300),
        Limits(),
        lambda name: TlsClient(CONTEXTS.modern, name),
        lambda: 0.0,
    )
    assert talk.connected() == b"" and talk.ended
    assert (talk.probe.outcome, talk.probe.conclusive) == (Outcome.TLS_UNSUPPORTED_BY_US, False)
