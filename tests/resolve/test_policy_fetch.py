"""Policies fetched over HTTPS from scripted servers on loopback: what counts, what ends it, what it may cost."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from crawler.dns.client import DnsClient
from crawler.lab.behaviours.raw_flights import dhe_flight
from crawler.model.names import suffixes
from crawler.model.rows import Domain, MtaStsFetch, MtaStsMode, Policy
from crawler.politeness.exclusions import Exclusions
from crawler.politeness.opt_out_file import read_opt_outs
from crawler.resolve import https_stream
from crawler.resolve.policy_fetch import PolicyFetcher
from tests.kit.chains import Subject, pem
from tests.kit.dns_server import Script, reply_to, serving, settings, zone

POLICY = b"version: STSv1\nmode: enforce\nmx: *.a.example\nmax_age: 86400\n"
HOST = "mta-sts.a.example"
ROOT = Subject("Root")
ANCHOR = ROOT.root()
ZONE = zone(f"{HOST}. 60 IN A 127.0.0.1")


def response(body: bytes = POLICY, status: str = "200 OK", **headers: str) -> bytes:
    """An HTTP response as a plain web server writes it."""
    lines = {"Content_Type": "text/plain", "Content_Length": str(len(body)), **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items() if value)
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


Answer = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Web:
    """A policy host: its certificate and what it answers."""

    answer: Answer = field(default_factory=response)
    certificate: Callable[[Subject], x509.Certificate] = lambda subject: ROOT.issue(subject, ca=False, names=[HOST])
    speaks_tls: bool = True
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    now: int = 0
    most: int = 0
    addresses: tuple[str, ...] = ("127.0.0.1",)
    beside: Callable[[int], AbstractContextManager[None]] | None = None  #: what else stands on its port

    def context(self, folder: Path) -> ssl.SSLContext | None:
        if not self.speaks_tls:
            return None
        subject = Subject(HOST)
        key = subject.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "host.pem").write_text(pem(self.certificate(subject)) + key.decode())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "host.pem")
        return context

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n") if self.speaks_tls else await reader.read(1))
            if isinstance(self.answer, bytes):
                writer.write(self.answer)
                await writer.drain()
            else:
                await self.answer(writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            pass  # the client has seen enough, or the test has
        finally:
            self.now -= 1
            writer.close() if isinstance(self.answer, bytes) else writer.transport.abort()


async def stall(writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.sleep(3_600)


def sending(head: bytes, more: bytes = b"", times: int = 1) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    """Send the head, then more over and over."""

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        for _ in range(times):
            writer.write(more)
            await writer.drain()

    return send


async def cut_off(writer: asyncio.StreamWriter) -> None:
    """End the connection in good order, but say nothing of it inside TLS."""
    await writer.drain()
    writer.transport.get_extra_info("socket").shutdown(socket.SHUT_WR)
    await asyncio.sleep(0.2)


def then_cut_off(said: bytes) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await cut_off(writer)

    return send


class Scene:
    """A resolver, a web server and a fetcher."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fetch(
        self,
        web: Web | None = None,
        script: Script = ZONE,
        *domains: str,
        https: dict[str, Any] | None = None,
        **values: Any,
    ) -> list[tuple[Domain, list[Policy]]]:
        """Fetch the policies of the domains (`a.example`) at once."""
        self.web = web or Web()
        return anyio.run(self._fetch, script, domains or ("a.example",), https or {}, values)

    def one(self, web: Web | None = None, script: Script = ZONE, **values: Any) -> Domain:
        """The row of `a.example`, of which no policy text may be kept unless it came."""
        ((row, policies),) = self.fetch(web, script, **values)
        assert [policy.sha256 for policy in policies] == ([row.policy_sha256] if row.policy_sha256 else [])
        assert (row.mta_sts_fetch is MtaStsFetch.OK) is (row.mta_sts_problem is None)
        assert (row.mta_sts_fetch is MtaStsFetch.OK) is (row.mta_sts_mode is not None)
        return row

    async def _fetch(
        self, script: Script, domains: tuple[str, ...], https: dict[str, Any], values: dict[str, Any]
    ) -> Any:
        (self.folder / "ca.pem").write_text(pem(ANCHOR))
        tls = self.web.context(self.folder)
        values = {"allow_network": ["127.0.0.1/32"], "dns": {"timeout": 1.0}, **values}
        async with AsyncExitStack() as open_:
            port = 0
            for address in self.web.addresses:  # all on one port
                server = await asyncio.start_server(self.web.serve, address, port, ssl=tls)
                open_.callback(server.close)
                port = server.sockets[0].getsockname()[1]
            if self.web.beside is not None:
                open_.enter_context(self.web.beside(port))
            resolver = await open_.enter_async_context(serving(script))
            config = settings(resolver, https={"port": port, "timeout": 5, **https}, **values)
            dns = await open_.enter_async_context(DnsClient(config))
            self.exclusions = Exclusions(config)
            fetcher = self.fetcher = PolicyFetcher(config, dns, self.exclusions, self.folder / "ca.pem")
            made = [(Domain(domain=domain, registrable_domain=suffixes(domain)[0]), []) for domain in domains]
            async with anyio.create_task_group() as tasks:
                for row, policies in made:
                    tasks.start_soon(fetcher.fetch, row, policies.append)
            assert not fetcher._pace.places, "nothing is remembered of addresses that are done with"
        return made


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_policy_is_fetched_read_and_kept(scene: Scene) -> None:
    ((row, policies),) = scene.fetch()
    assert (row.mta_sts_fetch, row.mta_sts_mode, row.mta_sts_mx) == (
        MtaStsFetch.OK,
        MtaStsMode.ENFORCE,
        ["*.a.example"],
    )
    assert row.mta_sts_max_age == 86_400 and row.mta_sts_problem is None and row.mta_sts_cnames == []
    assert policies == [Policy(hashlib.sha256(POLICY).hexdigest(), POLICY.decode())]
    assert row.policy_sha256 == policies[0].sha256


