"""Postfix and Exim present every kind of chain, and three programs judge it: ours, OpenSSL's and Postfix's.

`openssl s_client` and `posttls-finger` see the same listener as we do, with the same anchors and the same
name.  What is asked of each so that it follows our rule, and not one of its own:

- purpose: all three verify for TLS servers (`sslserver`), which OpenSSL does for any TLS client;
- security level: 1, which posttls-finger takes, as Postfix does, where it must verify: no MD5 or SHA-1 in the
  path (RFC 9325 §4.5).  s_client is told so, as Debian's 2 would refuse 1024 bits too, which RFC 9325 §4.5
  forbids to servers and no sender to itself.  `-x509_strict` is left out: no sender sets it;
- s_client goes on after an error and prints each, so it has an opinion on dates (9, 10), on the name (62)
  and on the path (the rest); with `-verify_return_error` it ends as a sender would.  posttls-finger says
  Verified or Untrusted, and the first error.

Where a program disagrees, `EXPLAINED` says by which paragraph; it must go on disagreeing.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from cryptography.hazmat.primitives.hashes import SHA256

from crawler.model.rows import Endpoint, Probe
from crawler.probe.prober import Prober
from crawler.settings.config import Config
from tests.kit.chains import pem
from tests.real import mail_servers, servers
from tests.real.kinds import KINDS, Kind

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

_NO_CN = "RFC 9525 §6.3 matches DNS-IDs, and §2 leaves the CN out; both programs fall back to it without a DNS-ID"
_WHOLE = "RFC 9525 §6.3: a wildcard that is not the complete left-most label is invalid and must be ignored"

#: Kind -> program -> why it may say of the whole what we do not.
EXPLAINED = {
    "CN alone": {"openssl": _NO_CN, "posttls-finger": _NO_CN},
    "CN alone, a wildcard": {"openssl": _NO_CN, "posttls-finger": _NO_CN},
    "CN beside an IP address": {"openssl": _NO_CN, "posttls-finger": _NO_CN},
    "wildcard, part of a label": {"openssl": _WHOLE},
    "wildcard, behind a part of a label": {"openssl": _WHOLE},
}


def of_gnutls(name: str, *places: int, **what: Any) -> tuple[str, Kind]:
    """The same chain as GnuTLS sends it: in order, up to the first whose issuer is not there, each issuer once."""
    return name, replace(KINDS[name], chain=[KINDS[name].chain[place] for place in places], **what)


#: What each server sends, which is not always what it was told to.
SENT = {
    "postfix": KINDS,
    "exim": KINDS
    | dict(
        [
            of_gnutls("out of order", 0, 2, 1),
            of_gnutls("certificates of no use among them", 0, 3),
            of_gnutls("leaf sent twice", 0, 2),
            of_gnutls("intermediate that signs itself", 0, 1),
            of_gnutls("intermediate that signs itself, behind", 0, 1),
            of_gnutls("expired intermediate, renewed one behind it", 0, 1, current=False),
            of_gnutls("expired intermediate, valid cross-sign", 0, 1, current=False),
        ]
    ),
}

ADDRESSES = {name: f"127.0.46.{number}" for number, name in enumerate(KINDS, 1)}


@dataclass
class Opinions:
    """What was said of a chain that a server presented."""

    kind: Kind
    probe: Probe
    openssl: str
    openssl_as_a_sender: subprocess.CompletedProcess[str]
    posttls_finger: str


class Judges:
    """Those who are asked about the listeners of one server."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory, self.port = directory, port
        (directory / "main.cf").write_text("compatibility_level = 3.6\nmyhostname = probe.example\n")

    def ask(self, name: str, kind: Kind) -> Opinions:
        address = ADDRESSES[name]
        roots = self.directory / f"{address}.roots.pem"
        roots.write_text(pem(*kind.anchors))
        patient = self.openssl(address, kind.host, roots)
        return Opinions(
            kind,
            self.probe(address, kind.host, roots),
            patient.stdout + patient.stderr,
            self.openssl(address, kind.host, roots, "-verify_return_error"),
            self.posttls_finger(address, kind.host, roots),
        )

    def probe(self, address: str, host: str, roots: Path) -> Probe:
        config = Config(ehlo_name="probe.example", allow_network=("127.0.0.0/8",), ca_file=str(roots))
        row, _ = anyio.run(Prober(config).probe_one, Endpoint("smtp", host, address, self.port))
        return row

    def openssl(self, address: str, host: str, roots: Path, *more: str) -> subprocess.CompletedProcess[str]:
        command = [servers.program("openssl"), "s_client", "-starttls", "smtp", "-connect", f"{address}:{self.port}"]
        command += ["-verify_hostname", host, "-cipher", "DEFAULT@SECLEVEL=1"]
        command += ["-no-CApath", "-no-CAstore", "-CAfile", str(roots), *more]
        return subprocess.run(command, input="Q\n", capture_output=True, text=True, timeout=60, check=False)

    def posttls_finger(self, address: str, host: str, roots: Path) -> str:
        command = [servers.program("posttls-finger"), "-c", "-l", "secure", "-F", str(roots)]
        environment = {"MAIL_CONFIG": str(self.directory)}
        done = subprocess.run(
            [*command, f"[{address}]:{self.port}", host],
            env=environment, capture_output=True, text=True, errors="replace", timeout=60, check=False,
        )  # fmt: skip
        return done.stdout + done.stderr


