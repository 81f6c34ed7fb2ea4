"""Debian's nginx as a policy host: several sites on loopback, each on an address of its own.

Rule of this file: the same as of `servers.py`.  A site is what its `server` block says, in nginx's own words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.real import servers


@contextmanager
def nginx(directory: Path, port: int, sites: Mapping[str, tuple[Path, Sequence[str]]]) -> Iterator[None]:
    """Serve HTTPS: address -> certificate with key, and the directives of the site."""
    servers.require("nginx", root=True)
    blocks = [
        f"server {{ listen {address}:{port} ssl; ssl_certificate {pem}; ssl_certificate_key {pem};\n"
        + "\n".join(f"  {directive}" for directive in directives)
        + "\n}"
        for address, (pem, directives) in sites.items()
    ]
    configuration = directory / "nginx-web.conf"
    configuration.write_text(
        "user nobody nogroup; daemon off; worker_processes 1;\n"
        f"pid {directory}/nginx-web.pid; error_log {directory}/nginx-web.error;\nevents {{ }}\n"
        f"http {{ access_log off; default_type text/plain; client_body_temp_path {directory}/body;\n"
        + "".join(f"{kind}_temp_path {directory}/{kind};\n" for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
        + "\n".join(blocks)
        + "\n}\n"
    )
    command = [servers.program("nginx"), "-c", str(configuration), "-e", str(directory / "nginx-web.error")]
    with servers.daemon(command, directory / "nginx-web.log", lambda: servers.accepts(next(iter(sites)), port)):
        yield
