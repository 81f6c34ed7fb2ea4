"""`--data s3://…` and `gs://…` against servers that speak the protocols of S3 and of Google Cloud Storage."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from crawler.object_store.client import Store, StoreError
from crawler.object_store.url import parse_location
from tests.real.object_stores import KEYS, Bucket, Line, bucket_of, google, swift
from tools.chaos import ROOT, Arena, facts, fake_arena, killed, lab, must_equal

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with swift(tmp_path_factory.mktemp("swift")) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def gs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with google(tmp_path_factory.mktemp("google")) as endpoint:
        yield endpoint


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Of a bucket of its own for each test."""
    return f"scans-{zlib.crc32(request.node.name.encode()):08x}"


@pytest.fixture
def bucket(s3: str, name: str) -> Bucket:
    return bucket_of("s3", s3, name)


@pytest.fixture
def line(s3: str) -> Iterator[Line]:
    made = Line(s3)
    yield made
    made.close()


@pytest.fixture(scope="module")
def small_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with lab(tmp_path_factory.mktemp("lab"), 1) as directory:
        yield directory


def small_arena(directory: Path, lab_directory: Path) -> Arena:
    """Scans whose copies lie in `copies`."""
    made = fake_arena(directory, lab_directory)
    names = made.list.read_text().splitlines()
    made.list.write_text("\n".join([*names[:250], *names[-5:]]) + "\n")  # for Swift takes its time
    environment = {**KEYS, "XDG_STATE_HOME": str(directory / "copies"), "FAKE_PACE": "0.3"}
    return replace(made, environment=environment)


@pytest.fixture
def arena(tmp_path: Path, small_lab: Path) -> Arena:
    return small_arena(tmp_path, small_lab)


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory, small_lab: Path) -> dict[str, list[str]]:
    """What a scan into a directory finds."""
    directory = tmp_path_factory.mktemp("local")
    small_arena(directory, small_lab).finish(directory / "data")
    return facts(directory / "data" / "run=mine")


def slow(arena: Arena, delay: str, **environment: str) -> Arena:
    return replace(arena, environment={**arena.environment, "FAKE_DELAY": delay, **environment})