def test_the_request_says_who_asks_and_asks_for_nothing_else(scene: Scene) -> None:
    scene.one(contact="https://probe.example/")
    (request,) = scene.web.requests
    assert request.startswith(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.a.example")
    assert b"User-Agent: starttls-crawler/" in request and b"(+https://probe.example/)" in request
    assert b"Accept-Encoding: identity" in request and b"cookie" not in request.lower()


@pytest.mark.parametrize("kind", ["text/plain", "text/plain; charset=utf-8", "TEXT/PLAIN ;x=y"])
def test_the_media_type_may_have_parameters(scene: Scene, kind: str) -> None:
    assert scene.one(Web(response(Content_Type=kind))).mta_sts_fetch is MtaStsFetch.OK


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (response(Content_Type="text/html"), "media type text/html"),
        (response(Content_Type=""), "media type missing"),
        (response(Content_Type="text/plainer"), "media type text/plainer"),
        (response(status="404 Not Found"), "status 404"),
        (response(status="204 No Content", Content_Length=""), "status 204"),
        (response(status="500 Oops"), "status 500"),
        (response(gzip.compress(POLICY), Content_Encoding="gzip"), "content encoding"),
        (response(status="301 Moved", Location="https://127.0.0.1/x"), "status 301 to https://127.0.0.1/x"),
        (response(status="302 Found", Location="file:///etc/passwd"), "status 302 to file:///etc/passwd"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "illegal"),
        (b"", "without sending a response"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 999\r\n\r\nversion",
            "received 7 bytes, expected 999",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "conflicting Content-Length"),
        (b"\x00" * 300_000, "illegal"),
    ],
    ids=range(14),
)
def test_only_a_200_with_text_plain_is_a_policy_and_no_redirect_is_followed(
    scene: Scene, answer: bytes, problem: str
) -> None:
    row = scene.one(Web(answer))
    assert row.mta_sts_fetch is MtaStsFetch.HTTP
    assert problem in (row.mta_sts_problem or "") and scene.web.connections == 1


