"""`make bench-probe`: PROBE against nginx's mail module, beside `openssl s_time -new` on the same server.

Two scenes.  Fast hosts: how many endpoints a CPU-second of the client (user + system, after
start-up) is worth, as a ratio to what OpenSSL's own C client manages on the same server and
certificate, without SMTP.  Slow hosts: most of the Internet is waiting, so a scan must end in little
more than its longest deadline.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

from bench import nginx
from bench.measure import Measured, program, scene, table

GROUPS = ("hybrid", "classical")


def main() -> None:
    """Run all scenes, each in a process of its own, and print one table a key type."""
    parser = argparse.ArgumentParser(prog="python -m bench.probe", description=__doc__)
    parser.add_argument("--hosts", type=int, default=4_000, help="endpoints a scene (default: %(default)s)")
    parser.add_argument("--certificates", type=int, default=400, help="distinct ones among them (default: %(default)s)")
    parser.add_argument("--keys", nargs="*", default=["ecdsa", "rsa"], choices=["ecdsa", "rsa"])
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=3, help="for openssl s_time (default: %(default)s)")
    parser.add_argument("--no-slow", action="store_true", help="leave the scene of slow hosts out")
    options = parser.parse_args()
    for kind in options.keys:
        with (
            tempfile.TemporaryDirectory() as directory,
            nginx.running(Path(directory), kind, options.hosts, options.certificates) as (smtp, implicit),
        ):
            rows = _rounds(smtp, implicit, options)
        sys.stdout.write(f"\n{kind}, {options.rounds} rounds of each\n{table(rows, rows[0].name, 'endpoints')}\n")
    if not options.no_slow:
        row = scene("5,000 slow hosts, 30 % silent", "bench.probe_scenes", "slow")
        sys.stdout.write(f"\n{table([row], row.name, 'endpoints')}\n")


def _rounds(smtp: int, implicit: int, options: argparse.Namespace) -> list[Measured]:
    """Every scene in turn, again and again, summed: whatever else the machine does hits all alike."""
    total: dict[str, Measured] = {}
    for _ in range(options.rounds):
        once = [s_time(implicit, options.seconds)]
        for groups in GROUPS:
            once.append(_scene(f"our bare handshake, {groups}", "handshake", implicit, options.hosts, groups))
            once.append(_scene(f"our whole PROBE stage, {groups}", "stage", smtp, options.hosts, groups))
        for measured in once:
            total[measured.name] = measured + total[measured.name] if measured.name in total else measured
    return list(total.values())


def _scene(name: str, what: str, port: int, hosts: int, groups: str) -> Measured:
    return scene(name, "bench.probe_scenes", what, str(port), str(hosts), groups)


def s_time(port: int, seconds: int) -> Measured:
    """OpenSSL's own client: new connections, one after the other."""
    if shutil.which("openssl") is None:
        raise SystemExit(f"bench: openssl is needed: {nginx.NEEDS}")
    command = ["openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-new", "-time", str(seconds)]

    def count(output: str) -> int:
        found = re.search(r"(\d+) connections in \d+ real seconds", output)
        if found is None:
            raise SystemExit(f"bench: openssl s_time said: {output[-300:]}")
        return int(found[1])

    return program("openssl s_time -new (C, no SMTP)", command, count)


if __name__ == "__main__":
    main()
