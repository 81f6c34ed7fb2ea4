"""Settings that contradict themselves or leave nothing to do are refused in one line."""

from __future__ import annotations

import json
import math
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from crawler.dataset.files import write_json
from crawler.model.errors import ConfigError
from crawler.settings.config import Config
from crawler.settings.declared import check_ranges


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"resolver": []}, "resolver: is empty"),
        ({"protocol": []}, "protocol: is empty"),
        ({"source_address": ["127.0.0.1", "127.0.0.2"]}, "source_address: 127.0.0.1 and 127.0.0.2 are both IPv4"),
        ({"source_address": ["::1", "127.0.0.1", "2001:db8::1"]}, "source_address: ::1 and 2001:db8::1 are both IPv6"),
    ],
)
def test_settings_that_leave_nothing_to_do_or_mean_two_things_are_one_clear_line(
    values: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        Config.from_mapping(values)
    assert words in str(raised.value) and "\n" not in str(raised.value)


def test_one_source_address_of_each_family_is_fine() -> None:
    assert Config.from_mapping({"source_address": ["::1", "127.0.0.1"]}).source_address == ("::1", "127.0.0.1")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("max_runtime = inf", "max_runtime=inf is no finite number"),
        ("max_runtime = nan", "max_runtime=nan is no finite number"),
        ("max_runtime = 1e400", "max_runtime=inf is no finite number"),
        (f"max_runtime = 0x{'f' * 400}", "is too large: "),
        (f"limit = 0x{'f' * 5_000}", "limit=a number of thousands of digits is out of range"),
        (f"limit = {'9' * 5_000}", "is not TOML"),
        (f"vantage = 0x{'f' * 5_000}", "must be text, not a number of thousands of digits"),
        (f"limit = {'[' * 9_000}{']' * 9_000}", "is not TOML"),
        (f'resolver = ["127.0.0.1:{"9" * 5_000}"]', "has no port between 1 and 65535"),
        ("pacing = {rate = inf}", "rate=inf is no finite number"),
    ],
)
def test_numbers_that_no_machine_can_use_are_one_line(tmp_path: Path, line: str, words: str) -> None:
    """A run without an end could not write its manifest down, and was said to be damaged the next time."""
    (tmp_path / "scan.toml").write_text(line)
    with pytest.raises(ConfigError) as raised:
        Config.load(tmp_path / "scan.toml", {})
    assert words in str(raised.value) and "\n" not in str(raised.value)


def test_every_setting_that_is_a_number_refuses_one_without_an_end() -> None:
    """Whether or not it has an upper bound."""
    checked = 0
    for group in (Config(), *(getattr(Config(), f.name) for f in fields(Config))):
        for name in (f.name for f in fields(group)) if is_dataclass(group) else ():
            if isinstance(getattr(group, name), float):
                with pytest.raises(ConfigError):
                    check_ranges(replace(group, **{name: math.inf}))
                checked += 1
    assert checked > 30


def test_no_json_document_has_a_number_that_no_reader_takes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "manifest.json", {"max_runtime": math.inf})
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_a_file_that_is_no_text_is_the_same_when_it_is_read_again(tmp_path: Path) -> None:
    """The directory that a command runs in may have one."""
    write_json(tmp_path / "manifest.json", {"exclude": "/lists/\udce9/opt-outs"})
    assert json.loads((tmp_path / "manifest.json").read_text("utf-8")) == {"exclude": "/lists/\udce9/opt-outs"}
