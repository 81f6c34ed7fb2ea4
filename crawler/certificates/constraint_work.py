"""How much work a path through certificates is, and how much of it their name constraints are.

This module is pure.  The maker of a chain chooses the number of names and of constraints, so he chooses the amount of work.  OpenSSL holds each name of each certificate against each constraint of every CA above it (RFC
5280 §6.1.3 (b), (c)): the subject and what it has of mail addresses and common names, and every name of the
subjectAltName.  It stops at a million for one certificate and one CA; a chain of sixteen, each with 600 names and as
many constraints, would be forty million.
"""

from __future__ import annotations

from collections.abc import Sequence

from crawler.certificates.der_fields import Extensions
from crawler.certificates.effort import COMPARISON
from crawler.certificates.parsing import ParsedCertificate


def path_work(certificates: Sequence[ParsedCertificate]) -> float:
    """The cost of looking for a path through certificates, whichever of them are on it, in the unit of `effort`."""
    return sum(known.effort for known in certificates) + COMPARISON * comparisons(certificates)


def comparisons(certificates: Sequence[ParsedCertificate]) -> int:
    """An upper bound of the comparisons for a path through these certificates."""
    constraints = sum(map(constraint_count, certificates))
    return constraints and constraints * sum(map(name_count, certificates))


def name_count(known: ParsedCertificate) -> int:
    """The names of a certificate that constraints are held against; where they cannot be read, as many as there is room for."""
    return _counted(known)[0]


def constraint_count(known: ParsedCertificate) -> int:
    """The name constraints of a certificate; where they cannot be read, as many as there is room for."""
    return _counted(known)[1] if _NAME_CONSTRAINTS in known.der else 0


def _counted(known: ParsedCertificate) -> tuple[int, int]:
    """Names and constraints, counted once."""
    if known.counted is None:
        extensions, room = Extensions(known.der), len(known.der) // 2
        names, constraints = extensions.name_count(), extensions.constraint_count()
        subject = room if known.der_fields is None else known.der_fields.subject.count(_OID)
        names = 1 + subject + (room if names is None else names)
        known.counted = names, room if constraints is None else constraints
    return known.counted


_OID = 0x06
#: What their OID contains, in whichever form its length is written.
_NAME_CONSTRAINTS = bytes.fromhex("551d1e")
