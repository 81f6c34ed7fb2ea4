"""Chains that lack an issuer, judged over the certificates of a whole run, whoever sent them and in whatever order."""

from __future__ import annotations

import random
import resource
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from crawler.certificates.parsing import facts
from crawler.certificates.trust_store import TrustStore
from crawler.chains import chain_index, incomplete, intermediates
from crawler.chains.incomplete import judge_incomplete
from crawler.dataset.merging import merge
from crawler.dataset.parts import PartWriter, read_rows
from crawler.dataset.run import RunDirectory
from crawler.dataset.shard_output import ShardOutput
from crawler.dataset.steps import PROBES
from crawler.dataset.verify import verify_parts
from crawler.model.rows import Endpoint, IncompleteChain
from tests.kit.chain_runs import (
    HOST,
    INTERMEDIATE,
    LEAF,
    LOWER_INTERMEDIATE,
    LOWER_LEAF,
    MIDDLE,
    OTHER,
    ROOT,
    SIGNATURE,
    probed,
    sha256,
    stored,
    without,
)  # fmt: skip
from tests.kit.chains import START, Subject, der

STRANGE_LEAF = OTHER.leaf(HOST)


def rows_of(run: RunDirectory) -> list[IncompleteChain]:
    judge_incomplete(run, SIGNATURE, lambda rows: None)
    return [row for part in run.parts("incomplete_chains") for row in read_rows(part, IncompleteChain)]


def verdicts(run: RunDirectory) -> dict[str | None, bool | None]:
    """By leaf."""
    return {row.leaf_sha256: row.trusted_if_known for row in rows_of(run)}


def test_a_chain_is_completed_by_what_another_host_sent(tmp_path: Path) -> None:
    (row,) = rows_of(stored(tmp_path / "run", [[LEAF]], [INTERMEDIATE]))
    assert (row.received_chain, row.leaf_sha256) == ([sha256(LEAF)], sha256(LEAF))
    assert (row.trusted_if_known, row.known_issuers, row.error_code) == (True, [sha256(INTERMEDIATE)], 0)
    assert (row.valid_from, row.valid_until) == (START - timedelta(30), START + timedelta(60))


def test_what_no_host_sent_is_not_known(tmp_path: Path) -> None:
    (row,) = rows_of(stored(tmp_path / "run", [[LEAF]], [STRANGE_LEAF, OTHER.root()]))
    assert (row.trusted_if_known, row.known_issuers, row.error_code, row.error_depth) == (False, None, 20, 0)
    assert row.error == "unable to get local issuer certificate" and row.valid_from is row.valid_until is None


def test_several_storeys_that_different_hosts_sent_make_one_path(tmp_path: Path) -> None:
    (row,) = rows_of(stored(tmp_path / "run", [[LOWER_LEAF]], [INTERMEDIATE, LOWER_INTERMEDIATE]))
    assert row.trusted_if_known and set(row.known_issuers or ()) == {sha256(INTERMEDIATE), sha256(LOWER_INTERMEDIATE)}


def test_only_what_leads_to_an_anchor_is_known(tmp_path: Path) -> None:
    """A known certificate that leads nowhere would only change the error."""
    (row,) = rows_of(stored(tmp_path / "run", [[LOWER_LEAF]], [LOWER_INTERMEDIATE]))
    assert (row.trusted_if_known, row.error_code, row.error_depth) == (False, 20, 0)


@pytest.mark.parametrize("code", [0, 7, 10, 18, 19, 26])
def test_only_chains_that_lack_an_issuer_are_in_the_table(tmp_path: Path, code: int) -> None:
    assert rows_of(stored(tmp_path / "run", [[LEAF]], [INTERMEDIATE], code=code)) == []


def test_each_chain_is_there_once_however_many_sent_it(tmp_path: Path) -> None:
    run = stored(tmp_path / "run", [[LEAF], [LOWER_LEAF], [LEAF], [LEAF, STRANGE_LEAF]], [INTERMEDIATE], shards=3)
    assert sorted(len(row.received_chain or ()) for row in rows_of(run)) == [1, 1, 2]


def test_a_known_certificate_that_may_not_issue_completes_nothing(tmp_path: Path) -> None:
    no_ca = ROOT.issue(MIDDLE, ca=False)
    for_clients = ROOT.issue(MIDDLE, ca=True, usage=[ExtendedKeyUsageOID.CLIENT_AUTH])
    assert verdicts(stored(tmp_path / "one", [[LEAF]], [no_ca])) == {sha256(LEAF): False}
    (row,) = rows_of(stored(tmp_path / "two", [[LEAF]], [for_clients]))
    assert (row.trusted_if_known, row.error_code) == (False, 26)  # purpose: OpenSSL's word, not ours


def test_an_intermediate_of_the_same_name_with_another_key_completes_nothing(tmp_path: Path) -> None:
    assert verdicts(stored(tmp_path / "run", [[LEAF]], [ROOT.issue(Subject("Middle"), ca=True)])) == {
        sha256(LEAF): False
    }


