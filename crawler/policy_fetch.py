"""Fetch MTA-STS policies (RFC 8461 §3.3): the only HTTPS of the crawler.

Rule of this room: one GET to one well-known place, and what it costs is bounded.  Names are
resolved by our own resolver, the guard is asked about every address connected to, the certificate
must be valid for the policy host, no redirect is followed, and nothing is read past the limit.
Whatever happens the row says how it ended; nothing is raised for what a host does.
"""

from __future__ import annotations

import hashlib
import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import httpcore

from crawler import __version__
from crawler.config import Config
from crawler.dns.client import DnsClient
from crawler.dns.codec import AAAA, A
from crawler.exclusions import Exclusions
from crawler.mta_sts import InvalidPolicy, parse_policy
from crawler.pacing import Budget
from crawler.records import Domain, LookupStatus, MtaStsFetch, Outcome, Policy, printable

_PATH = b"/.well-known/mta-sts.txt"
_FAILING_KEPT = 10_000  # addresses that time out, remembered by one process


class _NoPolicy(Exception):
    """There is no policy to be had; `fetch` None: we did not try."""

    def __init__(self, fetch: MtaStsFetch | None, problem: str) -> None:
        super().__init__(problem)
        self.fetch = fetch
        self.problem = problem


@dataclass(slots=True)
class _Place:
    """An address that fetches are under way to."""

    room: anyio.Semaphore
    fetches: int = 0


