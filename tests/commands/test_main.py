"""Wrong usage and wrong input: one clear line on standard error, exit code 2, nothing half-written."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from crawler.commands.arguments import duration
from crawler.commands.main import build_parser, main
from crawler.commands.options import config_of
from crawler.model.errors import UsageError
from crawler.settings.config import Config

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def a_list(tmp_path: Path) -> Path:
    path = tmp_path / "list.txt"
    path.write_text("example.com\n")
    return path


@pytest.fixture
def nobody() -> Iterator[str]:
    """A port of ours behind which nobody listens: it refuses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unbound:
        unbound.bind(("127.0.0.1", 0))
        port = unbound.getsockname()[1]
    yield f"127.0.0.1:{port}"


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str | Path, code: int = 2) -> str:
    assert main([str(argument) for argument in arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    *told, complaint = err.splitlines()
    assert complaint.startswith("starttls-crawler: error: ") and all(line.startswith("list: ") for line in told)
    return complaint


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--workers", "many"], "--workers"),
        (["--workers", "-3"], "workers=-3 is out of range"),
        (["--limit", "-1"], "limit=-1 is out of range"),
        (["--port", "smtp=0"], "outside 1-65535"),
        (["--port", "smtp"], "not NAME=PORT"),
        (["--port", "gopher=70"], "unknown protocol"),
        (["--protocol", "gopher"], "unknown protocol"),
        (["--resolver", "dns.example"], "is not ADDRESS"),
        (["--resolver", "127.0.0.1:99999"], "no port"),
        (["--allow-network", "10.0.0.0/33"], "allow_network"),
        (["--source-address", "192.0.2.7"], "cannot be used"),
        (["--max-runtime", "soon"], "no duration"),
        (["--max-runtime", "0"], "no duration"),
        (["--config", "missing.toml"], "cannot be read"),
        (["--exclude", "missing.txt"], "missing.txt"),
        (["--nonsense"], "unrecognized"),
        (["--lim", "3"], "unrecognized"),
        (["--ehlo-name", "localhost"], "means something else to every host"),
        (["--ehlo-name", "printer.local"], "means something else"),
        (["--ehlo-name", "192.0.2.1"], "no host name"),
        (["--ehlo-name", ""], "--ehlo-name is missing"),
    ],
)
def test_a_wrong_option_is_one_line(
    capsys: pytest.CaptureFixture[str], a_list: Path, tmp_path: Path, options: list[str], words: str
) -> None:
    data = tmp_path / "data"
    error = complaint(capsys, "scan", a_list, "--data", data, "--ehlo-name", "probe.example", *options)
    assert words in error
    assert not data.exists()


def test_a_scan_without_a_name_of_its_own_is_refused(
    capsys: pytest.CaptureFixture[str], a_list: Path, tmp_path: Path
) -> None:
    assert "--ehlo-name is missing" in complaint(capsys, "scan", a_list, "--data", tmp_path / "data")


def test_an_unreachable_resolver_is_found_before_anything_starts(
    capsys: pytest.CaptureFixture[str], a_list: Path, tmp_path: Path, nobody: str
) -> None:
    data = tmp_path / "data"
    error = complaint(capsys, "scan", a_list, "--data", data, "--ehlo-name", "probe.example", "--resolver", nobody)
    assert nobody in error and "--resolver" in error
    assert not data.exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing", None, "No such file"),
        ("empty", b"", "empty"),
        ("comments", b"# only\n\n", "empty"),
        ("junk", bytes(range(256)) * 8, "binary"),
        ("cut.gz", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b", "damaged"),
    ],
)
def test_a_list_that_is_none_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    error = complaint(capsys, "scan", path, "--data", tmp_path / "data", "--ehlo-name", "probe.example")
    assert words in error and str(path) in error
    assert not (tmp_path / "data").exists()


