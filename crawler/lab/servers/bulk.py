"""Extensions that make a certificate large: thousands of names, random bytes, hundreds of name constraints.

This module does no I/O.  Names are written in DER by hand, as the library makes an object of each.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from cryptography import x509

from crawler.lab.behaviours.vocabulary import Leaf
from crawler.lab.servers.oddities import SAN, element

_NOBODYS = x509.ObjectIdentifier("1.3.6.1.4.1.32473.1")  # below the number for examples (RFC 5612)


def names_of(leaf: Leaf, names: Iterable[str]) -> x509.UnrecognizedExtension:
    """A subjectAltName of these names and of as many more as the leaf has in its crowd."""
    crowd = (f"{number:0{leaf.crowd_width}x}"[-leaf.crowd_width :] for number in range(leaf.crowd))
    encoded = (element(0x82, name.encode()) for group in (names, crowd) for name in group)
    return x509.UnrecognizedExtension(SAN, element(0x30, b"".join(encoded)))


def ballast(leaf: Leaf, host: str) -> x509.UnrecognizedExtension:
    """Random bytes, the same for the same host."""
    return x509.UnrecognizedExtension(_NOBODYS, random.Random(f"ballast {host}").randbytes(leaf.ballast))


def constraints(count: int) -> x509.NameConstraints:
    """So many name constraints that no name of the lab meets (RFC 5280 §4.2.1.10)."""
    excluded: Iterator[x509.GeneralName] = (x509.DNSName(f"n{number}.elsewhere") for number in range(count))
    return x509.NameConstraints(permitted_subtrees=None, excluded_subtrees=list(excluded))
