"""`stats` in every format."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from hashlib import sha256
from pathlib import Path

import pytest

from analysis.figures.compute import compute, figures, figures_by
from analysis.figures.shares import Labelled
from analysis.figures.words import folded
from analysis.runs.run import Run
from analysis.tables import terminal
from crawler import __version__
from crawler.model.rows import Probe
from tests.kit.figure_runs import run_stats
from tests.kit.small_runs import probe, write_run
from tests.kit.stats_rows import ROWS


def test_json_states_the_facebook_figure_with_all_that_is_needed_to_judge_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path, ROWS)
    assert run_stats("--data", str(tmp_path), "--format", "json") == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    figure = document["facebook_2014"]
    assert err == ""
    assert {name: figure[name] for name in ("numerator", "denominator", "unknown", "all", "observed", "inferred")} == {
        "numerator": 1,
        "denominator": 3,
        "unknown": 1,
        "all": 4,
        "observed": 3,
        "inferred": 0,
    }
    assert figure["share"] == pytest.approx(1 / 3, abs=1e-6)
    assert figure["bounds"] == [0.25, 0.5]
    assert figure["weighted_by_messages"] is False
    assert (figure["unit"], figure["rule"]) == ("domains", "primary")
    assert figure["population"] and figure["signature"].startswith("facebook_2014|run:")
    assert document["run"]["finished"] is True
    assert document["shares"]["starttls_offered.domains.any"]["numerator"] == 2
    assert document["distributions"]["tls_versions.endpoints"]["values"][0]["label"] == "TLSv1.3"


def test_json_of_weighted_figures_says_what_the_weights_met(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, ROWS)
    weights = tmp_path / "weights.csv"
    weights.write_text("domain,messages\na.example,97\nb.example,3\nother.example,11\n", "utf-8")
    run_stats("--data", str(tmp_path), "--format", "json", "--weights", str(weights))
    document = json.loads(capsys.readouterr().out)
    assert document["facebook_2014"]["share"] == 0.97
    assert (document["facebook_2014"]["unit"], document["facebook_2014"]["denominator"]) == ("messages", 100)
    assert document["weights"]["unmatched"] == 11


def test_csv_has_a_line_for_each_share_and_each_label(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, ROWS)
    run_stats("--data", str(tmp_path), "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    offered = next(row for row in rows if row["figure"] == "starttls_offered.domains.primary")
    assert (offered["numerator"], offered["denominator"], offered["lower"], offered["upper"]) == (
        "2",
        "3",
        "0.5",
        "0.75",
    )
    version = next(row for row in rows if row["figure"] == "tls_versions.endpoints")
    assert (version["label"], version["numerator"], version["share"]) == ("TLSv1.3", "2", "1.0")


@pytest.mark.parametrize("by", ["tld", "provider", "rank"])
def test_figures_are_broken_down_in_every_format(by: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, ROWS)
    expected = {"tld": "example", "provider": "a.example", "rank": "1 to 100"}[by]
    run_stats("--data", str(tmp_path), "--smallest-group", "1", "--by", by, "--format", "json")
    document = json.loads(capsys.readouterr().out)
    assert (document["by"], document["groups"][0]["group"]) == (by, expected)
    run_stats("--data", str(tmp_path), "--smallest-group", "1", "--by", by, "--format", "csv")
    assert f"\n{expected},starttls_offered.domains.primary," in capsys.readouterr().out
    run_stats("--data", str(tmp_path), "--smallest-group", "1", "--by", by)
    assert f"\n{expected} " in capsys.readouterr().out


@pytest.mark.parametrize("by", ["tld", "provider", "rank"])
def test_what_senders_would_do_is_broken_down_in_every_format(
    by: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path, ROWS)
    run_stats("--data", str(tmp_path), "--smallest-group", "1", "--by", by, "--format", "json")
    groups = json.loads(capsys.readouterr().out)["groups"]
    for sender in ("opportunistic_sender", "pkix_strict_sender", "dane_sender", "mta_sts_sender", "authentication"):
        assert sum(group["distributions"][sender]["all"] for group in groups) == 4
    strict = [row for group in groups for row in group["distributions"]["pkix_strict_sender"]["values"]]
    assert {row["label"] for row in strict if row["count"]} == {"encrypted and authenticated", "refused"}
    assert sum(group["shares"]["dane_refused"]["unknown"] for group in groups) == 4
    first = groups[0]["group"]
    run_stats("--data", str(tmp_path), "--smallest-group", "1", "--by", by, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    chosen = [row for row in rows if (row["group"], row["figure"]) == (first, "pkix_strict_sender.domains.primary")]
    assert [row["label"] for row in chosen] == [
        row["label"] for row in groups[0]["distributions"]["pkix_strict_sender"]["values"]
    ]
    run_stats("--data", str(tmp_path), "--smallest-group", "1", "--by", by)
    table = lines_of(capsys.readouterr().out.splitlines(), "A sender that demands a valid certificate, by ")
    assert re.split(r" {2,}", table[1])[1:] == ["domains", "refused", "encrypted and authenticated", "unknown"]
    assert len(table) == 2 + len(groups) and table[2].startswith(first)


def test_every_figure_of_the_headline_rule_is_broken_down(tmp_path: Path) -> None:
    write_run(tmp_path, ROWS)
    with Run.open(tmp_path) as run:
        whole = {figure.id: figure.value for figure in figures(run) if figure.view.rule == "primary"}
        parts = {figure.id: figure.value for figure in figures_by(run, "tld", smallest=1)}
    assert parts.keys() == {name for name in whole if ".domains." in name}
    assert all(str(parts[name]) == str(whole[name]) for name in parts), "one group is the whole"


def test_a_table_in_a_pipe_is_plain_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, ROWS, run="a-long-name-" * 8)
    run_stats("--data", str(tmp_path))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "33.3 %  Forward secrecy and strict certificate validation (Facebook 2014)" in out
    assert "25.0 % of 4 domains are unknown, so the share of all lies in 25.0–50.0 %; observed 3, inferred 0" in out
    recipes = [line for line in out.splitlines() if "facebook_2014|" in line]
    assert len(recipes) == 1 and recipes[0].endswith(f"counted:{__version__}") and len(recipes[0]) > 200


def test_a_share_with_nothing_unknown_is_called_exact_and_one_of_nothing_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path, ROWS)
    weights = tmp_path / "weights.csv"
    for name, words in (
        ("a.example", "all 10 messages are known, so the share is exact; observed 10"),
        ("elsewhere.example", "there are no messages to count, so there is no share; observed 0"),
        ("c.example", "100.0 % of 10 messages are unknown, so there is no share; observed 0"),
    ):
        weights.write_text(f"domain,messages\n{name},10\n", "utf-8")
        run_stats("--data", str(tmp_path), "--weights", str(weights))
        assert words in capsys.readouterr().out


def test_weights_may_come_by_a_pipe_and_have_the_digest_of_all_that_was_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As by `--weights <(command)`: what is read once cannot be read again."""
    write_run(tmp_path, ROWS)
    content = b"\xef\xbb\xbfdomain,messages\na.example,97\nb.example,3\n"
    reader, writer = os.pipe()
    os.write(writer, content)
    os.close(writer)
    run_stats("--data", str(tmp_path), "--format", "json", "--weights", f"/dev/fd/{reader}")
    os.close(reader)
    met = json.loads(capsys.readouterr().out)["weights"]
    assert (met["messages"], met["sha256"]) == (100, sha256(content).hexdigest())


