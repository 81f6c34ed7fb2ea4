"""Domains in signed, unsigned and broken zones, their mail hosts and policies; scanned, and sent to.

Rule of this file: `SCENES` says what is configured and what must come of it.  Run as a program, inside
`namespace`, it starts everything, scans it (`data/`), and asks the others (`opinions.json`).
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.kit.chains import SERVER, Subject, der, pem, with_sha1
from tests.real import mail_servers, namespace, senders, servers, web_servers, zones
from tests.real.zones import Zone

Answers = tuple[str, str, str | None, str]
"""What four senders do: opportunistic, PKIX-strict, DANE (None: we cannot know), MTA-STS enforcing."""

E, A, R, C = "encrypted", "authenticated", "refused", "clear"


@dataclass
class Scene:
    """One domain, its one mail host, and what must come of it."""

    dane: str  #: the column `dane`, with `dane_error` behind it
    answers: Answers
    tlsa: tuple[str, ...] = ()  #: usage, selector, matching type and whose data: leaf, middle, root, another; or hex
    alias: str = ""  #: the TLSA name is an alias of this one
    zone: str = "secure"
    host_zone: str = "secure"
    names: str = "host"  #: whom the leaf names: host, domain, another
    days: tuple[float, float] = (-1, 30)
    sha1: bool = False  #: signs the leaf
    sends_root: bool = True
    starttls: bool = True
    server: str = "postfix"
    host_is_alias: bool = False
    policy: str = ""  #: mode and mx pattern of an MTA-STS policy; or `gone`, `untrusted`, `no-host`
    fetch: str | None = None  #: the column `mta_sts_fetch`


SCENES = {
    "ee": Scene("match", (E, A, A, E), ("3 1 1 leaf",)),
    "ee-expired-and-wrong-name": Scene("match", (E, R, A, E), ("3 1 1 leaf",), names="another", days=(-30, -1)),
    "ee-in-full": Scene("match", (E, A, A, E), ("3 0 0 leaf",)),
    "ta": Scene("match", (E, A, A, E), ("2 0 1 root",)),
    "ta-intermediate": Scene("match", (E, A, A, E), ("2 1 2 middle",), sends_root=False),
    "ta-not-sent": Scene("mismatch no_match", (E, A, R, E), ("2 0 1 root",), sends_root=False),
    "ta-not-sent-in-full": Scene("match", (E, A, A, E), ("2 0 0 root",), sends_root=False),
    "ta-expired": Scene("mismatch expired", (E, R, R, E), ("2 0 1 root",), days=(-30, -1)),
    "ta-wrong-name": Scene("mismatch name", (E, R, R, E), ("2 0 1 root",), names="another"),
    "ta-sha-1": Scene("mismatch path", (E, R, R, E), ("2 0 1 root",), sha1=True),
    "ee-sha-1": Scene("match", (E, R, A, E), ("3 1 1 leaf",), sha1=True),
    # RFC 7672 §3.2.2: the next-hop domain is a name for DANE-TA too, which the probe of a shared host cannot know.
    "ta-of-the-domain": Scene("mismatch name", (E, R, A, E), ("2 0 1 root",), names="domain"),
    "mismatch": Scene("mismatch no_match", (E, A, R, E), ("3 1 1 another",)),
    "roll-over": Scene("match", (E, A, A, E), ("3 1 1 another", "3 1 1 leaf")),
    "failed-roll-over-with-ta": Scene("match", (E, A, A, E), ("3 1 1 another", "2 0 1 root")),
    "weaker-digest-is-right": Scene("mismatch no_match", (E, A, R, E), ("3 1 1 leaf", "3 1 2 another")),
    "pkix-usages": Scene("unusable", (E, A, E, E), ("0 0 1 root", "1 1 1 leaf")),
    "unknown-matching": Scene("unusable", (E, R, E, E), ("3 1 9 leaf",), names="another"),
    "unusable-beside-usable": Scene("match", (E, A, A, E), ("1 1 1 another", "3 1 1 leaf")),
    "unusable-without-starttls": Scene("unusable", (C, R, R, C), ("1 1 1 leaf",), starttls=False),
    "starttls-not-offered": Scene("unknown", (C, R, R, C), ("3 1 1 leaf",), starttls=False),
    "no-tlsa": Scene("absent", (E, A, E, E)),
    "no-tlsa-without-starttls": Scene("absent", (C, R, C, C), starttls=False),
    "bogus-tlsa": Scene("bogus", (E, A, R, E), alias="tlsa.expired.example."),
    "tlsa-not-answered": Scene("unknown", (E, A, None, E), alias="tlsa.missing.example."),
    "insecure": Scene("insecure", (E, A, E, E), ("3 1 1 another",), zone="insecure", host_zone="insecure"),
    "insecure-tlsa": Scene("insecure", (E, A, E, E), alias="tlsa.insecure.example."),
    "insecure-mx": Scene("match", (E, A, E, E), ("3 1 1 leaf",), zone="insecure"),
    "aliased-host": Scene("match", (E, A, A, E), ("3 1 1 leaf",), host_is_alias=True),
    "aliased-tlsa": Scene("match", (E, A, A, E), alias="tlsa.secure.example."),
    "exim-ee": Scene("match", (E, R, A, E), ("3 1 1 leaf",), names="another", server="exim"),
    "exim-ta": Scene("match", (E, A, A, E), ("2 1 1 root",), server="exim"),
    "exim-mismatch": Scene("mismatch no_match", (E, A, R, E), ("3 1 1 another",), server="exim"),
    "sts-enforced": Scene("absent", (E, A, E, A), policy="enforce host", fetch="ok"),
    "sts-enforced-exim": Scene("absent", (E, A, E, A), policy="enforce host", fetch="ok", server="exim"),
    "sts-enforced-wrong-name": Scene("absent", (E, R, E, R), policy="enforce host", fetch="ok", names="another"),
    "sts-enforced-other-mx": Scene("absent", (E, A, E, R), policy="enforce mx.elsewhere.example", fetch="ok"),
    "sts-testing": Scene("absent", (E, R, E, E), policy="testing host", fetch="ok", names="another"),
    "sts-gone": Scene("absent", (E, A, E, E), policy="gone", fetch="http"),
    "sts-no-host": Scene("absent", (E, A, E, E), policy="no-host", fetch="no_host"),
    "sts-untrusted": Scene("absent", (E, A, E, E), policy="untrusted", fetch="tls"),
    "sts-and-dane": Scene("match", (E, A, A, A), ("3 1 1 leaf",), policy="enforce host", fetch="ok"),
}  # fmt: skip
BROKEN = "mail.expired.example"
"""A domain in a zone whose signatures have expired."""

ADDRESSES = {name: f"127.0.47.{number}" for number, name in enumerate(SCENES, 1)}
POLICY_HOSTS = {name: f"127.0.48.{number}" for number, name in enumerate(SCENES, 1)}

ROOT, MIDDLE, STRANGER = Subject("World root"), Subject("World middle"), Subject("Stranger")
ANCHOR, INTERMEDIATE, FOREIGN = ROOT.root(), ROOT.issue(MIDDLE, ca=True), STRANGER.root()
LEAF, SHARED = Subject("leaf"), "tlsa.secure.example."


def domain(name: str) -> str:
    return f"{name}.{SCENES[name].zone}.example"


def host(name: str) -> str:
    return f"mx.{name}.{SCENES[name].host_zone}.example"


def chain(name: str) -> list[x509.Certificate]:
    """What the mail host sends; all leaves have one key."""
    scene = SCENES[name]
    named = {"host": host(name), "domain": domain(name), "another": "another.example"}[scene.names]
    leaf = MIDDLE.issue(LEAF, ca=False, usage=[SERVER], names=[named], days=scene.days)
    if scene.sha1:
        leaf = with_sha1(leaf, MIDDLE)
    return [leaf, INTERMEDIATE, ANCHOR] if scene.sends_root else [leaf, INTERMEDIATE]


def rdata(text: str, leaf: x509.Certificate) -> str:
    """A TLSA record of a scene as a zone file has it."""
    usage, selector, matching, whose = text.split()
    certificate = {"leaf": leaf, "middle": INTERMEDIATE, "root": ANCHOR, "another": FOREIGN}[whose]
    data = der(certificate)
    if selector == "1":
        data = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = {"0": bytes, "2": lambda whole: hashlib.sha512(whole).digest()}
    taken = digest.get(matching, lambda whole: hashlib.sha256(whole).digest())(data)
    return f"TLSA {usage} {selector} {matching} {taken.hex()}"


def records(name: str, leaf: x509.Certificate) -> Iterator[tuple[str, str]]:
    """Zone and record of all that a scene publishes."""
    scene = SCENES[name]
    yield scene.zone, f"{domain(name)}. IN MX 10 {host(name)}."
    owner = f"real.{host(name)}." if scene.host_is_alias else f"{host(name)}."
    if scene.host_is_alias:
        yield scene.host_zone, f"{host(name)}. IN CNAME {owner}"
    yield scene.host_zone, f"{owner} IN A {ADDRESSES[name]}"
    for text in scene.tlsa:
        yield scene.host_zone, f"_25._tcp.{owner} IN {rdata(text, leaf)}"
    if scene.alias:
        yield scene.host_zone, f"_25._tcp.{owner} IN CNAME {scene.alias}"
    if scene.policy:
        yield scene.zone, f'_mta-sts.{domain(name)}. IN TXT "v=STSv1; id=1;"'
        if scene.policy != "no-host":
            yield scene.zone, f"mta-sts.{domain(name)}. IN A {POLICY_HOSTS[name]}"


def zones_of(chains: dict[str, list[x509.Certificate]]) -> list[Zone]:
    shared = rdata("3 1 1 leaf", chains["ee"][0])
    made: dict[str, list[str]] = {
        "secure": [f"tlsa IN {shared}"],
        "insecure": [f"tlsa IN {shared}"],
        "expired": [f"tlsa IN {shared}", f"{BROKEN}. IN MX 10 {BROKEN}.", f"{BROKEN}. IN A {ADDRESSES['ee']}"],
    }
    for name in SCENES:
        for zone, record in records(name, chains[name][0]):
            made[zone].append(record)
    return [
        Zone("example", []),
        *(Zone(f"{n}.example", r, signed=n != "insecure", expired=n == "expired") for n, r in made.items()),
        Zone("missing.example", [], signed=False, missing=True),
    ]


def write(path: Path, certificates: list[x509.Certificate]) -> Path:
    """The common key and the certificates."""
    key = LEAF.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_text(key.decode() + pem(*certificates))
    path.chmod(0o644)
    return path


def policies(directory: Path) -> dict[str, tuple[Path, list[str]]]:
    """The sites of all policy hosts."""
    sites = {}
    for name, scene in SCENES.items():
        if scene.policy in ("", "no-host"):
            continue
        issuer = STRANGER if scene.policy == "untrusted" else ROOT
        certificate = issuer.issue(LEAF, ca=False, usage=[SERVER], names=[f"mta-sts.{domain(name)}"])
        mode, _, pattern = scene.policy.partition(" ")
        text = rf"version: STSv1\nmode: {mode}\nmx: {host(name) if pattern == 'host' else pattern}\nmax_age: 86400\n"
        answer = "return 404;" if scene.policy == "gone" else f'return 200 "{text}";'
        where = write(directory / f"policy-{name}.pem", [certificate])
        sites[POLICY_HOSTS[name]] = (where, [f"location = /.well-known/mta-sts.txt {{ {answer} }}"])
    return sites


def scan(directory: Path, roots: Path) -> None:
    """The command that a user would type, with the ports that the Internet has."""
    (directory / "list.txt").write_text("\n".join([*map(domain, SCENES), BROKEN]) + "\n")
    command = [sys.executable, "-m", "crawler", "scan", str(directory / "list.txt"), "--data", str(directory / "data")]
    command += ["--resolver", "127.0.0.1:53", "--ehlo-name", "probe.example", "--allow-network", "127.0.0.0/8"]
    command += ["--ca-file", str(roots), "--workers", "1"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr


def posttls_finger(directory: Path, name: str) -> str:
    """What `posttls-finger -l dane` says of a domain."""
    command = [servers.program("posttls-finger"), "-c", "-l", "dane", "-a", "ipv4", domain(name)]
    done = subprocess.run(
        command, env={"MAIL_CONFIG": str(directory)}, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr


def main(directory: Path) -> None:
    namespace.settle(directory)
    chains = {name: chain(name) for name in SCENES}
    pems = {name: write(directory / f"{name}.pem", sent) for name, sent in chains.items()}
    (roots := directory / "roots.pem").write_text(pem(ANCHOR))
    with ExitStack() as running:
        world = zones_of(chains)
        anchor = zones.write(directory, world)
        authority = running.enter_context(zones.nsd(directory, world))
        # A scan begins with a question for the root, which nobody serves here.
        root = ('local-zone: "." typetransparent', 'local-data: ". 60 IN NS ns.example."')
        running.enter_context(zones.unbound(directory, world, anchor, authority, *root, port=53))
        for server, start in (("postfix", servers.postfix), ("exim", mail_servers.exim)):
            certificate = "smtpd_tls_chain_files" if server == "postfix" else "tls_certificate"
            listeners: dict[str, dict[str, str]] = {}
            for name, scene in SCENES.items():
                if scene.server == server:
                    options = {certificate: str(pems[name])}
                    if server == "exim":
                        options |= {"tls_advertise_hosts": "*", "smtp_banner": "mx.exim.example ESMTP"}
                    elif not scene.starttls:
                        options = {"smtpd_tls_security_level": "none"}
                    listeners[ADDRESSES[name]] = options
            (directory / server).mkdir(mode=0o755)
            running.enter_context(start(directory / server, 25, listeners))
        running.enter_context(web_servers.nginx(directory, 443, policies(directory)))
        scan(directory, roots)
        settings = {"compatibility_level": "3.6", "myhostname": "probe.example", "inet_protocols": "ipv4"}
        settings["dnssec_probe"] = ""
        (directory / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        with ThreadPoolExecutor(12) as threads:
            fingers = dict(zip(SCENES, threads.map(partial(posttls_finger, directory), SCENES), strict=True))
        sender = running.enter_context(senders.postfix(directory / "sender", roots))
        fates = sender.send([*map(domain, SCENES), BROKEN])
    opinions: dict[str, Any] = {"posttls-finger": fingers, "fates": fates}
    (directory / "opinions.json").write_text(json.dumps(opinions))


if __name__ == "__main__":
    os.umask(0o022)
    main(Path(sys.argv[1]))
