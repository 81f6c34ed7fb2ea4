"""Sets of verdicts, gathered over many rows in one pass: which of yes, no and unknown were there, for each criterion.

It holds SQL and its reasons, nothing else.  A set is three bits: 1 yes, 2 no, 4 unknown.  Each criterion has two sets, its
own and that of its observed twin.  The sets of `A_WORD` criteria stand in one column, a word, and `bit_or` gathers a word:
an aggregate for each criterion and rule would need many times the memory.  There are as many words as it takes.
"""

from __future__ import annotations

from collections.abc import Iterable

A_WORD = 21
"""Criteria whose sets stand in one word: 6 bits each, and a HUGEINT has 126 that may be shifted into."""

MACROS = (
    "CREATE MACRO set_of(verdict) AS CASE WHEN verdict THEN 1 WHEN NOT verdict THEN 2 ELSE 4 END::HUGEINT",
    """
    CREATE MACRO any_of(seen, place) AS CASE
        WHEN (seen >> place) & 1 <> 0 THEN true WHEN (seen >> place) & 4 <> 0 THEN NULL WHEN seen IS NOT NULL THEN false
    END
    """,
    """
    CREATE MACRO all_of(seen, place) AS CASE
        WHEN (seen >> place) & 2 <> 0 THEN false WHEN (seen >> place) & 4 <> 0 THEN NULL WHEN seen IS NOT NULL THEN true
    END
    """,
)


class VerdictSets:
    """The words of some criteria: `seen_0`, `seen_1` … of a row, and by other names those of many rows."""

    def __init__(self, criteria: Iterable[str]) -> None:
        self._places = {name: divmod(number, A_WORD) for number, name in enumerate(criteria)}
        self._words = range(1 + max((word for word, _ in self._places.values()), default=0))

    def of(self, criteria: Iterable[str], onto: bool = False) -> str:
        """Columns of a SELECT: the words of these criteria, from columns of their names and `inferred`.

        With `onto`, they are added to the words that the row has: a REPLACE list.
        """
        return ", ".join(
            f"{' | '.join([f'seen_{word}'] * onto + sets) or '0::HUGEINT'} AS seen_{word}"
            for word, sets in self._sets(criteria).items()
        )

    def unknown(self) -> str:
        """Columns of a SELECT: the words of a row of which nothing is known."""
        words = dict.fromkeys(self._words, 0)
        for word, place in self._places.values():
            words[word] |= (4 | 4 << 3) << 6 * place
        return ", ".join(f"{value} AS seen_{word}" for word, value in words.items())

    def gathered(self, name: str, where: str = "") -> str:
        """Columns of a grouped SELECT: what was seen in the group, as `name_0`, `name_1` …"""
        scope = f" FILTER (WHERE {where})" if where else ""
        return ", ".join(f"bit_or(seen_{word}){scope} AS {name}_{word}" for word in self._words)

    def names(self, *gathered: str) -> str:
        """The columns that `gathered` makes under these names."""
        return ", ".join(f"{name}_{word}" for name in gathered for word in self._words)

    def verdicts(self, rules: dict[str, tuple[str, str]], criteria: Iterable[str]) -> str:
        """Columns of a SELECT: each criterion by each rule, `NAME_RULE`, and its twin `NAME_RULE_observed`.

        A rule is a macro, and the name under which its sets were gathered.
        """
        return ", ".join(
            f"{decide}({seen}_{word}, {6 * place}) AS {name}_{rule}, "
            f"{decide}({seen}_{word}, {6 * place + 3}) AS {name}_{rule}_observed"
            for rule, (decide, seen) in rules.items()
            for name in criteria
            for word, place in (self._places[name],)
        )

    def _sets(self, criteria: Iterable[str]) -> dict[int, list[str]]:
        sets: dict[int, list[str]] = {word: [] for word in self._words}
        for name in criteria:
            word, place = self._places[name]
            observed = f"CASE WHEN NOT inferred THEN {name} END"
            sets[word].append(f"(set_of({name}) << {6 * place}) | (set_of({observed}) << {6 * place + 3})")
        return sets