def test_a_directory_is_no_list(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "is a directory" in complaint(
        capsys, "scan", tmp_path, "--data", tmp_path / "data", "--ehlo-name", "probe.example"
    )


@pytest.mark.parametrize("arguments", [[], ["scan"], ["nonsense"], ["scan", "a", "b"]])
def test_wrong_usage_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert "--help" in complaint(capsys, *arguments)


def test_every_command_has_help_with_what_it_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["scan", "--help"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 0
        assert "examples:" in capsys.readouterr().out


def test_options_win_over_the_file(tmp_path: Path) -> None:
    settings = tmp_path / "scan.toml"
    settings.write_text(
        'ehlo_name = "file.example"\nlimit = 7\nipv6 = false\n[port]\nsmtp = 2500\n[dns]\ntimeout = 1\n'
    )
    arguments = ["scan", "list", "--data", "d", "--config", str(settings), "--limit", "9", "--no-tlsa"]
    config = config_of(build_parser().parse_args(arguments))
    assert (config.ehlo_name, config.limit, config.tlsa, config.mta_sts) == ("file.example", 9, False, True)
    assert (config.port, config.ipv6, config.dns.timeout) == ({"smtp": 2500}, False, 1.0)
    config = config_of(build_parser().parse_args([*arguments, "--port", "smtp=26", "--ipv6"]))
    assert (config.port, config.ipv4, config.ipv6) == ({"smtp": 26}, False, True)


@pytest.mark.parametrize(
    ("text", "seconds"), [("8h", 28_800), ("90m", 5_400), ("1h30m", 5_400), ("45s", 45), ("45", 45), ("0.5h", 1_800)]
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize(
    "arguments",
    [
        ["scan", "list-\udcff.txt", "--data", "d"],
        ["scan", "list", "--data", "d", "--vantage", "\udce9"],
        ["scan", "list", "--data", "d-\udcff"],
        ["rejudge", "--data", "d", "--out", "\udcff"],
        ["stats", "--data", "\udcff"],
        ["lab", "--dir", "\udcff"],
    ],
)
def test_what_is_no_text_is_refused_at_the_door_and_leaves_nothing_behind(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """A name of a file that is not UTF-8 left half a run behind, and a traceback."""
    monkeypatch.chdir(tmp_path)
    assert "\\udc" in (error := complaint(capsys, *arguments)) and "is not UTF-8" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--secure-name", "--bogus-name", "--connect"])
@pytest.mark.parametrize("name", ["a..b", "x" * 300, f"{'x' * 100}.example", ""])
def test_names_for_doctor_that_are_none_are_one_line(
    capsys: pytest.CaptureFixture[str], option: str, name: str
) -> None:
    assert f"{option}: " in (error := complaint(capsys, "doctor", option, name)) and "is no domain name" in error


@pytest.mark.parametrize("text", ["9" * 400, f"{'9' * 400}h", "0", "soon"])
def test_what_is_no_duration_is_one_line(capsys: pytest.CaptureFixture[str], text: str) -> None:
    assert "is no duration above zero" in complaint(capsys, "scan", "list", "--data", "d", "--max-runtime", text)


def test_an_unwritable_data_directory_is_one_line(
    capsys: pytest.CaptureFixture[str], a_list: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crawler.preflight.readiness.ask_resolvers", lambda config: [])
    for data in (a_list, a_list / "below", Path("/proc/nowhere")):
        error = complaint(capsys, "scan", a_list, "--data", data, "--ehlo-name", "probe.example")
        assert "check --data" in error and str(data) in error


@pytest.mark.parametrize(("raised", "code"), [(KeyboardInterrupt(), 130), (UsageError("one\ntwo"), 2)])
def test_what_a_command_raises_becomes_an_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int
) -> None:
    def fail(options: object) -> int:
        raise raised

    monkeypatch.setattr("crawler.commands.scan.run", fail)
    assert main(["scan", "list", "--data", "d"]) == code
    assert capsys.readouterr().err == ("" if code == 130 else "starttls-crawler: error: one two\n")


def test_a_reader_that_stops_reading_is_no_error() -> None:
    command = f"{sys.executable} -m crawler scan --help | head -c 10"
    done = subprocess.run(
        ["bash", "-c", command],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stderr == "" and done.stdout == "usage: sta"


@pytest.mark.parametrize(
    "command", ["", "scan", "probe", "doctor", "rejudge", "lab", "accuracy", "demo", "stats", "report"]
)
def test_help_is_no_wider_than_a_terminal_but_for_what_is_copied(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main([word for word in (command, "--help") if word])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 80 and not line.startswith("  starttls-crawler ")] == []


def test_the_help_of_an_option_is_the_meaning_of_its_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit):
        main(["scan", "--help"])
    said = capsys.readouterr().out
    names = ("resolver", "ehlo_name", "exclude", "protocol", "source_address", "tlsa", "mta_sts", "limit", "workers")
    meanings = {field.name: field.metadata["doc"] for field in fields(Config)}
    assert [name for name in names if meanings[name] not in said] == []


def test_the_program_measures_without_pandas(tmp_path: Path) -> None:
    """pyarrow imports it with the first array that it makes, where it is installed: a quarter of a second of each process."""
    code = (
        "import sys; from crawler.commands.main import main\n"
        f"sys.argv[1:] = ['rejudge', '--data', {str(tmp_path)!r}, '--out', {str(tmp_path / 'out')!r}]\n"
        "code = main(); import pyarrow as pa; pa.array(['a']); print(code, 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["2", "False"], done.stderr
