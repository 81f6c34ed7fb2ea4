"""Addresses of stores: what is refused, and that no secret is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from crawler.commands.main import main
from crawler.model.errors import UsageError
from crawler.object_store.checkout import place
from crawler.object_store.url import parse_location
from tests.kit.stores import Objects


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("ftp://host/x", "ftp: is no store that is known here"),
        ("s3:/bucket/x", "s3: is no store that is known here"),
        ("s3://key:hush@bucket/x", "must hold no credentials"),
        ("s3://bucket/x?endpoint_override=https://key:hush@host", "must hold no credentials"),
        ("gs://key:hush@bucket/x", "must hold no credentials"),
        ("s3://bucket/x?region=x&endpoint_override=https://key:hush%40127.0.0.1:9", "must hold no credentials"),
        ("s3://bucket/x?region=x&endpoint_override=https%3A%2F%2Fkey%3Ahush%2540127.0.0.1", "must hold no credentials"),
        ("s3://key:hush%40bucket/x", "must hold no credentials"),
        ("gs://anonymous%3Ahush%40bucket/x", "must hold no credentials"),
        ("s3://bucket/x?key:hush%40host", "must hold no credentials"),
        ("s3://bucket/x?key:hush=1", "an option of the address is unknown"),
        ("s3://bucket/x?endpoint_override=https://key:hush", "endpoint_override of the address must be HOST"),
        ("s3://bucket/x?endpoint_override=https://host/?key=hush", "endpoint_override of the address must be HOST"),
        ("s3://bucket/x?secret_key=hush", "option 'secret_key' of the address is unknown"),
        ("s3:///x", "names no bucket"),
        ("s3://", "names no bucket"),
    ],
)
@pytest.mark.parametrize("command", ["scan", "stats"])
def test_a_bad_address_is_one_line_without_secrets(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data: str, said: str, command: str
) -> None:
    (tmp_path / "list.txt").write_text("a.example\n")
    assert main([command, *[str(tmp_path / "list.txt")][: command == "scan"], "--data", data]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and "hush" not in error


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:9000", "http%3A%2F%2F127.0.0.1%3A9000", "host", "host:80", "https://[::1]:1/s3/x"]
)
def test_an_endpoint_may_be_written_in_every_form_that_holds_no_secret(endpoint: str) -> None:
    assert f"endpoint_override={endpoint}" in parse_location(f"s3://bucket/x?endpoint_override={endpoint}").uri


@pytest.mark.parametrize("data", ["s3://bucket/pre#fix?region=x", "gs://bucket/a/pre%20fix", "s3://bucket/pre fix"])
def test_a_prefix_that_would_be_read_as_another_is_refused(data: str) -> None:
    with pytest.raises(UsageError, match=r"--data: the prefix holds '[#% ]', which an address cannot say"):
        parse_location(data)


def test_a_directory_for_copies_is_for_stores_and_stores_are_for_scans(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["scan", "list.txt", "--data", str(tmp_path), "--work-dir", str(tmp_path)]) == 2
    assert "--work-dir: is for" in capsys.readouterr().err
    assert main(["doctor", "--data", "s3://bucket/x"]) == 2
    assert "s3: is no directory, and this command takes no other" in capsys.readouterr().err


def test_each_store_has_copies_of_its_own(store: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one, _ = place("s3://bucket/scans?endpoint_override=http://one", None)
    two, _ = place("s3://bucket/scans?endpoint_override=http://two", None)
    assert one != two and one.parent == tmp_path / "starttls-crawler"
    assert place("s3://bucket/scans/?endpoint_override=http://one", None)[0] == one
    assert place("here", None) == (Path("here"), None)
    assert parse_location("gs://anonymous@bucket/a/b/").name == "gs://bucket/a/b"
