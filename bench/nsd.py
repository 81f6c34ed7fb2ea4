"""NSD with a generated zone on loopback: the resolver of the DNS benchmarks, which is faster than any client.

Rule of this file: everything lies in a directory of the benchmark, and the server is ended by its process id.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

NEEDS = "apt install nsd"

HOSTS_PER_PROVIDER = 2
DOMAINS_PER_PROVIDER = 20
"""Most domains share their mail hosts with others; the shape of a real list, roughly."""

_CONFIGURATION = """\
server:
  ip-address: 127.0.0.1@{port}
  username: ""
  chroot: ""
  zonesdir: "{directory}"
  zonelistfile: "{directory}/zone.list"
  xfrdfile: ""
  xfrdir: "{directory}"
  database: ""
  pidfile: ""
  logfile: "{directory}/nsd.log"
  server-count: 1
  # Answers of a resolver hold what was asked and no more; and nobody here is to be slowed down.
  minimal-responses: yes
  rrl-ratelimit: 0
  receive-buffer-size: 4194304
  send-buffer-size: 4194304
remote-control:
  control-enable: no
zone:
  name: .
  zonefile: root.zone
"""


def hosts_of(domain: int) -> list[str]:
    """Mail hosts of a domain: its provider's."""
    provider = domain // DOMAINS_PER_PROVIDER
    return [f"mx{n}.provider{provider}.test" for n in range(HOSTS_PER_PROVIDER)]


def questions(domains: int) -> Iterator[tuple[str, str]]:
    """Name and type of what RESOLVE asks, once for each domain and each mail host."""
    for n in range(domains):
        yield f"domain{n}.test", "MX"
        yield f"_mta-sts.domain{n}.test", "TXT"
        yield f"_smtp._tls.domain{n}.test", "TXT"
        if n % DOMAINS_PER_PROVIDER == 0:
            for host in hosts_of(n):
                yield host, "A"
                yield host, "AAAA"


def zone(domains: int) -> Iterator[str]:
    """Records of so many domains and their mail hosts, names relative to `test.`"""
    for n in range(domains):
        for preference, host in enumerate(hosts_of(n), 1):
            yield f"domain{n} MX {preference}0 {host}."
            if n % DOMAINS_PER_PROVIDER == 0:
                yield f"{host}. A 192.0.2.{n % 250}"
                yield f"{host}. AAAA 2001:db8::{n % 65_536:x}"
        if n % 25 == 0:  # about as many as publish these
            yield f'_mta-sts.domain{n} TXT "v=STSv1; id=20260101T000000;"'
            yield f'_smtp._tls.domain{n} TXT "v=TLSRPTv1; rua=mailto:tls@domain{n}.test"'


@contextmanager
def running(directory: Path, records: Iterable[str]) -> Iterator[int]:
    """NSD that serves these records under `test.`; yields its port."""
    program = shutil.which("nsd") or shutil.which("/usr/sbin/nsd")
    if program is None:
        raise SystemExit(f"bench: NSD is needed: {NEEDS}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (directory / "root.zone").open("w") as file:
        # The root, for a scan asks its resolver about it before it begins.
        file.write("$ORIGIN test.\n$TTL 3600\n. SOA ns hostmaster 1 3600 900 604800 300\n. NS ns\nns A 127.0.0.1\n")
        file.writelines(f"{record}\n" for record in records)
    (directory / "nsd.conf").write_text(_CONFIGURATION.format(port=port, directory=directory))
    server = subprocess.Popen([program, "-d", "-c", str(directory / "nsd.conf")], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not _answers(port):
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"bench: NSD did not start: {(directory / 'nsd.log').read_text()[-500:]}")
            time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        server.wait(10)


def _answers(port: int) -> bool:
    question = bytes.fromhex("00010000000100000000000004746573740000060001")  # SOA of test.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(1)
        try:
            asker.sendto(question, ("127.0.0.1", port))
            return asker.recv(512)[3] & 15 == 0
        except OSError:
            return False
