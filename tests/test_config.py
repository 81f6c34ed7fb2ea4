"""Settings that contradict themselves or leave nothing to do are refused in one line."""

from __future__ import annotations

from typing import Any

import pytest

from crawler.config import Config, ConfigError


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
