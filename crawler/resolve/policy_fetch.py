"""Fetch MTA-STS policies (RFC 8461 §3.3): the only HTTPS of the crawler.

It sends one GET to one well-known place, and what it costs is bounded.  Our own resolver resolves the names, and the
guard is asked about every address before it is connected to. The certificate must be valid for the policy host. No
redirect is followed, and nothing is read past the limit. Whatever happens the row says how it ended; nothing is raised
for what a host does.
"""

from __future__ import annotations

import hashlib
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

import anyio
import anyio.abc
import httpcore

from crawler import __version__
from crawler.dns.client import DnsClient
from crawler.dns.codec import AAAA, A
from crawler.model.rows import Domain, LookupStatus, MtaStsFetch, Outcome, Policy, printable
from crawler.model.vocabulary import ANSWERED
from crawler.policies.mta_sts import InvalidPolicy, parse_policy
from crawler.politeness.exclusions import Exclusions
from crawler.politeness.policy_pacing import PolicyPacing
from crawler.resolve.https_stream import HttpsStream, PrimeLimit, TooHard, TooMuch
from crawler.settings.config import Config
from crawler.settings.declared_limits import limit

_PATH = b"/.well-known/mta-sts.txt"
#: The largest prime taken for DHE here, where no thread beside the event loop does the work: it costs 50 ms.
_DH_BITS = limit(
    4_096,
    "bits of a prime for DHE with a policy host",
    protects="our processor time",
    cut="`domains.mta_sts_fetch` is null, `mta_sts_problem` says why",
)


_PROBLEM = 500  # characters of `mta_sts_problem`


class _NoPolicy(Exception):
    """There is no policy to be had; `fetch` None: we did not try.  `problem` is cut, as others have a say in its length."""

    def __init__(self, fetch: MtaStsFetch | None, problem: str) -> None:
        self.fetch, self.problem = fetch, problem[:_PROBLEM]
        super().__init__(self.problem)


class _Unconnected(_NoPolicy):
    """An address took no connection; the next may."""


class _NoAnswer(_NoPolicy):
    """An address took the connection and gave no answer; the next may, or the same a while later."""