def test_dates_are_those_of_the_path_and_apart_from_trust(tmp_path: Path) -> None:
    expired = ROOT.issue(MIDDLE, ca=True, days=(-300, -10))
    (row,) = rows_of(stored(tmp_path / "one", [[LEAF]], [expired]))
    assert row.trusted_if_known and row.valid_until == START - timedelta(10)
    (row,) = rows_of(stored(tmp_path / "two", [[LEAF]], [expired, INTERMEDIATE]))
    assert row.known_issuers == [sha256(INTERMEDIATE)] and row.valid_until == START + timedelta(60)


@pytest.mark.parametrize("lost", [LOWER_LEAF, LOWER_INTERMEDIATE], ids=["leaf", "intermediate"])
@pytest.mark.parametrize("how", ["missing", "not a certificate"])
def test_a_chain_of_which_a_certificate_cannot_be_read_is_unknown(
    tmp_path: Path, lost: x509.Certificate, how: str
) -> None:
    run = stored(tmp_path / "run", [[LOWER_LEAF, LOWER_INTERMEDIATE]], [INTERMEDIATE])
    without(run, lost, how)
    (found,) = rows_of(run)
    assert found.trusted_if_known is found.error_code is found.known_issuers is found.valid_from is None


def test_cross_signs_in_a_circle_end_and_the_way_out_is_found(tmp_path: Path) -> None:
    ring = [Subject(f"Ring {n}") for n in range(5)]
    crosses = [one.issue(other, ca=True) for one in ring for other in ring if one is not other]
    leaves = [one.leaf(HOST) for one in ring]
    within = stored(tmp_path / "one", [[leaf] for leaf in leaves], crosses)
    assert set(verdicts(within).values()) == {False}
    out = stored(tmp_path / "two", [[leaf] for leaf in leaves], [*crosses, ROOT.issue(ring[3], ca=True)])
    assert set(verdicts(out).values()) == {True} and len(rows_of(out)) == 5


def test_thousands_of_forged_namesakes_hide_no_intermediate_and_cost_little(tmp_path: Path) -> None:
    fake_root, twin = Subject("Root"), Subject("Middle")
    forged = [fake_root.issue(twin, ca=True) for _ in range(1_500)] + [OTHER.issue(twin, ca=True) for _ in range(1_500)]
    run = stored(tmp_path / "run", [[LEAF], [LOWER_LEAF]], [*forged, INTERMEDIATE, LOWER_INTERMEDIATE])
    started = time.process_time()
    assert verdicts(run) == {sha256(LEAF): True, sha256(LOWER_LEAF): True}
    assert time.process_time() - started < 10


def test_no_more_namesakes_are_known_than_the_limit_even_if_all_are_genuine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[int] = []
    genuine = incomplete.Intermediates

    class Counted(genuine):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            asked.append(len(self))

    monkeypatch.setattr(incomplete, "Intermediates", Counted)
    twins = [ROOT.issue(MIDDLE, ca=True) for _ in range(100)]
    assert verdicts(stored(tmp_path / "one", [[LEAF]], twins)) == {sha256(LEAF): True}
    monkeypatch.setattr(intermediates, "KNOWN_AT_MOST", 7)
    assert verdicts(stored(tmp_path / "two", [[LEAF]], twins)) == {sha256(LEAF): True}
    assert asked == [intermediates.NAMESAKES_AT_MOST, 7]
    left_out = [int(message.split()[0]) for message in caplog.messages if "not taken for known" in message]
    assert left_out == [100 - intermediates.NAMESAKES_AT_MOST, 100 - 7]


def test_a_huge_intermediate_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = ROOT.issue(MIDDLE, ca=True, names=[f"{n}.{'x' * 60}.example" for n in range(250)])
    assert len(der(huge)) > chain_index.LARGEST_INTERMEDIATE
    assert verdicts(stored(tmp_path / "one", [[LEAF]], [huge])) == {sha256(LEAF): False}
    monkeypatch.setattr(chain_index, "LARGEST_INTERMEDIATE", len(der(huge)))
    assert verdicts(stored(tmp_path / "two", [[LEAF]], [huge])) == {sha256(LEAF): True}


def test_the_rows_do_not_depend_on_the_order_or_the_shards_in_which_chains_came(tmp_path: Path) -> None:
    twins = [ROOT.issue(MIDDLE, ca=True) for _ in range(5)]
    chains = [[LEAF], [LOWER_LEAF], [STRANGE_LEAF], [LOWER_LEAF, LOWER_INTERMEDIATE]]
    others = [INTERMEDIATE, *twins, LOWER_INTERMEDIATE, OTHER.root()]
    wanted = rows_of(stored(tmp_path / "first", chains, others))
    assert [row.trusted_if_known for row in wanted].count(True) == 3
    for shards in (1, 2, 4):
        random.shuffle(chains)
        random.shuffle(others)
        assert rows_of(stored(tmp_path / f"{shards}", chains, others, shards=shards)) == wanted


class Stopped(Exception):
    """As when the scan is told to end."""


