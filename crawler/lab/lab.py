"""The lab put together: name server, mail servers, authority, and the settings for a scan of it.

Everything listens on loopback, and `lab.toml` appears when all of it does.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from crawler.lab.adversary.dns import answer_hostile, let_in
from crawler.lab.adversary.domains import Adversary
from crawler.lab.adversary.names import hostile_names
from crawler.lab.behaviours.policy_list import ListedBehaviour, policy_list
from crawler.lab.behaviours.routes import ASKED_NOT_TO
from crawler.lab.behaviours.vocabulary import HOSTS
from crawler.lab.outages import Outage, play
from crawler.lab.servers.authority import Authority
from crawler.lab.servers.dns import LabAnswer, OverTcp, OverUdp, Responder, answer
from crawler.lab.servers.dns_protection import answer_protected
from crawler.lab.servers.dns_services import answer_services
from crawler.lab.servers.mail import MailServers
from crawler.lab.servers.policy import PolicyServers
from crawler.lab.servers.tls import ServerContexts
from crawler.lab.world.world import World, network
from crawler.model.errors import UsageError

_PORTS = (10_000, 32_000)  # below Linux's range for outgoing connections
_TRIES = 50
_LOOPBACK = "127.0.0.1"
_BUFFER = 4 << 20  # bytes of questions that may wait; the kernel gives what it allows

_SETTINGS = """\
# A pretend Internet on loopback, made by `starttls-crawler lab`; it lives as long as that command runs.
resolver = ["{resolver}"]
ehlo_name = "probe.lab.test"
allow_network = ["127.0.0.0/8", "::1/128"]
ca_file = "ca.pem"
exclude = "opt-outs.txt"
ipv6 = {ipv6}

[port]
smtp = {smtp_port}

[https]
port = {https_port}
timeout = 3.0
connect_timeout = 2.0
retry_delay = 0.3
per_address = 100  # all policy hosts of a kind share an address here, and all kinds a network
per_network = 1_000
failures = 100_000
slow_seconds = 1_000_000.0

# Distances are short here and time-outs shorter; the lab is one process, which must keep up with all scanners.
[dns]
timeout = 1.0
tries = 2

[timeouts]
connect = 2.0
greeting = 3.0
reply = 2.0
handshake = 3.0
quit = 0.5
target = 10.0

[pacing]
in_flight = 200
attempts = 2
retry_delay = 1.0
per_provider = 1000  # nobody's patience is at stake here, and refusing is a behaviour, not a verdict on us
address_pause = 0.0
breaker_refusals = 0