#: Words for how a fetch ended when no address answered: the first that applies, those that leave the most open first.
_WITHOUT_ANSWER = (None, MtaStsFetch.BROKEN_OFF, MtaStsFetch.UNAVAILABLE, MtaStsFetch.CONNECT, MtaStsFetch.TIMEOUT)
#: Statuses by which a host says that another time may do (RFC 9110 §15.5.9, RFC 8470 §5.2, RFC 6585 §4), beside all of 5xx.
_FOR_NOW = frozenset({408, 425, 429})


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
        self._prime = PrimeLimit(self._trust, _DH_BITS)
        contact = config.contact or config.ehlo_name
        self._agent = f"starttls-crawler/{__version__}" + (f" (+{contact})" if contact else "")
        self._pace = PolicyPacing(config, processes)
        self._sources = {":" in source: source for source in config.source_address}

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
        self._ask_consent([host])
        names, addresses, left_out = await self._addresses(row, host)
        owner = row.registrable_domain or str(row.domain)
        left = self._settings.timeout
        # Those first, so that no length of the others hides them.
        unanswered: list[_NoPolicy] = [_Unconnected(None, why) for why in left_out]
        waiting, is_second_try = deque(addresses), False
        try:
            while waiting:
                address = waiting.popleft()
                if left <= 0:
                    raise _NoPolicy(MtaStsFetch.TIMEOUT, self._timed_out)
                async with self._pace.room(address):
                    if self._pace.is_spent(owner):
                        raise _NoPolicy(None, f"policy hosts of {owner} have taken more time than one domain may")
                    if self._pace.given_up(address):
                        why = f"{address} timed out {self._settings.failures} times running"
                        unanswered.append(_Unconnected(None, why))
                        continue
                    await self._pace.turn()
                    self._ask_consent(names, address)  # again, as a turn may be long in coming
                    began = anyio.current_time()
                    try:
                        return await self._get_within(left, host, address)
                    except (_Unconnected, _NoAnswer) as reason:
                        unanswered.append(reason)
                        again = isinstance(reason, _NoAnswer) and not waiting and not is_second_try
                    finally:
                        left -= anyio.current_time() - began
                if again:
                    waiting, is_second_try = deque([address]), True
                    unanswered.pop()
                    await anyio.sleep(self._settings.retry_delay)
        finally:
            self._pace.took(owner, self._settings.timeout - left)
        # An address that was not tried might have answered.  A silent address gives `timeout`, a refusing one `connect`.
        fetches = {reason.fetch for reason in unanswered}
        fetch = next(word for word in _WITHOUT_ANSWER if word in fetches)
        raise _NoPolicy(fetch, "; ".join(reason.problem for reason in unanswered))

    async def _get_within(self, seconds: float, host: str, address: str) -> bytes:
        """The body of a good response from the address.  Whether the address was silent is recorded."""
        try:
            with anyio.fail_after(seconds):
                text = await self._get(host, address)
        except TimeoutError:
            # Not everybody's time is the whole of it: what another address took is not held against this one.
            if seconds > self._settings.timeout / 2:
                self._pace.was_silent(address)
            raise _NoPolicy(MtaStsFetch.TIMEOUT, self._timed_out) from None
        except _NoPolicy as reason:
            if reason.fetch is MtaStsFetch.TIMEOUT:
                self._pace.was_silent(address)
            else:
                self._pace.has_answered(address)
            raise
        self._pace.has_answered(address)
        return text

    @property
    def _timed_out(self) -> str:
        return f"no policy within {self._settings.timeout:g} s"

    def _ask_consent(self, names: Iterable[str], address: str | None = None) -> None:
        """Whether those who bear the names, the host's and its aliases', and the address may be contacted now."""
        for name in names:
            if self._exclusions.host(name):
                raise _NoPolicy(MtaStsFetch.OPTED_OUT, f"{name} asked not to be contacted")
        if address is not None and self._exclusions.address(address) is not None:
            raise _NoPolicy(MtaStsFetch.OPTED_OUT, f"{address} may not be contacted any more")

    async def _addresses(self, row: Domain, host: str) -> tuple[list[str], list[str], list[str]]:
        """The host with all its aliases, the addresses to try, IPv4 first, and why one that may be as good is not among them."""
        asked = [self._dns.begin(host, A)] if self._config.ipv4 else []
        asked += [self._dns.begin(host, AAAA)] if self._config.ipv6 else []
        answers = [await answer for answer in asked]
        found = [text for answer in answers if answer.status is LookupStatus.OK for text in answer.records]
        if not found:
            statuses = list(dict.fromkeys(answer.status for answer in answers))
            has_none = LookupStatus.NXDOMAIN in statuses or (statuses == [LookupStatus.NODATA] and len(answers) == 2)
            raise _NoPolicy(MtaStsFetch.NO_HOST if has_none else MtaStsFetch.DNS, f"{host}: {' and '.join(statuses)}")
        row.mta_sts_cnames = max((answer.cnames for answer in answers), key=len)
        # The domain and its aliases too: they were asked before, and may have opted out since.
        aliases = (name for answer in answers for name in answer.cnames)
        names = list(dict.fromkeys([host, *aliases, row.domain or host, *(row.cnames or ())]))
        self._ask_consent(names)
        verdicts = {address: self._exclusions.address(address) for address in found}
        allowed = [address for address, verdict in verdicts.items() if verdict is None]
        if not allowed:
            blocked = Outcome.ADDRESS_NOT_ALLOWED in verdicts.values()
            fetch = MtaStsFetch.ADDRESS_NOT_ALLOWED if blocked else MtaStsFetch.OPTED_OUT
            raise _NoPolicy(fetch, f"may not contact {', '.join(verdicts)}")
        left_out = [
            f"lookup of {'IPv4' if answer.rdtype == A else 'IPv6'} addresses: {answer.status}"
            for answer in answers
            if answer.status not in ANSWERED
        ]
        opted_out = sum(verdict is Outcome.OPTED_OUT for verdict in verdicts.values())
        untried = len(allowed) - self._settings.addresses
        left_out += [f"addresses that asked not to be contacted: {opted_out}"] if opted_out else []
        left_out += [f"addresses not tried: {untried}"] if untried > 0 else []
        return names, allowed[: self._settings.addresses], left_out

    async def _get(self, host: str, address: str) -> bytes:
        """The body of a good response."""
        connection = await self._connected(address)
        stream: HttpsStream | None = None
        try:
            stream = await self._secured(host, connection)
            return await self._request(host, stream)
        except TooMuch:
            raise self._too_large() from None
        except TooHard:
            problem = f"a Diffie-Hellman prime of more than {_DH_BITS} bits, which we do not work with"
            raise _NoPolicy(None, problem) from None
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            said = printable((str(error) or "the connection broke off").encode())
            if isinstance(error, httpcore.ProtocolError) and stream is not None and not stream.has_ended:
                raise _NoPolicy(MtaStsFetch.HTTP, said) from error
            raise _NoAnswer(MtaStsFetch.BROKEN_OFF, said) from error
        finally:
            with anyio.move_on_after(1, shield=True):
                await connection.aclose()

    def _too_large(self) -> _NoPolicy:
        """In the same words for either limit: which is met first is a matter of how the bytes come."""
        most = self._settings.policy_bytes
        in_all = most + self._settings.overhead_bytes
        return _NoPolicy(MtaStsFetch.TOO_LARGE, f"more than {most} bytes, or {in_all} bytes in all")

    async def _secured(self, host: str, connection: anyio.abc.ByteStream) -> HttpsStream:
        most = self._settings.policy_bytes + self._settings.overhead_bytes
        try:
            return await HttpsStream.start(connection, self._trust, host, most=most, prime=self._prime)
        except (ssl.SSLError, ValueError) as error:  # ValueError: SNI cannot carry the name
            raise _NoPolicy(MtaStsFetch.TLS, printable(str(error).encode())) from error
        except (anyio.BrokenResourceError, anyio.EndOfStream, OSError) as error:
            said = str(error) or "the connection was closed during the handshake"
            raise _NoAnswer(MtaStsFetch.BROKEN_OFF, printable(said.encode())) from error

    async def _request(self, host: str, stream: HttpsStream) -> bytes:
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
        if not _says_its_length(response) and not stream.was_closed():
            # Where only the end of the connection ends the body, TLS must say that it is the end (RFC 9112 §9.8).
            raise _NoPolicy(MtaStsFetch.HTTP, "cut off: neither a length nor the end of TLS says that this was all")
        return text

    async def _connected(self, address: str) -> anyio.abc.SocketStream:
        source = self._sources.get(":" in address)
        try:
            with anyio.fail_after(self._settings.connect_timeout):
                return await anyio.connect_tcp(address, self._settings.port, local_host=source)
        except TimeoutError:
            raise _Unconnected(MtaStsFetch.TIMEOUT, f"{address}: timeout") from None
        except OSError as error:
            raise _Unconnected(MtaStsFetch.CONNECT, f"{address}: {error}") from error

    async def _body(self, response: httpcore.Response) -> bytes:
        headers = {name.lower(): value for name, value in response.headers}
        if response.status >= 500 or response.status in _FOR_NOW:
            raise _NoAnswer(MtaStsFetch.UNAVAILABLE, f"status {response.status}")
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
                raise self._too_large()
        return bytes(text)


def _says_its_length(response: httpcore.Response) -> bool:
    """Whether the end of the body shows by itself: a Content-Length, or chunks with a last one (RFC 9112 §6.3)."""
    return any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in response.headers)
