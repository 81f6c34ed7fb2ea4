"""Scans of one list with made-up workers, for tests of what a scan does about whatever happens to it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import pyarrow.parquet as pq
import pytest

from crawler.commands import main as cli
from crawler.model.rows import TABLES
from crawler.scan import job as scan
from tests.kit import fake_scan

ROOT = Path(__file__).resolve().parent.parent.parent
KEYS = {
    "domains": ("input",),
    "hosts": ("host",),
    "tlsa": ("host", "port"),
    "probes": ("host", "address"),
    "certificates": ("sha256",),
    "policies": ("sha256",),
}


@contextmanager
def answering_resolver() -> Iterator[str]:
    """Something that answers, so that a scan may begin."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def answer() -> None:
        while True:
            try:
                wire, peer = server.recvfrom(4096)
            except OSError:
                return
            if wire == b"end":
                return
            reply = dns.message.make_response(dns.message.from_wire(wire))
            reply.flags |= dns.flags.AD
            server.sendto(reply.to_wire(), peer)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    port = server.getsockname()[1]
    yield f"127.0.0.1:{port}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"end", ("127.0.0.1", port))
    thread.join()
    server.close()


class Kit:
    """Scans of one list, each in a directory of its own."""

    def __init__(self, path: Path, resolver: str) -> None:
        self.path = path
        self.list = path / "list.txt"
        names = [f"name{n}.example" for n in range(700)]
        self.names = names
        lines = [*names, *names[:50], "NAME3.example.", "not a name", "http://x/", "not a name", "# comment"]
        self.list.write_text("\n".join(lines) + "\n")
        self.config = path / "scan.toml"
        self.config.write_text(
            f'resolver = ["{resolver}"]\nehlo_name = "probe.example"\nworkers = 1\n'
            "[shards]\ndomains = 250\nhosts = 50\nendpoints = 30\n"
        )

    def start(self, data: str, *options: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, str(ROOT / "tests" / "kit" / "fake_scan.py"), "scan", str(self.list)]
        command += ["--data", str(self.path / data), "--config", str(self.config), *options]
        environ = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ, cwd=self.path
        )

    def scan(
        self, data: str, *options: str, environment: dict[str, str] | None = None, code: int = 0
    ) -> tuple[str, str]:
        """In this process, which has imported everything; only the workers are processes of their own."""
        arguments = ["scan", str(self.list), "--data", str(self.path / data), "--config", str(self.config), *options]
        out, err = StringIO(), StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(scan, "scan", fake_scan.scan)
            for name, value in (environment or {}).items():
                patch.setenv(name, value)
            assert cli.main(arguments) == code, err.getvalue()
        return out.getvalue(), err.getvalue()

    def run(self, data: str) -> Path:
        (found,) = (self.path / data).glob("run=*")
        return found

    def manifest(self, data: str) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads((self.run(data) / "manifest.json").read_text())
        return loaded

    def dataset(self, data: str) -> dict[str, list[dict[str, Any]]]:
        """Every table as rows in one order."""
        return {table: rows_of(self.run(data), table) for table in TABLES}


def rows_of(run: Path, table: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for part in (run / table).glob("*.parquet"):
        rows += pq.ParquetFile(part).read().to_pylist()
    return sorted(rows, key=lambda row: [str(row[name]) for name in KEYS[table]])
