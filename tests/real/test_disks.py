"""Disks that fill up or turn read-only in the middle of a scan: real file systems, mounted for one test.

Rule of this file: each is mounted in a mount namespace of its own, so nobody else sees it and it is
gone with its last process.  The network of the scan is made up.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real import servers
from tools.chaos import Arena, facts, fake_arena, lab, must_equal

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

BEFORE = """
set -eu
disk=$1 copy=$2; shift 2
command=("$@")
scan() { "${command[@]}"; }
"""

FULL = """
mount -t tmpfs -o size=600k none "$disk"
if scan; then exit 99; else echo "code $?"; fi
test "$(find "$disk" -name 'domains-*.json' | wc -l)" -gt 0
mount -o remount,size=64m "$disk"
"""

#: What ext4 does by itself when it finds an error: from one moment to the next nothing can be written, open or not.
READ_ONLY = """
truncate -s 32m "$disk.img"
mkfs.ext4 -q "$disk.img"
device=$(losetup --find --show "$disk.img")
trap 'umount "$disk" 2>/dev/null; losetup --detach "$device"' EXIT
mount -o errors=remount-ro "$device" "$disk"
scan & scanning=$!
for _ in $(seq 3000); do
    if [ "$(find "$disk" -name 'domains-*.json' | wc -l)" -gt 1 ]; then break; fi
    sleep 0.01
done
echo 1 > "/sys/fs/ext4/${device#/dev/}/trigger_fs_error"
if wait "$scanning"; then exit 99; else echo "code $?"; fi
if touch "$disk/x" 2>/dev/null; then exit 98; fi
umount "$disk"
e2fsck -pf "$device" > /dev/null || [ $? -lt 4 ]
mount "$device" "$disk"
"""

AFTER = """
scan
cp -r "$disk/data" "$copy"
"""


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    with lab(tmp_path / "lab", 1) as directory:
        yield fake_arena(tmp_path, directory)


@pytest.mark.parametrize(
    ("script", "words"),
    [(FULL, "No space left on device"), (READ_ONLY, "Read-only file system")],
    ids=["full", "read-only"],
)
def test_a_disk_that_fails_ends_the_scan_with_one_line_and_mended_it_goes_on(
    arena: Arena, tmp_path: Path, script: str, words: str
) -> None:
    servers.require("unshare", "mount", "mkfs.ext4", "e2fsck", "losetup", root=True)
    arena.finish(tmp_path / "whole")
    disk, copy = tmp_path / "disk", tmp_path / "copy"
    disk.mkdir()
    shell = ["unshare", "--mount", "bash", "-c", BEFORE + script + AFTER, "bash", str(disk), str(copy)]
    with arena.start(disk / "data", shell, stdout=subprocess.PIPE) as process:
        out, said = process.communicate(timeout=200)
    assert process.returncode == 0, said
    assert out.splitlines() == ["code 1"]
    complaints = [line for line in said.splitlines() if line.startswith("starttls-crawler: error: ")]
    assert len(complaints) == 1 and words in complaints[0] and "cannot be written" in complaints[0], said
    assert "Traceback" not in said
    must_equal(facts(copy / "run=mine"), facts(tmp_path / "whole" / "run=mine"))
    assert not list(copy.rglob(".tmp-*"))
