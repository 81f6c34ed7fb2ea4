"""Which run is read where none is named, and what is said about that choice."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from analysis.commands import report, stats
from analysis.figures.compute import facebook, figures
from analysis.runs.run import Run
from crawler.chains.rejudge import Rule, rejudge
from crawler.commands.main import main
from crawler.dataset.stored_runs import choose_run
from crawler.model.errors import UsageError
from crawler.preflight.machine_checks import disk
from tests.kit.chain_runs import INTERMEDIATE, LEAF, stored
from tests.kit.manifests import amended
from tests.kit.small_runs import domain, host, probe, write_run

LIST = {"sha256": "ab" * 32, "lines": 600, "path": "top.csv"}
ROWS = [domain("a.example", "mx.a.example"), host("mx.a.example", "192.0.2.1"), probe("mx.a.example", "192.0.2.1")]
REASONS = ["98 % of all connections timed out", "no mail host of a large provider answered"]


def day(number: int) -> str:
    return f"2026-01-{number:02}T00:00:00+00:00"


def made(data: Path, run: str, on: int, **manifest: Any) -> None:
    """A run of that day; `limit` is the setting."""
    limit = manifest.pop("limit", 0)
    write_run(data, ROWS, run=run, started_at=day(on), **{"list": LIST, "configuration": {"limit": limit}} | manifest)


def run_command(command: Any, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    args = parser.parse_args([command.__name__.rpartition(".")[2], *arguments])
    code = args.run(args)
    assert isinstance(code, int)
    return code


# --- the choice --------------------------------------------------------------------------------------


def test_a_run_with_a_limit_is_not_read_by_default_though_it_is_newer(tmp_path: Path) -> None:
    made(tmp_path, "whole", 1)
    made(tmp_path, "part", 2, limit=50)
    choice = choose_run(tmp_path)
    assert choice.run.id == "whole"
    words = f"newer, started {day(2)}, limited to the first 50 names of its list"
    assert choice.notes() == [
        f"run whole is read (list {'ab' * 6}, no vantage named); passed over: part ({words}); --run names another"
    ]


def test_a_limit_as_long_as_the_list_is_none(tmp_path: Path) -> None:
    made(tmp_path, "whole", 1)
    made(tmp_path, "long", 2, limit=600)
    choice = choose_run(tmp_path)
    assert (choice.run.id, choice.run.limit, choice.notes()) == ("long", None, [])


@pytest.mark.parametrize(
    ("listed", "limit"),
    [
        ({"lines": 1, "names": 5, "cut": True}, 5),  # many names on one line
        ({"lines": 6, "names": 5, "cut": False}, None),  # a header, or comments
        ({"lines": 1, "form": "several names a line, divided by `,`", "valid": 5, "invalid": 0}, 5),  # cannot be told
        ({"lines": 9, "form": "several names a line, divided by `,`", "valid": 3, "invalid": 1}, None),
        ({"lines": 5, "form": "one name a line", "valid": 5, "invalid": 0}, None),
        ({"lines": 6, "form": "one name a line", "valid": 5, "invalid": 0}, 5),
        ({}, 5),
    ],
)
def test_a_run_is_limited_where_names_of_its_list_were_left_out(
    tmp_path: Path, listed: dict[str, Any], limit: int | None
) -> None:
    made(tmp_path, "one", 1, limit=5, list={"sha256": "ab" * 32, **listed})
    assert choose_run(tmp_path).run.limit == limit


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([("old", {}), ("new", {})], "new"),
        ([("whole", {}), ("suspect", {"state": "suspect"})], "whole"),
        ([("whole", {}), ("open", {"state": "running"})], "whole"),
        ([("part", {"limit": 50}), ("open", {"state": "running"})], "part"),
        ([("open", {"state": "interrupted"}), ("suspect", {"state": "suspect"})], "open"),
        ([("suspect", {"state": "suspect"}), ("part", {"state": "suspect", "limit": 50})], "suspect"),
        ([("open", {"state": "running"}), ("part", {"state": "running", "limit": 50})], "open"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_read_first_is_whole_then_limited_then_unfinished_then_suspect(
    runs: list[tuple[str, dict[str, Any]]], expected: str, tmp_path: Path
) -> None:
    for number, (name, manifest) in enumerate(runs, 1):
        made(tmp_path, name, number, **manifest)
    assert choose_run(tmp_path).run.id == expected


def test_runs_of_another_list_or_vantage_are_told_and_older_ones_of_the_same_are_not(tmp_path: Path) -> None:
    other = LIST | {"sha256": "cd" * 32}
    made(tmp_path, "other-old", 1, list=other)
    made(tmp_path, "other-new", 2, list=other)
    made(tmp_path, "elsewhere", 3, vantage="ams1")
    made(tmp_path, "same", 4)
    made(tmp_path, "newest", 5)
    choice = choose_run(tmp_path)
    assert choice.run.id == "newest"
    assert [(entry.id, entry.why) for entry in choice.passed_over] == [
        ("elsewhere", ("from ams1",)),
        ("other-new", ("another list, cdcdcdcdcdcd",)),
    ]


def test_a_long_list_of_others_is_cut_and_what_was_cut_is_counted(tmp_path: Path) -> None:
    for number in range(1, 9):
        made(tmp_path, f"r{number}", number, vantage=f"v{number}")
    (line,) = choose_run(tmp_path).notes()
    assert line.startswith("run r8 is read (list abababababab, from v8); passed over: r7 (from v7), r6 ")
    assert ", and 2 more; --run names another" in line
    assert len(choose_run(tmp_path).passed_over) == 7


def test_a_manifest_that_cannot_be_read_costs_only_its_own_run_and_is_told(tmp_path: Path) -> None:
    made(tmp_path, "good", 1)
    made(tmp_path, "bad", 2)
    (tmp_path / "run=bad" / "manifest.json").write_text("{", "utf-8")
    choice = choose_run(tmp_path)
    assert choice.run.id == "good"
    assert [entry.id for entry in choice.passed_over] == ["bad"]
    assert "bad (is not JSON (" in choice.notes()[0] and str(tmp_path) not in choice.notes()[0]
    (tmp_path / "run=good" / "manifest.json").write_text("[]", "utf-8")
    with pytest.raises(UsageError, match="is not JSON"):
        choose_run(tmp_path)


def test_a_run_that_is_named_is_read_whatever_it_is_and_its_oddities_are_told(tmp_path: Path) -> None:
    made(tmp_path, "whole", 1)
    made(tmp_path, "odd", 2, state="suspect", suspicions=REASONS, limit=50)
    assert choose_run(tmp_path, "odd").notes() == [
        f"run odd is suspect: {REASONS[0]}; {REASONS[1]}",
        "run odd is limited to the first 50 names of its list",
    ]


@pytest.mark.parametrize("name", ["../x", "x/../../other", "", "a b", "x" * 65])
def test_a_name_that_leads_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    made(tmp_path / "data", "x", 1)
    made(tmp_path, "other", 1)
    with pytest.raises(UsageError, match=r"--run: .* must be letters"):
        choose_run(tmp_path / "data", name)


# --- where it is told --------------------------------------------------------------------------------


def test_a_limit_is_in_the_signature_the_header_the_json_and_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(tmp_path / "data", "part", 1, limit=50)
    data = str(tmp_path / "data")
    with Run.open(tmp_path / "data") as run:
        assert "|limit:50|" in facebook(figures(run, only={"facebook_2014.domains.primary"})).signature
    assert run_command(stats, "--data", data) == 0
    out, err = capsys.readouterr()
    assert out.startswith("run part (finished), list abababababab, limited to its first 50 names\n")
    assert err == "run part is limited to the first 50 names of its list\n"
    assert run_command(stats, "--data", data, "--format", "json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["run"]["limit"] == 50 and "limited" in err
    assert run_command(report, "--data", data, "--out", str(tmp_path / "site")) == 0
    page = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert "Not the whole list.</b> Only the first 50 names" in page
    assert '<th scope="row">Lines of the list</th><td>600; only the first 50 names were taken</td>' in page
    assert json.loads((tmp_path / "site" / "figures.json").read_text("utf-8"))["run"]["limit"] == 50


def test_a_run_without_a_limit_says_nothing_of_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path, "whole", 1, vantage="ams1")
    assert run_command(stats, "--data", str(tmp_path), "--format", "json") == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert err == "" and "|limit:" not in out
    assert (document["run"]["limit"], document["run"]["vantage"]) == (None, "ams1")
    assert (document["run"]["suspicions"], document["run"]["passed_over"]) == ([], [])
    assert run_command(stats, "--data", str(tmp_path)) == 0
    assert capsys.readouterr().out.startswith("run whole (finished), list abababababab, measured from ams1\n")


def test_a_suspect_run_is_called_so_wherever_it_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path / "data", "odd", 1, state="suspect", suspicions=REASONS)
    data = str(tmp_path / "data")
    assert run_command(stats, "--data", data, "--format", "json") == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (document["run"]["state"], document["run"]["finished"]) == ("suspect", False)
    assert document["run"]["suspicions"] == REASONS
    assert "|state:suspect|" in document["facebook_2014"]["signature"]
    assert err == f"run odd is suspect: {REASONS[0]}; {REASONS[1]}\n"
    assert run_command(report, "--data", data, "--out", str(tmp_path / "site")) == 0
    page = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert "This run is suspect." in page and REASONS[1] in page
    assert "not finished" not in page and '<span class="badge open">suspect</span>' in page


def test_the_json_has_every_run_that_was_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path, "whole", 1, vantage="ams1")
    made(tmp_path, "part", 2, limit=50, vantage="ams1")
    assert run_command(stats, "--data", str(tmp_path), "--format", "json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["run"]["passed_over"] == [
        {
            "id": "part",
            "why": [f"newer, started {day(2)}", "limited to the first 50 names of its list"],
            "state": "finished",
            "started_at": day(2),
            "list_sha256": "ab" * 32,
            "limit": 50,
            "vantage": "ams1",
        }
    ]
    assert err.startswith("run whole is read (list abababababab, from ams1); passed over: part (newer")


def test_a_suspect_run_is_whole_so_its_rows_are_held_against_its_manifest(tmp_path: Path) -> None:
    made(tmp_path, "odd", 1, state="suspect")
    (tmp_path / "run=odd" / "probes" / "part-0.parquet").unlink()
    with pytest.raises(UsageError, match="probes has 0 rows, its manifest says 1"):
        Run.open(tmp_path)


# --- rejudge -----------------------------------------------------------------------------------------


def test_rejudge_takes_the_same_run_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, entries in (("whole", {}), ("odd", {"state": "suspect", "suspicions": REASONS})):
        run = stored(tmp_path / "data" / f"run={name}", [[LEAF, INTERMEDIATE]])
        started = day(2 if entries else 1)
        amended(run, started_at=started, **entries)
    assert main(["rejudge", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "one")]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("run whole judged again") and "passed over: odd (newer" in err
    assert main(["rejudge", "--data", str(tmp_path / "data"), "--run", "odd", "--out", str(tmp_path / "two")]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("run odd judged again") and f"run odd is suspect: {REASONS[0]}" in err
    manifest = json.loads((tmp_path / "two" / "run=odd" / "manifest.json").read_text("utf-8"))
    assert (manifest["state"], manifest["suspicions"]) == ("suspect", REASONS)


@pytest.mark.parametrize("entry", ["started_at", "trust_anchors", "counts", "run", "config_sha256"])
def test_a_manifest_that_lacks_what_a_verdict_needs_is_one_line(entry: str, tmp_path: Path) -> None:
    run = stored(tmp_path / "data" / "run=test", [[LEAF, INTERMEDIATE]])
    amended(run, **{entry: None})
    with pytest.raises(UsageError, match=f"its manifest says nothing of `{entry}`"):
        rejudge(tmp_path / "data", None, tmp_path / "out", Rule())


# --- names of directories ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["d[1]", "d*", "d?", "d**", "d[!1]", "d{1,2}", "d'1", "d\\1", "~", "d 1", "d%31", "-d"]
)
def test_a_directory_is_no_pattern_whatever_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others lie beside it that such a pattern would match."""
    monkeypatch.chdir(tmp_path)
    for number, other in enumerate(dict.fromkeys([name, "d1", "d2", "dd", "d"])):
        rows = [domain(f"{n}.d{number}.example", "mx.a.example") for n in range(number + 1)]
        write_run(Path(other), rows, run="one")
    with Run.open(Path(name)) as run:
        assert [batch.to_pylist() for batch in run.batches("SELECT domain FROM domains")] == [
            [{"domain": "0.d0.example"}]
        ]
    shown = run_command(stats, "--data", str(tmp_path / name), "--format", "json")
    assert shown == 0


