"""Chains judged again: by the same rule the same verdicts, by another its own, and unknown what cannot be known."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from crawler.chains.rejudge import VERDICTS, Rule, rejudge
from crawler.dataset.run import RunDirectory
from crawler.lab.servers.oddities import changed
from crawler.model.rows import TABLES, schema_of
from tests.kit.chain_runs import (
    INTERMEDIATE,
    LEAF,
    LOWER_INTERMEDIATE,
    LOWER_LEAF,
    MIDDLE,
    ROOT,
    sha256,
    stored,
    without,
)  # fmt: skip
from tests.kit.chains import START
from tests.kit.rejudged_runs import CHAINS, EXPIRED, SAMPLE, SELF_SIGNED, Rows, again, by_chain, rows_of


def digests(*chain: x509.Certificate) -> tuple[str, ...]:
    return tuple(map(sha256, chain))


def test_the_same_store_and_rule_leave_every_table_of_the_sample_as_it_was(tmp_path: Path) -> None:
    summary = rejudge(SAMPLE, None, tmp_path / "out", Rule())
    assert "no verdict has changed" in summary
    for table, row in TABLES.items():
        made, before = (
            [dict.fromkeys(schema_of(row).names) | one for one in rows_of(data / "run=sample", table)]
            for data in (tmp_path / "out", SAMPLE)
        )
        assert sorted(made, key=repr) == sorted(before, key=repr), table


def test_chains_of_every_kind_keep_their_verdicts_whenever_they_are_judged_again(
    run: RunDirectory, tmp_path: Path
) -> None:
    assert rows_of(again(run, tmp_path / "out"), "probes") == rows_of(run.path, "probes")
    assert len(set(by_chain(run.path, "chain_error_code", "name_match", "within_validity").values())) > 5


def test_dates_are_judged_at_the_time_of_the_probe_and_not_at_ours(tmp_path: Path) -> None:
    """Fifteen days ago an intermediate that has expired since was good, beside its successor and alone."""
    run = stored(tmp_path / "data" / "run=test", CHAINS, at=START - timedelta(15))
    assert by_chain(run.path, "within_validity")[digests(LEAF, EXPIRED)] == (True,)
    assert rows_of(again(run, tmp_path / "out"), "probes") == rows_of(run.path, "probes")


def test_judged_again_by_its_first_rule_a_run_is_what_it_was(
    run: RunDirectory, tmp_path: Path, other_roots: str
) -> None:
    elsewhere = RunDirectory(again(run, tmp_path / "one", Rule(other_roots, "known", START + timedelta(900))))
    back = again(elsewhere, tmp_path / "two", Rule(str(run.trust_anchors)))
    assert rows_of(elsewhere.path, "probes") != rows_of(run.path, "probes") == rows_of(back, "probes")


def test_another_store_gives_its_own_verdicts_and_the_names_stay(
    run: RunDirectory, tmp_path: Path, other_roots: str
) -> None:
    judged = by_chain(again(run, tmp_path / "out", Rule(other_roots)), "chain_trusted", "name_match", "strict_valid")
    assert judged[digests(LEAF, INTERMEDIATE)] == (False, True, False)
    assert judged[digests(*CHAINS[5])] == (True, True, True)
    assert judged[digests(*CHAINS[6])] == (True, False, False)
    assert judged[digests(SELF_SIGNED)] == (False, True, False)


def test_chains_that_lack_an_issuer_are_those_of_the_new_store(
    run: RunDirectory, tmp_path: Path, other_roots: str
) -> None:
    made = again(run, tmp_path / "out", Rule(other_roots))
    refused = {chain for chain, (code,) in by_chain(made, "chain_error_code").items() if code in (2, 20, 21)}
    assert {tuple(row["received_chain"]) for row in rows_of(made, "incomplete_chains")} == refused
    assert digests(LEAF, INTERMEDIATE) in refused
    assert {row["trusted_if_known"] for row in rows_of(made, "incomplete_chains")} == {False}


def test_with_known_intermediates_a_chain_is_trusted_that_was_sent_without_one(
    run: RunDirectory, tmp_path: Path
) -> None:
    made = again(run, tmp_path / "out", Rule(intermediates="known"))
    columns = ("chain_trusted", "chain_error_code", "chain_error", "within_validity", "strict_valid", "chain_ordered")
    judged = by_chain(made, *columns)
    assert judged[digests(LEAF)] == judged[digests(LOWER_LEAF, LOWER_INTERMEDIATE)] == (True, 0, None, True, True, True)
    assert judged[digests(*CHAINS[5])][0] is False
    unchanged = by_chain(run.path, *columns)
    assert judged[digests(LEAF, EXPIRED)] == unchanged[digests(LEAF, EXPIRED)]  # nothing is missing there
    assert {tuple(row["received_chain"]) for row in rows_of(made, "incomplete_chains")} == {digests(*CHAINS[5])}


def test_dates_are_judged_at_a_time_that_was_asked_for(run: RunDirectory, tmp_path: Path) -> None:
    made = by_chain(again(run, tmp_path / "out", Rule(at=START - timedelta(40))), "chain_trusted", "within_validity")
    assert made[digests(LEAF, INTERMEDIATE)] == (True, False)
    assert made[digests(*CHAINS[9])] == (True, False)  # the leaf was good then, the intermediate not yet
    later = by_chain(again(run, tmp_path / "later", Rule(at=START + timedelta(61))), "within_validity")
    assert set(later.values()) == {(False,)}


@pytest.mark.parametrize("rule", [Rule(), Rule(intermediates="known"), Rule(at=START + timedelta(900))])
def test_nothing_but_the_verdicts_on_chains_changes(
    run: RunDirectory, tmp_path: Path, other_roots: str, rule: Rule
) -> None:
    made = again(run, tmp_path / "out", Rule(other_roots, rule.intermediates, rule.at))
    for table in set(TABLES) - {"probes", "incomplete_chains"}:
        assert rows_of(made, table) == rows_of(run.path, table)

    def rest(path: Path) -> Rows:
        found = ({name: row[name] for name in row if name not in VERDICTS} for row in rows_of(path, "probes"))
        return sorted(found, key=repr)

    assert rest(made) == rest(run.path) and len(rest(made)) == len(CHAINS) + 1


@pytest.mark.parametrize("how", ["missing", "not a certificate", "over budget"])
def test_a_lost_leaf_leaves_every_verdict_unknown_and_none_no(run: RunDirectory, tmp_path: Path, how: str) -> None:
    run = stored(tmp_path / "lost" / "run=test", CHAINS)
    without(run, LEAF, how)
    judged = by_chain(again(run, tmp_path / "out", Rule(intermediates="known")), *VERDICTS)
    for chain in ([LEAF, INTERMEDIATE], [LEAF], [LEAF, EXPIRED]):
        assert set(judged[digests(*chain)]) == {None}
    assert judged[digests(SELF_SIGNED)][VERDICTS.index("chain_trusted")] is False


@pytest.mark.parametrize("how", ["missing", "not a certificate", "over budget"])
def test_a_lost_intermediate_leaves_chain_and_dates_unknown_and_the_names_known(tmp_path: Path, how: str) -> None:
    run = stored(tmp_path / "lost" / "run=test", CHAINS)
    without(run, INTERMEDIATE, how)
    judged = by_chain(again(run, tmp_path / "out"), "chain_trusted", "within_validity", "name_match", "strict_valid")
    assert judged[digests(LEAF, INTERMEDIATE)] == (None, None, True, None)
    assert judged[digests(*CHAINS[8])] == (None, None, False, False)  # whoever issued it, its name is wrong


def test_an_endpoint_that_sent_no_chain_has_no_verdict(run: RunDirectory, tmp_path: Path) -> None:
    (silent,) = (r for r in rows_of(again(run, tmp_path / "out"), "probes") if r["received_chain"] is None)
    assert {silent[name] for name in VERDICTS} == {None}


def test_a_part_that_lacks_newer_columns_is_judged_and_has_them_empty(run: RunDirectory, tmp_path: Path) -> None:
    for part in run.parts("probes"):
        pq.write_table(pq.read_table(part, partitioning=None).drop_columns(["common_name_match", "dane_error"]), part)
    made = again(run, tmp_path / "out")
    assert by_chain(made, "common_name_match", "dane_error")[digests(LEAF)] == (False, None)


def test_certificates_odd_in_form_are_judged_again_as_they_were(tmp_path: Path) -> None:
    plain = ROOT.issue(MIDDLE, ca=True)
    before = plain.not_valid_before_utc.strftime("%y%m%d%H%M%SZ").encode()
    assert isinstance(ROOT.key, ec.EllipticCurvePrivateKey)
    undated = changed(plain, ROOT.key, before, b"250230000000Z")
    fourth = changed(INTERMEDIATE, ROOT.key, b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x03")
    run = stored(tmp_path / "data" / "run=test", [[LEAF, undated], [LEAF, fourth], [LEAF]], others=[])
    verdicts = ("chain_trusted", "within_validity", "strict_valid")
    for rule in (Rule(), Rule(intermediates="known")):
        made = by_chain(again(run, tmp_path / rule.intermediates, rule), *verdicts)
        assert made[sha256(LEAF), sha256(undated)] == (True, None, None)
        assert made[sha256(LEAF), sha256(fourth)] == (True, True, True)
    assert rows_of(tmp_path / "as-sent" / "run=test", "probes") == rows_of(run.path, "probes")
    assert made[(sha256(LEAF),)] == (True, True, True), "either intermediate is known; the one with dates counts"
