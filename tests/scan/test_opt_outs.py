"""Opt-outs in a scan: read once, said, and read again on request."""

from __future__ import annotations

import os
import signal
from hashlib import sha256
from typing import Any

from tests.kit.scan_runs import line_that_begins
from tests.kit.scans import Kit


def test_opt_outs_are_said_and_read_again_in_mid_run_with_what_was_read_in_the_manifest(
    kit: Kit, undisturbed: dict[str, list[dict[str, Any]]]
) -> None:
    opt_outs = kit.path / "opt-outs.txt"
    digests = []

    def write(content: str) -> None:
        opt_outs.write_text(content)
        digests.append(sha256(content.encode()).hexdigest())

    write("nobody.invalid\n192.0.2.0/24\n")
    with kit.start("data", "--exclude", str(opt_outs), environment={"FAKE_DELAY": "0.003"}) as process:
        assert process.stderr is not None
        assert line_that_begins(
            f"opt-outs: 1 domain, 1 network, from {opt_outs}, sha256 {digests[0][:12]}", process.stderr
        )
        assert line_that_begins("RESOLVE domains", process.stderr)
        opt_outs.write_text("what is this\n")
        process.send_signal(signal.SIGHUP)
        assert line_that_begins(f"{opt_outs}:1: 'what' is no domain", process.stderr)
        write("nobody.invalid\nnowhere.invalid\n")
        process.send_signal(signal.SIGHUP)
        assert line_that_begins("opt-outs: 2 domains, 0 networks", process.stderr)
        process.communicate(timeout=30)
    assert process.returncode == 0
    manifest = kit.manifest("data")
    assert manifest["opt_outs"] == {"path": str(opt_outs), "sha256": digests[0], "domains": 1, "networks": 1}
    (reloaded,) = manifest["opt_outs_reloaded"]
    assert (reloaded["sha256"], reloaded["domains"], reloaded["networks"]) == (digests[1], 2, 0)
    assert manifest["opt_outs_that_reach_far"] == []
    assert kit.dataset("data") == undisturbed


def test_opt_outs_are_read_once_and_a_process_that_comes_later_uses_those_that_were_announced(kit: Kit) -> None:
    """By a pipe, which cannot be read a second time; a process dies and is replaced."""
    reader, writer = os.pipe()
    os.write(writer, b"name3.example\nmx1.example\nmx2.example\nmx3.example\nmx4.example\n")
    os.close(writer)
    _, err = kit.scan("data", "--exclude", f"/dev/fd/{reader}", environment={"FAKE_DIE_ONCE": str(kit.path / "died")})
    os.close(reader)
    assert (kit.path / "died").exists() and "Traceback" not in err
    dataset, gone = kit.dataset("data"), {f"mx{n}.example" for n in range(1, 5)}
    assert {row["route"] for row in dataset["domains"] if row["domain"] == "name3.example"} == {"opted_out"}
    assert {row["outcome"] for row in dataset["probes"] if row["host"] in gone} == {"opted_out"}
    assert {row["outcome"] for row in dataset["probes"] if row["host"] not in gone} == {"ok"}


def test_opt_outs_that_cannot_be_read_end_a_scan_before_anything_is_there(kit: Kit) -> None:
    opt_outs = kit.path / "opt-outs.txt"
    opt_outs.write_text("a.example\n???\nb.example\n!!!\n")
    _, err = kit.scan("data", "--exclude", str(opt_outs), code=2)
    assert len(err.splitlines()) == 1 and "opt-outs.txt:2: '???'" in err and "and 1 more such line" in err
    assert not (kit.path / "data").exists()
