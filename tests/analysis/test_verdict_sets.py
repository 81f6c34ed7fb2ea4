"""Sets of verdicts, however many criteria there are."""

from __future__ import annotations

import random
from collections.abc import Sequence

import duckdb
import pytest

from analysis.sql.verdict_sets import A_WORD, MACROS, VerdictSets

RULES = {"any": ("any_of", "every"), "all": ("all_of", "every"), "some_all": ("all_of", "some")}
Verdict = bool | None


def any_of(verdicts: Sequence[Verdict]) -> Verdict:
    return True if True in verdicts else None if None in verdicts or not verdicts else False


def all_of(verdicts: Sequence[Verdict]) -> Verdict:
    return False if False in verdicts else None if None in verdicts or not verdicts else True


@pytest.mark.parametrize("count", [1, A_WORD - 1, A_WORD, A_WORD + 1, 60])
def test_any_number_of_criteria_are_judged_by_every_rule(count: int) -> None:
    chance = random.Random(count)
    criteria = [f"c{number}" for number in range(count)]
    sets = VerdictSets(criteria)
    early, late = criteria[: count // 2], criteria[count // 2 :]
    rows = [
        {"unit": chance.randrange(4), "inferred": chance.random() < 0.5, "is_some": chance.random() < 0.5}
        | {name: chance.choice([True, False, None]) for name in criteria}
        for _ in range(12)
    ]
    with duckdb.connect(":memory:") as database:
        for macro in MACROS:
            database.execute(macro)
        columns = ", ".join(f"{name} BOOLEAN" for name in ("inferred", "is_some", *criteria))
        database.execute(f"CREATE TABLE facts (unit INTEGER, {columns})")
        for row in rows:
            database.execute(f"INSERT INTO facts VALUES ({', '.join('?' * len(row))})", list(row.values()))
        found = database.execute(f"""
            SELECT unit, {sets.verdicts(RULES, criteria)} FROM (
                SELECT unit, {sets.gathered("every")}, {sets.gathered("some", "is_some")} FROM (
                    SELECT * REPLACE ({sets.of(late, onto=True)}) FROM (SELECT *, {sets.of(early)} FROM facts)
                ) GROUP BY unit
            )
        """)
        names = [column[0] for column in found.description or ()]
        judged = {row[0]: dict(zip(names, row, strict=True)) for row in found.fetchall()}
        blank = database.execute(
            f"SELECT {sets.verdicts({'any': ('any_of', 'seen')}, criteria)} FROM (SELECT {sets.unknown()})"
        )
        assert blank.fetchall() == [(None,) * (2 * count)]
    assert judged.keys() == {row["unit"] for row in rows}
    for unit, verdicts in judged.items():
        mine = [row for row in rows if row["unit"] == unit]
        for name in criteria:
            for suffix, value in (
                ("", lambda row, n=name: row[n]),
                ("_observed", lambda row, n=name: None if row["inferred"] else row[n]),
            ):
                assert verdicts[f"{name}_any{suffix}"] is any_of([value(row) for row in mine])
                assert verdicts[f"{name}_all{suffix}"] is all_of([value(row) for row in mine])
                some = [value(row) for row in mine if row["is_some"]]
                assert verdicts[f"{name}_some_all{suffix}"] is (all_of(some) if some else None)
