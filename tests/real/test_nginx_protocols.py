"""nginx as a proxy for IMAP, POP3 and submission is read as it was configured, in both forms."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest

from bench.nginx import write_pem
from crawler.model.rows import Endpoint, Outcome, Probe, Stage
from crawler.probe.prober import Prober
from crawler.protocols.registry import service
from crawler.settings.config import Config, Pacing, Timeouts
from tests.real import mail_servers, servers

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

NAME = "mx.nginx.example"

#: Listener -> name on the command line, and what its `server` block says beside certificate and port.
LISTENERS = {
    "imap": ("imap", "protocol imap; imap_auth plain login; starttls on;"),
    "imap-only-with-tls": ("imap", "protocol imap; imap_auth plain login; starttls only;"),
    "imap-without": ("imap", "protocol imap; imap_auth plain login;"),
    "imaps": ("imaps", "protocol imap; imap_auth plain login;"),
    "pop3": ("pop3", "protocol pop3; pop3_auth plain; starttls on;"),
    "pop3-only-with-tls": ("pop3", "protocol pop3; pop3_auth plain; starttls only;"),
    "pop3-without": ("pop3", "protocol pop3; pop3_auth plain;"),
    "pop3s": ("pop3s", "protocol pop3; pop3_auth plain;"),
    "submission": ("submission", "protocol smtp; smtp_auth plain; starttls on;"),
    "submissions": ("submissions", "protocol smtp; smtp_auth plain;"),
    "imap-where-imaps-is-due": ("imaps", "protocol imap; imap_auth plain login;"),
    "imaps-where-imap-is-due": ("imap", "protocol imap; imap_auth plain login;"),
    "pop3-where-imap-is-due": ("imap", "protocol pop3; pop3_auth plain;"),
}
WITH_TLS = {"imaps", "pop3s", "submissions", "imaps-where-imap-is-due"}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Probe]]:
    """The row of each listener."""
    mail_servers.require(mail_servers.NGINX_MAIL)
    servers.require("nginx", root=True)
    directory = tmp_path_factory.mktemp("nginx-protocols")
    directory.chmod(0o755)
    write_pem(directory / "pem", "ecdsa", NAME)
    addresses = {listener: f"127.0.{number}.1" for number, listener in enumerate(LISTENERS, 60)}
    port = servers.free_port(*addresses.values())
    blocks = "\n".join(
        f"server {{ listen {addresses[listener]}:{port}{' ssl' * (listener in WITH_TLS)}; {words} "
        f"ssl_certificate {directory}/pem; ssl_certificate_key {directory}/pem; }}"
        for listener, (_, words) in LISTENERS.items()
    )
    (directory / "nginx.conf").write_text(
        f"load_module {mail_servers.NGINX_MAIL};\nuser nobody nogroup; daemon off; worker_processes 1;\n"
        f"pid {directory}/pid; error_log {directory}/error.log;\nevents {{ }}\n"
        f"mail {{ server_name {NAME}; ssl_protocols TLSv1.2 TLSv1.3; auth_http 127.0.0.1:1;\n{blocks}\n}}\n"
    )
    command = [servers.program("nginx"), "-c", str(directory / "nginx.conf"), "-e", str(directory / "error.log")]
    pacing = Pacing(attempts=1, address_pause=0)
    timeouts = Timeouts(greeting=3)  # one listener says nothing
    config = Config(allow_network=("127.0.0.0/8",), ehlo_name="probe.example", pacing=pacing, timeouts=timeouts)
    prober = Prober(config)
    made: list[Probe] = []
    with servers.daemon(command, directory / "log", lambda: servers.accepts(addresses["imap"], port)):
        endpoints = [
            Endpoint(one.protocol.name, NAME, addresses[listener], port, form=one.form)
            for listener, (name, _) in LISTENERS.items()
            for one in [service(name)]
        ]
        anyio.run(prober.probe_endpoints, endpoints, lambda row: made.append(row) if isinstance(row, Probe) else None)
    by_address = {row.address: row for row in made}
    yield {listener: by_address[address] for listener, address in addresses.items()}


@pytest.mark.parametrize("listener", ["imap", "imap-only-with-tls", "pop3", "pop3-only-with-tls", "submission"])
def test_an_upgrade_is_made_and_answered_inside_tls(rows: dict[str, Probe], listener: str) -> None:
    row = rows[listener]
    assert (row.stage, row.outcome, row.starttls_offered) == (Stage.DONE, Outcome.OK, True), row.last_reply
    assert row.negotiated and row.name_match and row.chain_trusted is False and row.tls_version == "TLSv1.3"
    assert row.capabilities and row.capabilities_after_tls
    assert not {"STARTTLS", "STLS"} & set(row.capabilities_after_tls)
    assert row.plaintext_login is ("only" not in listener), row.capabilities


@pytest.mark.parametrize("listener", ["imaps", "pop3s", "submissions"])
def test_tls_at_once_is_followed_by_greeting_and_capabilities(rows: dict[str, Probe], listener: str) -> None:
    row = rows[listener]
    assert (row.stage, row.outcome, row.form) == (Stage.DONE, Outcome.OK, "implicit"), row.last_reply
    assert row.negotiated and row.greeting and row.capabilities_after_tls
    assert (row.capabilities, row.starttls_offered, row.starttls_code) == (None, None, None)


@pytest.mark.parametrize("listener", ["imap-without", "pop3-without"])
def test_a_host_without_the_upgrade_does_not_offer_it(rows: dict[str, Probe], listener: str) -> None:
    row = rows[listener]
    assert (row.outcome, row.starttls_offered, row.conclusive) == (Outcome.NOT_OFFERED, False, True), row.last_reply
    assert row.plaintext_login and row.negotiated is False


def test_plain_text_where_tls_is_due_and_tls_where_plain_text_is_due_have_names(rows: dict[str, Probe]) -> None:
    plain = rows["imap-where-imaps-is-due"]
    assert (plain.stage, plain.outcome, plain.conclusive) == (Stage.HANDSHAKE, Outcome.TLS_ERROR, True)
    assert (plain.last_reply or "").startswith("* OK")
    mute = rows["imaps-where-imap-is-due"]
    assert mute.stage is Stage.GREETING and mute.outcome is Outcome.TIMEOUT and mute.negotiated is None
    other = rows["pop3-where-imap-is-due"]
    assert (other.stage, other.outcome) == (Stage.GREETING, Outcome.WRONG_PROTOCOL)