@contextmanager
def presenting(server: str, directory: Path, port: int) -> Iterator[None]:
    """The server, with a listener for each kind."""
    chains = {ADDRESSES[name]: str(kind.write(directory / f"{ADDRESSES[name]}.pem")) for name, kind in KINDS.items()}
    if server == "postfix":
        parameters = {address: {"smtpd_tls_chain_files": chain} for address, chain in chains.items()}
        with servers.postfix(directory, port, parameters):
            yield
    else:
        options = {"tls_advertise_hosts": "*", "smtp_banner": "mx.exim.example ESMTP"}
        with mail_servers.exim(directory, port, {at: options | {"tls_certificate": c} for at, c in chains.items()}):
            yield


@pytest.fixture(scope="module", params=SENT)
def opinions(request: pytest.FixtureRequest) -> Iterator[dict[str, Opinions]]:
    """All opinions on all that one server presents; several are asked at once, as each waits for Exim to close."""
    servers.require("postfix", "posttls-finger", "openssl", root=True)
    # Not pytest's directory: a server that gives up root must be able to walk to its files.
    with tempfile.TemporaryDirectory(prefix="kinds-") as made:
        directory = Path(made)
        directory.chmod(0o755)
        port = servers.free_port(*ADDRESSES.values())
        with presenting(request.param, directory, port), ThreadPoolExecutor(12) as threads:
            judges, kinds = Judges(directory, port), SENT[request.param]
            yield dict(zip(kinds, threads.map(judges.ask, kinds, kinds.values()), strict=True))


@pytest.mark.parametrize("name", KINDS)
def test_a_probe_says_what_is_true_of_the_chain(opinions: dict[str, Opinions], name: str) -> None:
    kind, row = opinions[name].kind, opinions[name].probe
    assert row.received_chain == [sent.fingerprint(SHA256()).hex() for sent in kind.chain], row.outcome
    assert (row.chain_trusted, row.name_match, row.within_validity) == (kind.trusted, kind.named, kind.current)
    assert row.strict_valid is (kind.trusted and kind.named and kind.current)


@pytest.mark.parametrize("name", KINDS)
def test_openssl_says_the_same(opinions: dict[str, Opinions], name: str) -> None:
    kind, said = opinions[name].kind, opinions[name].openssl
    assert "BEGIN CERTIFICATE" in said, said
    errors = {int(code) for code in re.findall(r"^verify error:num=(\d+):", said, re.MULTILINE)}
    named = kind.named is not ("openssl" in EXPLAINED.get(name, ()))
    assert (not errors - {9, 10, 62}, 62 not in errors) == (kind.trusted, named), said
    assert (not errors & {9, 10}) is kind.current, said
    sender = opinions[name].openssl_as_a_sender
    assert (sender.returncode == 0) is (kind.trusted and named and kind.current), sender.stdout + sender.stderr


@pytest.mark.parametrize("name", KINDS)
def test_posttls_finger_says_the_same(opinions: dict[str, Opinions], name: str) -> None:
    kind, said = opinions[name].kind, opinions[name].posttls_finger
    valid = (kind.trusted and kind.named and kind.current) is not ("posttls-finger" in EXPLAINED.get(name, ()))
    assert re.findall(r"(\w+) TLS connection established to", said) == ["Verified" if valid else "Untrusted"], said
    if kind.trusted and kind.current and not valid and name not in EXPLAINED:
        assert "num=62:hostname mismatch" in said, said
