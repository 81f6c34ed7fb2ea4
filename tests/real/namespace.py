"""A machine of the test's own: its network is an empty loopback, and its resolver is asked at 127.0.0.1.

Rule of this file: what runs in it sees standard ports (25, 53, 443) that are free, reaches nobody else, and
is gone, with all it started, when the call returns.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real import servers

ROOT = Path(__file__).resolve().parents[2]
_SEPARATE = ("--net", "--mount", "--pid", "--fork", "--kill-child")
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1


def require() -> None:
    """Skip the test where the kernel gives us no namespaces; REQUIRE_REAL=1 makes it fail."""
    servers.require("unshare", "mount", root=True)
    tried = subprocess.run(
        [servers.program("unshare"), *_SEPARATE, "true"], capture_output=True, text=True, timeout=30, check=False
    )
    if tried.returncode:
        words = f"no namespaces can be had here (CAP_SYS_ADMIN is needed): {tried.stderr.strip()}"
        (pytest.fail if os.environ.get("REQUIRE_REAL") == "1" else pytest.skip)(words)


def run(module: str, directory: Path, *, seconds: float) -> None:
    """Run `python -m module directory` inside; its failure is the test's."""
    command = [servers.program("unshare"), *_SEPARATE, sys.executable, "-m", module, str(directory)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def settle(directory: Path) -> None:
    """Called inside, first: loopback up, any port for anybody, and the system's resolver at 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))
    Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")
    (directory / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    command = [servers.program("mount"), "--bind", str(directory / "resolv.conf"), "/etc/resolv.conf"]
    subprocess.run(command, check=True, timeout=30)
