"""A run that was judged again: what it says of itself, whole or not at all, and what a person may get wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.figures.compute import figures
from analysis.figures.shares import Share
from analysis.runs.run import Run
from crawler.chains import rejudge as room
from crawler.chains.rejudge import Rule, rejudge
from crawler.commands import main as cli
from crawler.dataset.files import temporary_name
from crawler.dataset.run import RunDirectory
from crawler.model.rows import SCHEMA_VERSION
from tests.kit.chain_runs import (
    ANCHOR,
    OTHER_ANCHOR,
)  # fmt: skip
from tests.kit.chains import START, pem
from tests.kit.manifests import amended
from tests.kit.rejudged_runs import SAMPLE, again, by_chain, counts, rows_of


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
