"""Every check of a machine is made once before a scan, and a scan is told what it found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import certifi
import pytest

from crawler.model.errors import ConfigError
from crawler.preflight.checks import Resolver, Unready
from crawler.preflight.readiness import check_readiness
from crawler.settings.config import Config

CONFIG = Config(ehlo_name="probe.example", allow_network=("127.0.0.0/8",), resolver=("127.0.0.1:1",))


def test_what_was_found_is_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opt_outs = tmp_path / "opt-outs"
    opt_outs.write_text("a.example\n")
    found = check_readiness(replace(CONFIG, exclude=str(opt_outs)))
    assert found.opt_outs.names == {"a.example"}
    assert found.trust_anchors == Path(certifi.where())
    assert "X25519MLKEM768" in found.tls_offered["groups"]
    assert (found.resolvers, found.no_way_to) == ((), ())
    answer = Resolver("127.0.0.1:53", trusted=True, answers=True, validates=True)
    monkeypatch.setattr("crawler.preflight.readiness.ask_resolvers", lambda config: [answer])
    assert found.with_resolvers(CONFIG) == replace(found, resolvers=(answer,))


def test_a_machine_that_is_not_ready_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--ehlo-name is missing"):
        check_readiness(replace(CONFIG, ehlo_name=""))
    with pytest.raises(ConfigError, match=r"nowhere\.pem"):
        check_readiness(replace(CONFIG, ca_file=str(tmp_path / "nowhere.pem")))
    with pytest.raises(Unready, match="start a validating resolver"):
        check_readiness(CONFIG).with_resolvers(CONFIG)


def test_families_without_a_route_are_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crawler.preflight.routes.source_towards", lambda family: None if family == "IPv4" else "::1")
    ((family, advice),) = check_readiness(replace(CONFIG, allow_network=())).no_way_to
    assert "--ipv6" in advice and family == "IPv4"
