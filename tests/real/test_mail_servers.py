"""Exim, OpenSMTPD, nginx, Haraka and Postfix's postscreen are read as they were configured."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import pytest

from crawler.model.rows import Endpoint, Probe
from crawler.probe.prober import Prober
from crawler.settings.config import Config, Pacing, Timeouts
from tests.real import mail_servers, servers
from tests.real.certificates import Authority

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

OURS = Authority("Mail servers test root")

OK = {"stage": "done", "outcome": "ok", "conclusive": True, "negotiated": True, "starttls_offered": True}
OK |= {"greeting_code": 220, "hello_command": "ehlo", "starttls_code": 220}
TRUSTED = {
    "chain_trusted": True,
    "name_match": True,
    "within_validity": True,
    "strict_valid": True,
    "pq_intolerant": False,
}
NO_TLS = {"tls_version": None, "tls_group": None, "received_chain": None}
NOT_OFFERED = NO_TLS | {"stage": "capabilities", "outcome": "not_offered", "conclusive": True}
NOT_OFFERED |= {"starttls_offered": False, "negotiated": False, "strict_valid": False}
REJECTED = NO_TLS | {"stage": "greeting", "outcome": "rejected", "conclusive": False}
REJECTED |= {"starttls_offered": None, "negotiated": None, "strict_valid": None, "capabilities": None}
HYBRID = {"tls_group": "X25519MLKEM768", "post_quantum": True, "forward_secret": True}
TLS_1_3 = {"tls_version": "TLSv1.3", "tls_cipher": "TLS_AES_256_GCM_SHA384", "forward_secret": True}
FOR_GOOD, FOR_NOW = "554 5.7.1 Not you", "421 4.7.0 Not now"
DEEP = "\n".join(f"line {number} of the teaser" for number in range(1, 41))


@dataclass
class Listener:
    """One listener: its settings ({pem} is its certificate with key), and what a probe must find."""

    settings: dict[str, str]
    expected: dict[str, Any]
    key_type: str = "ec"
    tries: int = 1


@dataclass
class Server:
    """One mail server with its listeners, on addresses of a /24 of its own."""

    start: Callable[..., AbstractContextManager[None]]
    network: str
    listeners: dict[str, Listener] = field(default_factory=dict)

    def addresses(self) -> dict[str, str]:
        return {name: f"{self.network}.{number}" for number, name in enumerate(self.listeners, 1)}


EXIM = ["SIZE 52428800", "8BITMIME", "PIPELINING", "PIPECONNECT", "CHUNKING", "STARTTLS", "SMTPUTF8", "HELP"]
EXIM_TLS = {"tls_advertise_hosts": "*", "tls_certificate": "{pem}", "smtp_banner": "mx.exim.example ESMTP"}
NGINX = {
    "starttls": "on",
    "ssl_certificate": "{pem}",
    "ssl_certificate_key": "{pem}",
    "server_name": "mx.nginx.example",
}
NGINX_WORDS = ["SIZE 10240000", "PIPELINING", "AUTH LOGIN"]
HARAKA = {"key": "{pem}", "cert": "{pem}"}
HARAKA_WORDS = ["PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 26214400"]
OPENSMTPD_WORDS = ["8BITMIME", "ENHANCEDSTATUSCODES", "SIZE 36700160", "DSN"]
OPENSMTPD_BROKEN = NO_TLS | {
    "stage": "handshake",
    "outcome": "tls_alert",
    "conclusive": True,
    "negotiated": False,
    "strict_valid": False,
}
OPENSMTPD_BROKEN |= {"tls_alert": "internal error", "tls_reason": "tlsv1 alert internal error"}
OPENSMTPD_BROKEN |= {"starttls_offered": True, "starttls_code": 220, "last_reply": "220 2.0.0 Ready to start TLS"}
OPENSMTPD_BROKEN |= {"greeting": "220 mx.opensmtpd.example ESMTP OpenSMTPD", "capabilities_after_tls": None}
OPENSMTPD_BROKEN |= {"capabilities": [*OPENSMTPD_WORDS, "STARTTLS", "HELP"]}


def without(words: list[str], *gone: str) -> list[str]:
    return [word for word in words if word not in gone]


SERVERS = {
    "exim": Server(
        mail_servers.exim,
        "127.0.41",
        {
            "tls13-p384": Listener(
                EXIM_TLS | {"tls_require_ciphers": "NORMAL:-GROUP-ALL:+GROUP-SECP384R1"},
                OK | TRUSTED | TLS_1_3 | {"tls_group": "secp384r1", "greeting": "220 mx.exim.example ESMTP"}
                | {"capabilities": EXIM, "capabilities_after_tls": without(EXIM, "STARTTLS")},
            ),
            "tls12": Listener(
                EXIM_TLS | {"tls_require_ciphers": "NORMAL:-VERS-TLS1.3:-GROUP-ALL:+GROUP-SECP256R1"},
                OK | TRUSTED | {"tls_version": "TLSv1.2", "tls_cipher": "ECDHE-ECDSA-AES256-GCM-SHA384"}
                | {"tls_group": "secp256r1", "forward_secret": True},
            ),
            "rsa-key-exchange": Listener(
                EXIM_TLS | {"tls_require_ciphers": "NORMAL:-VERS-TLS1.3:-KX-ALL:+RSA"},
                OK | TRUSTED | {"tls_version": "TLSv1.2", "tls_cipher": "AES256-GCM-SHA384"}
                | {"tls_group": None, "forward_secret": False},
                key_type="rsa",
            ),
            "deep-banner": Listener(
                EXIM_TLS | {"smtp_banner": DEEP.replace("\n", r"\n")},
                OK | TRUSTED | {"greeting": "220-" + DEEP.replace("\n", "\n220-").replace("220-line 40", "220 line 40")},
            ),
            "no-starttls": Listener(
                EXIM_TLS | {"tls_advertise_hosts": ""}, NOT_OFFERED | {"capabilities": without(EXIM, "STARTTLS")}
            ),
            # Exim offers what it cannot do: found out only when a client asks for it.
            "certificate-missing": Listener(
                EXIM_TLS | {"tls_certificate": "/nonexistent.pem"},
                NO_TLS | {"stage": "upgrade", "outcome": "upgrade_refused", "conclusive": False, "negotiated": None, "strict_valid": None}
                | {"starttls_offered": True, "starttls_code": 454, "last_reply": "454 TLS currently unavailable"},
                tries=2,
            ),
            "for-good": Listener(EXIM_TLS | {"refuse": FOR_GOOD}, REJECTED | {"greeting": FOR_GOOD}),
            "for-now": Listener(EXIM_TLS | {"refuse": FOR_NOW}, REJECTED | {"greeting": FOR_NOW}, tries=2),
        },
    ),
    "opensmtpd": Server(
        mail_servers.opensmtpd,
        "127.0.42",
        {
            # Debian 12 builds it with OpenSSL 3, under which the process that talks never gets at the private key
            # ("missing private key" in its log): STARTTLS is offered, and no handshake ever succeeds.
            # The second try is the one with classical groups only.
            "rsa": Listener({"certificate": "{pem}"}, OPENSMTPD_BROKEN, key_type="rsa", tries=2),
            "ecdsa": Listener({"certificate": "{pem}"}, OPENSMTPD_BROKEN, tries=2),
            "no-starttls": Listener({}, NOT_OFFERED | {"capabilities": [*OPENSMTPD_WORDS, "HELP"]}),
            "for-good": Listener({"refuse": FOR_GOOD}, REJECTED | {"greeting": FOR_GOOD}),
            "for-now": Listener({"refuse": FOR_NOW}, REJECTED | {"greeting": FOR_NOW}, tries=2),
        },
    ),
    "nginx": Server(
        mail_servers.nginx,
        "127.0.43",
        {
            "modern": Listener(
                NGINX | {"ssl_protocols": "TLSv1.2 TLSv1.3"},
                OK | TRUSTED | TLS_1_3 | {"tls_group": "x25519", "greeting": "220 mx.nginx.example ESMTP ready"}
                | {"capabilities": [*NGINX_WORDS, "STARTTLS"], "capabilities_after_tls": NGINX_WORDS},
            ),
            "tls12": Listener(
                NGINX | {"ssl_protocols": "TLSv1.2", "ssl_ecdh_curve": "secp521r1"},
                OK | TRUSTED | {"tls_version": "TLSv1.2", "tls_cipher": "ECDHE-ECDSA-AES256-GCM-SHA384"}
                | {"tls_group": "secp521r1", "forward_secret": True},
            ),
            "tls10": Listener(
                NGINX | {"ssl_protocols": "TLSv1", "ssl_ciphers": "ECDHE-RSA-AES128-SHA:@SECLEVEL=0"},
                OK | TRUSTED | {"tls_version": "TLSv1", "tls_cipher": "ECDHE-RSA-AES128-SHA", "forward_secret": True},
                key_type="rsa",
            ),
            "wants-our-certificate": Listener(
                NGINX | {"ssl_verify_client": "on", "ssl_client_certificate": "{root}"},
                # Turned away inside TLS, so TLS it does.
                TRUSTED | {"stage": "after_tls", "outcome": "rejected", "conclusive": True, "negotiated": True}
                | {"tls_version": "TLSv1.2", "last_reply": "421 4.7.1 No required SSL certificate"}
                | {"capabilities_after_tls": None},
                tries=2,
            ),
            "no-starttls": Listener({"starttls": "off"}, NOT_OFFERED | {"capabilities": NGINX_WORDS}),
        },
    ),
    "haraka": Server(
        mail_servers.haraka,
        "127.0.44",
        {
            "hybrid": Listener(
                HARAKA | {"greeting": "first words\nsecond words"},
                OK | TRUSTED | TLS_1_3 | HYBRID
                | {"greeting": "220-mx.haraka.example ESMTP first words\n220 second words"}
                | {"capabilities": [*HARAKA_WORDS, "STARTTLS"], "capabilities_after_tls": HARAKA_WORDS},
            ),
            "tls12": Listener(
                HARAKA | {"secureProtocol": "TLSv1_2_method", "ecdhCurve": "secp384r1"},
                OK | TRUSTED | {"tls_version": "TLSv1.2", "tls_group": "secp384r1", "forward_secret": True},
            ),
            "no-starttls": Listener({}, NOT_OFFERED | {"capabilities": HARAKA_WORDS}),
            "for-good": Listener(HARAKA | {"refuse": FOR_GOOD}, REJECTED | {"greeting": FOR_GOOD}),
            "for-now": Listener(HARAKA | {"refuse": FOR_NOW}, REJECTED | {"greeting": FOR_NOW}, tries=2),
        },
    ),
    "postscreen": Server(
        servers.postfix,
        "127.0.45",
        {
            # With a test that needs it to listen to us, postscreen holds the whole conversation by itself.
            "deep": Listener(
                {"greet_wait": "6", "smtpd_tls_chain_files": "{pem}", "postscreen_pipelining_enable": "yes"}
                | {"postscreen_greet_banner": "wait for the rest", "smtpd_banner": "mx.postfix.example ESMTP"},
                OK | TRUSTED | TLS_1_3 | {"greeting": "220-wait for the rest\n220 mx.postfix.example ESMTP"},
            ),
        },
    ),
}  # fmt: skip


@contextmanager
def running(name: str) -> Iterator[tuple[Path, list[Endpoint]]]:
    """One server with its listeners; yields a directory with `root.pem`, and the endpoints."""
    server = SERVERS[name]
    addresses = server.addresses()
    # Not pytest's directory: a server that gives up root must be able to walk to its files.
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as made:
        directory = Path(made)
        directory.chmod(0o755)
        (directory / "root.pem").write_bytes(OURS.pem())
        port = servers.free_port(*addresses.values())
        configured = {}
        for listener, address in addresses.items():
            wanted = server.listeners[listener]
            host = f"{listener}.{name}.example"
            pem = OURS.issue(directory / f"{listener}.pem", host, key_type=wanted.key_type)
            pem.chmod(0o644)
            places = {"{pem}": str(pem), "{root}": str(directory / "root.pem")}
            configured[address] = {key: places.get(value, value) for key, value in wanted.settings.items()}
        with server.start(directory, port, configured):
            yield (
                directory,
                [Endpoint("smtp", f"{listener}.{name}.example", at, port) for listener, at in addresses.items()],
            )


def probe(directory: Path, endpoints: list[Endpoint], **settings: Any) -> dict[str, Probe]:
    """Listener -> its row."""
    config = Config(
        ehlo_name="probe.example",
        allow_network=("127.0.0.0/8",),
        ca_file=str(directory / "root.pem"),
        pacing=Pacing(retry_delay=0.5),
        **settings,
    )
    rows: list[Any] = []
    anyio.run(Prober(config).probe_endpoints, endpoints, rows.append)
    return {(row.host or "").partition(".")[0]: row for row in rows if isinstance(row, Probe)}


@cache
def measured(name: str) -> dict[str, Probe]:
    """The row of every listener of one server."""
    with running(name) as (directory, endpoints):
        return probe(directory, endpoints)


@pytest.mark.parametrize(
    ("server", "listener"), [(name, listener) for name, server in SERVERS.items() for listener in server.listeners]
)
def test_a_server_is_read_as_it_was_configured(server: str, listener: str) -> None:
    row = measured(server)[listener]
    wanted = SERVERS[server].listeners[listener]
    assert {column: getattr(row, column) for column in wanted.expected} == wanted.expected
    assert len(row.attempts or ()) == wanted.tries


def test_the_wait_of_postscreen_is_measured_as_the_time_to_the_greeting() -> None:
    row = measured("postscreen")["deep"]
    assert 5_900 <= (row.greeting_ms or 0) < 15_000  # its six seconds are counted by another clock than ours


def test_a_client_without_the_patience_for_postscreen_learns_nothing_about_tls() -> None:
    with running("postscreen") as (directory, endpoints):
        row = probe(directory, endpoints, timeouts=Timeouts(greeting=1.5))["deep"]
    assert (row.stage, row.outcome, row.conclusive) == ("greeting", "timeout", False)
    assert (row.starttls_offered, row.negotiated, row.greeting) == (None, None, None)
    assert row.last_reply == "220-wait for the rest", "what it did say is on record"
    assert [attempt["outcome"] for attempt in row.attempts or ()] == ["timeout", "timeout"]
