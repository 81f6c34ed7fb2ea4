"""Stored chains judged again: the same store and rule give the same verdicts, another one gives its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from analysis.figures.compute import Figure, figures
from analysis.figures.shares import Share
from analysis.runs.run import Run
from crawler.chains import rejudge as room
from crawler.chains.rejudge import VERDICTS, Rule, rejudge
from crawler.commands import main as cli
from crawler.dataset.files import temporary_name
from crawler.dataset.run import RunDirectory
from crawler.lab.servers.oddities import changed
from crawler.model.rows import SCHEMA_VERSION, TABLES, schema_of
from tests.kit.chain_runs import (
    ANCHOR,
    HOST,
    INTERMEDIATE,
    LEAF,
    LOWER_INTERMEDIATE,
    LOWER_LEAF,
    MIDDLE,
    OTHER,
    OTHER_ANCHOR,
    ROOT,
    sha256,
    stored,
    without,
)  # fmt: skip
from tests.kit.chains import START, Subject, pem
from tests.kit.manifests import amended

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"
SELF_SIGNED = Subject("leaf").root(names=[HOST])
EXPIRED = ROOT.issue(MIDDLE, ca=True, days=(-300, -10))
CHAINS = [
    [LEAF, INTERMEDIATE],
    [LEAF],
    [LEAF, EXPIRED],
    [LEAF, EXPIRED, INTERMEDIATE],
    [LOWER_LEAF, LOWER_INTERMEDIATE],
    [OTHER.leaf(HOST)],
    [OTHER.leaf("elsewhere.example"), OTHER_ANCHOR],
    [SELF_SIGNED],
    [MIDDLE.leaf("wrong.example"), INTERMEDIATE],
    [MIDDLE.leaf(HOST, days=(-60, -1)), INTERMEDIATE],
]

Rows = list[dict[str, Any]]


def rows_of(run: Path, table: str) -> Rows:
    """The rows of a table in an order of their own; a column that an older part lacks is null."""
    parts = sorted((run / table).glob("*.parquet"))
    rows = [row for part in parts for row in pq.read_table(part, partitioning=None).to_pylist()]
    return sorted(({name: row.get(name) for name in schema_of(TABLES[table]).names} for row in rows), key=repr)


def again(run: RunDirectory, out: Path, rule: Rule | None = None) -> Path:
    """The run, judged again."""
    rejudge(run.path.parent, run.id, out, rule or Rule())
    return out / run.path.name


def by_chain(run: Path, *columns: str) -> dict[tuple[str, ...], tuple[Any, ...]]:
    """Columns of the endpoints that sent something."""
    found = (row for row in rows_of(run, "probes") if row["received_chain"])
    return {tuple(row["received_chain"]): tuple(row[column] for column in columns) for row in found}


def digests(*chain: x509.Certificate) -> tuple[str, ...]:
    return tuple(map(sha256, chain))


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return stored(tmp_path / "data" / "run=test", CHAINS, shards=3)


@pytest.fixture
def other_roots(tmp_path: Path) -> str:
    path = tmp_path / "roots.pem"
    path.write_text(pem(OTHER_ANCHOR))
    return str(path)


# --- the same -------------------------------------------------------------------------------------


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


# --- another store, another rule ------------------------------------------------------------------


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


# --- what cannot be known ---------------------------------------------------------------------------


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


# --- what it says of itself -------------------------------------------------------------------------


def test_the_manifest_says_of_which_run_when_and_how(run: RunDirectory, tmp_path: Path, other_roots: str) -> None:
    first = RunDirectory(again(run, tmp_path / "one", Rule(other_roots, "known", START)))
    second = RunDirectory(again(first, tmp_path / "two", Rule(intermediates="as-sent")))
    before, once, twice = (one.manifest().as_dict() for one in (run, first, second))
    (how,) = once["rejudged"]
    assert (how["run"], how["intermediates"], how["judged_for"]) == (str(run.path), "known", START.isoformat())
    assert how["trust_anchors_before"] == before["trust_anchors"] and how["at"] and how["versions"]["cryptography"]
    assert once["trust_anchors"]["source"] == other_roots and once["trust_anchors"]["certificates"] == 1
    assert first.trust_anchors.read_text() == second.trust_anchors.read_text() == pem(OTHER_ANCHOR)
    assert twice["rejudged"][0] == how and len(twice["rejudged"]) == 2
    assert twice["trust_anchors"] == once["trust_anchors"]
    changed = {"trust_anchors", "counts", "rejudged"}
    assert {name: once[name] for name in once if name not in changed} == {
        name: before[name] for name in before if name not in changed
    }
    assert once["counts"]["rows"]["incomplete_chains"] == len(rows_of(first.path, "incomplete_chains"))


def test_figures_of_a_run_judged_again_are_computed_as_ever_and_their_signature_says_how(tmp_path: Path) -> None:
    rejudge(SAMPLE, "sample", tmp_path, Rule(intermediates="known"))
    with Run.open(SAMPLE) as measured, Run.open(tmp_path) as judged:
        before, after = ({f.id: f for f in figures(opened)} for opened in (measured, judged))
    name = "strict_validation.hosts.any"
    promised = before["strict_validation_if_intermediates_known.hosts.any"]
    assert counts(after[name]) == counts(promised) != counts(before[name])
    assert "|rejudged:known+" in after[name].signature and "rejudged" not in before[name].signature
    same = {figure: one.value for figure, one in before.items() if figure.startswith(("starttls_", "dane_"))}
    assert same and all(counts(after[f]) == counts(before[f]) for f, value in same.items() if isinstance(value, Share))


def counts(figure: Figure) -> tuple[float, float, float]:
    assert isinstance(figure.value, Share)
    return figure.value.yes, figure.value.no, figure.value.unknown


def test_the_command_ends_with_what_has_changed(
    run: RunDirectory, tmp_path: Path, other_roots: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = str(run.path.parent), str(tmp_path / "out")
    assert cli.main(["rejudge", "--data", data, "--out", out, "--ca-file", other_roots]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[:2] == [
        f"run test judged again: {out}/run=test",
        "  11 endpoints, 10 of them with a chain",
    ]
    assert [line.split() for line in said.out.splitlines()[2:4]] == [
        ["chain_trusted", "yes", "->", "no", "5"],
        ["chain_trusted", "no", "->", "yes", "2"],
    ]
    assert "judging: 11 endpoints" in said.err
    assert cli.main(["rejudge", "--data", data, "--out", str(tmp_path / "quiet"), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


# --- whole or not at all ----------------------------------------------------------------------------


class Stopped(BaseException):
    """As when the process is told to end."""


def test_stopped_anywhere_it_leaves_nothing_that_a_reader_would_find(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine, left = room.Silent.advance, [0]

    def advance(self: Any, count: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Stopped
        genuine(self, count)

    monkeypatch.setattr(room.Silent, "advance", advance)
    moments = 0
    while not (tmp_path / "out" / "run=test").exists():
        moments += 1
        left[0] = moments
        try:
            rejudge(run.path.parent, None, tmp_path / "out", Rule(intermediates="known"))
        except Stopped:
            assert list((tmp_path / "out").iterdir()) == []
    assert moments > 15
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["run=test"]
    assert not list((tmp_path / "out").rglob(".tmp-*"))


def test_what_a_killed_process_left_is_removed_and_a_file_of_somebody_else_is_not(
    run: RunDirectory, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    left = temporary_name(out / "run=test")
    left = left.with_name(left.name.rpartition("-")[0] + "-999999999")
    left.mkdir()
    (out / "notes.txt").touch()
    again(run, out)
    assert sorted(path.name for path in out.iterdir()) == ["notes.txt", "run=test"]


def test_the_run_judged_is_not_touched(run: RunDirectory, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    again(run, tmp_path / "out", Rule(intermediates="known"))
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


# --- what a person may get wrong --------------------------------------------------------------------


def change(**entries: Any) -> Callable[[RunDirectory], None]:
    """A manifest with other entries."""
    return lambda run: amended(run, **entries)


def lose(name: str) -> Callable[[RunDirectory], None]:
    return lambda run: (run.path / name).unlink()


def damage(run: RunDirectory) -> None:
    part = run.path / "probes" / "probes-0000.parquet"
    part.write_bytes(b"PAR1" + part.read_bytes()[4:-8])


BAD: dict[str, tuple[list[str], Callable[[RunDirectory], Any], str]] = {
    "unfinished": ([], change(state="interrupted"), "interrupted, not finished"),
    "unfinished, by default": (["--run", ""], change(state="running"), "holds no finished run"),
    "another schema": ([], change(schema_version=SCHEMA_VERSION + 1), "is newer than this program reads"),
    "no such run": (["--run", "other"], lambda run: None, "has no run 'other'"),
    "no name of a run": (["--run", "../test"], lambda run: None, "--run: '../test'"),
    "no such directory": (["--data", "nowhere"], lambda run: None, "nowhere: no such directory"),
    "no run at all": (["--data", "empty", "--run", ""], lambda run: Path("empty").mkdir(), "holds no finished run"),
    "manifest lost": ([], lose("manifest.json"), "manifest.json: cannot be read"),
    "manifest unreadable": ([], lambda run: (run.path / "manifest.json").write_text("{"), "cannot be read"),
    "anchors of the run lost": ([], lose("trust-anchors.pem"), "trust-anchors.pem: trust anchors cannot be read"),
    "no such PEM": (["--ca-file", "none.pem"], lambda run: None, "none.pem: trust anchors cannot be read"),
    "no PEM": (["--ca-file", "bad.pem"], lambda run: Path("bad.pem").write_text("x"), "bad.pem: holds no PEM"),
    "into itself": (["--out", "data/run=test/again"], lambda run: None, "is inside the run"),
    "into the run": (["--out", "data/run=test"], lambda run: None, "is inside the run"),
    "into its directory": (["--out", "data"], lambda run: None, "holds a run test already"),
    "into a file": (["--out", "file"], lambda run: Path("file").touch(), "file: cannot be written"),
    "a part lost": ([], lose("probes/probes-0001.parquet"), "its manifest says 11"),
    "a part damaged": ([], damage, "is damaged"),
    "a stranger": ([], lambda run: shutil.copy(run.path / "manifest.json", run.path / "probes/x.parquet"), "no part"),
    "no time": (["--at", "yesterday"], lambda run: None, "'yesterday' is no time"),
    "no rule": (["--intermediates", "some"], lambda run: None, "invalid choice"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_used_is_one_line_exit_code_2_and_leaves_nothing(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    monkeypatch.chdir(tmp_path)
    options, prepare, words = BAD[case]
    prepare(run)
    before = sorted(tmp_path.rglob("*"))
    asked = {"--data": "data", "--run": "test", "--out": "out"} | dict(zip(options[::2], options[1::2], strict=True))
    line = [word for option, value in asked.items() if value for word in (option, value)]
    assert cli.main(["rejudge", *line]) == 2
    said = capsys.readouterr()
    assert words in said.err and said.err.count("\n") == 1 and said.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_that_was_judged_again_is_finished_and_no_scan_writes_into_it(run: RunDirectory, tmp_path: Path) -> None:
    made = RunDirectory(again(run, tmp_path / "out"))
    assert made.manifest().state == "finished" and not made.work.exists()
    assert json.loads((made.path / "manifest.json").read_text())["run"] == "test"


def test_anchors_may_be_those_of_several_files_at_once(run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "both.pem").write_text(pem(ANCHOR, OTHER_ANCHOR))
    made = again(run, tmp_path / "out", Rule(str(tmp_path / "both.pem")))
    trusted = [trusted for (trusted,) in by_chain(made, "chain_trusted").values()]
    assert trusted.count(True) == 7
