"""MTA-STS policies that nginx serves over TLS are fetched as curl fetches them, and read as they were written.

nginx speaks HTTP/1.1 only; for HTTP/1.0 stands `openssl s_server -HTTP`.  curl follows no redirect and is
given our limits and trust anchors; what it cannot tell is whether a text is a policy.
"""

from __future__ import annotations

import gzip
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from crawler.dns.client import DnsClient
from crawler.model.rows import Domain, MtaStsFetch, Policy
from crawler.politeness.exclusions import Exclusions
from crawler.resolve.policy_fetch import PolicyFetcher
from crawler.settings.config import Config
from tests.kit.chains import SERVER, Subject, pem
from tests.real import servers, web_servers

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

ROOT, MIDDLE, STRANGER, KEY = Subject("Web root"), Subject("Web middle"), Subject("Stranger"), Subject("leaf").key
ANCHOR, INTERMEDIATE = ROOT.root(), ROOT.issue(MIDDLE, ca=True)
TEXT = "version: STSv1\nmode: enforce\nmx: mx.example\nmx: *.mx.example\nmax_age: 604800\n"
PATH = ".well-known/mta-sts.txt"
TIMEOUT, LARGEST = 4.0, 65_536

Certificates = list[x509.Certificate]


def sent(
    *, common_name: str = "leaf", names: Sequence[str] | None = None, **how: object
) -> Callable[[str], Certificates]:
    """A chain for a policy host, as ordinary as the arguments let it be."""

    def made(host: str) -> Certificates:
        subject = Subject(common_name.replace("HOST", host), KEY)
        wanted = [name.replace("HOST", host) for name in (("HOST",) if names is None else names)]
        options = {"ca": False, "usage": [SERVER], "names": wanted} | how
        return [MIDDLE.issue(subject, **options), INTERMEDIATE]  # type: ignore[arg-type]

    return made


def by_itself(host: str) -> Certificates:
    subject = Subject("leaf", KEY)
    return [subject.issue(subject, names=[host])]


def of_a_stranger(host: str) -> Certificates:
    return [STRANGER.issue(Subject("leaf", KEY), ca=False, usage=[SERVER], names=[host])]


@dataclass
class Site:
    """How a policy host answers, and how fetching its policy must end."""

    fetch: MtaStsFetch
    problem: str = ""  #: is in `mta_sts_problem`
    directives: tuple[str, ...] = ()
    body: bytes = TEXT.encode()
    chain: Callable[[str], Certificates] = field(default_factory=sent)
    status: str = ""  #: what curl must have got, where it got something