@pytest.mark.parametrize(
    ("certificate", "problem"),
    [
        (lambda s: ROOT.issue(s, ca=False, names=["a.example"]), "Hostname mismatch"),
        (lambda s: ROOT.issue(s, ca=False, names=["m*.a.example"]), "Hostname mismatch"),
        (lambda s: ROOT.issue(s, ca=False), "Hostname mismatch"),  # CN alone
        (lambda s: ROOT.issue(s, ca=False, names=[HOST], days=(-30, -1)), "expired"),
        (lambda s: s.issue(s, ca=True, names=[HOST]), "self-signed certificate"),
        (lambda s: Subject("Elsewhere").issue(s, ca=False, names=[HOST]), "unable to get local issuer"),
        (
            lambda s: ROOT.issue(s, ca=False, names=[HOST], usage=[x509.ExtendedKeyUsageOID.CLIENT_AUTH]),
            "unsuitable certificate purpose",
        ),
    ],
    ids=["other name", "partial wildcard", "CN alone", "expired", "self-signed", "unknown root", "for clients"],
)
def test_without_a_valid_certificate_for_the_policy_host_there_is_no_policy(
    scene: Scene, certificate: Callable[[Subject], x509.Certificate], problem: str
) -> None:
    row = scene.one(Web(certificate=certificate))
    assert row.mta_sts_fetch is MtaStsFetch.TLS and problem in (row.mta_sts_problem or "")
    assert scene.web.requests == []


def test_a_wildcard_certificate_is_fine(scene: Scene) -> None:
    web = Web(certificate=lambda subject: ROOT.issue(subject, ca=False, names=["*.a.example"]))
    assert scene.one(web).mta_sts_fetch is MtaStsFetch.OK


def test_a_policy_of_ten_megabytes_is_not_read_to_its_end(scene: Scene) -> None:
    sent = sending(response(b"", Content_Length="10000000"), b"x" * 10_000, times=1_000)
    row = scene.one(Web(sent))
    assert row.mta_sts_fetch is MtaStsFetch.TOO_LARGE and row.policy_sha256 is None


def test_an_endless_policy_in_chunks_is_not_read_to_its_end(scene: Scene) -> None:
    head = response(b"", Content_Length="", Transfer_Encoding="chunked")
    assert (
        scene.one(Web(sending(head, b"400\r\n" + b"x" * 1024 + b"\r\n", times=100_000))).mta_sts_fetch
        is MtaStsFetch.TOO_LARGE
    )


def test_a_policy_of_nuls_is_kept_and_called_no_policy(scene: Scene) -> None:
    row = scene.one(Web(response(bytes(1_000))))
    assert row.mta_sts_fetch is MtaStsFetch.SYNTAX and row.policy_sha256 == hashlib.sha256(bytes(1_000)).hexdigest()


