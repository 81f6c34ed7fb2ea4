"""Which addresses of a policy host are contacted, how many at once, and after which failures no more."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from crawler.model.rows import MtaStsFetch
from crawler.politeness.opt_out_file import read_opt_outs
from tests.kit.chains import Subject
from tests.kit.dns_server import reply_to, zone
from tests.kit.policy_hosts import HOST, ROOT, Scene, Web, response, stall


def test_an_address_that_times_out_again_and_again_is_asked_no_more(scene: Scene) -> None:
    names = [f"d{n}.example" for n in range(8)]
    script = zone(*(f"mta-sts.{name}. 60 IN A 127.0.0.1" for name in names))
    made = scene.fetch(
        Web(stall, certificate=lambda s: ROOT.issue(s, ca=False, names=["*.example", *(f"mta-sts.{n}" for n in names)])),
        script, *names, https={"timeout": 0.2, "failures": 3, "per_address": 1},
    )  # fmt: skip
    fetches = [row.mta_sts_fetch for row, _ in made]
    assert fetches.count(MtaStsFetch.TIMEOUT) == 3 and fetches.count(None) == 5, "not tried is not failed"
    assert scene.web.connections == 3 and "timed out 3 times" in (made[-1][0].mta_sts_problem or "")


def test_one_address_serves_a_few_at_once(scene: Scene) -> None:
    names = [f"d{n}.example" for n in range(12)]
    script = zone(*(f"mta-sts.{name}. 60 IN A 127.0.0.1" for name in names))
    web = Web(certificate=lambda s: ROOT.issue(s, ca=False, names=[f"mta-sts.{name}" for name in names]))
    made = scene.fetch(web, script, *names, https={"per_address": 2})
    assert all(row.mta_sts_fetch is MtaStsFetch.OK for row, _ in made) and web.most <= 2


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.2", "169.254.169.254"])
def test_special_purpose_space_is_not_contacted(scene: Scene, address: str) -> None:
    row = scene.one(None, zone(f"{HOST}. 60 IN A {address}"))
    assert row.mta_sts_fetch is MtaStsFetch.ADDRESS_NOT_ALLOWED and address in (row.mta_sts_problem or "")


def test_an_address_that_may_be_contacted_is_used_beside_one_that_may_not(scene: Scene) -> None:
    assert (
        scene.one(None, zone(f"{HOST}. 60 IN A 10.0.0.1", f"{HOST}. 60 IN A 127.0.0.1")).mta_sts_fetch is MtaStsFetch.OK
    )


@pytest.mark.parametrize("entry", ["a.example", "127.0.0.1"])
def test_whoever_opted_out_is_not_contacted_and_nothing_is_found(scene: Scene, entry: str, tmp_path: Path) -> None:
    (tmp_path / "opt-outs").write_text(f"{entry} 2026-01-01\n")
    row = scene.one(exclude=str(tmp_path / "opt-outs"))
    assert row.mta_sts_fetch is MtaStsFetch.OPTED_OUT and scene.web.connections == 0 and row.mta_sts_problem


def test_a_policy_host_is_not_contacted_under_a_name_of_who_opted_out(scene: Scene, tmp_path: Path) -> None:
    """It is an alias, by way of another, into a domain whose owner asked not to be probed."""
    script = zone(
        f"{HOST}. 60 IN CNAME sts.provider.example.",
        "sts.provider.example. 60 IN CNAME web.optout.example.",
        "web.optout.example. 60 IN CNAME elsewhere.example.",
        "elsewhere.example. 60 IN A 127.0.0.1",
    )
    (tmp_path / "opt-outs").write_text("optout.example\n")
    row = scene.one(None, script, exclude=str(tmp_path / "opt-outs"))
    assert row.mta_sts_fetch is MtaStsFetch.OPTED_OUT and scene.web.connections == 0
    assert "web.optout.example" in (row.mta_sts_problem or "")


def test_a_delegation_is_recorded(scene: Scene) -> None:
    script = zone(f"{HOST}. 60 IN CNAME sts.provider.example.", "sts.provider.example. 60 IN A 127.0.0.1")
    row = scene.one(None, script)
    assert row.mta_sts_fetch is MtaStsFetch.OK and row.mta_sts_cnames == ["sts.provider.example"]


def test_a_policy_host_that_has_no_address_is_told_from_one_whose_lookup_failed(scene: Scene) -> None:
    row = scene.one(None, zone("other.example. 60 IN A 127.0.0.1"))
    assert row.mta_sts_fetch is MtaStsFetch.NO_HOST and "nxdomain" in (row.mta_sts_problem or "")
    empty = zone(f"{HOST}. 60 IN TXT x")
    assert scene.one(None, empty).mta_sts_fetch is MtaStsFetch.NO_HOST
    assert scene.one(None, empty, ipv6=False).mta_sts_fetch is MtaStsFetch.DNS, "the other family was not asked"

    def failing(query: Any, over_tcp: bool) -> Iterable[bytes]:
        yield reply_to(query, rcode=2 if query.question[0].rdtype == 28 else 0)

    row = scene.one(None, failing)
    assert row.mta_sts_fetch is MtaStsFetch.DNS and row.mta_sts_problem == f"{HOST}: nodata and servfail"


def test_the_next_address_is_tried_when_one_refuses(scene: Scene) -> None:
    both = zone(f"{HOST}. 60 IN A 127.0.0.9", f"{HOST}. 60 IN A 127.0.0.1")
    allowed = ["127.0.0.1/32", "127.0.0.9/32"]
    assert scene.one(None, both, allow_network=allowed).mta_sts_fetch is MtaStsFetch.OK
    row = scene.one(None, zone(f"{HOST}. 60 IN A 127.0.0.9"), allow_network=allowed)
    assert row.mta_sts_fetch is MtaStsFetch.CONNECT and "127.0.0.9" in (row.mta_sts_problem or "")


def test_where_not_all_addresses_were_tried_nobody_knows_whether_one_answers(scene: Scene) -> None:
    refusing = zone(*(f"{HOST}. 60 IN A 127.0.0.{number}" for number in (7, 8, 9)))
    row = scene.one(None, refusing, allow_network=["127.0.0.0/8"], https={"addresses": 1})
    assert row.mta_sts_fetch is None and (row.mta_sts_problem or "").startswith("addresses not tried: 2; ")
    row = scene.one(None, refusing, allow_network=["127.0.0.0/8"], https={"addresses": 3})
    assert row.mta_sts_fetch is MtaStsFetch.CONNECT


def test_where_an_address_opted_out_or_a_lookup_failed_nobody_knows_whether_one_answers(
    scene: Scene, tmp_path: Path
) -> None:
    refusing = zone(*(f"{HOST}. 60 IN A 127.0.0.{number}" for number in (7, 8)))
    (tmp_path / "opt-outs").write_text("127.0.0.8\n")
    row = scene.one(None, refusing, allow_network=["127.0.0.0/8"], exclude=str(tmp_path / "opt-outs"))
    assert row.mta_sts_fetch is None and "asked not to be contacted: 1; 127.0.0.7" in (row.mta_sts_problem or "")

    def failing(query: Any, over_tcp: bool) -> Iterable[bytes]:
        if query.question[0].rdtype == 28:
            yield reply_to(query, rcode=2)
        else:
            yield from refusing(query, over_tcp)

    row = scene.one(None, failing, allow_network=["127.0.0.0/8"])
    assert row.mta_sts_fetch is None and "IPv6 addresses: servfail; 127.0.0.7" in (row.mta_sts_problem or "")


async def unhurried(writer: asyncio.StreamWriter) -> None:
    """A policy after a while, so that those who come at once are there at once."""
    await asyncio.sleep(0.05)
    writer.write(response())


def certified(names: Iterable[str]) -> Callable[[Subject], x509.Certificate]:
    """A certificate for the policy hosts of these domains."""
    hosts = [f"mta-sts.{name}" for name in names]
    return lambda subject: ROOT.issue(subject, ca=False, names=hosts)


LOOPBACK = ["127.0.0.0/8"]


@contextmanager
def dead_address(port: int) -> Iterator[None]:
    """127.0.0.9 takes no connection and refuses none: its queue is full, and nobody empties it."""
    with ExitStack() as open_:
        queue = open_.enter_context(socket.socket())
        queue.bind(("127.0.0.9", port))
        queue.listen(0)
        for _ in range(2):
            waiting = open_.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.9", port))
        yield


def test_an_address_that_is_reached_behind_one_that_refuses_serves_a_few_at_once(scene: Scene) -> None:
    """Whoever publishes an address that refuses before a victim's must not get round the victim's limit."""
    names = [f"d{n}.example" for n in range(60)]
    refusing = zone(
        *(f"mta-sts.{name}. 60 IN A 127.0.1.{n + 1}" for n, name in enumerate(names)),
        *(f"mta-sts.{name}. 60 IN A 127.0.0.1" for name in names),
    )
    made = scene.fetch(Web(unhurried, certified(names)), refusing, *names, allow_network=LOOPBACK)
    assert {row.mta_sts_fetch for row, _ in made} == {MtaStsFetch.OK} and scene.web.connections == 60
    assert 1 < scene.web.most <= 4


def test_a_network_serves_a_few_at_once_however_many_addresses_it_has(scene: Scene) -> None:
    names = [f"d{n}.example" for n in range(24)]
    addresses = tuple(f"127.0.0.{n + 1}" for n in range(12))
    script = zone(*(f"mta-sts.{name}. 60 IN A {addresses[n % 12]}" for n, name in enumerate(names)))
    web = Web(unhurried, certified(names), addresses=addresses)
    made = scene.fetch(web, script, *names, https={"per_network": 6}, allow_network=LOOPBACK)
    assert {row.mta_sts_fetch for row, _ in made} == {MtaStsFetch.OK}
    assert 4 < web.most <= 6, "more than one address allows, and no more than the network"


def test_silence_is_held_against_the_address_that_was_silent_and_no_other(scene: Scene) -> None:
    names = [f"d{n}.example" for n in range(8)]
    script = zone(
        *(f"mta-sts.{name}. 60 IN A 127.0.1.{n + 1}" for n, name in enumerate(names)),
        *(f"mta-sts.{name}. 60 IN A 127.0.0.1" for name in names),
    )
    made = scene.fetch(
        Web(stall, certified(names)), script, *names,
        https={"timeout": 0.2, "failures": 3, "per_address": 1}, allow_network=LOOPBACK,
    )  # fmt: skip
    fetches = [row.mta_sts_fetch for row, _ in made]
    assert fetches.count(MtaStsFetch.TIMEOUT) == 3 and fetches.count(None) == 5, "not tried is not failed"
    assert scene.web.connections == 3
    assert any("127.0.0.1 timed out 3 times running" in (row.mta_sts_problem or "") for row, _ in made)


def test_time_that_another_address_took_is_not_held_against_the_one_it_is_short_for(scene: Scene) -> None:
    """Otherwise five domains with a dead address before a provider's would have the provider given up."""
    script = zone(f"{HOST}. 60 IN A 127.0.0.9", f"{HOST}. 60 IN A 127.0.0.1")
    row = scene.one(
        Web(stall, beside=dead_address), script,
        https={"timeout": 0.5, "connect_timeout": 0.4, "failures": 1}, allow_network=LOOPBACK,
    )  # fmt: skip
    assert row.mta_sts_fetch is MtaStsFetch.TIMEOUT
    assert scene.fetcher._pace.given_up("127.0.0.9") and not scene.fetcher._pace.given_up("127.0.0.1")