def test_interrupted_anywhere_and_done_again_the_table_is_the_same(tmp_path: Path) -> None:
    chains, others = [[LEAF], [LOWER_LEAF]], [INTERMEDIATE, LOWER_INTERMEDIATE]
    wanted = rows_of(stored(tmp_path / "whole", chains, others))
    moments = 0

    def count(rows: int) -> None:
        nonlocal moments
        moments += 1

    judge_incomplete(stored(tmp_path / "counted", chains, others), SIGNATURE, count)
    run = stored(tmp_path / "run", chains, others)
    assert moments >= 6
    for moment in range(moments):
        left = [moment]

        def stop(rows: int, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Stopped

        with pytest.raises(Stopped):
            judge_incomplete(run, SIGNATURE, stop)
        assert [part.name for part in run.parts("incomplete_chains")] == ["empty.parquet"]
        assert not list(run.path.rglob(".tmp-*"))
    assert rows_of(run) == wanted == rows_of(run)
    (run.done / "merged-incomplete_chains.json").unlink()  # killed just before the marker
    assert rows_of(run) == wanted


def test_a_run_that_an_older_version_began_gets_its_table(tmp_path: Path) -> None:
    run = stored(tmp_path / "run", [[LEAF]], [INTERMEDIATE])
    (run.path / "incomplete_chains" / "empty.parquet").unlink()
    (run.path / "incomplete_chains").rmdir()
    assert verdicts(run) == {sha256(LEAF): True}


def done_again(run: RunDirectory, chain: list[x509.Certificate]) -> None:
    """The one shard of PROBE, whose host sends this chain."""
    output = ShardOutput(run, PROBES, 0, SIGNATURE)
    output.emit(probed(TrustStore(str(run.trust_anchors)), chain, START))
    for one in chain:
        output.emit(facts(der(one)))
    output.commit({"duplicates": 0})
    merge(run, "certificates", SIGNATURE, lambda rows: None)


def test_a_shard_that_is_probed_again_makes_the_table_anew(tmp_path: Path) -> None:
    run = stored(tmp_path / "run", [])
    (run.work / PROBES.folder).mkdir()
    PartWriter(run.shard_path(PROBES, 0), Endpoint, SIGNATURE).close()
    done_again(run, [LEAF])
    assert verdicts(run) == {sha256(LEAF): False}
    done_again(run, [LOWER_LEAF])
    assert verdicts(run) == {sha256(LOWER_LEAF): False}


def test_a_table_that_was_changed_is_made_again(tmp_path: Path) -> None:
    run = stored(tmp_path / "run", [[LEAF]], [INTERMEDIATE])
    (row,) = rows_of(run)
    part = run.path / "incomplete_chains" / "merged-0000.parquet"
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    assert verify_parts(run, lambda rows: None) == [part]
    assert rows_of(run) == [row] and verify_parts(run, lambda rows: None) == []


READS: dict[str, Callable[[chain_index.CertificateIndex], object]] = {
    "count": lambda made: made.count(),
    "chains": lambda made: list(made.chains()),
    "known": lambda made: made.known(["00"], lambda content: None),
    "intermediates": lambda made: list(made.intermediates()),
    "intermediates of an issuer": lambda made: list(made.intermediates(b"x")),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_disk_that_takes_no_more_is_an_os_error_in_reading_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[chain_index.CertificateIndex], object]
) -> None:
    """To read a page, another that has changed has to go to the disk."""
    monkeypatch.setattr(chain_index, "_MEMORY", 16 << 10)
    with closing(chain_index.CertificateIndex(tmp_path)) as made:
        made.keep([[f"{n:064x}"] for n in range(500)])
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            with pytest.raises(OSError, match=r"Input/output error|No space left"):
                for _ in range(3):
                    read(made)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_call_that_is_wrong_is_no_trouble_of_a_disk(tmp_path: Path) -> None:
    made = chain_index.CertificateIndex(tmp_path)
    made.close()
    with pytest.raises(sqlite3.ProgrammingError):
        made.count()


def test_nothing_is_sorted_in_a_directory_of_sqlites_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which may be full, or in memory."""
    said: list[str] = []
    genuine = sqlite3.connect

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        made = genuine(*arguments, **options)
        made.set_trace_callback(said.append)
        return made

    monkeypatch.setattr(sqlite3, "connect", connect)
    assert verdicts(stored(tmp_path / "run", [[LOWER_LEAF]], [INTERMEDIATE, LOWER_INTERMEDIATE]))
    made = [number for number, words in enumerate(said) if words.lstrip().startswith("CREATE INDEX")]
    filled = [number for number, words in enumerate(said) if words.startswith("INSERT")]
    assert made and filled and max(made) < min(filled)
    database = genuine(":memory:")
    database.executescript(chain_index._TABLES)
    for query in {words for words in said if words.startswith("SELECT")}:
        plan = " ".join(row[-1] for row in database.execute(f"EXPLAIN QUERY PLAN {query}"))
        assert "TEMP B-TREE" not in plan, query