def wait_for(what: object, process: subprocess.Popen[str]) -> None:
    """Until `what()` holds; a scan that ends before that is a failure."""
    deadline = time.monotonic() + 60
    assert callable(what)
    while not what():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def wait_for_more(bucket: Bucket, process: subprocess.Popen[str]) -> None:
    """Until the store has more markers than now."""
    before = bucket.markers()
    wait_for(lambda: bucket.markers() > before, process)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=90)
    return process.returncode, said


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_the_store_holds_what_a_directory_would_and_no_copy_is_left(
    arena: Arena, wanted: dict[str, list[str]], tmp_path: Path, request: pytest.FixtureRequest, scheme: str, name: str
) -> None:
    bucket = bucket_of(scheme, request.getfixturevalue(scheme), name)
    arena.finish(bucket.location)
    must_equal(facts(bucket.brought(tmp_path / "brought")), wanted)
    manifest = bucket.read("run=mine/manifest.json")
    assert json.loads(manifest)["state"] == "finished" and "lab-secret" not in manifest
    assert not [name for name in bucket.names() if "_work" in name or "/." in name]
    assert not [path for path in (tmp_path / "copies").rglob("*") if path.is_file()]
    objects = bucket.names()
    code, said = ended(arena.start(bucket.location))  # once more: it is finished, and stays as it is
    assert code == 0, said
    assert bucket.names() == objects
    command = [*arena.command, "stats", "--data", bucket.location, "--format", "json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **arena.environment}
    figures = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(figures.stdout)["run"]
    if scheme == "gs":  # whose directories pyarrow does not make when it copies
        return
    for number, line in enumerate(shown_lines(bucket.location, tmp_path)):
        code = f"import pyarrow.dataset, pyarrow.fs; print(getattr({line}, 'num_rows', None))"
        said = subprocess.run(
            [sys.executable, "-c", code], check=False, env=environment, capture_output=True, text=True, timeout=60
        )
        assert said.returncode == 0, said.stderr
        assert (int(said.stdout) > 0) if number == 0 else (tmp_path / "data" / "run=mine" / "manifest.json").exists()


def shown_lines(location: str, directory: Path) -> list[str]:
    """The lines of Python that docs/data.md shows for a store, with our addresses."""
    base, _, query = location.partition("?")
    shown = re.findall(r"^pyarrow\..*s3://BUCKET.*$", (ROOT / "docs" / "data.md").read_text("utf-8"), re.MULTILINE)
    assert len(shown) == 2
    ours = (re.sub(r"s3://BUCKET/PREFIX/run=ID([^\"]*)", rf"{base}/run=mine\1?{query}", line) for line in shown)
    return [line.replace('"data/run=ID"', f'"{directory}/data/run=mine"') for line in ours]


@pytest.mark.parametrize(("scheme", "copy"), [("s3", "kept"), ("s3", "lost"), ("gs", "lost")])
def test_killed_it_continues_here_from_its_copy_or_elsewhere_from_the_store(
    arena: Arena, wanted: dict[str, list[str]], tmp_path: Path, request: pytest.FixtureRequest, scheme: str, name: str,
    copy: str,
) -> None:  # fmt: skip
    bucket = bucket_of(scheme, request.getfixturevalue(scheme), name)
    seen: set[str] = set()
    for _ in range(2):
        process = slow(arena, "0.02").start(bucket.location)
        wait_for_more(bucket, process)  # each time a little further
        killed(process)
        seen |= bucket.markers()
        for part in bucket.names():
            if part.endswith(".parquet"):
                with bucket.files.open_input_file(f"scans/{part}") as opened:
                    pq.ParquetFile(opened).read()  # whatever is visible is whole
        if copy == "lost":
            shutil.rmtree(tmp_path / "copies")
    assert len(seen) >= 2
    arena.finish(bucket.location)
    must_equal(facts(bucket.brought(tmp_path / "brought")), wanted)
    assert not [name for name in bucket.names() if "_work" in name]


def test_an_interruption_leaves_in_the_store_what_was_finished(
    arena: Arena, bucket: Bucket, wanted: dict[str, list[str]], tmp_path: Path
) -> None:
    process = slow(arena, "0.005", FAKE_PACE="20").start(bucket.location)  # nothing is put before the end
    wait_for(lambda: list((tmp_path / "copies").rglob("done/domains-*.json")), process)
    process.send_signal(signal.SIGTERM)
    code, said = ended(process)
    assert code == 143, said
    assert [name for name in bucket.names() if "/domains/domains-" in name]
    assert json.loads(bucket.read("run=mine/manifest.json"))["state"] == "interrupted"
    shutil.rmtree(tmp_path / "copies")
    began = time.monotonic()
    slow(arena, "0.002", FAKE_PACE="20").finish(bucket.location)  # at once: who rests is not watched for 100 s
    assert time.monotonic() - began < 60
    must_equal(facts(bucket.brought(tmp_path / "brought")), wanted)


def test_a_copy_that_another_machine_has_overtaken_counts_no_more(
    arena: Arena, bucket: Bucket, wanted: dict[str, list[str]], tmp_path: Path
) -> None:
    for machine in ("one", "two"):
        process = slow(arena, "0.02", XDG_STATE_HOME=str(tmp_path / machine)).start(bucket.location)
        wait_for_more(bucket, process)
        killed(process)
    note = json.loads(bucket.read("run=mine/_work/copy.json"))
    first = slow(arena, "0.002", XDG_STATE_HOME=str(tmp_path / "one"))
    assert next((tmp_path / "one").rglob("_work/copy")).read_text() != note["copy"]
    first.finish(bucket.location)
    must_equal(facts(bucket.brought(tmp_path / "brought")), wanted)


def test_a_second_scan_on_this_machine_or_another_is_refused(arena: Arena, bucket: Bucket, tmp_path: Path) -> None:
    first = slow(arena, "0.5", FAKE_PACE="3").start(bucket.location)
    wait_for(bucket.markers, first)
    refused = ended(arena.start(bucket.location))
    elsewhere = ended(slow(arena, "0", XDG_STATE_HOME=str(tmp_path / "two"), FAKE_PACE="5").start(bucket.location))
    killed(first)
    assert refused[0] == elsewhere[0] == 2, (refused, elsewhere)
    assert "another scan is working on this run" in refused[1] and refused[1].count("\n") == 1
    assert "is working on this run" in elsewhere[1] and elsewhere[1].count("\n") == 1


def test_who_finds_the_run_taken_over_stops(arena: Arena, bucket: Bucket) -> None:
    first = slow(arena, "0.5", FAKE_PACE="1").start(bucket.location)
    wait_for(bucket.markers, first)
    note = json.loads(bucket.read("run=mine/_work/copy.json"))
    deadline = time.monotonic() + 60
    while first.poll() is None and time.monotonic() < deadline:  # it may just be writing its own
        with bucket.files.open_output_stream("scans/run=mine/_work/copy.json") as out:
            out.write(json.dumps({**note, "copy": "of another", "host": "elsewhere"}).encode())
        time.sleep(3)
    code, said = ended(first)
    assert code == 1 and "elsewhere (process" in said and "has taken over this run" in said
    assert json.loads(bucket.read("run=mine/_work/copy.json"))["host"] == "elsewhere"


def test_another_list_is_refused_without_bringing_the_run(arena: Arena, bucket: Bucket, tmp_path: Path) -> None:
    process = slow(arena, "0.02").start(bucket.location)
    wait_for(bucket.markers, process)
    killed(process)
    shutil.rmtree(tmp_path / "copies")
    (tmp_path / "other.txt").write_text("other.example\n")
    code, said = ended(replace(arena, list=tmp_path / "other.txt").start(bucket.location))
    assert code == 2 and "was started with another list" in said
    assert not list((tmp_path / "copies").rglob("*.parquet"))


def test_a_line_that_is_cut_and_comes_back_costs_nothing(
    arena: Arena, bucket: Bucket, line: Line, s3: str, wanted: dict[str, list[str]], tmp_path: Path
) -> None:
    process = slow(arena, "0.02", FAKE_PACE="4").start(bucket.location.replace(s3, line.endpoint))
    wait_for(bucket.markers, process)
    line.cut()
    before = bucket.markers()
    wait_for(lambda: len(list((tmp_path / "copies").rglob("done/*.json"))) > len(before) + 4, process)
    time.sleep(10)  # longer than pyarrow tries by itself
    line.is_up = True
    code, said = ended(process)
    assert code == 0, said
    assert said.count("it is tried again") == 1
    must_equal(facts(bucket.brought(tmp_path / "brought")), wanted)


def test_a_line_that_stays_away_ends_in_one_and_the_same_command_continues(
    arena: Arena, bucket: Bucket, line: Line, s3: str, wanted: dict[str, list[str]], tmp_path: Path
) -> None:
    location = bucket.location.replace(s3, line.endpoint)
    process = slow(arena, "0.005").start(location)
    wait_for(bucket.markers, process)
    line.cut()
    code, said = ended(process)
    assert code == 1
    errors = [text for text in said.splitlines() if "error:" in text]
    assert (
        len(errors) == 1 and "everything finished is kept in" in errors[0] and "the same command continues" in errors[0]
    )
    line.is_up = True
    copies = list((tmp_path / "copies").rglob("probes-*.json"))
    times = [path.stat().st_mtime_ns for path in copies]
    assert copies
    done = slow(arena, "5").start(location)  # nothing is left to be measured, or it would take long
    code, said = ended(done)
    assert code == 0, (said, times)
    must_equal(facts(bucket.brought(tmp_path / "brought")), wanted)


def test_an_interruption_is_heeded_while_the_last_files_are_tried_again(
    arena: Arena, bucket: Bucket, line: Line, s3: str, wanted: dict[str, list[str]], tmp_path: Path
) -> None:
    location = bucket.location.replace(s3, line.endpoint)
    process = slow(arena, "0.002", FAKE_PACE="30").start(location)  # they would be tried for 150 s
    wait_for(lambda: list((tmp_path / "copies").rglob("merged-incomplete_chains.json")), process)
    line.cut()
    time.sleep(5)
    process.send_signal(signal.SIGINT)
    code, said = ended(process)
    assert code == 130 and "the same command continues" in said
    refused = ended(arena.start(location))
    assert refused[0] == 2 and refused[1].count("\n") == 1
    line.is_up = True
    slow(arena, "5").finish(location)  # nothing is left to be measured
    must_equal(facts(bucket.brought(tmp_path / "brought")), wanted)


def test_an_object_that_was_cut_off_on_the_way_is_not_there(
    bucket: Bucket, line: Line, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in KEYS.items():
        monkeypatch.setenv(key, value)
    store = Store(parse_location(bucket.location.replace(s3, line.endpoint)))
    (tmp_path / "part").write_bytes(bytes(range(256)) * (30 << 12))
    for size in (1 << 16, 7 << 20, 25 << 20):  # in the first piece, and between later ones
        line.is_up, line.bytes_left = True, size
        with pytest.raises(StoreError, match=r"s3://scans-\w+/scans: cannot be written"):
            list(store.put_files([("run=a/domains/empty.parquet", tmp_path / "part")]))
        assert bucket.names() == []
    line.is_up, line.bytes_left = True, None
    assert [name for name, _ in store.put_files([("run=a/domains/empty.parquet", tmp_path / "part")])]
    assert store.objects("run=a") == {"domains/empty.parquet": 30 << 20}


def test_keys_that_are_refused_are_one_line_without_the_key(arena: Arena, bucket: Bucket) -> None:
    code, said = ended(slow(arena, "0", AWS_SECRET_ACCESS_KEY="wrong-secret").start(bucket.location))
    assert code == 2 and "SIGNATURE_DOES_NOT_MATCH" in said
    assert said.count("\n") == 1 and "wrong-secret" not in said


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_a_bucket_that_is_not_there_is_one_line(
    arena: Arena, request: pytest.FixtureRequest, scheme: str, name: str
) -> None:
    bucket = bucket_of(scheme, request.getfixturevalue(scheme), name)
    code, said = ended(arena.start(bucket.location.replace(name, "no-such-bucket")))
    assert code == 2
    assert f"{scheme}://no-such-bucket/scans: there is no such bucket" in said and said.count("\n") == 1
