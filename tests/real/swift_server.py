"""OpenStack Swift with its S3 API in one process: `python swift_server.py DIRECTORY PORT`.

All of it is Swift's own code as in a data centre, on rings of one disk that is a directory: objects are
files with extended attributes, and buckets SQLite databases.
"""

from __future__ import annotations

import eventlet

eventlet.monkey_patch()

import os
import sys
from pathlib import Path
from typing import Any

import eventlet.wsgi
from swift.common import storage_policy, utils, wsgi
from swift.common.ring import RingBuilder

ACCESS_KEY, SECRET_KEY = "lab:scans", "lab-secret"

SERVICE = """
[DEFAULT]
swift_dir = {directory}
devices = {directory}/devices
recon_cache_path = {directory}
mount_check = false
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
PROXY = """
[DEFAULT]
swift_dir = {directory}
[pipeline:main]
pipeline = catch_errors listing_formats bulk s3api tempauth slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_lab_scans = lab-secret .admin
[filter:slo]
use = egg:swift#slo
"""


class Cache(dict[str, Any]):
    """What a memcached would do for so few requests."""

    def get(self, key: str, *_: Any, **__: Any) -> Any:
        return super().get(key)

    def set(self, key: str, value: Any, *_: Any, **__: Any) -> None:
        self[key] = value

    def incr(self, key: str, delta: int = 1, *_: Any, **__: Any) -> int:
        self[key] = (self.get(key) or 0) + delta
        return int(self[key])

    def delete(self, key: str, *_: Any, **__: Any) -> None:
        self.pop(key, None)


def main() -> None:
    """Serve for ever."""
    directory, port = Path(sys.argv[1]), int(sys.argv[2])
    (directory / "devices" / "disk").mkdir(parents=True)
    settings = directory / "swift.conf"
    settings.write_text(
        "[swift-hash]\nswift_hash_path_suffix = lab\n[storage-policy:0]\nname = lab\ndefault = yes\n", "utf-8"
    )
    utils.SWIFT_CONF_FILE = storage_policy.SWIFT_CONF_FILE = str(settings)
    utils.HASH_PATH_SUFFIX = b"lab"
    storage_policy.reload_storage_policies()
    quiet = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    for kind in ("account", "container", "object"):
        listener = eventlet.listen(("127.0.0.1", 0))
        ring = RingBuilder(1, 1, 0)
        ring.add_dev({
            "id": 0, "region": 1, "zone": 1, "weight": 1.0,
            "ip": "127.0.0.1", "port": listener.getsockname()[1], "device": "disk",
        })  # fmt: skip
        ring.rebalance()
        ring.get_ring().save(str(directory / f"{kind}.ring.gz"))
        eventlet.spawn(eventlet.wsgi.server, listener, loaded(directory, kind, SERVICE), quiet)
    proxy, cache = loaded(directory, "proxy", PROXY), Cache()

    def application(environ: dict[str, Any], start: Any) -> Any:
        return proxy({**environ, "swift.cache": cache}, start)

    eventlet.wsgi.server(eventlet.listen(("127.0.0.1", port)), application, quiet)


def loaded(directory: Path, kind: str, settings: str) -> Any:
    """The application of one service."""
    path = directory / f"{kind}.conf"
    path.write_text(settings.format(directory=directory, kind=kind), "utf-8")
    return wsgi.loadapp(str(path))


if __name__ == "__main__":
    main()