[shards]
domains = 2000
hosts = 2000
endpoints = 1000
"""


class Lab:
    """A running lab::

    async with Lab(domains=["one.example"], directory=path) as lab:
        ...  # lab.config_path is for `--config`; lab.world has the truth
    """

    def __init__(
        self,
        domains: Iterable[str] | Callable[[], Iterator[str]],
        *,
        seed: int = 1,
        directory: Path | None = None,
        smtp_port: int = 0,
        dns_port: int = 0,
        https_port: int = 0,
        outages: Iterable[Outage] = (),
        hostile: int = 0,
        hostile_size: float = 1.0,
    ) -> None:
        """`domains` is the list that will be scanned (or opens it; it is read three times).

        Ports are chosen free where they are 0.  Without `directory`, a temporary one is used.  The first `hostile` of
        `hostile_names` attack; `hostile_size` scales how much they send.
        """
        if not callable(domains):
            domains = list(domains)
        self._listed, self._attackers = domains, frozenset(hostile_names(hostile))
        self._temporary = tempfile.TemporaryDirectory(prefix="lab-") if directory is None else None
        self.directory = Path(self._temporary.name) if self._temporary else Path(directory or ".")
        self.smtp_port, self.dns_port, self.https_port = smtp_port, dns_port, https_port
        self.world = World(seed, self._names(), ipv6=_has_ipv6())
        self.authority = Authority()
        self.adversary = Adversary(self.world, self._names() if hostile else (), hostile, hostile_size)
        self._dns_servers: list[asyncio.DatagramTransport | asyncio.Server] = []
        self._outages = tuple(outages)
        self._playing: set[asyncio.Task[None]] = set()

    def _names(self) -> Iterator[str]:
        """The list without those that attack."""
        names = self._listed() if callable(self._listed) else self._listed
        return (name for name in names if name not in self._attackers)

    @property
    def config_path(self) -> Path:
        """The settings for a scan of this lab."""
        return self.directory / "lab.toml"

    @property
    def ca_file(self) -> Path:
        """The trust anchor, PEM."""
        return self.directory / "ca.pem"

    @property
    def resolver(self) -> str:
        """Address and port of the name server."""
        return f"{_LOOPBACK}:{self.dns_port}"

    async def __aenter__(self) -> Self:
        """Listen everywhere, then write `lab.toml`.  Raises `UsageError`."""
        self._write("opt-outs.txt", "")  # finds out early whether the directory can be written
        self.config_path.unlink(missing_ok=True)  # one of an earlier lab would lead nowhere
        self._write("ca.pem", self.authority.root_pem.decode())
        contexts = ServerContexts(self.authority, self.directory)
        self.mail = MailServers(contexts, self.smtp_port or _free_port())
        self.policies = PolicyServers(self.world, contexts, self.https_port or _free_port())
        self.smtp_port, self.https_port = self.mail.port, self.policies.port
        try:
            await self.policies.listen()
            await self._serve_dns()
            self._settle()
            await let_in(self.adversary, self.authority, self.mail, self.policies)
            await self.mail.settled()
            self._write("lab.toml", self._settings())
            self._play_outages()
        except BaseException:
            self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.config_path.unlink(missing_ok=True)
        self._close()
        await asyncio.sleep(0)  # a turn of the loop, in which transports let go of their sockets
        if self._temporary is not None:
            self._temporary.cleanup()

    def _play_outages(self) -> None:
        for outage in self._outages:
            if outage.kind == "mail":
                work = play(outage, lambda: self.mail.accepted, self.mail.go_away, self.mail.come_back)
            else:
                work = play(outage, lambda: self.dns.questions, self._leave_dns, self._come_back_with_dns)
            self._playing.add(asyncio.get_running_loop().create_task(work))

    def _leave_dns(self) -> None:
        for server in self._dns_servers:
            server.close()
        self._dns_servers.clear()

    def _come_back_with_dns(self) -> None:
        self._playing.add(asyncio.get_running_loop().create_task(self._listen_for_dns()))

    def _close(self) -> None:
        for task in self._playing:
            task.cancel()
        for server in self._dns_servers:
            server.close()
        self.policies.close()
        self.mail.close()

    async def _serve_dns(self) -> None:
        self.dns = Responder(self._answer)
        await self._listen_for_dns()

    async def _listen_for_dns(self) -> None:
        loop = asyncio.get_running_loop()
        address = (_LOOPBACK, self.dns_port or _free_port())
        try:
            udp, _ = await loop.create_datagram_endpoint(lambda: OverUdp(self.dns), local_addr=address)
            self._dns_servers.append(udp)
            udp.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            self._dns_servers.append(await loop.create_server(lambda: OverTcp(self.dns), *address))
        except OSError as error:
            raise UsageError(f"lab: DNS cannot listen on port {address[1]} ({error.strerror})") from error
        self.dns_port = address[1]

    def _answer(self, name: str, rdtype: int) -> LabAnswer:
        if (found := answer_hostile(self.adversary, self.authority, name, rdtype)) is not None:
            return found
        if (found := answer_protected(self.world, self.authority, name, rdtype)) is not None:
            return found
        if (found := answer_services(self.world, self.smtp_port, name, rdtype)) is not None:
            return found
        found = answer(self.world, name, rdtype)
        self._inhabit(name)  # names outside the list have their hosts too, from the moment that someone asks
        return found

    def _inhabit(self, name: str) -> None:
        """Let a mail host listen on its addresses; any other name has nobody who could."""
        host = self.world.host(name)
        if host is None:
            return
        for address in host.addresses:
            self.mail.listen(address, self.world.behaviour_at(host, address).server)

    def _settle(self) -> None:
        """Let every host of the list listen; write down who asked not to be measured, and who promised what."""
        opted_out = {network(HOSTS["opted-out"]): None, ASKED_NOT_TO: None}
        hosts: set[str] = set()
        members: list[tuple[str, ListedBehaviour, tuple[str, ...]]] = []
        for name in self._names():
            for entry in self.world.opt_outs(name):
                opted_out[entry] = None
            domain = self.world.domain(name)
            names = tuple(host for _, host in domain.mail_hosts)
            hosts.update(names)
            if domain.listed.mode:
                members.append((name, domain.listed, names))
        for name in hosts:
            self._inhabit(name)
        self._write("opt-outs.txt", "".join(f"{entry}  asked by the lab\n" for entry in opted_out))
        self._write("policy.json", policy_list(members, datetime.now(UTC)))

    def _settings(self) -> str:
        return _SETTINGS.format(
            resolver=self.resolver, smtp_port=self.smtp_port, https_port=self.https_port,
            ipv6="true" if self.world.ipv6 else "false",
        )  # fmt: skip

    def _write(self, name: str, text: str) -> None:
        """Write a file of the lab's directory whole or not at all."""
        path = self.directory / name
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{name}.{os.getpid()}")
            partial.write_text(text, "utf-8")
            partial.replace(path)
        except OSError as error:
            raise UsageError(f"{self.directory}: cannot be written ({error.strerror}); check --dir") from error


def _has_ipv6() -> bool:
    """Whether `::1` can be listened on here."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _free_port() -> int:
    """A port that is free on loopback for TCP and UDP, and stays out of the way of outgoing connections."""
    for _ in range(_TRIES):
        port = random.randrange(*_PORTS)
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(socket.AF_INET, kind) as probe:
                    probe.bind(("", port))
        except OSError:
            continue
        return port
    raise UsageError(f"lab: no free port found between {_PORTS[0]} and {_PORTS[1]} in {_TRIES} tries")