def test_an_address_beside_one_that_is_asked_no_more_is_asked(scene: Scene) -> None:
    """`a.example` alone has an address that answers; the others have the silent one only."""
    names = [f"d{n}.example" for n in range(3)]
    script = zone(
        *(f"mta-sts.{name}. 60 IN A 127.0.0.1" for name in names),
        f"{HOST}. 60 IN A 127.0.0.1",
        f"{HOST}. 60 IN A 127.0.0.2",
    )

    async def stall_at_one(writer: asyncio.StreamWriter) -> None:
        if writer.get_extra_info("sockname")[0] == "127.0.0.1":
            await stall(writer)
        writer.write(response())

    web = Web(stall_at_one, certified([*names, "a.example"]), addresses=("127.0.0.1", "127.0.0.2"))
    made = scene.fetch(
        web,
        script,
        *names,
        "a.example",
        https={"timeout": 0.3, "failures": 3, "per_address": 1},
        allow_network=LOOPBACK,
    )
    assert [row.mta_sts_fetch for row, _ in made] == [MtaStsFetch.TIMEOUT] * 3 + [MtaStsFetch.OK]


@pytest.mark.parametrize("who", ["b.example", "victim.test"])
def test_who_opts_out_while_a_fetch_waits_its_turn_is_not_contacted(scene: Scene, tmp_path: Path, who: str) -> None:
    names = ["a.example", "b.example"]
    (tmp_path / "opt-outs").write_text("# nobody yet\n")

    async def opt_out_meanwhile(writer: asyncio.StreamWriter) -> None:
        (tmp_path / "opt-outs").write_text(f"{who}\n")
        scene.exclusions.use(read_opt_outs(tmp_path / "opt-outs"))
        writer.write(response())

    script = zone(*(f"mta-sts.{name}. 60 IN A 127.0.0.1" for name in names))
    made = scene.fetch(
        Web(opt_out_meanwhile, certified(names)), script, *names,
        https={"per_address": 1}, exclude=str(tmp_path / "opt-outs"),
        cnames={"b.example": ["mail.victim.test"]},
    )  # fmt: skip
    assert [row.mta_sts_fetch for row, _ in made] == [MtaStsFetch.OK, MtaStsFetch.OPTED_OUT]
    assert scene.web.connections == 1