def at_width(run: Run, width: int, by: str | None = None) -> list[str]:
    """What a terminal of that many columns shows."""
    out = terminal.console(file=io.StringIO(), force_terminal=True, color_system=None, width=width)
    terminal.print_stats(out, compute(run, by=(by,) if by else (), smallest_group=1), by)
    assert isinstance(out.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;]*m", "", out.file.getvalue()).splitlines()


def test_a_narrow_terminal_wraps_names_and_cuts_nothing(tmp_path: Path) -> None:
    ciphers = ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA384", "ECDHE-ECDSA-AES128-CCM")
    made = [probe(f"mx.{name}.example", f"192.0.2.{n}", tls_cipher=ciphers[n % 3]) for n, name in enumerate("abcd")]
    write_run(tmp_path, [row for row in ROWS if not isinstance(row, Probe)] + made)
    with Run.open(tmp_path) as run:
        for by in (None, "tld"):
            lines = at_width(run, 50, by)
            assert "…" not in "".join(lines)
            assert max(len(line) for line in lines if "facebook_2014|" not in line) <= 50
            assert any(line.startswith("(this terminal is too narrow for: ") for line in lines)
        start = lines_of(at_width(run, 34), "Ciphers: ")
        flat = "".join(re.split(r" {2,}", line)[0] for line in start)
        assert all(cipher in flat for cipher in ciphers)


def lines_of(lines: list[str], title: str) -> list[str]:
    """The lines of one table, from its title to the empty line behind it."""
    start = next(number for number, line in enumerate(lines) if line.startswith(title))
    return lines[start : lines.index("", start)]


def labelled(*labels: str) -> list[Labelled]:
    return [Labelled(label, 1.0, 0.0, 0.1) for label in labels]


def test_a_row_alone_is_not_folded_and_what_is_unknown_never() -> None:
    assert folded(labelled(*"abc"), 2) == (labelled(*"abc"), [])
    assert folded(labelled(*"abcd"), 2) == (labelled(*"ab"), labelled(*"cd"))
    assert folded(labelled("a", "b", "c", "unknown (timeout)", "d"), 2) == (
        labelled("a", "b", "unknown (timeout)"),
        labelled("c", "d"),
    )
    assert folded(labelled("a", "b", "c", "unknown"), 2) == (labelled("a", "b", "c", "unknown"), [])


def test_the_groups_say_what_the_question_mark_means(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, ROWS)
    run_stats("--data", str(tmp_path), "--by", "tld", "--smallest-group", "1")
    out = capsys.readouterr().out
    assert "in brackets how much of the group is unknown (?)" in out and "66.7 % (25.0 % ?)" in out
