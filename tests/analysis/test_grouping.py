"""Groups of few domains are never shown apart: a share of them is nearly a verdict on a named host."""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.commands import report, stats
from analysis.figures.compute import figures_by
from analysis.figures.grouping import SMALLER, SMALLEST_GROUP
from analysis.figures.shares import Share
from analysis.figures.weights import load_weights
from tests.kit.small_runs import domain, host, opened, probe, write_run


def world(*sizes: int) -> Iterator[Any]:
    """One provider, suffix and mail host for each size, with so many domains; the first domains have the first ranks."""
    rank = 0
    for number, size in enumerate(sizes):
        name, address = f"mx.p{number}.example", f"192.0.2.{number}"
        yield from (host(name, address), probe(name, address, "strict" if number % 2 else "self_signed"))
        for n in range(size):
            rank += 1
            yield domain(f"{n}.s{number}.example", name, public_suffix=f"s{number}.example", rank=rank)


def sizes_of(rows: Iterator[Any], by: str, **options: Any) -> dict[str | None, float]:
    with opened(*rows) as run:
        made = figures_by(run, by, **options)
    return {figure.group: figure.value.all for figure in made if isinstance(figure.value, Share)}


@pytest.mark.parametrize(("by", "prefix"), [("provider", "p"), ("tld", "s")])
def test_groups_of_fewer_than_ten_domains_are_one(by: str, prefix: str) -> None:
    found = sizes_of(world(12, 10, 9, 8, 1), by)
    assert found == {f"{prefix}0.example": 12, f"{prefix}1.example": 10, SMALLER[by]: 18}
    assert SMALLEST_GROUP == 10


def test_a_band_of_ranks_is_folded_like_any_group() -> None:
    rows = [row for row in world(12) if getattr(row, "rank", None) is None]
    rows += [
        domain(f"{rank}.s0.example", "mx.p0.example", rank=rank) for rank in [*range(1, 13), *range(200, 211), 5000]
    ]
    assert sizes_of(iter(rows), "rank") == {"1 to 100": 12, SMALLER["rank"]: 12}


def test_what_is_folded_has_as_many_domains_itself_as_a_group_must_have() -> None:
    """Else it would name its one member to whoever knows the list; the next larger group joins it."""
    assert sizes_of(world(30, 12, 11, 3), "provider") == {
        "p0.example": 30, "p1.example": 12, SMALLER["provider"]: 14,
    }  # fmt: skip
    assert sizes_of(world(20, 4, 3, 2, 1), "provider") == {"p0.example": 20, SMALLER["provider"]: 10}
    assert sizes_of(world(12, 11), "provider") == {"p0.example": 12, "p1.example": 11}
    assert sizes_of(world(3, 1), "provider") == {SMALLER["provider"]: 4}


def test_a_size_of_one_shows_every_group() -> None:
    assert sizes_of(world(3, 1), "provider", smallest=1) == {"p0.example": 3, "p1.example": 1}


def test_with_weights_the_size_is_the_number_of_domains_that_have_one(tmp_path: Path) -> None:
    """A figure of messages to one domain is about that domain, however many messages and neighbours it has."""
    weighed = [f"{n}.s0.example,1\n" for n in range(12)] + ["0.s1.example,1000000\n", "0.s2.example,5\n"]
    path = tmp_path / "weights.csv"
    path.write_text(f"domain,messages\n{''.join(weighed)}", "utf-8")
    with opened(*world(12, 11, 2)) as run:
        made = figures_by(run, "provider", load_weights(path, run), smallest=2)
    sizes = {figure.group: figure.value.all for figure in made if isinstance(figure.value, Share)}
    assert sizes == {"p0.example": 12, SMALLER["provider"]: 1_000_005}


def test_the_signature_says_how_groups_were_made() -> None:
    with opened(*world(12, 3)) as run:
        assert "|by:provider,10|group:" in figures_by(run, "provider")[0].signature
        assert "|by:provider,2|group:" in figures_by(run, "provider", smallest=2)[0].signature


def run_command(command: Any, *arguments: str) -> None:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    args = parser.parse_args([command.__name__.rpartition(".")[2], *arguments])
    assert args.run(args) == 0


def test_no_format_names_a_group_of_few_domains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "data", world(12, 11, 9, 1))
    data = str(tmp_path / "data")
    folded = SMALLER["provider"]
    for form in ("table", "csv", "json"):
        run_command(stats, "--data", data, "--by", "provider", "--format", form)
        out = capsys.readouterr().out
        assert "p0.example" in out and "p2.example" not in out and "p3.example" not in out
        if form == "json":
            document = json.loads(out)
            assert document["smallest_group"] == 10
            assert [group["group"] for group in document["groups"]] == ["p0.example", "p1.example", folded]
        elif form == "csv":
            assert {row["group"] for row in csv.DictReader(io.StringIO(out))} == {"p0.example", "p1.example", folded}
        else:
            assert f"\n{folded} " in out
    run_command(report, "--data", data, "--out", str(tmp_path / "site"))
    files = {path.name: path.read_text("utf-8") for path in (tmp_path / "site").rglob("*") if path.is_file()}
    assert "s0.example" in files["index.html"] and SMALLER["tld"] in files["index.html"]
    assert not [name for name, text in files.items() if "s2.example" in text or "s3.example" in text]


def test_the_option_sets_the_size_for_table_and_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "data", world(12, 3, 1))
    data = str(tmp_path / "data")
    run_command(stats, "--data", data, "--by", "provider", "--smallest-group", "3")
    out = capsys.readouterr().out
    assert "p1.example" not in out, "the one that is left would stand alone, so the next joins it"
    run_command(report, "--data", data, "--out", str(tmp_path / "site"), "--smallest-group", "1")
    assert "s2.example" in (tmp_path / "site" / "index.html").read_text("utf-8")


@pytest.mark.parametrize("size", ["0", "-1", "many", "1.5"])
def test_a_size_that_is_none_is_refused(size: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run_command(stats, "--data", str(tmp_path), "--smallest-group", size)
    assert "is not a number of domains" in capsys.readouterr().err
