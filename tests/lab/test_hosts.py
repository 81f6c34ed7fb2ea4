"""The lab's mail hosts, met by a client that shares nothing with the crawler: plain sockets and OpenSSL.

The crawler itself meets every behaviour in `test_accuracy.py`.
"""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import anyio
import pytest
from cryptography import x509
from OpenSSL import SSL, crypto
from OpenSSL._util import lib

from crawler.lab.behaviours.vocabulary import HOSTS, HostBehaviour, Port, Tls
from crawler.lab.lab import Lab
from crawler.lab.world.world import network
from crawler.model.rows import Outcome, Stage
from crawler.settings.config import Limits

T = TypeVar("T")
HOST = "mx1.sunny-harbour.example"
SECURED = [behaviour for behaviour in HOSTS.values() if behaviour.truth.outcome is Outcome.OK]
SHORT = 0.3  # seconds in which a host that wants to say something has said it


class Client:
    """One connection to one host of the lab."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, lab: Lab, behaviour: HostBehaviour) -> Client:
        address = behaviour.server.address or network(behaviour).replace("0.0/16", "1.1")
        lab.mail.listen(address, behaviour.server)
        await lab.mail.settled()
        return cls(*await asyncio.open_connection(address, lab.smtp_port))

    async def reply(self) -> bytes:
        """One reply of any number of lines."""
        lines = b""
        while True:
            line = await asyncio.wait_for(self.reader.readline(), 5)
            lines += line
            if line[3:4] != b"-":
                return lines

    async def ask(self, command: bytes) -> bytes:
        self.writer.write(command + b"\r\n")
        return await self.reply()

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            pass


@dataclass
class Session:
    """What a TLS handshake came to."""

    version: str
    group: str | None
    cipher: str
    chain: list[crypto.X509]
    ehlo: bytes
    behind: bytes  # plaintext behind the go-ahead


async def upgraded(client: Client, groups: bytes = b"", *, avoids_dhe: bool = False) -> Session:
    """Go through a whole conversation up to EHLO inside TLS."""
    await client.reply()
    await asyncio.sleep(0.01)  # an empty line may follow, which this client reads over
    client.reader._buffer.clear()  # type: ignore[attr-defined]
    await client.ask(b"EHLO client.example")
    assert (await client.ask(b"STARTTLS")).startswith(b"2")
    behind = bytes(client.reader._buffer)  # type: ignore[attr-defined]
    client.reader._buffer.clear()  # type: ignore[attr-defined]
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_VERSION)
    context.set_cipher_list(b"ALL:!kDHE:@SECLEVEL=0" if avoids_dhe else b"ALL:@SECLEVEL=0")
    context.set_options(0x10)  # SSL_OP_TLSEXT_PADDING
    if groups:
        SSL._lib.SSL_CTX_set1_curves_list(context._context, groups)  # type: ignore[attr-defined]
    tls = SSL.Connection(context)
    tls.set_connect_state()
    tls.set_tlsext_host_name(HOST.encode())
    await _until_done(client, tls, lambda: tls.do_handshake() or True)  # type: ignore[func-returns-value]
    tls.send(b"EHLO client.example\r\n")
    ehlo = b""
    while not re.search(rb"^250 .*\r\n", ehlo, re.MULTILINE):
        ehlo += await _until_done(client, tls, lambda: tls.recv(65_536))
    return Session(
        tls.get_protocol_version_name(),
        tls.get_group_name(),
        tls.get_cipher_name() or "",
        tls.get_peer_cert_chain() or [],
        ehlo,
        behind,
    )


async def _until_done(client: Client, tls: SSL.Connection, step: Callable[[], T]) -> T:
    """Take a step of OpenSSL's, with as many bytes to and fro as it wants."""
    while True:
        try:
            return step()
        except SSL.WantReadError:
            pass
        finally:
            _send(client, tls)
        data = await asyncio.wait_for(client.reader.read(65_536), 5)
        if not data:
            raise ConnectionError("closed in the middle of TLS")
        tls.bio_write(data)


def _send(client: Client, tls: SSL.Connection) -> None:
    try:
        client.writer.write(tls.bio_read(65_536))
    except SSL.WantReadError:
        pass


