"""The dates of several certificates together.

This module is pure.  What is no date, such as 30 February, is unknown: it bounds nothing, and whatever depends on
it is unknown unless another date decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from OpenSSL import crypto
from OpenSSL._util import ffi, lib

from crawler.certificates.der_fields import instant


class Window(NamedTuple):
    """The time in which all of some certificates are within their dates, as far as these are dates."""

    start: datetime | None  #: None: nothing bounds it
    end: datetime | None
    is_whole: bool  #: every date could be read

    @classmethod
    def of(cls, dates: Iterable[tuple[datetime | None, datetime | None]]) -> Window:
        """The time in which certificates with these first and last dates are all within them."""
        pairs = [*dates]
        starts, ends = [start for start, _ in pairs], [end for _, end in pairs]
        return cls(
            max((start for start in starts if start is not None), default=None),
            min((end for end in ends if end is not None), default=None),
            None not in starts and None not in ends,
        )

    def holds(self, at: datetime) -> bool | None:
        """Whether a time lies in it: no if a date that is known says so, else unknown if one is not known."""
        if (self.start is not None and at < self.start) or (self.end is not None and at > self.end):
            return False
        return True if self.is_whole else None


def dates_of(certificate: crypto.X509) -> tuple[datetime | None, datetime | None]:
    """From when and until when a certificate says that it holds; None for what is no date."""
    return (
        _instant(lib.X509_getm_notBefore(certificate._x509)),
        _instant(lib.X509_getm_notAfter(certificate._x509)),
    )


def _instant(asn1_time: Any) -> datetime | None:
    """A date as it stands in a certificate.  pyOpenSSL would convert it first, and raise where that is none."""
    text = ffi.cast("ASN1_STRING *", asn1_time)
    return instant(ffi.buffer(lib.ASN1_STRING_get0_data(text), lib.ASN1_STRING_length(text))[:])