OK, TLS, HTTP = MtaStsFetch.OK, MtaStsFetch.TLS, MtaStsFetch.HTTP
PADDED = TEXT.encode() + b"x: " + b"y" * (LARGEST - len(TEXT) - 4) + b"\n"
SITES = {
    # --- a policy ---
    "LF": Site(OK, status="200"),
    "CRLF": Site(OK, body=TEXT.replace("\n", "\r\n").encode()),
    "no end of the last line": Site(OK, body=TEXT.rstrip().encode()),
    "TLS 1.2 alone": Site(OK, directives=("ssl_protocols TLSv1.2;",)),
    "TLS 1.3 alone": Site(OK, directives=("ssl_protocols TLSv1.3;",)),
    "in chunks": Site(OK, directives=("ssi on; ssi_types text/plain;",)),
    "with a charset": Site(OK, directives=("charset utf-8;",)),
    "gzip for who asks": Site(OK, directives=("gzip on; gzip_min_length 0; gzip_types text/plain;",)),
    "64 KiB": Site(OK, body=PADDED),
    "by a wildcard": Site(OK, chain=sent(names=["*.by-a-wildcard.sts.example"])),
    # --- no policy ---
    "64 KiB and a byte": Site(MtaStsFetch.TOO_LARGE, "more than 65536 bytes", body=PADDED + b"\n"),
    "10 MB": Site(MtaStsFetch.TOO_LARGE, "more than 65536 bytes", body=b"x" * 10_000_000),
    "10 MB in chunks": Site(MtaStsFetch.TOO_LARGE, "more than", ("ssi on; ssi_types text/plain;",), b"x" * 10_000_000),
    "stalls": Site(MtaStsFetch.TIMEOUT, "no policy within 4 s", ("limit_rate 1;",)),
    "no policy": Site(MtaStsFetch.SYNTAX, "", body=b"<html>Welcome to nginx!</html>\n"),
    "nothing": Site(MtaStsFetch.SYNTAX, "", body=b""),
    "HTML": Site(HTTP, "media type text/html", ("default_type text/html; types { }",), status="200"),
    "no media type": Site(HTTP, "media type missing", ('default_type ""; types { }',), status="200"),
    "octets": Site(HTTP, "application/octet-stream", ("default_type application/octet-stream; types { }",)),
    "gzip for anybody": Site(HTTP, "content encoding", ("add_header Content-Encoding gzip;",), gzip.compress(TEXT.encode())),
    "moved": Site(HTTP, "status 301 to https://mta-sts.lf.sts.example", ("return 301 https://mta-sts.lf.sts.example:$server_port/$uri;",), status="301"),
    "moved to ourselves": Site(HTTP, "status 302 to https://127.0.0.1/", ("return 302 https://127.0.0.1/;",), status="302"),
    "moved to plain HTTP": Site(HTTP, "status 308 to http://", ("return 308 http://$host/$uri;",), status="308"),
    "not found": Site(HTTP, "status 404", ("return 404;",), status="404"),
    "a policy with status 404": Site(HTTP, "status 404", (f'return 404 "{TEXT}";'.replace("\n", r"\n"),), status="404"),
    "forbidden": Site(HTTP, "status 403", ("deny all;",), status="403"),
    "its own fault": Site(MtaStsFetch.UNAVAILABLE, "status 500", ("return 500;",), status="500"),
    "no content": Site(HTTP, "status 204", ("return 204;",), status="204"),
    "wants our certificate": Site(HTTP, "status 400", ("ssl_verify_client on; ssl_client_certificate ROOTS;",), status="400"),
    "hangs up": Site(MtaStsFetch.BROKEN_OFF, "without sending a response", ("return 444;",)),
    # --- no TLS ---
    "TLS 1.1 alone": Site(TLS, "alert protocol version", ("ssl_protocols TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0;",)),
    "refuses the handshake": Site(TLS, "unrecognized name", ("ssl_reject_handshake on;",)),
    "expired": Site(TLS, "certificate has expired", chain=sent(days=(-30, -1))),
    "not yet valid": Site(TLS, "certificate is not yet valid", chain=sent(days=(1, 30))),
    "wrong name": Site(TLS, "Hostname mismatch", chain=sent(names=["elsewhere.example"])),
    "name of the domain": Site(TLS, "Hostname mismatch", chain=sent(names=["name-of-the-domain.sts.example"])),
    "part of a label": Site(TLS, "Hostname mismatch", chain=sent(names=["mta-*.part-of-a-label.sts.example"])),
    "CN alone": Site(TLS, "Hostname mismatch", chain=sent(common_name="HOST", names=[])),
    "self-signed": Site(TLS, "self-signed certificate", chain=by_itself),
    "unknown root": Site(TLS, "unable to get local issuer certificate", chain=of_a_stranger),
    "intermediate missing": Site(TLS, "unable to get local issuer", chain=lambda host: sent()(host)[:1]),
    "for clients": Site(TLS, "unsuitable certificate purpose", chain=sent(usage=[ExtendedKeyUsageOID.CLIENT_AUTH])),
}  # fmt: skip
HTTP_1_0 = "HTTP 1.0"
OTHERS = {HTTP_1_0: Site(OK, status="200"), "nobody there": Site(MtaStsFetch.CONNECT, "connection attempts failed")}
ALL = SITES | OTHERS
ADDRESSES = {name: f"127.0.49.{number}" for number, name in enumerate(ALL, 1)}