def test_names_of_one_registrable_domain_are_waited_for_so_long_and_no_longer(scene: Scene) -> None:
    """Each has an address of its own, so that no single address is silent often enough to be left alone."""
    names = [f"d{n}.slow.example" for n in range(12)]
    addresses = tuple(f"127.0.0.{n + 1}" for n in range(13))
    script = zone(
        *(f"mta-sts.{name}. 60 IN A {addresses[n]}" for n, name in enumerate(names)), f"{HOST}. 60 IN A 127.0.0.13"
    )

    async def stall_but_for_the_last(writer: asyncio.StreamWriter) -> None:
        if writer.get_extra_info("sockname")[0] != "127.0.0.13":
            await stall(writer)
        writer.write(response())

    web = Web(stall_but_for_the_last, certified([*names, "a.example"]), addresses=addresses)
    made = scene.fetch(
        web, script, *names, "a.example",
        https={"timeout": 0.3, "per_network": 1, "ordinary_seconds": 0.1, "slow_seconds": 0.5}, allow_network=LOOPBACK,
    )  # fmt: skip
    fetches = [row.mta_sts_fetch for row, _ in made[:-1]]
    # Each takes 0.3 s or, on a busy machine, longer: 0.2 s and more beyond what is ordinary.
    assert 1 <= fetches.count(MtaStsFetch.TIMEOUT) <= 3
    assert fetches.count(None) == 12 - fetches.count(MtaStsFetch.TIMEOUT)
    assert made[-1][0].mta_sts_fetch is MtaStsFetch.OK, "who is slow costs itself, and nobody else"
    assert "slow.example" in (made[-2][0].mta_sts_problem or "")


def test_what_is_said_of_a_policy_host_with_thousands_of_addresses_is_short(scene: Scene) -> None:
    script = zone(f"{HOST}. 60 IN TXT x", *(f"{HOST}. 60 IN A 10.{n}.0.1" for n in range(200)))
    row = scene.one(script=script)
    assert row.mta_sts_fetch is MtaStsFetch.ADDRESS_NOT_ALLOWED and len(row.mta_sts_problem or "") == 500
