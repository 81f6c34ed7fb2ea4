"""How much of a certificate is kept, and from which size on it is read another way."""

from __future__ import annotations

from crawler.settings.declared_limits import limit

LARGE = limit(
    8 << 10,
    "bytes of a certificate from which on OpenSSL's form of it is not kept",
    protects="our memory",
    cut="nothing is cut: it is made anew where it is needed",
)
"""Bytes of DER from which on a certificate is hostile rather than rich (real ones have 1 to 6 KiB).

OpenSSL's form of it, which takes up to fifty times as much, is then not kept but made anew where a chain is judged;
and its extensions are read by `der_fields`, as the library makes an object of each name.
"""

NAMES_KEPT, NAME_BYTES_KEPT = 1_000, 64 << 10
"""DNS names stored of one certificate, and characters of them; CAs put 100 to 250 names into one.

A match is asked of all names where a certificate is received; of those that are stored nobody can say *no* for the rest.
"""

TEXT_KEPT = limit(
    4_096,
    "characters stored of a subject's or an issuer's name",
    protects="the disk",
    cut="the stored text has exactly so many",
)
"""Characters stored of the name of a subject or an issuer."""
