"""How much work the name constraints of a chain are: whoever makes both names and constraints makes it any amount.

This module is pure.  OpenSSL holds each name of each certificate against each constraint of every CA above it (RFC
5280 §6.1.3 (b), (c)), which takes 0.01 to 0.4 µs.  It stops at a million for one certificate and one CA; a chain of
sixteen, each with 600 names and as many constraints, would be forty million.
"""

from __future__ import annotations

from collections.abc import Iterable

from crawler.anatomy import Extensions
from crawler.certificates import Known
from crawler.declared_limits import limit

MOST_COMPARISONS = limit(
    1 << 16,
    "comparisons of names with name constraints for one verdict",
    protects="our processor time",
    cut="`probes.chain_trusted` is null and `chain_error` says that it would cost too much; `dane_error` is `too_costly`",
)
"""For one verdict: 25 ms at most.  A certificate of 1,000 names, which no CA issues, may be under 65 constraints."""

_HAS_CONSTRAINTS = bytes.fromhex("0603551d1e")


def comparisons(certificates: Iterable[Known]) -> int:
    """An upper bound of the comparisons for a path through these certificates."""
    ders = [known.der for known in certificates]
    constrained = [der for der in ders if _HAS_CONSTRAINTS in der]
    if not constrained:
        return 0
    return sum(map(_name_count, ders)) * sum(map(_constraint_count, constrained))


def _name_count(der: bytes) -> int:
    """The names of a certificate; of one whose names cannot be read, as many as there is room for."""
    count = Extensions(der).name_count()
    return 1 + (len(der) // 2 if count is None else count)  # the subject is one more


def _constraint_count(der: bytes) -> int:
    count = Extensions(der).constraint_count()
    return len(der) // 2 if count is None else count
