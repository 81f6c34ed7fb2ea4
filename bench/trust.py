"""`make bench-trust`: what verdicts add to PROBE, and whether fetching policies keeps pace with RESOLVE.

Two scenes.  PROBE on nginx, whose hosts send a leaf and its intermediate and publish TLSA records:
with all verdicts (trust, dates, names, DANE) and with none, where a certificate is for ten hosts and
where every host has its own, so that no verdict can be remembered.  RESOLVE on NSD, where one domain
in a hundred has an MTA-STS policy at nginx: with the fetch and without, all else being the same, and
once more with policy hosts that keep us waiting.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from bench import nginx, scan_world, slow_relay
from bench.measure import Measured, scene, table

DISTANCE = 1.0
"""Seconds that a policy host at a distance keeps us waiting."""

NAME = "mx{}.bench.example"


def main() -> None:
    """Run every scene in a process of its own, some rounds in turn, and print two tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.trust", description=__doc__)
    parser.add_argument("--hosts", type=int, default=3_000, help="endpoints a scene (default: %(default)s)")
    parser.add_argument("--domains", type=int, default=50_000, help="domains a scene (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    options = parser.parse_args()
    for certificates in (options.hosts // 10, options.hosts):
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            authority = Authority(directory)
            with nginx.running(directory, "ecdsa", options.hosts, certificates, name=NAME, write=authority.write) as (
                smtp,
                _,
            ):
                arguments = ("probe", str(directory), str(smtp), str(options.hosts), str(certificates))
                rows = _rounds(options.rounds, arguments, "PROBE", "verdicts")
        sys.stdout.write(
            f"\n{certificates:,} chains on {options.hosts:,} hosts\n{table(rows, rows[0].name, 'endpoints')}\n"
        )
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with (
            scan_world.running(directory, options.domains, scan_world.PROVIDERS) as world,
            slow_relay.running(scan_world.policy_addresses(options.domains), world.https, DISTANCE) as far,
        ):
            rows = []
            for https, what in ((world.https, "policies"), (far, f"policies after {DISTANCE:g} s")):
                arguments = ("resolve", str(world.ca_file), str(world.dns), str(https), str(options.domains))
                rows += _rounds(options.rounds, arguments, "RESOLVE", what)
    sys.stdout.write(f"\n1 domain in {scan_world.POLICY_EVERY} has a policy\n{table(rows, rows[0].name, 'domains')}\n")


def _rounds(rounds: int, arguments: tuple[str, ...], stage: str, what: str) -> list[Measured]:
    total: dict[str, Measured] = {}
    for _ in range(rounds):
        for choice in ("without", "with"):
            measured = scene(f"{stage} {choice} {what}", "bench.trust_scenes", *arguments, choice)
            total[choice] = measured + total[choice] if choice in total else measured
    return list(total.values())


class Authority:
    """A root in `ca.pem`, and an intermediate that issues what the servers send."""

    def __init__(self, directory: Path) -> None:
        root, self._key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("bench root", "bench issuer")]
        self._name = names[1]
        anchor = scan_world.issue(names[0], names[0], root, root, x509.BasicConstraints(True, None))
        self._intermediate = scan_world.issue(names[1], names[0], self._key, root, x509.BasicConstraints(True, 0))
        (directory / "ca.pem").write_bytes(anchor.public_bytes(Encoding.PEM))

    def write(self, path: Path, kind: str, name: str) -> None:
        """A leaf with its intermediate and key.  `kind` is always `ecdsa`."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        leaf = scan_world.issue(subject, self._name, key, self._key, x509.SubjectAlternativeName([x509.DNSName(name)]))
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in (leaf, self._intermediate)) + private)


if __name__ == "__main__":
    main()
