"""A manifest that was damaged or edited is one line of words for whoever meets it, and never a traceback."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.figures.compute import Computed, Figure, figures
from analysis.runs.run import Run
from analysis.site import report as site
from analysis.tables import json_csv as machine
from analysis.tables import terminal
from crawler.chains.rejudge import Rule, rejudge
from crawler.commands.main import main
from crawler.dataset.files import write_json
from crawler.dataset.manifest import with_reload, with_resumption
from crawler.dataset.stored_manifest import read_manifest
from crawler.dataset.stored_runs import choose_run
from crawler.model.errors import UsageError
from crawler.scan.choose_run import open_run
from crawler.settings.config import Config
from tests.kit.chain_runs import INTERMEDIATE, LEAF, stored
from tests.kit.contexts import run_context

CONFIG = Config(ehlo_name="probe.example")
FACTS = run_context()
HUGE = 10**30

_ATOMS = (
    st.none()
    | st.booleans()
    | st.integers(-HUGE, HUGE)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(
        ["finished", "suspect", "running", "2026-01-01", "9999-12-31T23:59:59-23:59", "0001-01-01", "\ud800", "../x"]
    )
)
JSON = st.recursive(
    _ATOMS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def full_manifest(directory: Path) -> dict[str, Any]:
    """One with every entry that a version writes: of a scan that was continued, finished, found suspect and judged again."""
    made = open_run(directory, "whole", CONFIG, FACTS)
    made.unlock()
    manifest = with_reload(with_resumption(made.manifest(), {"entries": 1}), {"entries": 2}).as_dict()
    shutil.rmtree(made.path)
    return manifest | {
        "state": "suspect",
        "ended_at": "2026-01-02T00:00:00+00:00",
        "counts": {
            "rows": {"domains": 0, "probes": 0},
            "routes": {"explicit": 1},
            "outcomes": {"ok": 1},
            "duplicates_dropped": 0,
        },
        "suspicions": ["no host answered"],
        "outages": [{"at": "2026-01-01T00:00:00+00:00", "seconds": 3.5}],
        "divided_networks": [{"network": "192.0.2.0/24", "connections": 3, "shards": [1, 2]}],
        "rejudged": [
            {"intermediates": "known", "judged_for": "2026-06-01T00:00:00+00:00", "versions": {"python": "3"}}
        ],
        "problem": None,
    }


def places(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every entry of a document by the way to it."""
    if where:
        yield where
    for name, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(inner, (*where, name))


def changed(manifest: dict[str, Any], where: tuple[Any, ...], value: Any, *, delete: bool) -> dict[str, Any]:
    made: Any = copy.deepcopy(manifest)
    inner = made
    for name in where[:-1]:
        inner = inner[name]
    if delete:
        del inner[where[-1]]
    else:
        inner[where[-1]] = value
    assert isinstance(made, dict)
    return made


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return full_manifest(tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="module")
def made(manifest: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Run, list[Figure]]]:
    """An empty run with every entry, and its figures."""
    data = tmp_path_factory.mktemp("made")
    write(data, manifest)
    with Run.open(data) as run:
        yield run, figures(run)


def write(data: Path, document: Any) -> Path:
    path = data / "run=x"
    path.mkdir(parents=True, exist_ok=True)
    text = document if isinstance(document, str) else json.dumps(document)
    (path / "manifest.json").write_text(text, "utf-8", "surrogatepass")
    return path


@pytest.fixture
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


def one_line(error: UsageError) -> None:
    assert "\n" not in str(error) and len(str(error)) < 600
    str(error).encode()