@pytest.mark.parametrize(
    "answer",
    [
        stall,
        sending(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 50\r\n\r\nversion"),
    ],
    ids=["no answer", "half an answer"],
)
def test_a_host_that_stalls_costs_its_time_and_no_more(scene: Scene, answer: Answer) -> None:
    async def half(writer: asyncio.StreamWriter) -> None:
        assert callable(answer)
        await answer(writer)
        await asyncio.sleep(3_600)

    row = scene.one(Web(half), https={"timeout": 0.3})
    assert row.mta_sts_fetch is MtaStsFetch.TIMEOUT


IN_CHUNKS = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        sending(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1_000, times=10**6),
        sending(b"", b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 50_000 + b"\r\n\r\n", times=10**6),
        sending(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 1_000, times=10**6),
        sending(IN_CHUNKS, b"1;" + b"x" * 50_000 + b"\r\na\r\n", times=10**6),
        sending(IN_CHUNKS, b"1\r\na\r\n" * 1_000, times=10**6),
        sending(IN_CHUNKS + b"0\r\n", b"x: y\r\n" * 1_000, times=10**6),
        sending(IN_CHUNKS, b"400\r\n" + b"x" * 1_024 + b"\r\n", times=10**6),
    ],
    ids=["interim", "large interim", "headers", "chunk extensions", "small chunks", "trailers", "chunks"],
)
def test_no_part_of_a_response_goes_on_for_ever(scene: Scene, answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interim responses and chunk extensions, which HTTP passes over in silence, were read by the hundred megabytes."""
    received = []
    genuine = https_stream._Counted.receive

    async def receive(self: https_stream._Counted, max_bytes: int = 65_536) -> bytes:
        data = await genuine(self, max_bytes)
        received.append(len(data))
        return data

    monkeypatch.setattr(https_stream._Counted, "receive", receive)
    row = scene.one(Web(answer))
    assert row.mta_sts_fetch in (MtaStsFetch.TOO_LARGE, MtaStsFetch.HTTP) and row.policy_sha256 is None
    assert row.mta_sts_fetch is MtaStsFetch.TOO_LARGE or "Too much" in (row.mta_sts_problem or ""), "HTTP's own limit"
    assert sum(received) <= 65_536 + 65_536


@pytest.mark.parametrize("pause", [0.0, 0.02], ids=["as it comes", "in large pieces"])
def test_a_policy_that_is_too_large_is_told_in_the_same_words_however_its_bytes_come(
    scene: Scene, pause: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = https_stream._Counted.receive

    async def receive(self: https_stream._Counted, max_bytes: int = 65_536) -> bytes:
        await anyio.sleep(pause)  # in which the system's buffer fills
        return await genuine(self, max_bytes)

    monkeypatch.setattr(https_stream._Counted, "receive", receive)
    row = scene.one(Web(response(b"#" * 1_000_000)))
    assert (row.mta_sts_fetch, row.mta_sts_problem) == (
        MtaStsFetch.TOO_LARGE,
        "more than 65536 bytes, or 131072 bytes in all",
    )


@pytest.mark.parametrize("size", [0, 40_000])
def test_what_may_be_received_in_all_is_the_policy_and_an_allowance(scene: Scene, size: int) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * size + b"\r\n\r\n"
    row = scene.one(Web(interim + response()), https={"overhead_bytes": 16_384, "policy_bytes": 1_000})
    assert row.mta_sts_fetch is (MtaStsFetch.TOO_LARGE if size else MtaStsFetch.OK)
    assert "17384 bytes in all" in (row.mta_sts_problem or "") or not size


def test_a_handshake_that_goes_on_for_ever_is_cut_off_too(scene: Scene) -> None:
    """Below TLS nothing of HTTP is seen: a chain of certificates that never ends."""
    hello = b"\x16\x03\x03\0\x2a" + dhe_flight(2_048)[5:47]
    begin, more = b"\x0b\0\xff\xff" + bytes(16_380), b"\x16\x03\x03\x40\0" + bytes(16_384)
    web = Web(sending(hello + b"\x16\x03\x03\x40\0" + begin, more, times=10**6), speaks_tls=False)
    row = scene.one(web, https={"overhead_bytes": 16_384, "policy_bytes": 1_000})
    assert row.mta_sts_fetch is MtaStsFetch.TOO_LARGE


@pytest.mark.parametrize(("bits", "fetch"), [(4_104, None), (2_048, MtaStsFetch.TLS)])
def test_a_prime_that_costs_too_much_is_not_worked_with(scene: Scene, bits: int, fetch: MtaStsFetch | None) -> None:
    """Who has a domain has a good certificate for its policy host; whether it has a policy is then not known."""
    row = scene.one(Web(dhe_flight(bits), speaks_tls=False))
    assert row.mta_sts_fetch is fetch and ("Diffie-Hellman" in (row.mta_sts_problem or "")) is (fetch is None)


def test_an_address_that_times_out_again_and_again_is_asked_no_more(scene: Scene) -> None:
    names = [f"d{n}.example" for n in range(8)]
    script = zone(*(f"mta-sts.{name}. 60 IN A 127.0.0.1" for name in names))
    made = scene.fetch(
        Web(stall, certificate=lambda s: ROOT.issue(s, ca=False, names=["*.example", *(f"mta-sts.{n}" for n in names)])),
        script, *names, https={"timeout": 0.2, "failures": 3, "per_address": 1},
    )  # fmt: skip
    fetches = [row.mta_sts_fetch for row, _ in made]
    assert fetches.count(MtaStsFetch.TIMEOUT) == 3 and fetches.count(None) == 5, "not tried is not failed"
    assert scene.web.connections == 3 and "timed out 3 times" in (made[-1][0].mta_sts_problem or "")


def test_one_address_serves_a_few_at_once(scene: Scene) -> None:
    names = [f"d{n}.example" for n in range(12)]
    script = zone(*(f"mta-sts.{name}. 60 IN A 127.0.0.1" for name in names))
    web = Web(certificate=lambda s: ROOT.issue(s, ca=False, names=[f"mta-sts.{name}" for name in names]))
    made = scene.fetch(web, script, *names, https={"per_address": 2})
    assert all(row.mta_sts_fetch is MtaStsFetch.OK for row, _ in made) and web.most <= 2


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.2", "169.254.169.254"])
def test_special_purpose_space_is_not_contacted(scene: Scene, address: str) -> None:
    row = scene.one(None, zone(f"{HOST}. 60 IN A {address}"))
    assert row.mta_sts_fetch is MtaStsFetch.ADDRESS_NOT_ALLOWED and address in (row.mta_sts_problem or "")


def test_an_address_that_may_be_contacted_is_used_beside_one_that_may_not(scene: Scene) -> None:
    assert (
        scene.one(None, zone(f"{HOST}. 60 IN A 10.0.0.1", f"{HOST}. 60 IN A 127.0.0.1")).mta_sts_fetch is MtaStsFetch.OK
    )


@pytest.mark.parametrize("entry", ["a.example", "127.0.0.1"])
def test_whoever_opted_out_is_not_contacted_and_nothing_is_found(scene: Scene, entry: str, tmp_path: Path) -> None:
    (tmp_path / "opt-outs").write_text(f"{entry} 2026-01-01\n")
    row = scene.one(exclude=str(tmp_path / "opt-outs"))
    assert row.mta_sts_fetch is MtaStsFetch.OPTED_OUT and scene.web.connections == 0 and row.mta_sts_problem


def test_a_policy_host_is_not_contacted_under_a_name_of_who_opted_out(scene: Scene, tmp_path: Path) -> None:
    """It is an alias, by way of another, into a domain whose owner asked not to be probed."""
    script = zone(
        f"{HOST}. 60 IN CNAME sts.provider.example.",
        "sts.provider.example. 60 IN CNAME web.optout.example.",
        "web.optout.example. 60 IN CNAME elsewhere.example.",
        "elsewhere.example. 60 IN A 127.0.0.1",
    )
    (tmp_path / "opt-outs").write_text("optout.example\n")
    row = scene.one(None, script, exclude=str(tmp_path / "opt-outs"))
    assert row.mta_sts_fetch is MtaStsFetch.OPTED_OUT and scene.web.connections == 0
    assert "web.optout.example" in (row.mta_sts_problem or "")


def test_a_delegation_is_recorded(scene: Scene) -> None:
    script = zone(f"{HOST}. 60 IN CNAME sts.provider.example.", "sts.provider.example. 60 IN A 127.0.0.1")
    row = scene.one(None, script)
    assert row.mta_sts_fetch is MtaStsFetch.OK and row.mta_sts_cnames == ["sts.provider.example"]


def test_a_policy_host_that_has_no_address_is_told_from_one_whose_lookup_failed(scene: Scene) -> None:
    row = scene.one(None, zone("other.example. 60 IN A 127.0.0.1"))
    assert row.mta_sts_fetch is MtaStsFetch.NO_HOST and "nxdomain" in (row.mta_sts_problem or "")
    empty = zone(f"{HOST}. 60 IN TXT x")
    assert scene.one(None, empty).mta_sts_fetch is MtaStsFetch.NO_HOST
    assert scene.one(None, empty, ipv6=False).mta_sts_fetch is MtaStsFetch.DNS, "the other family was not asked"

    def failing(query: Any, over_tcp: bool) -> Iterable[bytes]:
        yield reply_to(query, rcode=2 if query.question[0].rdtype == 28 else 0)

    row = scene.one(None, failing)
    assert row.mta_sts_fetch is MtaStsFetch.DNS and row.mta_sts_problem == f"{HOST}: nodata and servfail"


def test_the_next_address_is_tried_when_one_refuses(scene: Scene) -> None:
    both = zone(f"{HOST}. 60 IN A 127.0.0.9", f"{HOST}. 60 IN A 127.0.0.1")
    allowed = ["127.0.0.1/32", "127.0.0.9/32"]
    assert scene.one(None, both, allow_network=allowed).mta_sts_fetch is MtaStsFetch.OK
    row = scene.one(None, zone(f"{HOST}. 60 IN A 127.0.0.9"), allow_network=allowed)
    assert row.mta_sts_fetch is MtaStsFetch.CONNECT and "127.0.0.9" in (row.mta_sts_problem or "")


def test_where_not_all_addresses_were_tried_nobody_knows_whether_one_answers(scene: Scene) -> None:
    refusing = zone(*(f"{HOST}. 60 IN A 127.0.0.{number}" for number in (7, 8, 9)))
    row = scene.one(None, refusing, allow_network=["127.0.0.0/8"], https={"addresses": 1})
    assert row.mta_sts_fetch is None and (row.mta_sts_problem or "").startswith("addresses not tried: 2; ")
    row = scene.one(None, refusing, allow_network=["127.0.0.0/8"], https={"addresses": 3})
    assert row.mta_sts_fetch is MtaStsFetch.CONNECT


def test_where_an_address_opted_out_or_a_lookup_failed_nobody_knows_whether_one_answers(
    scene: Scene, tmp_path: Path
) -> None:
    refusing = zone(*(f"{HOST}. 60 IN A 127.0.0.{number}" for number in (7, 8)))
    (tmp_path / "opt-outs").write_text("127.0.0.8\n")
    row = scene.one(None, refusing, allow_network=["127.0.0.0/8"], exclude=str(tmp_path / "opt-outs"))
    assert row.mta_sts_fetch is None and "asked not to be contacted: 1; 127.0.0.7" in (row.mta_sts_problem or "")

    def failing(query: Any, over_tcp: bool) -> Iterable[bytes]:
        if query.question[0].rdtype == 28:
            yield reply_to(query, rcode=2)
        else:
            yield from refusing(query, over_tcp)

    row = scene.one(None, failing, allow_network=["127.0.0.0/8"])
    assert row.mta_sts_fetch is None and "IPv6 addresses: servfail; 127.0.0.7" in (row.mta_sts_problem or "")


def test_a_web_server_that_speaks_no_tls_is_a_matter_of_tls(scene: Scene) -> None:
    assert scene.one(Web(b"HTTP/1.1 400 Bad Request\r\n\r\n", speaks_tls=False)).mta_sts_fetch is MtaStsFetch.TLS


HALF = b"version: STSv1\r\nmode: enforce\r\nmax_age: 86400\r\nmx: mx1.a.example\r\n"
CHUNKED = b"%x\r\n%s\r\n" % (len(HALF), HALF)


def test_a_policy_that_only_the_end_of_the_connection_ends_needs_the_end_of_tls(scene: Scene) -> None:
    """Anybody on the path can end a TCP connection, after half of the `mx` lines as well (RFC 9112 §9.8)."""
    row = scene.one(Web(then_cut_off(response(HALF, Content_Length=""))))
    assert (row.mta_sts_fetch, row.mta_sts_mode, row.mta_sts_mx) == (MtaStsFetch.HTTP, None, None)
    assert "cut off" in (row.mta_sts_problem or "")


def test_a_policy_is_whole_whose_end_tls_has_said(scene: Scene) -> None:
    row = scene.one(Web(response(HALF, Content_Length="")))
    assert (row.mta_sts_fetch, row.mta_sts_mx) == (MtaStsFetch.OK, ["mx1.a.example"])


@pytest.mark.parametrize(
    "said",
    [response(HALF), response(CHUNKED + b"0\r\n\r\n", Content_Length="", Transfer_Encoding="chunked")],
    ids=["length", "last chunk"],
)
def test_a_policy_that_says_its_length_is_whole_however_the_connection_ends(scene: Scene, said: bytes) -> None:
    assert scene.one(Web(then_cut_off(said))).mta_sts_fetch is MtaStsFetch.OK


@pytest.mark.parametrize(
    "said",
    [response(HALF, Content_Length="500"), response(CHUNKED, Content_Length="", Transfer_Encoding="chunked")],
    ids=["length", "no last chunk"],
)
def test_a_policy_shorter_than_it_says_is_none_and_no_name_of_a_class_says_why(scene: Scene, said: bytes) -> None:
    row = scene.one(Web(then_cut_off(said)))
    assert (row.mta_sts_fetch, row.mta_sts_mx) == (MtaStsFetch.HTTP, None)
    assert "Error" not in (row.mta_sts_problem or "")


async def unhurried(writer: asyncio.StreamWriter) -> None:
    """A policy after a while, so that those who come at once are there at once."""
    await asyncio.sleep(0.05)
    writer.write(response())


def certified(names: Iterable[str]) -> Callable[[Subject], x509.Certificate]:
    """A certificate for the policy hosts of these domains."""
    hosts = [f"mta-sts.{name}" for name in names]
    return lambda subject: ROOT.issue(subject, ca=False, names=hosts)


LOOPBACK = ["127.0.0.0/8"]


@contextmanager
def dead_address(port: int) -> Iterator[None]:
    """127.0.0.9 takes no connection and refuses none: its queue is full, and nobody empties it."""
    with ExitStack() as open_:
        queue = open_.enter_context(socket.socket())
        queue.bind(("127.0.0.9", port))
        queue.listen(0)
        for _ in range(2):
            waiting = open_.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.9", port))
        yield


def test_an_address_that_is_reached_behind_one_that_refuses_serves_a_few_at_once(scene: Scene) -> None:
    """Whoever publishes an address that refuses before a victim's must not get round the victim's limit."""
    names = [f"d{n}.example" for n in range(60)]
    refusing = zone(
        *(f"mta-sts.{name}. 60 IN A 127.0.1.{n + 1}" for n, name in enumerate(names)),
        *(f"mta-sts.{name}. 60 IN A 127.0.0.1" for name in names),
    )
    made = scene.fetch(Web(unhurried, certified(names)), refusing, *names, allow_network=LOOPBACK)
    assert {row.mta_sts_fetch for row, _ in made} == {MtaStsFetch.OK} and scene.web.connections == 60
    assert 1 < scene.web.most <= 4


def test_a_network_serves_a_few_at_once_however_many_addresses_it_has(scene: Scene) -> None:
    names = [f"d{n}.example" for n in range(24)]
    addresses = tuple(f"127.0.0.{n + 1}" for n in range(12))
    script = zone(*(f"mta-sts.{name}. 60 IN A {addresses[n % 12]}" for n, name in enumerate(names)))
    web = Web(unhurried, certified(names), addresses=addresses)
    made = scene.fetch(web, script, *names, https={"per_network": 6}, allow_network=LOOPBACK)
    assert {row.mta_sts_fetch for row, _ in made} == {MtaStsFetch.OK}
    assert 4 < web.most <= 6, "more than one address allows, and no more than the network"


def test_silence_is_held_against_the_address_that_was_silent_and_no_other(scene: Scene) -> None:
    names = [f"d{n}.example" for n in range(8)]
    script = zone(
        *(f"mta-sts.{name}. 60 IN A 127.0.1.{n + 1}" for n, name in enumerate(names)),
        *(f"mta-sts.{name}. 60 IN A 127.0.0.1" for name in names),
    )
    made = scene.fetch(
        Web(stall, certified(names)), script, *names,
        https={"timeout": 0.2, "failures": 3, "per_address": 1}, allow_network=LOOPBACK,
    )  # fmt: skip
    fetches = [row.mta_sts_fetch for row, _ in made]
    assert fetches.count(MtaStsFetch.TIMEOUT) == 3 and fetches.count(None) == 5, "not tried is not failed"
    assert scene.web.connections == 3
    assert any("127.0.0.1 timed out 3 times running" in (row.mta_sts_problem or "") for row, _ in made)


def test_time_that_another_address_took_is_not_held_against_the_one_it_is_short_for(scene: Scene) -> None:
    """Otherwise five domains with a dead address before a provider's would have the provider given up."""
    script = zone(f"{HOST}. 60 IN A 127.0.0.9", f"{HOST}. 60 IN A 127.0.0.1")
    row = scene.one(
        Web(stall, beside=dead_address), script,
        https={"timeout": 0.5, "connect_timeout": 0.4, "failures": 1}, allow_network=LOOPBACK,
    )  # fmt: skip
    assert row.mta_sts_fetch is MtaStsFetch.TIMEOUT
    assert scene.fetcher._pace.given_up("127.0.0.9") and not scene.fetcher._pace.given_up("127.0.0.1")


def test_an_address_beside_one_that_is_asked_no_more_is_asked(scene: Scene) -> None:
    """`a.example` alone has an address that answers; the others have the silent one only."""
    names = [f"d{n}.example" for n in range(3)]
    script = zone(
        *(f"mta-sts.{name}. 60 IN A 127.0.0.1" for name in names),
        f"{HOST}. 60 IN A 127.0.0.1",
        f"{HOST}. 60 IN A 127.0.0.2",
    )

    async def stall_at_one(writer: asyncio.StreamWriter) -> None:
        if writer.get_extra_info("sockname")[0] == "127.0.0.1":
            await stall(writer)
        writer.write(response())

    web = Web(stall_at_one, certified([*names, "a.example"]), addresses=("127.0.0.1", "127.0.0.2"))
    made = scene.fetch(
        web,
        script,
        *names,
        "a.example",
        https={"timeout": 0.3, "failures": 3, "per_address": 1},
        allow_network=LOOPBACK,
    )
    assert [row.mta_sts_fetch for row, _ in made] == [MtaStsFetch.TIMEOUT] * 3 + [MtaStsFetch.OK]


def test_who_opts_out_while_a_fetch_waits_its_turn_is_not_contacted(scene: Scene, tmp_path: Path) -> None:
    names = ["a.example", "b.example"]
    (tmp_path / "opt-outs").write_text("# nobody yet\n")

    async def opt_out_meanwhile(writer: asyncio.StreamWriter) -> None:
        (tmp_path / "opt-outs").write_text("b.example\n")
        scene.exclusions.use(read_opt_outs(tmp_path / "opt-outs"))
        writer.write(response())

    script = zone(*(f"mta-sts.{name}. 60 IN A 127.0.0.1" for name in names))
    made = scene.fetch(
        Web(opt_out_meanwhile, certified(names)), script, *names,
        https={"per_address": 1}, exclude=str(tmp_path / "opt-outs"),
    )  # fmt: skip
    assert [row.mta_sts_fetch for row, _ in made] == [MtaStsFetch.OK, MtaStsFetch.OPTED_OUT]
    assert scene.web.connections == 1


def test_names_of_one_registrable_domain_are_waited_for_so_long_and_no_longer(scene: Scene) -> None:
    """Each has an address of its own, so that no single address is silent often enough to be left alone."""
    names = [f"d{n}.slow.example" for n in range(12)]
    addresses = tuple(f"127.0.0.{n + 1}" for n in range(13))
    script = zone(
        *(f"mta-sts.{name}. 60 IN A {addresses[n]}" for n, name in enumerate(names)), f"{HOST}. 60 IN A 127.0.0.13"
    )

    async def stall_but_for_the_last(writer: asyncio.StreamWriter) -> None:
        if writer.get_extra_info("sockname")[0] != "127.0.0.13":
            await stall(writer)
        writer.write(response())

    web = Web(stall_but_for_the_last, certified([*names, "a.example"]), addresses=addresses)
    made = scene.fetch(
        web, script, *names, "a.example",
        https={"timeout": 0.3, "per_network": 1, "ordinary_seconds": 0.1, "slow_seconds": 0.5}, allow_network=LOOPBACK,
    )  # fmt: skip
    fetches = [row.mta_sts_fetch for row, _ in made[:-1]]
    # Each takes 0.3 s or, on a busy machine, longer: 0.2 s and more beyond what is ordinary.
    assert 1 <= fetches.count(MtaStsFetch.TIMEOUT) <= 3
    assert fetches.count(None) == 12 - fetches.count(MtaStsFetch.TIMEOUT)
    assert made[-1][0].mta_sts_fetch is MtaStsFetch.OK, "who is slow costs itself, and nobody else"
    assert "slow.example" in (made[-2][0].mta_sts_problem or "")
