"""The vocabulary: conclusive or not, and how server bytes become text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.model.rows import TABLES, Outcome, Stage, is_conclusive, printable, schema_of


@given(st.binary(max_size=200))
def test_server_bytes_can_be_had_back_from_the_text(data: bytes) -> None:
    text = printable(data)
    assert text.isascii() and all(character.isprintable() or character == "\n" for character in text)
    back = re.sub(r"\\(\\|x[0-9a-f]{2})", lambda m: "\\" if m[1] == "\\" else chr(int(m[1][1:], 16)), text)
    assert back.encode("latin-1") == data


@pytest.mark.parametrize(
    "outcome", [o for o in Outcome if o not in {Outcome.OK, Outcome.NOT_OFFERED, Outcome.TLS_ALERT, Outcome.TLS_ERROR}]
)
def test_no_failure_before_the_upgrade_is_conclusive(outcome: Outcome) -> None:
    for stage in (Stage.CONNECT, Stage.GREETING, Stage.CAPABILITIES):
        assert is_conclusive(stage, outcome, 421) is False


@pytest.mark.parametrize(("code", "wanted"), [(454, False), (502, True), (None, False)])
def test_a_refused_upgrade_is_conclusive_only_when_refused_for_good(code: int | None, wanted: bool) -> None:
    assert is_conclusive(Stage.UPGRADE, Outcome.UPGRADE_REFUSED, code) is wanted


@pytest.mark.parametrize("table", TABLES)
def test_every_stored_column_has_its_sentence(table: str) -> None:
    for column in schema_of(TABLES[table]):
        assert len((column.metadata or {})[b"doc"]) > 10, column.name
