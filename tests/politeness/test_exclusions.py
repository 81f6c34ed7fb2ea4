"""The address guard and opt-outs: who is not contacted."""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.dataset.run import RunDirectory
from crawler.dataset.stored_manifest import Manifest
from crawler.executors.kept_opt_outs import kept
from crawler.model.errors import ConfigError, UsageError
from crawler.model.rows import Outcome
from crawler.object_store.sync import _OURS
from crawler.politeness.exclusions import SPECIAL_PURPOSE, AddressSet, Exclusions
from crawler.politeness.opt_out_file import OptOuts, read_opt_outs
from crawler.scan.consent import Consent
from crawler.settings.config import Config

GUARD = Exclusions(Config())


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:8.8.8.8",
        "::ffff:127.0.0.1",
        "64:ff9b::808:808",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:2::1",
        "2001:10::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd12::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "192.88.99.1",
    ],
)
def test_special_purpose_space_is_blocked(address: str) -> None:
    assert GUARD.address(address) is Outcome.ADDRESS_NOT_ALLOWED


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "1.1.1.1",
        "100.128.0.1",
        "172.32.0.1",
        "192.0.1.1",
        "198.20.0.1",
        "2606:4700::1111",
        "2a00::1",
        "2001:4860::8",
    ],
)
def test_global_unicast_is_not_blocked(address: str) -> None:
    assert GUARD.address(address) is None


@pytest.mark.parametrize("text", ["", "mx.example", "127.1", "1.2.3.4.5", "fe80::1%eth0", "0x7f.1"])
def test_what_is_no_plain_address_is_blocked(text: str) -> None:
    assert GUARD.address(text) is Outcome.ADDRESS_NOT_ALLOWED


def test_an_allowed_network_opens_itself_and_nothing_else() -> None:
    guard = Exclusions(Config(allow_network=("127.0.0.0/8",)))
    assert guard.address("127.9.9.9") is None
    assert guard.address("::ffff:127.9.9.9") is Outcome.ADDRESS_NOT_ALLOWED
    assert guard.address("10.0.0.1") is Outcome.ADDRESS_NOT_ALLOWED


@given(st.integers(0, 2**32 - 1).map(ip_address) | st.integers(0, 2**128 - 1).map(ip_address))
def test_bisection_agrees_with_asking_each_network(address: IPv4Address | IPv6Address) -> None:
    networks = [ip_network(text) for text in SPECIAL_PURPOSE]
    assert ((address.version, int(address)) in AddressSet(networks)) == any(address in network for network in networks)


def test_nested_networks_do_not_hide_each_other() -> None:
    nested = AddressSet([ip_network("10.0.0.0/8"), ip_network("10.1.0.0/16")])
    assert (4, int(ip_address("10.200.0.1"))) in nested
    assert (4, int(ip_address("10.1.0.1"))) in nested
    assert (4, int(ip_address("11.0.0.0"))) not in nested


def test_opt_outs_cover_names_below_and_networks(tmp_path: Path) -> None:
    path = tmp_path / "optouts"
    path.write_text(
        "# people who asked\nexample.org 2026-03-01 by mail\n*.Host.example.\n8.8.8.0/24\n2606::/16  # a reason\n\n"
    )
    guard = Exclusions(Config(exclude=str(path)))
    assert guard.domain("example.org") and guard.domain("a.b.example.org") and guard.host("mx.host.example")
    assert not guard.domain("badexample.org") and not guard.domain("org")
    assert guard.address("8.8.8.8") is Outcome.OPTED_OUT
    assert guard.address("2606::1") is Outcome.OPTED_OUT
    assert guard.address("8.8.4.4") is None


def test_an_opt_out_also_covers_the_ipv4_address_inside_an_ipv6_one(tmp_path: Path) -> None:
    path = tmp_path / "optouts"
    path.write_text("8.8.8.0/24\n")
    guard = Exclusions(Config(exclude=str(path), allow_network=("::ffff:0:0/96", "2002::/16", "64:ff9b::/96")))
    assert guard.address("::ffff:8.8.8.8") is Outcome.OPTED_OUT
    assert guard.address("64:ff9b::808:808") is Outcome.OPTED_OUT
    assert guard.address("2002:808:808::1") is Outcome.OPTED_OUT


def test_other_opt_outs_are_in_force_at_once(tmp_path: Path) -> None:
    path = tmp_path / "optouts"
    path.write_text("example.org\n")
    guard = Exclusions(Config(exclude=str(path)))
    path.write_text("example.net\n192.0.2.0/24\n")
    guard.use(read_opt_outs(path))
    assert guard.domain("example.net") and not guard.domain("example.org")
    assert guard.consenting(["mx.example"], ["192.0.2.1", "198.51.100.1"]) == ["198.51.100.1"]


class Told:
    """In place of a pool."""

    def __init__(self) -> None:
        self.entries: list[dict[str, str] | None] = []

    async def reload(self, entry: dict[str, str] | None) -> None:
        self.entries.append(entry)


def reloaded(tmp_path: Path, first: OptOuts) -> tuple[Consent, Told, list[str]]:
    """What a signal to read the opt-outs again comes to."""
    run = RunDirectory(tmp_path / "run=test")
    run.done.mkdir(parents=True)
    run.write_manifest(Manifest.of({"run": "test"}))
    said: list[str] = []
    consent, pool = Consent(run, Config(exclude=first.path), first, said.append), Told()
    anyio.run(consent.reload, cast(Any, pool))
    return consent, pool, said


def test_opt_outs_read_again_are_handed_on_as_a_copy_that_the_file_has_no_power_over(tmp_path: Path) -> None:
    path = tmp_path / "optouts"
    path.write_text("example.org\n")
    first = read_opt_outs(path)
    path.write_text("example.org\nexample.net\n")
    consent, pool, _ = reloaded(tmp_path, first)
    path.write_text("")
    (entry,) = pool.entries
    assert entry and kept(entry) == consent.opt_outs and kept(entry).names == {"example.org", "example.net"}
    assert not _OURS(f"_work/{Path(entry['kept']).name}"), "no object store gets it: people's addresses are in it"
    Path(entry["kept"]).write_text("example.org\n")
    with pytest.raises(UsageError, match="not what was announced"):
        kept(entry)
    Path(entry["kept"]).unlink()
    with pytest.raises(UsageError, match="cannot be read"):
        kept(entry)


@pytest.mark.parametrize("what", ["broken", "gone", "pipe"])
def test_opt_outs_that_cannot_be_read_again_change_nothing_anywhere(tmp_path: Path, what: str) -> None:
    """A pipe that was read is empty: nobody would be opted out any more."""
    path = tmp_path / "optouts"
    path.write_text("example.org\n")
    first = read_opt_outs(path)
    path.unlink()
    if what == "broken":
        path.write_text("nonsense\n")
    elif what == "pipe":
        os.mkfifo(path)
    consent, pool, said = reloaded(tmp_path, first)
    assert pool.entries == [] and consent.opt_outs is first
    assert len(said) == 1 and said[0].endswith("the opt-outs in force stay in force")


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read .* --exclude"):
        Exclusions(Config(exclude=str(tmp_path / "none")))
