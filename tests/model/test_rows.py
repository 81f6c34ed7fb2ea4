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
    "outcome",
    sorted(
        set(Outcome)
        - {Outcome.OK, Outcome.NOT_OFFERED, Outcome.STARTTLS_IMPOSSIBLE, Outcome.TLS_ALERT, Outcome.TLS_ERROR}
    ),
)
def test_no_failure_before_the_upgrade_is_conclusive(outcome: Outcome) -> None:
    for stage in (Stage.CONNECT, Stage.GREETING, Stage.CAPABILITIES):
        assert is_conclusive(stage, outcome, for_good=False, inside_tls=False) is False


@pytest.mark.parametrize("for_good", [False, True])
def test_a_refused_upgrade_is_conclusive_only_when_refused_for_good(for_good: bool) -> None:
    assert is_conclusive(Stage.UPGRADE, Outcome.UPGRADE_REFUSED, for_good=for_good, inside_tls=False) is for_good


@pytest.mark.parametrize("outcome", [Outcome.REJECTED, Outcome.PROTOCOL_ERROR])
@pytest.mark.parametrize("stage", [Stage.GREETING, Stage.AFTER_TLS])
def test_a_host_that_turns_us_away_inside_tls_does_tls_whatever_the_stage(outcome: Outcome, stage: Stage) -> None:
    assert is_conclusive(stage, outcome, for_good=False, inside_tls=True) is True


@pytest.mark.parametrize("table", TABLES)
def test_every_stored_column_has_its_sentence(table: str) -> None:
    for column in schema_of(TABLES[table]):
        assert len((column.metadata or {})[b"doc"]) > 10, column.name
