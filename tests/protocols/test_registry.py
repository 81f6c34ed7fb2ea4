"""Protocols by name: every file is one, and one file is all that a new protocol takes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import crawler.protocols
from crawler.model.errors import ConfigError
from crawler.model.rows import Form
from crawler.protocols import registry
from crawler.protocols.registry import service, services
from crawler.settings.config import Config
from tests.kit.conversations import play

IANA = {
    "smtp": 25, "submission": 587, "submissions": 465, "lmtp": 24, "imap": 143, "imaps": 993, "pop3": 110, "pop3s": 995,
    "sieve": 4190,
}  # fmt: skip


def test_the_ports_are_those_that_iana_lists() -> None:
    assert {name: one.port for name, one in services().items()} == IANA


def test_a_protocol_is_found_by_the_name_of_each_of_its_forms() -> None:
    for name, one in services().items():
        assert service(name) == one and one.name == name
    assert service("imaps").protocol is service("imap").protocol
    assert (service("imap").form, service("imaps").form) == (Form.STARTTLS, Form.IMPLICIT)


@pytest.mark.parametrize("name", ["gopher", "", "three_digit", "registry", "../smtp", "smtp.x", "SMTP"])
def test_what_is_no_protocol_is_refused_with_the_names_of_those_that_are(name: str) -> None:
    with pytest.raises(ConfigError, match=r"choose from .*imap, imaps"):
        Config(protocol=(name,))


MAIL = ("imap", "imaps", "pop3", "pop3s", "submission", "submissions")


def test_one_word_stands_for_what_mail_clients_speak_and_each_of_it_has_srv_records_and_customary_names() -> None:
    """RFC 6186 §3, RFC 8314 §5.1."""
    assert registry.families() == {"mail": MAIL} and registry.family("imaps") == ()
    assert {service(name).srv for name in MAIL} == {f"_{name}" for name in MAIL}
    assert all(service(name).protocol.fallbacks for name in MAIL)


def test_that_word_is_asked_of_hosts_that_are_looked_up_and_in_a_list_of_hosts_of_those() -> None:
    config = Config(protocol=("smtp", "imap", "mail"))
    assert [one.name for one in config.services()] == ["smtp", "imap"]
    assert tuple(one.name for one in config.looked_up()) == MAIL
    assert [one.name for one in config.all_services()] == ["smtp", *MAIL]
    listed = Config(protocol=("smtp", "imap", "mail"), hosts=True)
    assert [one.name for one in listed.services()] == ["smtp", *MAIL] and listed.looked_up() == []


def test_mx_records_promise_smtp_and_nothing_else() -> None:
    assert [name for name, one in services().items() if one.protocol.by_mx] == ["smtp"]


def test_a_protocol_named_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="names one twice"):
        Config(protocol=("imap", "imap"))


def test_a_new_protocol_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy.py").write_text(
        '''"""A toy."""
from dataclasses import replace
from crawler.protocols import pop3
from crawler.protocols.protocol import Implicit

PROTOCOL = replace(pop3.PROTOCOL, name="toy", port=7, implicit=Implicit("toys", 77))
'''
    )
    monkeypatch.setattr(crawler.protocols, "__path__", [*crawler.protocols.__path__, str(tmp_path)])
    service.cache_clear()
    services.cache_clear()
    try:
        config = Config(protocol=("toy", "toys"), port={"toys": 7_777})
        assert [config.port_of(name) for name in config.protocol] == [7, 7_777]
        inside = "C: CAPA\nS: +OK\nS: .\nC: QUIT\n"
        assert play("S: +OK\nC: CAPA\nS: -ERR\nC: STLS\nS: +OK\nTLS\n" + inside, name="toy").probe.protocol == "toy"
        assert play("TLS\nS: +OK\n" + inside, name="toys").probe.negotiated
    finally:
        monkeypatch.undo()
        sys.modules.pop("crawler.protocols.toy", None)
        service.cache_clear()
        services.cache_clear()
    assert "toy" not in registry.services()
