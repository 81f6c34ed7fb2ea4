"""Servers from Debian, started for one test on loopback and stopped after it.

Rule of this file: everything a server reads or writes lies in a directory of the test; it listens on
127.0.0.0/8 and a high port only; it is ended by its own process id, never by name.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest


def require(*programs: str, root: bool = False) -> None:
    """Skip the test if a program is not installed, or root is needed and we are not; REQUIRE_REAL=1 makes it fail."""
    missing = [f"{program} is not installed" for program in programs if shutil.which(program, path=_PATH) is None]
    if root and os.geteuid() != 0:
        missing.append("root is needed to start it")
    if missing and os.environ.get("REQUIRE_REAL") == "1":
        pytest.fail("; ".join(missing))
    if missing:
        pytest.skip("; ".join(missing))


def program(name: str) -> str:
    """Full path of an installed program; Debian keeps servers in /usr/sbin, which is not on everybody's PATH."""
    found = shutil.which(name, path=_PATH)
    assert found is not None, f"call require({name!r}) first"
    return found


_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def free_port(*addresses: str) -> int:
    """A port that is free for TCP and UDP on each of the addresses (127.0.0.1 if none is given)."""
    for _ in range(50):
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
        try:
            for address in addresses or ("127.0.0.1",):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    with socket.socket(socket.AF_INET, kind) as probe:
                        probe.bind((address, port))
        except OSError:
            continue
        return port
    raise AssertionError("no free port on loopback")


def accepts(address: str, port: int) -> bool:
    """Whether something accepts TCP connections there."""
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False


def wait_until(ready: Callable[[], bool], *, seconds: float = 15, words: Callable[[], str] = str) -> None:
    """Return as soon as `ready()` holds; after so many seconds fail with `words()`."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise AssertionError(f"not ready after {seconds:g} s: {words()}")
        time.sleep(0.05)


@contextmanager
def daemon(command: list[str], log: Path, ready: Callable[[], bool]) -> Iterator[int]:
    """Run a server that stays in the foreground; yield its process id once `ready()` holds; end it."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        wait_until(
            lambda: process.poll() is not None or ready(),
            words=lambda: log.read_text(errors="replace"),
        )
        assert process.poll() is None, f"{command[0]} ended: {log.read_text(errors='replace')}"
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def unbound(directory: Path, records: Iterable[str]) -> Iterator[int]:
    """Unbound that answers the records (zone file syntax) by itself and never asks anybody; yields its port."""
    port = free_port()
    lines = [
        "server:",
        f"  interface: 127.0.0.1@{port}",
        "  access-control: 127.0.0.0/8 allow",
        '  username: ""',
        '  chroot: ""',
        f'  directory: "{directory}"',
        '  pidfile: ""',
        "  use-syslog: no",
        "  do-daemonize: no",
        "  num-threads: 1",
        "  so-rcvbuf: 0",
        '  module-config: "iterator"',
        # A static zone at the root: a name without local data does not exist, and nothing goes out.
        '  local-zone: "." static',
        *(f"  local-data: '{record}'" for record in records),
        "remote-control:",
        "  control-enable: no",
    ]
    configuration = directory / "unbound.conf"
    configuration.write_text("\n".join(lines) + "\n")
    command = [program("unbound"), "-d", "-p", "-c", str(configuration)]
    with daemon(command, directory / "unbound.log", lambda: accepts("127.0.0.1", port)):
        yield port


@contextmanager
def postfix(directory: Path, port: int, listeners: dict[str, dict[str, str]]) -> Iterator[None]:
    """One Postfix whose smtpd listens on several addresses, each with its own parameters (see postconf(5)).

    The parameter `greet_wait` (seconds) puts Debian's postscreen before the smtpd of that one address.
    """
    waits = {address: values["greet_wait"] for address, values in listeners.items() if "greet_wait" in values}
    assert len(waits) <= 1, "Postfix runs one postscreen"
    main = {
        "mynetworks": "",
        "local_recipient_maps": "",
        "smtpd_relay_restrictions": "reject",
        "smtpd_peername_lookup": "no",  # nothing is asked of the system's resolver
        "smtpd_tls_security_level": "may",
        "smtpd_tls_loglevel": "1",
        "smtpd_tls_session_cache_database": "",
        "postscreen_access_list": "",  # or loopback, as one of mynetworks, would not have to wait
        "postscreen_cache_map": "",
        "postscreen_greet_action": "enforce",
        "postscreen_greet_wait": f"{next(iter(waits.values()), '6')}s",
        "postscreen_upstream_proxy_protocol": "",
    }
    for address in waits:  # inside postscreen it is tlsproxy that does TLS
        main["tlsproxy_tls_chain_files"] = listeners[address].get("smtpd_tls_chain_files", "")
    master = [
        "tlsmgr unix - - n 1000? 1 tlsmgr",
        "anvil unix - - n - 1 anvil",
        "rewrite unix - - n - - trivial-rewrite",
        "proxymap unix - - n - - proxymap",
        "tlsproxy unix - - n - 0 tlsproxy",
        "dnsblog unix - - n - 0 dnsblog",
    ]
    for address, values in listeners.items():
        options = [f"  -o {{ {name} = {value} }}" for name, value in values.items() if name != "greet_wait"]
        if address in waits:
            master += [f"{address}:{port} inet n - n - 1 postscreen", *options, "smtpd pass - - n - - smtpd", *options]
        else:
            master += [f"{address}:{port} inet n - n - - smtpd", *options]
    # The master binds all its sockets before the first one answers.
    with postfix_instance(directory, main, master, lambda: accepts(next(iter(listeners)), port)):
        yield


@contextmanager
def postfix_instance(
    directory: Path, main: Mapping[str, object], master: Iterable[str], ready: Callable[[], bool]
) -> Iterator[Path]:
    """A Postfix with these parameters and services, which delivers to nobody by itself; yields its log."""
    etc, spool, data, log = (directory / name for name in ("etc", "spool", "data", "postfix.log"))
    for path in (etc, spool, data):
        path.mkdir()
    shutil.chown(data, "postfix")
    common = {
        "compatibility_level": "3.6",
        "queue_directory": spool,
        "data_directory": data,
        "maillog_file": log,
        "maillog_file_prefixes": directory,
        "inet_protocols": "ipv4",
        "inet_interfaces": "127.0.0.1",
        "mydestination": "",
        "alias_maps": "",
    }
    (etc / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in {**common, **main}.items()))
    (etc / "master.cf").write_text("\n".join([*master, "postlog unix-dgram n - n - 1 postlogd"]) + "\n")
    command = [program("postfix"), "-c", str(etc)]

    def words() -> str:
        return log.read_text(errors="replace") if log.exists() else "no log was written"

    started = subprocess.run([*command, "start"], check=False, capture_output=True, text=True, timeout=30)
    assert started.returncode == 0, started.stderr + words()
    try:
        wait_until(ready, words=words)
        yield log
    finally:
        subprocess.run([*command, "stop"], capture_output=True, timeout=30, check=True)
