"""A hostile domain costs itself, and neither the figures of others nor the memory of whoever counts."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from analysis.figures.compute import compute, facebook, figures
from analysis.figures.policy_list import load_policy_list, members
from analysis.figures.shares import Share
from analysis.runs.run import Run
from analysis.site import report as site
from crawler.commands.main import main
from tests.kit.small_runs import LEAF, certificate, domain, host, probe, tlsa, write_run

SMALL = "160MB"
"""Memory for DuckDB, which itself needs half of it: what is carried along for each endpoint does not fit."""
START = datetime(2026, 1, 1, tzinfo=UTC)
ROOT = Path(__file__).resolve().parent.parent.parent
NEIGHBOUR = [
    domain("good.example", "mx.good.example"),
    host("mx.good.example", "192.0.2.1"),
    probe("mx.good.example", "192.0.2.1", started_at=START),
]
ADDRESSES = [f"10.0.0.{number}" for number in range(64)]
PROBED = 16  # names at an address, as many as a scan asks by default


def hostile(*names: str, hosts: int = 100, probed: int = PROBED, of_probe: Any = (), **columns: Any) -> Iterator[Any]:
    """A domain with so many mail hosts on the same 64 addresses, and one leaf with these names for all."""
    yield from NEIGHBOUR
    mail_hosts = [f"mx{number}.evil.example" for number in range(hosts)]
    yield domain("evil.example", *mail_hosts, **columns)
    for number, name in enumerate(mail_hosts):
        yield host(name, *ADDRESSES)
        for address in ADDRESSES:
            if number < probed:
                yield probe(name, address, started_at=START, **dict(of_probe))
            else:
                representative = mail_hosts[number % probed]
                yield probe(
                    name, address, "sampled_out", representative_host=representative, representative_related=True
                )
    yield certificate(LEAF, *names)


MANY_NAMES = [f"name{number}.with-a-length.evil.example" for number in range(30_000)]


@pytest.fixture(scope="module")
def many_names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("names")
    write_run(data, hostile(*MANY_NAMES, "MX99.evil.example"))
    return data


def counts(run: Run, sql: str) -> dict[Any, int]:
    """Two columns, of which the second counts."""
    return {
        None if (key is None) else key: int(count)
        for batch in run.batches(sql)
        for key, count in zip(*batch.to_pydict().values(), strict=True)
    }


def test_a_leaf_with_many_names_is_held_against_many_hosts_in_little_memory(many_names: Path) -> None:
    with Run.open(many_names, memory_limit=SMALL) as run:
        verdicts = counts(
            run, "SELECT name_match, count(*) FROM deliveries WHERE domain = 'evil.example' AND inferred GROUP BY ALL"
        )
        assert verdicts == {False: 83 * 64, True: 64}, "only the last of the hosts is named"
        headline = facebook(figures(run, only={"facebook_2014.domains.primary"})).value
        pages = site.pages(compute(run))
    assert isinstance(headline, Share)
    assert (headline.all, headline.yes) == (2, pytest.approx(1 + (16 + 1) / 100)), "the probed ones are strictly valid"
    assert "good.example" not in pages["index.html"]


def test_so_is_a_leaf_whose_names_decide_over_dane(tmp_path: Path) -> None:
    """RFC 7672 §3.2.2: the next-hop domain counts too, so the names matter for each domain."""
    rows = list(
        hostile(
            *MANY_NAMES,
            probed=100,
            dnssec="secure",
            of_probe={"dane": "mismatch", "dane_error": "name", "dane_depth": 0},
        )
    )
    rows += [tlsa(f"mx{number}.evil.example", "usable", (2, 1, 1, bytes(32))) for number in range(100)]
    other = domain("named.example", "mx0.evil.example", dnssec="secure")
    write_run(tmp_path, [*rows, other])
    with Run.open(tmp_path, memory_limit=SMALL) as run:
        found = counts(run, "SELECT by_dane, count(*) FROM deliveries WHERE domain <> 'good.example' GROUP BY ALL")
    assert found == {"refused": 101 * 64}


@pytest.mark.parametrize(("dropped", "answer"), [(0, "refused"), (1, None)])
def test_names_that_were_left_out_leave_open_whether_the_next_hop_is_one_of_them(
    dropped: int, answer: str | None, tmp_path: Path
) -> None:
    columns = {"dane": "mismatch", "dane_error": "name", "started_at": START}
    rows = [
        *(domain(f"{name}.example", "mx.example", dnssec="secure") for name in ("kept", "other")),
        host("mx.example", "192.0.2.1"),
        probe("mx.example", "192.0.2.1", **columns),
        tlsa("mx.example", "usable", (2, 1, 1, bytes(32))),
        certificate(LEAF, "kept.example", names_dropped=dropped),
    ]
    write_run(tmp_path, rows)
    with Run.open(tmp_path) as run:
        (batch,) = run.batches("SELECT domain, by_dane FROM deliveries ORDER BY domain")
    assert batch.to_pylist() == [
        {"domain": "kept.example", "by_dane": "authenticated"},
        {"domain": "other.example", "by_dane": answer},
    ]


def test_so_is_one_beside_a_policy_list(many_names: Path, tmp_path: Path) -> None:
    mxs = [f".part{number}.evil.example" for number in range(99)] + [".with-a-length.evil.example"]
    entry = {"mode": "enforce", "mxs": mxs}
    listed = {"version": "0.1", "timestamp": "2018-01-01T00:00:00Z", "expires": "2027-01-01T00:00:00Z", "author": "x"}
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(listed | {"policies": {"evil.example": entry}}), "utf-8")
    with Run.open(many_names, memory_limit=SMALL) as run:
        load_policy_list(path, run)
        members(run, "all")
        (batch,) = run.batches("SELECT host_all, tls_all, certificate_all FROM members")
    assert batch.to_pylist() == [{"host_all": False, "tls_all": True, "certificate_all": True}]


def test_policies_with_many_patterns_are_held_against_many_hosts_in_little_memory(tmp_path: Path) -> None:
    patterns = [f"m{number}.with-a-length.evil.example" for number in range(9_300)] + ["mx7.evil.example"]
    policy = {"mta_sts_record": "valid", "mta_sts_fetch": "ok", "mta_sts_mode": "enforce", "mta_sts_mx": patterns}
    write_run(tmp_path, hostile("*.evil.example", **policy))
    with Run.open(tmp_path, memory_limit=SMALL) as run:
        found = counts(
            run, "SELECT by_mta_sts_enforcing, count(*) FROM deliveries WHERE domain = 'evil.example' GROUP BY ALL"
        )
    assert found == {"refused": 99 * 64, "authenticated": 64}


def test_a_name_counts_as_it_did_whatever_its_case_and_a_wildcard_for_one_label(tmp_path: Path) -> None:
    write_run(tmp_path, hostile("*.EVIL.example", hosts=20))
    with Run.open(tmp_path) as run:
        found = counts(run, "SELECT name_match, count(*) FROM deliveries WHERE inferred GROUP BY ALL")
    assert found == {True: 4 * 64}


# --- limits are limits -------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["stats"], ["report", "--out", "site"], ["stats", "--by", "provider"]])
def test_memory_that_does_not_suffice_is_one_line_that_says_what_to_do(
    command: list[str],
    many_names: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    assert main([*command, "--data", str(many_names), "--memory-limit", "24MB"]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert "24MB of memory do not suffice" in said.err and "--memory-limit" in said.err
    assert list(temporary.iterdir()) == [] and not (tmp_path / "site").exists()


def test_a_full_temporary_directory_is_said_of_it_and_not_of_the_run(many_names: Path, tmp_path: Path) -> None:
    def no_large_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))

    command = [sys.executable, "-m", "crawler", "stats", "--data", str(many_names)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        preexec_fn=no_large_files,  # nothing else runs in this process meanwhile
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"starttls-crawler: error: {tmp_path}: cannot hold what does not fit into 2GB of memory"
    )
    assert "TMPDIR" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("size", ["", "0GB", "+1GB", "2", "2 GB; DROP TABLE x", "many", "1EB"])
def test_a_size_that_is_none_is_refused(size: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", "--data", str(tmp_path), "--memory-limit", size]) == 2
    assert "is no size, e.g. 500MB or 8GB" in capsys.readouterr().err
