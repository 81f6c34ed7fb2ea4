"""Kleene's logic, by its whole table, and as SQL has it."""

from __future__ import annotations

from itertools import product

import duckdb
import pytest

from crawler.model.three_valued import all_of, any_of

VALUES = (True, False, None)


@pytest.mark.parametrize(("first", "second"), [*product(VALUES, VALUES)])
def test_two_verdicts_make_what_sql_makes_of_them(first: bool | None, second: bool | None) -> None:
    with duckdb.connect(":memory:") as database:
        asked = "SELECT ?::BOOLEAN AND ?::BOOLEAN, ?::BOOLEAN OR ?::BOOLEAN"
        (sql,) = database.execute(asked, [first, second] * 2).fetchall()
    assert (all_of(first, second), any_of(first, second)) == sql


@pytest.mark.parametrize("verdicts", [*product(VALUES, VALUES, VALUES)])
def test_any_number_of_verdicts_make_what_two_and_two_make(verdicts: tuple[bool | None, ...]) -> None:
    first, *rest = verdicts
    assert all_of(*verdicts) is all_of(first, all_of(*rest))
    assert any_of(*verdicts) is any_of(first, any_of(*rest))


def test_of_nothing_everything_holds_and_nothing_does() -> None:
    assert all_of() is True and any_of() is False
