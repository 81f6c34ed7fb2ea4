"""Debian's nginx as a fast C target: its mail module speaks SMTP with STARTTLS on loopback addresses."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

MAIL_MODULE = Path("/usr/lib/nginx/modules/ngx_mail_module.so")
NEEDS = "apt-get install nginx-light libnginx-mod-mail openssl"

CONFIGURATION = """
load_module {module};
daemon off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log crit;
worker_rlimit_nofile 200000;
events {{ worker_connections 60000; multi_accept on; }}
http {{
    access_log off;
    server {{ listen 127.0.0.1:{auth}; return 204; }}
    {web}
}}
mail {{
    server_name mx.bench.example; auth_http 127.0.0.1:{auth};
    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache off; ssl_session_tickets off;
    smtp_capabilities "SIZE 10240000" "8BITMIME" "PIPELINING" "ENHANCEDSTATUSCODES"; smtp_auth login;
    smtp_greeting_delay {delay}s;
    {servers}
}}
"""
SERVER = "server {{ protocol smtp; starttls on; ssl_certificate {pem}; ssl_certificate_key {pem}; {listen} }}"
IMPLICIT = "server {{ protocol smtp; ssl_certificate {pem}; ssl_certificate_key {pem}; listen 127.0.0.1:{port} ssl; }}"


def addresses(count: int, first: int = 0) -> list[str]:
    """Loopback addresses spread over many /24, as mail hosts are."""
    return [f"127.{10 + n // 60_000}.{n // 250 % 240}.{1 + n % 250}" for n in range(first, first + count)]


def write_pem(path: Path, kind: str, name: str) -> None:
    """A self-signed certificate and its key, `ecdsa` (P-256) or `rsa` (2048)."""
    key = ec.generate_private_key(ec.SECP256R1()) if kind == "ecdsa" else rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(
            subject, subject, key.public_key(), x509.random_serial_number(), now - timedelta(1), now + timedelta(30)
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)


@contextmanager
def running(
    directory: Path,
    kind: str,
    hosts: int,
    certificates: int,
    *,
    name: str = "mx{}.bench.example",
    web: str = "",
    delay: int = 0,
    first: int = 0,
    write: Callable[[Path, str, str], None] = write_pem,
) -> Iterator[tuple[int, int]]:
    """nginx on `hosts` addresses, `certificates` distinct ones; yields its SMTP port and an implicit-TLS port.

    `name` is what a certificate is for, by its number; `web` are further servers, for HTTP; `delay` are
    the seconds before it greets, `first` the number of its first address; `write` makes a certificate and its key.
    """
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if nginx is None or not MAIL_MODULE.exists():
        raise SystemExit(f"bench: nginx with its mail module is needed: {NEEDS}")
    smtp, auth, implicit = free_ports(3)
    listening = addresses(hosts, first)
    servers = []
    for number in range(certificates):
        pem = directory / f"{kind}-{number}.pem"
        write(pem, kind, name.format(number))
        listen = " ".join(f"listen {address}:{smtp};" for address in listening[number::certificates])
        servers.append(SERVER.format(pem=pem, listen=listen))
    servers.append(IMPLICIT.format(pem=directory / f"{kind}-0.pem", port=implicit))
    configuration = directory / "nginx.conf"
    configuration.write_text(
        CONFIGURATION.format(
            module=MAIL_MODULE, dir=directory, auth=auth, servers="\n    ".join(servers), web=web, delay=delay
        )
    )
    process = subprocess.Popen([nginx, "-c", str(configuration), "-e", str(directory / "error.log")])
    try:
        _wait_for(listening[-1], smtp, process)
        yield smtp, implicit
    finally:
        process.terminate()
        process.wait(10)


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [sock.getsockname()[1] for sock in held]
    for sock in held:
        sock.close()
    return ports


def _wait_for(address: str, port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise SystemExit("bench: nginx did not start; see its error.log")
        try:
            socket.create_connection((address, port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("bench: nginx does not answer")