#: Where curl does otherwise, and why we are right.
EXPLAINED = {
    "CN alone": "RFC 8461 §3.3: the certificate is matched by DNS-ID only; curl takes the CN where there is none"
}

_CURL = {0: "", 7: MtaStsFetch.CONNECT, 28: MtaStsFetch.TIMEOUT, 63: MtaStsFetch.TOO_LARGE}
_CURL |= {35: TLS, 51: TLS, 60: TLS, 52: MtaStsFetch.BROKEN_OFF}


def domain(name: str) -> str:
    return f"{name.lower().replace(' ', '-').replace('.', '-')}.sts.example"


def policy_host(name: str) -> str:
    return f"mta-sts.{domain(name)}"


@dataclass
class Fetched:
    """What we, and curl, made of a policy host."""

    row: Domain
    policies: list[Policy]
    curl: MtaStsFetch
    status: str
    headers: str
    body: bytes


@dataclass
class Place:
    """Where the sites are."""

    directory: Path
    port: int
    resolver: int

    def ours(self) -> dict[str, tuple[Domain, list[Policy]]]:
        config = Config.from_mapping(
            {
                "resolver": [f"127.0.0.1:{self.resolver}"],
                "allow_network": ["127.0.0.0/8"],
                "https": {"port": self.port, "timeout": TIMEOUT, "retry_delay": 0.2},
            }
        )
        made: dict[str, tuple[Domain, list[Policy]]] = {name: (Domain(domain=domain(name)), []) for name in ALL}

        async def fetch() -> None:
            async with DnsClient(config) as dns:
                fetcher = PolicyFetcher(config, dns, Exclusions(config), self.directory / "roots.pem")
                async with anyio.create_task_group() as tasks:
                    for row, policies in made.values():
                        tasks.start_soon(fetcher.fetch, row, policies.append)

        anyio.run(fetch)
        return made

    def curl(self, name: str) -> tuple[MtaStsFetch, str, str, bytes]:
        """How it ended in our words, the status, the headers and the body."""
        body, head = (self.directory / f"{ADDRESSES[name]}.{kind}" for kind in ("body", "head"))
        host = policy_host(name)
        command = [servers.program("curl"), "--silent", "--http1.1", "--tlsv1.2", "--max-redirs", "0"]
        command += ["--max-time", str(TIMEOUT), "--max-filesize", str(LARGEST), "--noproxy", "*"]
        command += ["--cacert", str(self.directory / "roots.pem"), "--capath", "/nonexistent"]
        command += [
            "--resolve",
            f"{host}:{self.port}:{ADDRESSES[name]}",
            "--output",
            str(body),
            "--dump-header",
            str(head),
        ]
        command += ["--write-out", "%{http_code} %{content_type}", f"https://{host}:{self.port}/{PATH}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        status, _, kind = done.stdout.partition(" ")
        headers = head.read_text() if head.exists() else ""
        content = body.read_bytes() if body.exists() else b""
        word = _CURL[done.returncode]
        if not word and len(content) > LARGEST:  # before 8.4 curl knows the limit only where the length is announced
            word = MtaStsFetch.TOO_LARGE
        elif not word:
            good = status == "200" and kind.partition(";")[0] == "text/plain"
            word = OK if good and "content-encoding" not in headers.lower() else HTTP
            word = MtaStsFetch.UNAVAILABLE if status.startswith("5") else word
        return MtaStsFetch(word), status, headers, content


@pytest.fixture(scope="module")
def fetched() -> Iterator[dict[str, Fetched]]:
    servers.require("nginx", "curl", "openssl", "unbound", root=True)
    # Not pytest's directory: a server that gives up root must be able to walk to its files.
    with tempfile.TemporaryDirectory(prefix="policies-") as made, ExitStack() as running:
        directory = Path(made)
        directory.chmod(0o755)
        (directory / "roots.pem").write_text(pem(ANCHOR))
        port = servers.free_port(*ADDRESSES.values())
        records = [f"{policy_host(name)}. A {address}" for name, address in ADDRESSES.items()]
        place = Place(directory, port, running.enter_context(servers.unbound(directory, records)))
        running.enter_context(web_servers.nginx(directory, port, {ADDRESSES[n]: written(directory, n) for n in SITES}))
        running.enter_context(http_1_0(directory, port))
        ours = place.ours()
        with ThreadPoolExecutor(12) as threads:
            theirs = dict(zip(ALL, threads.map(place.curl, ALL), strict=True))
        yield {name: Fetched(*ours[name], *theirs[name]) for name in ALL}


def written(directory: Path, name: str) -> tuple[Path, list[str]]:
    """Certificate and directives of a site, whose files are written."""
    site, www = ALL[name], directory / f"www-{ADDRESSES[name]}"
    (www / PATH).parent.mkdir(parents=True)
    (www / PATH).write_bytes(site.body)
    key = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    (certificate := www / "host.pem").write_text(key + pem(*site.chain(policy_host(name))))
    directives = [one.replace("ROOTS", str(directory / "roots.pem")) for one in site.directives]
    return certificate, [f"root {www};", *directives]


def http_1_0(directory: Path, port: int) -> ExitStack:
    """A server whose file is the whole response."""
    certificate, _ = written(directory, HTTP_1_0)
    folder = certificate.parent
    (folder / PATH).write_bytes(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + TEXT.encode())
    at = ADDRESSES[HTTP_1_0]
    command = [servers.program("env"), "-C", str(folder), servers.program("openssl"), "s_server", "-HTTP"]
    command += ["-accept", f"{at}:{port}", "-cert_chain", str(certificate), "-cert", str(certificate)]
    command += ["-key", str(certificate)]
    running = ExitStack()
    running.enter_context(servers.daemon(command, folder / "s_server.log", lambda: servers.accepts(at, port)))
    return running


@pytest.mark.parametrize("name", ALL)
def test_a_policy_is_fetched_as_its_host_serves_it(fetched: dict[str, Fetched], name: str) -> None:
    site, row, policies = ALL[name], fetched[name].row, fetched[name].policies
    assert row.mta_sts_fetch == site.fetch, row.mta_sts_problem
    assert site.problem in (row.mta_sts_problem or "")
    if site.fetch is OK:
        assert (row.mta_sts_mode, row.mta_sts_max_age) == ("enforce", 604_800)
        assert row.mta_sts_mx == ["mx.example", "*.mx.example"]
        assert [policy.sha256 for policy in policies] == [row.policy_sha256]
    else:
        assert row.mta_sts_mode is None and row.mta_sts_problem
        assert bool(policies) is (site.fetch is MtaStsFetch.SYNTAX), "what came whole is kept, and no part of another"


@pytest.mark.parametrize("name", ALL)
def test_curl_says_the_same(fetched: dict[str, Fetched], name: str) -> None:
    site, found = ALL[name], fetched[name]
    wanted = OK if site.fetch is MtaStsFetch.SYNTAX else site.fetch
    assert (found.curl == wanted) is (name not in EXPLAINED), (found.curl, found.status, found.headers)
    assert site.status in ("", found.status)
    if site.fetch is OK:
        (policy,) = found.policies
        assert (policy.text or "").replace("\\x0d", "\r").encode() == found.body


def test_the_servers_did_what_they_were_told_to(fetched: dict[str, Fetched]) -> None:
    for name in ("in chunks", "10 MB in chunks"):
        assert "Transfer-Encoding: chunked" in fetched[name].headers and "Content-Length" not in fetched[name].headers
    assert fetched[HTTP_1_0].headers.startswith("HTTP/1.0 200")
    assert "charset=utf-8" in fetched["with a charset"].headers
    assert "Content-Encoding: gzip" in fetched["gzip for anybody"].headers
    assert "Location: https://127.0.0.1/" in fetched["moved to ourselves"].headers
    assert b"\r\n" in fetched["CRLF"].body and len(fetched["64 KiB"].body) == LARGEST
