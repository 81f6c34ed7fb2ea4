"""What is said of a chain."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from crawler.certificates.validity import Window


@dataclass(frozen=True, slots=True)
class ChainVerdict:
    """What OpenSSL says of a chain, dates apart, and between which instants its dates hold."""

    trusted: bool | None  #: None: OpenSSL could not judge
    error_code: int | None
    error_depth: int | None
    error: str | None
    window: Window
    ordered: bool | None  #: as received, each certificate is followed by one with its issuer's name
    added: tuple[str, ...] = ()  #: SHA-256 (hex) of what is on the path, was known and was not sent
    too_costly: bool = False  #: not judged, as that would have cost more than it may

    def within_validity(self, at: datetime) -> bool | None:
        """Whether the dates hold; None where one that cannot be read decides."""
        return self.window.holds(at)
