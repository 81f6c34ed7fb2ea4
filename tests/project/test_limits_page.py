"""docs/limits.md has every limit, with what is counted where it cuts."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from crawler.model.rows import TABLES
from crawler.model.vocabulary import DaneError, MtaStsFetch, Outcome, Stage
from crawler.settings.config import Config
from tools import golden
from tools.limits_page import GROUPS, WORDS, declared

PAGE = golden.LIMITS.read_text("utf-8")


def test_the_page_of_limits_is_up_to_date() -> None:
    """`make golden` writes it."""
    assert golden.limits_page() == PAGE


@pytest.mark.parametrize("group", GROUPS)
def test_every_setting_of_a_group_has_an_entry(group: str) -> None:
    names = {f"{group}.{field.name}" for field in fields(getattr(Config(), group))}
    assert names == {name for name in WORDS if name.startswith(f"{group}.")}
    assert [name for name in names if f"| `{name}` | " not in PAGE] == []


def test_no_group_of_settings_is_forgotten_and_no_entry_is_left_over() -> None:
    groups = {field.name for field in fields(Config) if is_dataclass(getattr(Config(), field.name))}
    assert groups == set(GROUPS)
    alone = {name for name in WORDS if "." not in name}
    assert alone <= {field.name for field in fields(Config)} - groups


def test_every_declared_limit_is_on_the_page_and_says_what_happens() -> None:
    limits = declared()
    assert {
        "crawler.executors.pool_limits",
        "crawler.certificates.effort",
        "crawler.lists.formats",
        "analysis.runs.limits",
    } <= {limit.module for limit in limits}
    for limit in limits:
        assert limit.what and limit.protects and limit.cut
        assert f"| `{limit.module}` | " in PAGE and limit.what in PAGE


def words_in_code(text: str) -> set[str]:
    """The words between backticks."""
    return set(text.split("`")[1::2])


def test_columns_and_words_that_the_page_names_exist() -> None:
    columns = {f"{table}.{field.name}" for table, row in TABLES.items() for field in fields(row)}
    known: set[Any] = {*columns, *(name.partition(".")[2] for name in columns), *WORDS}
    known |= {*map(str, Stage), *map(str, Outcome), *map(str, DaneError), *map(str, MtaStsFetch)}
    known |= {
        "interrupted",
        "suspect",
        "suspicions",
        "outages",
        "given_up",
        "configuration",
        "certificates_over_budget",
    }
    known |= {"unknown", "invalid", "malformed", "lookup_failed", "dh key too large", "stats", "report", "about"}
    known |= {"duplicates_estimated", "domains", "input", "(smaller suffixes)"}
    told = [cut for _, cut in WORDS.values()] + [limit.cut for limit in declared()]
    assert {word for text in told for word in words_in_code(text)} - known == set()
