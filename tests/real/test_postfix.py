"""A scan of Debian's Postfix, found through Unbound, says what both were configured to do."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from crawler.model import rows as records
from tests.real import servers
from tests.real.certificates import Authority

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

OURS = Authority("STARTTLS test root")
FOREIGN = Authority("A root that nobody trusts")

TLS_1_2 = {"smtpd_tls_protocols": ">=TLSv1.2, <=TLSv1.2"}
OK = {"stage": "done", "outcome": "ok", "conclusive": True, "negotiated": True, "starttls_offered": True}
TRUSTED = {
    "chain_trusted": True,
    "name_match": True,
    "within_validity": True,
    "strict_valid": True,
    "chain_error_code": 0,
}
NO_TLS = {"tls_version": None, "received_chain": None}
NOT_OFFERED = NO_TLS | {
    "stage": "capabilities",
    "outcome": "not_offered",
    "conclusive": True,
    "strict_valid": False,
    "starttls_offered": False,
}
REJECTED = NO_TLS | {
    "stage": "greeting",
    "outcome": "rejected",
    "conclusive": False,
    "strict_valid": None,
    "starttls_offered": None,
}


def chain(authority: Authority = OURS, name: str = "", **how: Any) -> Callable[[Path, str], dict[str, str]]:
    """Parameters that give a listener a certificate, for another name than its own if one is given."""

    def made(directory: Path, host: str) -> dict[str, str]:
        issued = authority.issue(directory / f"{host}.pem", name or host, **how)
        return {"smtpd_tls_chain_files": str(issued)}

    return made


@dataclass
class Listener:
    """How one mail host is configured, and what a scan must find."""

    parameters: dict[str, str]
    expected: dict[str, Any]
    chain: Callable[[Path, str], dict[str, str]] | None = chain()


LISTENERS = {
    "modern": Listener(
        {},
        OK
        | TRUSTED
        | {"tls_version": "TLSv1.3", "tls_cipher": "TLS_AES_256_GCM_SHA384", "tls_group": "x25519"}
        | {
            "forward_secret": True,
            "post_quantum": False,
            "hello_command": "ehlo",
            "greeting_code": 220,
            "starttls_code": 220,
        },
    ),
    "only-tls13-p384": Listener(
        {"smtpd_tls_protocols": ">=TLSv1.3", "tls_eecdh_auto_curves": "secp384r1"},
        OK | TRUSTED | {"tls_version": "TLSv1.3", "tls_group": "secp384r1"},
    ),
    "only-tls12": Listener(
        TLS_1_2 | {"tls_eecdh_auto_curves": "prime256v1"},
        OK
        | TRUSTED
        | {"tls_version": "TLSv1.2", "tls_cipher": "ECDHE-ECDSA-AES256-GCM-SHA384"}
        | {"tls_group": "secp256r1", "forward_secret": True},
    ),
    "rsa-key-exchange": Listener(
        TLS_1_2 | {"smtpd_tls_exclude_ciphers": "kEECDH, kEDH"},
        OK
        | TRUSTED
        | {"tls_version": "TLSv1.2", "tls_cipher": "AES256-GCM-SHA384"}
        | {"tls_group": None, "forward_secret": False},
        chain(key_type="rsa"),
    ),
    "tls10": Listener(
        {
            "smtpd_tls_protocols": ">=TLSv1, <=TLSv1",
            "smtpd_tls_ciphers": "low",
            "tls_low_cipherlist": "ALL:@SECLEVEL=0",
        },
        OK | TRUSTED | {"tls_version": "TLSv1", "tls_cipher": "ECDHE-RSA-AES256-SHA", "forward_secret": True},
        chain(key_type="rsa"),
    ),
    "expired": Listener(
        {},
        OK | {"chain_trusted": True, "name_match": True, "within_validity": False, "strict_valid": False},
        chain(days=(-30, -1)),
    ),
    "self-signed": Listener(
        {},
        # 18: X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT
        OK
        | {"chain_trusted": False, "name_match": True, "within_validity": True, "strict_valid": False}
        | {"chain_error_code": 18, "chain_error_depth": 0},
        chain(self_signed=True),
    ),
    "untrusted-root": Listener(
        {},
        OK | {"chain_trusted": False, "name_match": True, "within_validity": True, "strict_valid": False},
        chain(FOREIGN),
    ),
    "wrong-name": Listener(
        {},
        OK | {"chain_trusted": True, "name_match": False, "within_validity": True, "strict_valid": False},
        chain(name="elsewhere.example"),
    ),
    "postscreen": Listener({"greet_wait": "3"}, OK | TRUSTED | {"tls_version": "TLSv1.3", "greeting_code": 220}),
    "no-starttls": Listener(
        {"smtpd_tls_security_level": "none"},
        NOT_OFFERED,
        None,
    ),
    "starttls-discarded": Listener(
        {"smtpd_discard_ehlo_keywords": "starttls"},
        NOT_OFFERED,
    ),
    # Without its key Postfix goes on offering STARTTLS, and is then left with anonymous suites.
    "chain-file-missing": Listener(
        {"smtpd_tls_chain_files": "/nonexistent/chain.pem"},
        NO_TLS
        | {
            "stage": "handshake",
            "outcome": "tls_alert",
            "tls_alert": "handshake failure",
            "conclusive": True,
            "strict_valid": False,
        }
        | {"starttls_offered": True, "starttls_code": 220, "negotiated": False},
        None,
    ),
    "rejects-for-good": Listener(
        {"smtpd_client_restrictions": "check_client_access static:{554 5.7.1 Not you}", "smtpd_delay_reject": "no"},
        REJECTED | {"greeting_code": 554},
    ),
    "rejects-for-now": Listener(
        {"smtpd_client_restrictions": "check_client_access static:{421 4.7.0 Not now}", "smtpd_delay_reject": "no"},
        REJECTED | {"greeting_code": 421},
    ),
}
ADDRESSES = {name: f"127.0.25.{number}" for number, name in enumerate(LISTENERS, start=1)}
CLOSED = "127.0.25.250"
"""An address on which nothing listens."""

Row = dict[str, Any]


def zone() -> Iterator[str]:
    """Each listener is the mail host of a domain of its own; some domains more have another kind of route."""
    for name, address in ADDRESSES.items():
        yield f"{name}.example. MX 10 mx.{name}.example."
        yield f"mx.{name}.example. A {address}"
    yield "shares-a-host.example. MX 10 mx.modern.example."
    yield "two-hosts.example. MX 10 mx.modern.example."
    yield "two-hosts.example. MX 20 mx.closed.example."
    yield f"mx.closed.example. A {CLOSED}"
    yield f"implicit.example. A {ADDRESSES['no-starttls']}"
    yield "null-mx.example. MX 0 ."
    yield "private.example. MX 10 mx.private.example."
    yield "mx.private.example. A 10.1.2.3"


OTHER_ROUTES = {
    "shares-a-host": "explicit",
    "two-hosts": "explicit",
    "implicit": "implicit",
    "null-mx": "null_mx",
    "private": "explicit",
    "does-not-exist": "nxdomain",
}


@pytest.fixture(scope="module")
def dataset() -> Iterator[dict[str, list[Row]]]:
    """The tables of one scan of everything above."""
    servers.require("unbound", "postfix", root=True)
    # Not pytest's directory: Postfix gives up root and must be able to walk to its files.
    with tempfile.TemporaryDirectory(prefix="postfix-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        port = servers.free_port(*ADDRESSES.values(), CLOSED)
        configured = {
            ADDRESSES[name]: listener.parameters
            | (listener.chain(directory, f"mx.{name}.example") if listener.chain else {})
            for name, listener in LISTENERS.items()
        }
        with servers.unbound(directory, zone()) as resolver, servers.postfix(directory, port, configured):
            scan(directory, resolver, port)
        yield {table: rows(directory / "data", table) for table in records.TABLES}


def scan(directory: Path, resolver: int, port: int) -> None:
    """Run the command a user would type."""
    names = [f"{name}.example" for name in (*LISTENERS, *OTHER_ROUTES)]
    (directory / "list.txt").write_text("\n".join(names) + "\n")
    (directory / "roots.pem").write_bytes(OURS.pem())
    (directory / "scan.toml").write_text("[pacing]\nretry_delay = 0.5\n")
    command = [sys.executable, "-m", "crawler", "scan", str(directory / "list.txt")]
    command += ["--data", str(directory / "data"), "--config", str(directory / "scan.toml")]
    command += ["--resolver", f"127.0.0.1:{resolver}", "--ehlo-name", "probe.example", "--port", f"smtp={port}"]
    command += ["--allow-network", "127.0.0.0/8", "--ca-file", str(directory / "roots.pem"), "--workers", "2"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr


def rows(data: Path, table: str) -> list[Row]:
    """All rows of one table of the run."""
    parts = sorted(data.glob(f"run=*/{table}/*.parquet"))
    return [] if not parts else list(ds.dataset(parts, format="parquet").to_table().to_pylist())


def probe_of(dataset: dict[str, list[Row]], host: str) -> Row:
    """The one probe of a host."""
    (probe,) = [row for row in dataset["probes"] if row["host"] == host]
    return probe


@pytest.mark.parametrize("name", LISTENERS)
def test_a_scan_finds_what_postfix_was_configured_to_do(dataset: dict[str, list[Row]], name: str) -> None:
    probe = probe_of(dataset, f"mx.{name}.example")
    expected = LISTENERS[name].expected | {"address": ADDRESSES[name]}
    assert {column: probe[column] for column in expected} == expected


def test_a_pause_before_the_greeting_is_waited_for_and_measured(dataset: dict[str, list[Row]]) -> None:
    probe = probe_of(dataset, "mx.postscreen.example")
    assert 3_000 <= probe["greeting_ms"] < 10_000
    assert probe["greeting"].count("\n") == 1, "postscreen's teaser line, then the smtpd's own"


def test_only_what_may_pass_is_tried_again(dataset: dict[str, list[Row]]) -> None:
    tries = {name: len(probe_of(dataset, f"mx.{name}.example")["attempts"]) for name in LISTENERS}
    # The second try of a failed handshake is the one with classical groups only.
    assert {n: number for n, number in tries.items() if number != 1} == {"rejects-for-now": 2, "chain-file-missing": 2}


def test_a_port_without_a_listener_is_refused(dataset: dict[str, list[Row]]) -> None:
    probe = probe_of(dataset, "mx.closed.example")
    assert (probe["stage"], probe["outcome"]) == ("connect", "connection_refused")
    assert (probe["conclusive"], probe["negotiated"], probe["starttls_offered"]) == (False, None, None)


def test_private_space_is_not_contacted(dataset: dict[str, list[Row]]) -> None:
    probe = probe_of(dataset, "mx.private.example")
    assert (probe["stage"], probe["outcome"], probe["connect_ms"]) == (None, "address_not_allowed", None)


def test_every_name_of_the_list_has_its_route(dataset: dict[str, list[Row]]) -> None:
    expected = dict.fromkeys(LISTENERS, "explicit") | OTHER_ROUTES
    assert {row["domain"]: row["route"] for row in dataset["domains"]} == {
        f"{name}.example": route for name, route in expected.items()
    }


def test_a_host_shared_by_domains_is_probed_once(dataset: dict[str, list[Row]]) -> None:
    sharing = [
        row["domain"] for row in dataset["domains"] if "mx.modern.example" in {mx["host"] for mx in row["mx"] or ()}
    ]
    assert sorted(sharing) == ["modern.example", "shares-a-host.example", "two-hosts.example"]
    probe_of(dataset, "mx.modern.example")


def test_a_domain_without_mx_is_its_own_mail_host(dataset: dict[str, list[Row]]) -> None:
    probe = probe_of(dataset, "implicit.example")
    assert (probe["address"], probe["outcome"]) == (ADDRESSES["no-starttls"], "not_offered")


def test_local_data_of_unbound_is_not_called_secure(dataset: dict[str, list[Row]]) -> None:
    assert {row["dnssec"] for row in dataset["domains"] if row["route"] == "explicit"} == {"insecure"}


def test_every_received_certificate_is_stored_once(dataset: dict[str, list[Row]]) -> None:
    received = {sha256 for probe in dataset["probes"] for sha256 in probe["received_chain"] or ()}
    stored = [row["sha256"] for row in dataset["certificates"]]
    assert len(received) >= 10
    assert sorted(stored) == sorted(received)
