"""How much work a path through certificates is, and how much of it their name constraints are.

This module is pure.  Whoever makes both names and constraints makes it any amount.  OpenSSL holds each name of each certificate against each constraint of every CA above it (RFC
5280 §6.1.3 (b), (c)): the subject and what it has of mail addresses and common names, and every name of the
subjectAltName.  It stops at a million for one certificate and one CA; a chain of sixteen, each with 600 names and as
many constraints, would be forty million.
"""

from __future__ import annotations

from collections.abc import Sequence

from crawler.anatomy import Extensions
from crawler.certificates import Known
from crawler.effort import COMPARISON


def path_work(certificates: Sequence[Known]) -> float:
    """What it costs to look for a path through certificates, whichever of them are on it, in the unit of `effort`."""
    return sum(known.effort for known in certificates) + COMPARISON * comparisons(certificates)


def comparisons(certificates: Sequence[Known]) -> int:
    """An upper bound of the comparisons for a path through these certificates."""
    constraints = sum(map(constraint_count, certificates))
    return constraints and constraints * sum(map(name_count, certificates))


def name_count(known: Known) -> int:
    """The names of a certificate that constraints are held against; where they cannot be read, as many as there is room for."""
    if known.name_count is None:
        names, room = Extensions(known.der).name_count(), len(known.der) // 2
        subject = room if known.anatomy is None else known.anatomy.subject.count(_OID)
        known.name_count = 1 + subject + (room if names is None else names)
    return known.name_count


def constraint_count(known: Known) -> int:
    """The name constraints of a certificate; where they cannot be read, as many as there is room for."""
    if known.constraint_count is None:
        count = Extensions(known.der).constraint_count() if _NAME_CONSTRAINTS in known.der else 0
        known.constraint_count = len(known.der) // 2 if count is None else count
    return known.constraint_count


_OID = 0x06
#: What their OID contains, in whichever form its length is written.
_NAME_CONSTRAINTS = bytes.fromhex("551d1e")