class PolicyFetcher:
    """What one process needs to fetch policies: trust, identity, guard, pace.

    `ca_file` holds the trust anchors, PEM; `processes` share the rate.
    """

    def __init__(
        self, config: Config, dns: DnsClient, exclusions: Exclusions, ca_file: Path, processes: int = 1
    ) -> None:
        self._config, self._settings = config, config.https
        self._dns = dns
        self._exclusions = exclusions
        self._trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # demands a valid certificate for the name
        self._trust.load_verify_locations(ca_file)
        self._trust.minimum_version = ssl.TLSVersion.TLSv1_2
        self._trust.hostname_checks_common_name = False  # RFC 8461 §3.3: by DNS-ID
        self._trust.set_alpn_protocols(["http/1.1"])
        contact = config.contact or config.ehlo_name
        self._agent = f"starttls-crawler/{__version__}" + (f" (+{contact})" if contact else "")
        self._budget = Budget(
            replace(config.pacing, in_flight=self._settings.in_flight, rate=self._settings.rate), processes
        )
        self._sources = {":" in source: source for source in config.source_address}
        self._places: dict[str, _Place] = {}
        self._failing: OrderedDict[str, int] = OrderedDict()

    async def fetch(self, row: Domain, emit: Callable[[Policy], None]) -> None:
        """Fill in what the domain's policy says, and emit its text."""
        try:
            text = await self._text(row)
        except _NoPolicy as reason:
            row.mta_sts_fetch, row.mta_sts_problem = reason.fetch, reason.problem
            return
        row.policy_sha256 = hashlib.sha256(text).hexdigest()
        emit(Policy(row.policy_sha256, printable(text)))
        try:
            policy = parse_policy(text)
        except InvalidPolicy as reason:
            row.mta_sts_fetch, row.mta_sts_problem = MtaStsFetch.SYNTAX, str(reason)
            return
        row.mta_sts_fetch = MtaStsFetch.OK
        row.mta_sts_mode, row.mta_sts_mx, row.mta_sts_max_age = policy.mode, list(policy.mx), policy.max_age

    async def _text(self, row: Domain) -> bytes:
        host = f"mta-sts.{row.domain}"
        if self._exclusions.host(host):
            raise _NoPolicy(MtaStsFetch.OPTED_OUT, "the policy host asked not to be contacted")
        addresses = await self._addresses(row, host)
        async with self._turn(addresses[0]):
            try:
                with anyio.fail_after(self._settings.timeout):
                    text = await self._get(host, addresses)
            except TimeoutError:
                self._note_silence(addresses[0])
                raise _NoPolicy(MtaStsFetch.TIMEOUT, f"no policy within {self._settings.timeout:g} s") from None
            except _NoPolicy:
                self._failing.pop(addresses[0], None)
                raise
        self._failing.pop(addresses[0], None)
        return text

    def _note_silence(self, address: str) -> None:
        self._failing[address] = self._failing.pop(address, 0) + 1
        if len(self._failing) > _FAILING_KEPT:
            self._failing.popitem(last=False)

    async def _addresses(self, row: Domain, host: str) -> list[str]:
        """Addresses that may be contacted, IPv4 first."""
        asked = [self._dns.begin(host, A)] if self._config.ipv4 else []
        asked += [self._dns.begin(host, AAAA)] if self._config.ipv6 else []
        answers = [await answer for answer in asked]
        found = [text for answer in answers if answer.status is LookupStatus.OK for text in answer.records]
        if not found:
            statuses = list(dict.fromkeys(answer.status for answer in answers))
            has_none = LookupStatus.NXDOMAIN in statuses or (statuses == [LookupStatus.NODATA] and len(answers) == 2)
            raise _NoPolicy(MtaStsFetch.NO_HOST if has_none else MtaStsFetch.DNS, f"{host}: {' and '.join(statuses)}")
        row.mta_sts_cnames = max((answer.cnames for answer in answers), key=len)
        if alias := next((name for answer in answers for name in answer.cnames if self._exclusions.host(name)), None):
            raise _NoPolicy(
                MtaStsFetch.OPTED_OUT, f"{alias}, which the policy host is an alias of, asked not to be contacted"
            )
        verdicts = {address: self._exclusions.address(address) for address in found}
        allowed = [address for address, verdict in verdicts.items() if verdict is None]
        if not allowed:
            blocked = Outcome.ADDRESS_NOT_ALLOWED in verdicts.values()
            fetch = MtaStsFetch.ADDRESS_NOT_ALLOWED if blocked else MtaStsFetch.OPTED_OUT
            raise _NoPolicy(fetch, f"may not contact {', '.join(verdicts)}")
        return allowed[: self._settings.addresses]

    @asynccontextmanager
    async def _turn(self, address: str) -> AsyncIterator[None]:
        """Wait until the address, and the process, have room."""
        place = self._places.setdefault(address, _Place(anyio.Semaphore(self._settings.per_address)))
        place.fetches += 1
        try:
            async with place.room, self._budget.slots:
                if self._failing.get(address, 0) >= self._settings.failures:
                    raise _NoPolicy(None, f"{address} timed out {self._settings.failures} times running")
                await self._budget.turn()
                yield
        finally:
            place.fetches -= 1
            if not place.fetches:
                del self._places[address]

    async def _get(self, host: str, addresses: list[str]) -> bytes:
        """The body of a good response."""
        stream = await self._connected(addresses)
        try:
            try:
                stream = await stream.start_tls(self._trust, host)
            except (httpcore.ConnectError, OSError, ValueError) as error:  # ValueError: a name that SNI cannot carry
                said = str(error) or "the connection was closed during the handshake"
                raise _NoPolicy(MtaStsFetch.TLS, printable(said.encode())[:500]) from error
            try:
                return await self._request(host, stream)
            except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
                said = str(error) or "the connection broke off"
                raise _NoPolicy(MtaStsFetch.HTTP, printable(said.encode())[:500]) from error
        finally:
            with anyio.move_on_after(1, shield=True):
                await stream.aclose()

    async def _request(self, host: str, stream: httpcore.AsyncNetworkStream) -> bytes:
        url = httpcore.URL(scheme=b"https", host=host.encode(), port=self._settings.port, target=_PATH)
        headers: dict[bytes | str, bytes | str] = {
            "Host": host if self._settings.port == 443 else f"{host}:{self._settings.port}",
            "User-Agent": self._agent,
            "Accept": "text/plain",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        connection = httpcore.AsyncHTTP11Connection(url.origin, stream)
        response = await connection.handle_async_request(httpcore.Request("GET", url, headers=headers))
        text = await self._body(response)
        if not _says_its_length(response) and not _was_closed(stream):
            # Where only the end of the connection ends the body, TLS must say that it is the end (RFC 9112 §9.8).
            raise _NoPolicy(MtaStsFetch.HTTP, "cut off: neither a length nor the end of TLS says that this was all")
        return text

    async def _connected(self, addresses: list[str]) -> httpcore.AsyncNetworkStream:
        """A connection to the first address that takes one."""
        backend, problems = httpcore.AnyIOBackend(), []
        for address in addresses:
            try:
                return await backend.connect_tcp(
                    address, self._settings.port, self._settings.connect_timeout, self._sources.get(":" in address)
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                problems.append((address, error))
        silent = all(isinstance(error, httpcore.ConnectTimeout) for _, error in problems)
        if silent:
            raise TimeoutError
        said = "; ".join(f"{address}: {error or 'timeout'}" for address, error in problems)
        raise _NoPolicy(MtaStsFetch.CONNECT, said[:500])

    async def _body(self, response: httpcore.Response) -> bytes:
        headers = {name.lower(): value for name, value in response.headers}
        if response.status != 200:
            place = printable(headers.get(b"location", b""))[:200]
            raise _NoPolicy(MtaStsFetch.HTTP, f"status {response.status}{' to ' if place else ''}{place}")
        kind = headers.get(b"content-type", b"")
        if kind.partition(b";")[0].strip().lower() != b"text/plain":
            raise _NoPolicy(MtaStsFetch.HTTP, f"media type {printable(kind)[:200] or 'missing'}, not text/plain")
        if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
            raise _NoPolicy(MtaStsFetch.HTTP, "a content encoding that was not asked for")
        text = bytearray()
        async for part in response.aiter_stream():
            text += part
            if len(text) > self._settings.policy_bytes:
                raise _NoPolicy(MtaStsFetch.TOO_LARGE, f"more than {self._settings.policy_bytes} bytes")
        return bytes(text)


def _says_its_length(response: httpcore.Response) -> bool:
    """Whether the end of the body shows by itself: a Content-Length, or chunks with a last one (RFC 9112 §6.3)."""
    return any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in response.headers)


def _was_closed(stream: httpcore.AsyncNetworkStream) -> bool:
    """Whether the host closed TLS (close_notify) before the connection ended."""
    connection = stream.get_extra_info("ssl_object")
    try:
        return connection is not None and connection.read(1) == b""
    except ssl.SSLError:
        return False
