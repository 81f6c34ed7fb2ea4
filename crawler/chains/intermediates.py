"""The intermediates that a sender could have learnt from a run: what its hosts sent, and a store leads to.

Known is a CA certificate that any host of the run sent and from which signatures
lead up to a trust anchor, and nothing else: issuers that certificates merely point to (AIA) are never
fetched.  A certificate from which nothing leads up completes no path, so the thousands of them that
one hostile host may send, of whatever name, cost a signature check each and no memory.

Which are known, and in which order they are offered, depends on the run's certificates alone.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator

from crawler.certificates.der_fields import der_fields_of
from crawler.certificates.parsing import ParsedCertificate
from crawler.certificates.signatures import is_issued_by
from crawler.certificates.trust_store import TrustStore
from crawler.chains.chain_index import CertificateIndex
from crawler.settings.declared_limits import limit

log = logging.getLogger(__name__)

KNOWN_AT_MOST = limit(
    20_000, "known intermediates of a run", protects="our memory", cut="those left out are counted in a warning"
)
"""Some 40 MiB; all the intermediates of all the public hierarchies are about 10,000 (CCADB)."""

NAMESAKES_AT_MOST = limit(
    64,
    "known intermediates of one subject",
    protects="our processor time",
    cut="those left out are counted in a warning",
)
"""Certificates of one subject that are kept; a few intermediates have been issued again some twenty times."""

HEIGHT = limit(
    8,
    "known intermediates above each other",
    protects="our processor time",
    cut="a longer path is none: `incomplete_chains.error`",
)
"""Intermediates above each other; real paths have no more than three."""


class Intermediates:
    """Known certificates by subject: those nearest to an anchor first, so that no path runs in a circle."""

    def __init__(self, index: CertificateIndex, trust: TrustStore, tick: Callable[[int], None]) -> None:
        """`tick` is told of each certificate that is looked at, and may raise to stop the work."""
        self._trust = trust
        self._tick = tick
        self._by_subject: dict[bytes, list[bytes]] = {}
        self._known: set[bytes] = set()
        self._left_out = 0
        self._used: set[tuple[bytes, bytes]] = set()  # subjects and keys whose issue has been found
        level = self._keep(der for der in index.intermediates() if self._is_anchored(der))
        for _ in range(HEIGHT - 1):
            level = self._keep(der for issuer in level for der in self._issue_of(issuer, index))
        if self._left_out:
            log.warning(
                "%d intermediates that hosts sent are not taken for known: there are more than %d, or more than %d of one name",
                self._left_out, KNOWN_AT_MOST, NAMESAKES_AT_MOST,
            )  # fmt: skip

    def __call__(self, subject: bytes) -> Iterator[ParsedCertificate]:
        """The known certificates of a subject (DER)."""
        return self._read(self._by_subject.get(subject, ()))

    def __len__(self) -> int:
        return len(self._known)

    def _keep(self, found: Iterable[bytes]) -> list[bytes]:
        """Remember what is new, in the order found, as far as there is room; returns it."""
        new = []
        for der in found:
            digest, der_fields = hashlib.sha256(der).digest(), der_fields_of(der)
            if digest in self._known or der_fields is None:
                continue
            namesakes = self._by_subject.get(der_fields.subject, [])
            if len(self._known) >= KNOWN_AT_MOST or len(namesakes) >= NAMESAKES_AT_MOST:
                self._left_out += 1
                continue
            self._known.add(digest)
            self._by_subject.setdefault(der_fields.subject, namesakes).append(der)
            new.append(der)
        return new

    def _is_anchored(self, der: bytes) -> bool:
        self._tick(1)
        known = self._trust.read(der)
        return known is not None and self._trust.is_anchored(known) is True

    def _issue_of(self, issuer: bytes, index: CertificateIndex) -> Iterator[bytes]:
        """What an intermediate signed; twins with one name and one key signed the same."""
        for signer in self._read([issuer]):
            assert signer.der_fields is not None
            name = signer.der_fields.subject
            if (name, signer.der_fields.public_key) in self._used:
                return
            self._used.add((name, signer.der_fields.public_key))
            for der in index.intermediates(name):
                self._tick(1)
                yield from (der for known in self._read([der]) if is_issued_by(known.der, signer.der))

    def _read(self, ders: Iterable[bytes]) -> Iterator[ParsedCertificate]:
        return (known for der in ders if (known := self._trust.read(der)) is not None)
