"""The scenes of `bench.trust`, each run in a process of its own; the last line says what it took."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pyarrow as pa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.measure import Stopwatch
from bench.nginx import addresses
from bench.probe_scenes import IN_FLIGHT
from crawler.certificates.parsing import ParsedCertificate
from crawler.dataset.parts import PartWriter
from crawler.dns.client import DnsClient
from crawler.executors.lean_process import calm_garbage_collector
from crawler.model.names import suffixes
from crawler.model.rows import TABLES, DaneStatus, Domain, Endpoint, MtaStsFetch, Outcome, Probe, Target, TlsaStatus
from crawler.policies.dane import records_of
from crawler.politeness.exclusions import Exclusions
from crawler.probe.attempt import Attempts
from crawler.probe.conversation import Conversation
from crawler.probe.prober import Prober
from crawler.resolve.domains import resolve_domains
from crawler.resolve.policy_fetch import PolicyFetcher
from crawler.settings.config import Config, Https, Pacing


class _Unjudged(Attempts):
    """Stores what was received, as ever, and judges nothing."""

    def _judge(self, probe: Probe, conversation: Conversation) -> list[ParsedCertificate]:
        chain = [self.trust.known(certificate) for certificate in conversation.chain]
        probe.received_chain = [known.row.sha256 or "" for known in chain]
        return chain

    def _hold_against_tlsa(self, probe: Probe, endpoint: Endpoint, chain: list[ParsedCertificate]) -> None:
        pass


async def probe(directory: Path, port: int, hosts: int, certificates: int, *, judge: bool) -> None:
    """The whole PROBE stage with rows and Parquet, with verdicts or without."""
    config = Config(
        ehlo_name="probe.bench.example",
        allow_network=("127.0.0.0/8",),
        ca_file=str(directory / "ca.pem"),
        pacing=Pacing(in_flight=IN_FLIGHT, per_network=250, per_provider=10_000, attempts=1),
    )
    prober = Prober(config)
    if not judge:
        prober._attempts = _Unjudged(config, prober._budget)
    records = [_record(directory / f"ecdsa-{number}.pem") for number in range(certificates)]
    endpoints = [
        Endpoint(
            "smtp", host := f"mx{n % certificates}.bench.example", address, port,
            host, TlsaStatus.USABLE, records_of([records[n % certificates]]),
        )
        for n, address in enumerate(addresses(hosts))
    ]  # fmt: skip
    found: Counter[tuple[Any, ...]] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        writers = _writers(Path(scratch))

        def emit(row: Any) -> None:
            if isinstance(row, Probe):
                found[row.outcome, row.strict_valid, row.dane] += 1
            writers[type(row)].append(row)

        watch = Stopwatch()
        await prober.probe_endpoints(endpoints, emit)
        for writer in writers.values():
            writer.close()
        watch.report(hosts)
    if found != {(Outcome.OK, True if judge else None, DaneStatus.MATCH if judge else None): hosts}:
        raise SystemExit(f"bench: not every endpoint was judged as it should be: {dict(found)}")


def _record(pem: Path) -> tuple[int, int, int, bytes]:
    """The `3 1 1` record of a server's leaf."""
    key = x509.load_pem_x509_certificates(pem.read_bytes())[0].public_key()
    return 3, 1, 1, hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


async def resolve(ca_file: Path, dns: int, https: int, domains: int, *, fetch: bool) -> None:
    """All questions about domains, and the policies they lead to, or not."""
    config = Config(
        resolver=(f"127.0.0.1:{dns}",),
        allow_network=("127.0.0.0/8",),
        https=Https(port=https, per_address=100, per_network=100),
        ca_file=str(ca_file),
    )
    found: Counter[MtaStsFetch | None] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        async with DnsClient(config) as client:
            policies = PolicyFetcher(config, client, Exclusions(config), ca_file)
            writers = _writers(Path(scratch))

            def emit(row: Any) -> None:
                if isinstance(row, Domain):
                    found[row.mta_sts_fetch] += 1
                writers[type(row)].append(row)

            targets = [Target(f"domain{n}.test", f"domain{n}.test", n + 1) for n in range(domains)]
            watch = Stopwatch()
            await resolve_domains(targets, client, config, emit, fetch_policy=policies.fetch if fetch else None)
            for writer in writers.values():
                writer.close()
            watch.report(domains, policies=found[MtaStsFetch.OK])
    if found.total() != domains or set(found) - ({None, MtaStsFetch.OK} if fetch else {None}):
        raise SystemExit(f"bench: not every policy was fetched: {dict(found)}")


def _writers(directory: Path) -> dict[type, PartWriter]:
    return {row: PartWriter(directory / name, row, {}) for name, row in TABLES.items()}


def main() -> None:
    """`python -m bench.trust_scenes probe DIRECTORY PORT HOSTS CERTIFICATES with|without`, or `resolve …`."""
    what, where, *numbers, choice = sys.argv[1:]
    pa.array([""])  # pyarrow imports pandas, if there is one, when it sees its first list: that is start-up
    suffixes("bench.example")  # reads the Public Suffix List
    calm_garbage_collector()
    one, other, third = map(int, numbers)

    async def run() -> None:
        if what == "probe":
            await probe(Path(where), one, other, third, judge=choice == "with")
        else:
            await resolve(Path(where), one, other, third, fetch=choice == "with")

    anyio.run(run, backend_options={"use_uvloop": True})


if __name__ == "__main__":
    main()
