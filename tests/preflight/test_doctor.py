"""Doctor says what stands in the way, and never calls fine what it could not find out."""

from __future__ import annotations

import json
import os
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from crawler.commands.main import main
from crawler.preflight.checks import Unready, ask_resolvers, raise_descriptor_limit
from crawler.preflight.doctor import Questions, examine
from crawler.preflight.machine_checks import FAILED, OK, UNKNOWN, WARNING, Check, disk
from crawler.settings.config import Config

Answer = Callable[[str, str], tuple[str, bool, list[str]]]


class Resolver:
    """Answers by a function of name and type: response code, AD, records."""

    def __init__(self) -> None:
        self.answer: Answer = validating
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            wire, peer = self._socket.recvfrom(4096)
            if wire == b"end":
                return
            query = dns.message.from_wire(wire)
            question = query.question[0]
            kind = question.rdtype.name
            code, authentic, records = self.answer(question.name.to_text(omit_final_dot=True).lower() or ".", kind)
            reply = dns.message.make_response(query)
            reply.set_rcode(dns.rcode.from_text(code))
            if authentic:
                reply.flags |= dns.flags.AD
            for text in (record for record in records if record.count(" ") == 2):
                owner, of_kind, data = text.split()
                reply.answer.append(dns.rrset.from_text(owner, 60, "IN", of_kind, data))
            if records and not reply.answer:
                reply.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", kind, records))
            self._socket.sendto(reply.to_wire(), peer)

    def close(self) -> None:
        self._socket.sendto(b"end", self._socket.getsockname())
        self._thread.join()
        self._socket.close()