_SETTINGS = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@_SETTINGS
@given(draw=st.data(), value=JSON, delete=st.booleans())
def test_readers_take_a_spoilt_entry_or_refuse_it_with_one_line(
    draw: st.DataObject, value: Any, delete: bool, manifest: dict[str, Any], made: tuple[Run, list[Figure]], data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """All that `stats` and `report` show of a run beside its figures."""
    where = draw.draw(st.sampled_from(list(places(manifest))))
    write(data, changed(manifest, where, value, delete=delete))
    try:
        choice = choose_run(data)
    except UsageError as error:
        one_line(error)
        return
    run, computed = made
    monkeypatch.setattr(run, "stored", choice.run)
    monkeypatch.setattr(run, "manifest", choice.run.manifest)
    json.dumps(machine.document(Computed(run, computed))).encode()
    assert (run.judged_for, run.judged_by, run.rejudged) is not None
    shown = terminal.console(file=(data / "table").open("w", encoding="utf-8"))
    terminal.print_stats(shown, Computed(run, computed[:1]))
    shown.file.close()
    assert "\n".join(choice.notes()).encode() is not None
    assert [site._text(site._entry(site._publishable(run), keys)).encode() for keys in site._MANIFEST.values()]
    networks = site._entry(run.manifest.as_dict(), ("configuration", "allow_network"))
    assert networks is None or ", ".join(networks) is not None


@_SETTINGS
@given(draw=st.data(), value=JSON, delete=st.booleans())
def test_a_scan_continues_a_run_with_a_spoilt_entry_or_refuses_it_with_one_line(
    draw: st.DataObject, value: Any, delete: bool, manifest: dict[str, Any], data: Path
) -> None:
    where = draw.draw(st.sampled_from(list(places(manifest))))
    path = write(data, changed(manifest | {"state": "interrupted"}, where, value, delete=delete))
    (path / "_work" / "done").mkdir(parents=True, exist_ok=True)
    (path / "trust-anchors.pem").write_text("x")
    try:
        run = open_run(data, "x", CONFIG, FACTS)
    except UsageError as error:
        one_line(error)
        return
    again = with_reload(with_resumption(run.manifest()), None)
    run.write_manifest(again)
    assert run.signature(again)
    run.unlock()


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "3", '"x"', '{"a": NaN}', '{"a": "\ud800"}', "[" * 100_000, '{"a":' * 500 + "1" + "}" * 500,
        '{"a": 1' + "0" * 5000 + "}", "\x00", "{'a': 1}",
    ],
    ids=lambda text: ascii(text[:12]),
)  # fmt: skip
@pytest.mark.parametrize("command", ["stats", "report", "rejudge", "scan"])
def test_a_file_that_is_no_manifest_is_one_line_for_every_command(
    command: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "data", text)
    (tmp_path / "list.txt").write_text("a.example\n")
    arguments = {
        "stats": [],
        "report": ["--out", str(tmp_path / "site")],
        "rejudge": ["--out", str(tmp_path / "again")],
        "scan": [str(tmp_path / "list.txt"), "--run", "x", "--ehlo-name", "probe.example", "--resolver", "127.0.0.1:1"],
    }[command]
    assert main([command, *arguments, "--data", str(tmp_path / "data")]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count(": error: ") == 1 and "Traceback" not in said.err
    assert "manifest.json" in said.err or command == "scan"


WRONG: list[Any] = [None, True, 3, -1, 2.5, "x", [], ["x"], [None], {}, {"x": 1}, [[1]], [{"at": []}], HUGE]


def test_rejudge_takes_any_entry_or_refuses_it_with_one_line(tmp_path: Path) -> None:
    run = stored(tmp_path / "data" / "run=test", [[LEAF, INTERMEDIATE]])
    whole = run.manifest().as_dict() | {
        "rejudged": [{}],
        "suspicions": ["x"],
        "list": {"sha256": "ab"},
        "configuration": {"limit": 3},
    }
    taken = 0
    for name in whole:
        for number, value in enumerate(WRONG):
            write_json(run.path / "manifest.json", whole | {name: value})
            try:
                rejudge(tmp_path / "data", "test", tmp_path / f"{name}-{number}", Rule())
            except UsageError as error:
                one_line(error)
            else:
                taken += 1
                read_manifest(tmp_path / f"{name}-{number}" / "run=test")
    assert taken > 10


def test_a_run_whose_manifest_was_written_by_no_version_is_told_beside_the_new_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "{")
    run = open_run(tmp_path, None, CONFIG, replace(FACTS))
    run.unlock()
    assert run.id != "x"
    assert [
        record.message for record in caplog.records if "run=x" in record.message and "is not JSON" in record.message
    ]