def in_lab(test: Callable[[Lab], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Lab([]) as lab:
            await test(lab)

    anyio.run(main)


def trusted(lab: Lab, chain: list[crypto.X509], *, host: str = "") -> bool:
    """Whether OpenSSL finds a path to the lab's root, whatever the dates, and the name of the host if one is given."""
    store = crypto.X509Store()
    store.load_locations(str(lab.ca_file))
    if host:
        names = lib.X509_VERIFY_PARAM_new()
        assert lib.X509_VERIFY_PARAM_set1_host(names, host.encode(), len(host)) == 1
        assert lib.X509_STORE_set1_param(store._store, names) == 1
        lib.X509_VERIFY_PARAM_free(names)
    store.set_flags(0x200000)  # X509_V_FLAG_NO_CHECK_TIME
    try:
        crypto.X509StoreContext(store, chain[0], chain[1:]).verify_certificate()
    except crypto.X509StoreContextError:
        return False
    return True


def names(leaf: x509.Certificate) -> list[str]:
    try:
        alternative = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return alternative.value.get_values_for_type(x509.DNSName)


def covers(pattern: str) -> bool:
    """RFC 9525 §6.3 in one line: label for label, `*` only as the whole first label."""
    first, _, rest = pattern.partition(".")
    return (first == "*" or first == HOST.partition(".")[0]) and rest == HOST.partition(".")[2]


#: Certificates that only OpenSSL reads.
ODD = [behaviour for behaviour in SECURED if behaviour.name.startswith(("odd-", "unreadable-", "undated-"))]


@pytest.mark.parametrize("behaviour", SECURED, ids=lambda behaviour: behaviour.name)
def test_a_host_that_does_tls_does_it_as_described(behaviour: HostBehaviour) -> None:
    truth = behaviour.truth

    async def test(lab: Lab) -> None:
        client = await Client.connect(lab, behaviour)
        groups = b"X25519:P-256:P-384:ffdhe2048" if truth.pq_intolerant else b""
        tls = behaviour.server.tls
        session = await upgraded(client, groups, avoids_dhe=isinstance(tls, Tls) and tls.dhe_bits > 0)
        await client.close()
        assert session.ehlo.startswith(b"250-mx.lab.example")
        assert b"STARTTLS" not in session.ehlo
        assert bool(session.behind) == truth.injected
        assert (session.version, session.group) == (truth.tls_version, truth.tls_group)
        assert truth.forward_secret == (session.version == "TLSv1.3" or "DHE" in session.cipher)
        count = len(session.chain)
        assert count == truth.certificates or count > Limits().certificates == truth.certificates
        if truth.chain_trusted is not None:  # what a scan does not judge, for its cost, OpenSSL may
            assert trusted(lab, session.chain) == truth.chain_trusted
        if behaviour not in ODD:
            chain = [certificate.to_cryptography() for certificate in session.chain]
            assert any(map(covers, names(chain[0]))) == truth.name_match
            now = datetime.now(UTC)
            fresh = all(c.not_valid_before_utc <= now <= c.not_valid_after_utc for c in chain)
            assert fresh == truth.within_validity
        elif truth.chain_trusted:
            assert trusted(lab, session.chain, host=HOST) and not trusted(lab, session.chain, host="other.example")

    in_lab(test)


def test_a_host_resets_on_a_hello_that_is_too_large_for_it() -> None:
    async def test(lab: Lab) -> None:
        client = await Client.connect(lab, HOSTS["pq-intolerant"])
        with pytest.raises((ConnectionResetError, ConnectionError)):
            await upgraded(client)
        await client.close()

    in_lab(test)


def test_ports_are_refused_dropped_and_out_of_reach_as_described() -> None:
    async def test(lab: Lab) -> None:
        with pytest.raises(ConnectionRefusedError):
            await Client.connect(lab, HOSTS["refused"])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(Client.connect(lab, HOSTS["dropped"]), SHORT)
        with pytest.raises(OSError) as raised:
            await Client.connect(lab, HOSTS["unreachable"])
        assert raised.value.errno == errno.ENETUNREACH

    in_lab(test)


GREETINGS = [b for b in HOSTS.values() if b.truth.stage is Stage.GREETING and b.server.port is Port.OPEN]


@pytest.mark.parametrize("behaviour", GREETINGS, ids=lambda behaviour: behaviour.name)
def test_a_host_that_does_not_greet_well_does_so_as_described(behaviour: HostBehaviour) -> None:
    async def test(lab: Lab) -> None:
        client = await Client.connect(lab, behaviour)
        match behaviour.truth.outcome:
            case Outcome.TIMEOUT:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(client.reader.readuntil(b"220 mx.lab.example ESMTP\r\n"), SHORT)
            case Outcome.CLOSED:
                assert not (await asyncio.wait_for(client.reader.read(), 5)).endswith(b"\n")
            case Outcome.RESET:
                with pytest.raises(ConnectionResetError):
                    await asyncio.wait_for(client.reader.read(), 5)
            case Outcome.LIMIT_EXCEEDED:
                assert len(await asyncio.wait_for(client.reader.readexactly(1 << 20), 5)) == 1 << 20
            case Outcome.REJECTED:
                assert (await client.reply()).startswith(str(behaviour.truth.greeting_code).encode())
            case _:
                assert not (await client.reader.readline()).startswith(b"220")
        await client.close()

    in_lab(test)


def test_a_flood_waits_for_a_client_that_reads_slowly() -> None:
    async def test(lab: Lab) -> None:
        client = await Client.connect(lab, HOSTS["endless-greeting"])
        await client.reader.readexactly(100_000)
        (conversation,) = lab.mail.open
        await asyncio.sleep(SHORT)
        assert conversation._transport.get_write_buffer_size() < 1 << 20
        await client.close()

    in_lab(test)


def test_closing_the_lab_frees_its_ports_and_drops_its_connections() -> None:
    async def main() -> None:
        async with Lab([]) as lab:
            client = await Client.connect(lab, HOSTS["silence"])
        assert await asyncio.wait_for(client.reader.read(), 5) == b""
        await client.close()
        async with Lab([], smtp_port=lab.smtp_port, dns_port=lab.dns_port) as again:
            assert again.resolver == lab.resolver

    anyio.run(main)


def test_every_step_of_a_tls_description_is_understood_by_openssl() -> None:
    async def test(lab: Lab) -> None:
        for behaviour in HOSTS.values():
            if isinstance(behaviour.server.tls, Tls):
                assert lab.mail._contexts[behaviour.server.tls]

    in_lab(test)


def test_host_certificates_are_kept_within_bounds() -> None:
    from crawler.lab.behaviours.vocabulary import Leaf
    from crawler.lab.servers.authority import Authority

    authority = Authority(kept=3)
    first = authority.leaf(Leaf(), "a.example")
    assert authority.leaf(Leaf(), "a.example") is first
    for name in ("b.example", "c.example", "d.example"):
        authority.leaf(Leaf(), name)
    assert len(authority._leaves) == 3
    assert authority.leaf(Leaf(), "a.example") is not first