def validating(name: str, kind: str) -> tuple[str, bool, list[str]]:
    if name == "dnssec-failed.org":
        return "SERVFAIL", False, []
    if name == "." and kind == "NS":
        return "NOERROR", True, ["a.root-servers.example."]
    if name == "probe.example":
        return "NOERROR", False, ["127.0.0.1"] if kind == "A" else []
    if kind == "PTR":
        return "NOERROR", False, ["probe.example."]
    return "NXDOMAIN", False, []


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    made = Resolver()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def routes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a way out, whatever the one is that runs the tests."""
    for module in ("routes", "doctor"):
        monkeypatch.setattr(f"crawler.preflight.{module}.source_towards", lambda family: "127.0.0.1")


def checks(resolver: Resolver, tmp_path: Path, **settings: object) -> dict[str, Check]:
    values = {"resolver": [resolver.address], "ehlo_name": "probe.example", "source_address": ["127.0.0.1"], **settings}
    connect = values.pop("connect", None)
    assert connect is None or isinstance(connect, str)
    found = examine(Config.from_mapping(values), tmp_path / "not" / "yet", Questions(connect=connect))
    return {check.name: check for check in found}


def test_a_machine_that_can_measure_is_well(resolver: Resolver, tmp_path: Path) -> None:
    found = checks(resolver, tmp_path)
    for name in ("resolver", "validation", "EHLO name", "reverse DNS", "source address", "open files", "trust anchors"):
        assert found[name].state == OK, found[name]
    assert found["port 25 out"].state == UNKNOWN
    assert not [check for check in found.values() if check.state == FAILED]


@pytest.mark.parametrize(
    ("name", "answer", "state"),
    [
        ("dnssec-failed.org", ("NOERROR", False, ["192.0.2.1"]), FAILED),
        ("dnssec-failed.org", ("NXDOMAIN", False, []), UNKNOWN),
        (".", ("NOERROR", False, ["a.root-servers.example."]), FAILED),
        (".", ("SERVFAIL", False, []), UNKNOWN),
    ],
)
def test_validation_is_found_out_with_a_signed_and_a_wrongly_signed_name(
    resolver: Resolver, tmp_path: Path, name: str, answer: tuple[str, bool, list[str]], state: str
) -> None:
    resolver.answer = lambda asked, kind: answer if asked == name else validating(asked, kind)
    assert checks(resolver, tmp_path)["validation"].state == state


def test_a_name_without_a_way_back_is_a_warning(resolver: Resolver, tmp_path: Path) -> None:
    assert checks(resolver, tmp_path, ehlo_name="other.example")["reverse DNS"].state == WARNING
    resolver.answer = lambda name, kind: ("NXDOMAIN", False, []) if kind == "PTR" else validating(name, kind)
    assert "another reverse name" in checks(resolver, tmp_path)["reverse DNS"].finding


def test_port_25_is_tried_only_with_a_host_that_was_named(resolver: Resolver, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def greet() -> None:
            with server.accept()[0] as connection:
                connection.sendall(b"220 mx.example ESMTP\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        found = checks(resolver, tmp_path, connect="127.0.0.1", port={"smtp": port})
        thread.join()
        assert found[f"port {port} out"].state == OK
    found = checks(resolver, tmp_path, connect="127.0.0.1", port={"smtp": port})
    assert found[f"port {port} out"].state == FAILED


def through_aliases(name: str, kind: str) -> tuple[str, bool, list[str]]:
    if name == "mx.own.example" and kind == "A":
        return "NOERROR", False, [
            "mx.own.example. CNAME gw.partner.example.", "gw.partner.example. CNAME MX.Provider.example.",
            "mx.provider.example. A 127.0.0.1",
        ]  # fmt: skip
    return validating(name, kind)


@pytest.mark.parametrize("entry", ["127.0.0.1", "own.example", "partner.example", "mx.provider.example", None])
def test_a_mail_host_that_opted_out_is_not_contacted_even_if_it_was_named(
    resolver: Resolver, tmp_path: Path, entry: str | None
) -> None:
    """By its name, by any alias on the way to its address, or by this."""
    (tmp_path / "opt-outs").write_text(f"{entry}\n" if entry else "")
    resolver.answer = through_aliases
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        asked: dict[str, Any] = {"connect": "mx.own.example", "port": {"smtp": port}, "timeouts": {"greeting": 0.1}}
        check = checks(resolver, tmp_path, exclude=str(tmp_path / "opt-outs"), **asked)[f"port {port} out"]
        if entry is None:
            assert check.state == FAILED
            server.accept()[0].close()
            return
        assert (check.state, check.finding) == (UNKNOWN, "mx.own.example asked not to be contacted")
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_named_host_without_an_address_cannot_be_reached(resolver: Resolver, tmp_path: Path) -> None:
    check = checks(resolver, tmp_path, connect="nowhere.example")["port 25 out"]
    assert (check.state, check.finding) == (FAILED, "nowhere.example cannot be reached (no address of it was found)")


def test_opt_outs_by_a_pipe_are_read_once_and_kept_to(resolver: Resolver, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"own.example\n")
    os.close(writer)
    found = checks(resolver, tmp_path, connect="mx.own.example", exclude=f"/dev/fd/{reader}")
    os.close(reader)
    assert found["opt-outs"].finding.startswith("1 domain")
    assert found["port 25 out"].finding == "mx.own.example asked not to be contacted"


def test_a_machine_without_any_way_out_is_not_ready_and_one_with_half_of_it_is(
    resolver: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crawler.preflight.routes.source_towards", lambda family: None)
    found = checks(resolver, tmp_path)
    assert found["IPv4 route"].state == found["IPv6 route"].state == FAILED
    assert "connect this machine" in str(found["IPv4 route"].advice)
    assert checks(resolver, tmp_path, ipv6=False)["IPv4 route"].state == FAILED
    assert checks(resolver, tmp_path, allow_network=["127.0.0.0/8"])["IPv4 route"].state == WARNING, "a lab needs none"
    monkeypatch.setattr("crawler.preflight.routes.source_towards", lambda family: "::1" if family == "IPv6" else None)
    found = checks(resolver, tmp_path)
    assert (found["IPv4 route"].state, found["IPv6 route"].state) == (WARNING, OK)


def test_what_cannot_be_used_fails(resolver: Resolver, tmp_path: Path) -> None:
    found = checks(resolver, tmp_path, exclude="/nowhere", ca_file="/nowhere", source_address=["192.0.2.77"])
    assert {name for name, check in found.items() if check.state == FAILED} == {
        "source address", "opt-outs", "trust anchors",
    }  # fmt: skip


def test_the_exit_code_and_the_document_say_whether_it_is_ready(
    resolver: Resolver, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = ["doctor", "--resolver", resolver.address, "--data", str(tmp_path)]
    assert main([*options, "--json", "--ehlo-name", "probe.example"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ready"] and {"name", "state", "finding", "advice"} == set(document["checks"][0])
    assert main([*options, "--ehlo-name", "localhost"]) == 1
    out = capsys.readouterr().out
    assert "failed   EHLO name" in out and "not ready" in out


def test_a_resolver_that_refuses_us_is_no_resolver(resolver: Resolver) -> None:
    resolver.answer = lambda name, kind: ("REFUSED", False, [])
    with pytest.raises(Unready, match="refuses to answer us"):
        ask_resolvers(Config.from_mapping({"resolver": [resolver.address]}))


def test_one_resolver_that_answers_is_enough(resolver: Resolver) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
    found = ask_resolvers(Config.from_mapping({"resolver": [nobody, resolver.address]}))
    assert [one.answers for one in found] == [False, True]
    assert found[1].trusted and found[1].validates


def test_more_connections_than_open_files_are_refused_and_fewer_raise_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = [(256, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda kind, value: limits.append(value))
    raise_descriptor_limit(Config.from_mapping({"pacing": {"in_flight": 1000}}))
    assert limits[-1][0] >= 1000
    with pytest.raises(Unready, match=r"pacing\.in_flight"):
        raise_descriptor_limit(Config.from_mapping({"pacing": {"in_flight": 5000}}))


def test_a_place_that_takes_no_file_is_no_place_for_data() -> None:
    check = disk(Path("/proc/no/such/run"))
    assert check.state == FAILED and "/proc cannot be written" in check.finding