def test_nor_is_it_one_for_report_rejudge_and_doctor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, name in enumerate(["d[1]", "d1"]):
        stored(tmp_path / name / f"run=of-{number}", [[LEAF, INTERMEDIATE]])
    data = str(tmp_path / "d[1]")
    assert main(["rejudge", "--data", data, "--out", str(tmp_path / "out[1]"), "--quiet"]) == 0
    assert [path.name for path in (tmp_path / "out[1]").iterdir()] == ["run=of-0"]
    assert main(["report", "--data", data, "--out", str(tmp_path / "site[1]")]) == 0
    assert (tmp_path / "site[1]" / "index.html").is_file()
    assert "run of-0" in (tmp_path / "site[1]" / "index.html").read_text("utf-8")
    capsys.readouterr()
    assert disk(tmp_path / "d[1]").finding.endswith(f"free at {data}")


@pytest.mark.parametrize("name", ["r[1]", "r*", "r\\1"])
def test_nor_is_the_name_of_a_run(name: str, tmp_path: Path) -> None:
    for number, other in enumerate([name, "r1", "rr"]):
        write_run(tmp_path, [domain(f"{number}.example", "mx.a.example")], run=other, started_at=day(9 - number))
    with Run.open(tmp_path) as run:
        assert run.id == name
        assert [batch.to_pylist() for batch in run.batches("SELECT domain FROM domains")] == [[{"domain": "0.example"}]]
