"""A worker process whose network is made up: every row follows from the name, and it can be told to fail.

FAKE_DELAY=SECONDS      pause after each row
FAKE_GIANT=PATH         every host has eight addresses in one giant network; write there which process probes what
FAKE_DIE_ONCE=PATH      end without a word, the first time (the file is the memory of it)
FAKE_DIE=1              end without a word in every PROBE shard
FAKE_RAISE=WORDS        raise an error in every PROBE shard
FAKE_POISON=NAME,…      end without a word whenever one of these domains or mail hosts is measured
FAKE_POISON_KIND=stop   … stop as by SIGSTOP; or `spin`: compute for ever; or `raise`: raise an error
FAKE_DEAF=PATH          live on for ten seconds when standard input ends, and leave that file
FAKE_FULL_DISK=1        raise what a full disk raises in every PROBE shard
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio

from crawler.executors import instruments, worker
from crawler.model.rows import (
    Certificate,
    Domain,
    Endpoint,
    Host,
    LookupStatus,
    MailHost,
    Outcome,
    Policy,
    Probe,
    Route,
    Stage,
    Target,
    Tlsa,
    TlsaStatus,
)
from crawler.politeness.exclusions import Exclusions
from crawler.politeness.opt_out_file import OptOuts
from crawler.settings.config import Config

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
DELAY = float(os.environ.get("FAKE_DELAY", "0"))
GIANT = os.environ.get("FAKE_GIANT")
Emit = Callable[[Any], None]


def number(text: str) -> int:
    return int.from_bytes(sha256(text.encode()).digest()[:6], "big")


async def pause() -> None:
    if DELAY:
        await anyio.sleep(DELAY)


async def resolve_domains(
    targets: Iterable[Target],
    dns: object,
    config: object,
    emit: Emit,
    excluded: Callable[[str], bool] = lambda name: False,
    **options: object,
) -> None:
    for target in targets:
        await pause()
        taste(target.domain)
        row = Domain(domain=target.domain, input=target.input, rank=target.rank, resolved_at=EPOCH)
        if target.domain is None:
            row.route = Route.INVALID
        elif excluded(target.domain):
            row.route = Route.OPTED_OUT
        elif number(target.domain) % 10 == 0:
            row.route = Route.NULL_MX
        else:
            row.route = Route.EXPLICIT
            row.mx = [{"host": f"mx{(number(target.domain) + i) % 97}.example", "preference": i} for i in range(2)]
            emit(Policy(sha256=sha256(str(number(target.domain) % 7).encode()).hexdigest(), text="version: STSv1"))
        emit(row)


async def resolve_hosts(hosts: Iterable[MailHost], dns: object, config: object, emit: Emit) -> None:
    for host in hosts:
        await pause()
        taste(host.host)
        assert host.host is not None
        n = number(host.host)
        addresses = [f"192.0.{n % 5}.{n % 251}", f"2001:db8:{n % 7:x}::{n % 251:x}"][: n % 3]
        if GIANT:
            addresses += [f"2001:db8:ffff::{n % 65_521:x}:{i}" for i in range(8)]
        ok = LookupStatus.OK
        emit(Host(host=host.host, addresses=addresses, ipv4_status=ok, ipv6_status=ok, resolved_at=EPOCH))
        emit(Tlsa(host=host.host, port=25, base_domain=host.host, status=TlsaStatus.ABSENT, records=[]))


def note(line: str) -> None:
    assert GIANT is not None
    with Path(GIANT).open("a") as journal:
        journal.write(line)


class Prober:
    def __init__(self, config: object, processes: int, heard: object = None, opt_outs: OptOuts | None = None) -> None:
        self.exclusions = Exclusions(Config(), opt_outs)
        self.trust = SimpleNamespace(path=Path())

    async def probe_endpoints(self, endpoints: Iterable[Endpoint], emit: Emit, lot: object = None) -> None:
        seen = set()
        for endpoint in endpoints:
            await pause()
            misbehave()
            taste(f"smtp:{endpoint.host}")
            if GIANT:
                note(f"{os.getpid()} {endpoint.address}\n")
            assert isinstance(endpoint.tlsa_status, TlsaStatus)
            chain = [sha256(f"{number(str(endpoint.host)) % 40}".encode()).hexdigest(), sha256(b"root").hexdigest()]
            for key in chain:
                if key not in seen:
                    seen.add(key)
                    emit(Certificate(sha256=key, der=key.encode() * 20, not_before=EPOCH))
            row = Probe(protocol=endpoint.protocol, host=endpoint.host, address=endpoint.address, port=endpoint.port)
            row.stage, row.outcome, row.received_chain, row.started_at = Stage.DONE, Outcome.OK, chain, EPOCH
            if self.exclusions.endpoint(endpoint):
                row.stage, row.outcome, row.received_chain, row.started_at = None, Outcome.OPTED_OUT, None, None
            emit(row)


class PolicyFetcher:
    def __init__(self, *settings: object) -> None:
        self.fetch = None


def taste(name: str | None) -> None:
    if name not in os.environ.get("FAKE_POISON", "").split(","):
        return
    match os.environ.get("FAKE_POISON_KIND"):
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "spin":
            while True:
                pass
        case "raise":
            raise RuntimeError(f"{name} is poison")
        case _:
            os._exit(7)


def misbehave() -> None:
    if once := os.environ.get("FAKE_DIE_ONCE"):
        try:
            Path(once).touch(exist_ok=False)
        except FileExistsError:
            pass
        else:
            os._exit(7)
    if os.environ.get("FAKE_DIE"):
        os._exit(7)
    if words := os.environ.get("FAKE_RAISE"):
        raise RuntimeError(words)
    if os.environ.get("FAKE_FULL_DISK"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def end_late(code: int, genuine: Callable[[int], None] = os._exit) -> None:
    Path(os.environ["FAKE_DEAF"]).touch()
    time.sleep(10)
    genuine(code)


if __name__ == "__main__":
    if os.environ.get("FAKE_DEAF"):
        os._exit = end_late  # type: ignore[assignment]
    for fake in (resolve_domains, resolve_hosts, Prober, PolicyFetcher):
        setattr(instruments, fake.__name__, fake)
    sys.exit(worker.main())
