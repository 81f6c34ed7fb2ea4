"""Chains of a run and their certificates, at hand in any order, on disk and in bounded memory.

What it keeps is a copy that nobody sees.  Its file has no name, so it is gone with
the process however that ends; a chain is known by the SHA-256 of its certificates, as in `probes`.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from crawler.certificates.der_fields import der_fields_of
from crawler.certificates.parsing import ParsedCertificate
from crawler.dataset.files import temporary_name
from crawler.dataset.parts import batches, opened
from crawler.settings.declared_limits import limit

LARGEST_INTERMEDIATE = limit(
    16 << 10,
    "bytes of a certificate that may complete chains of others",
    protects="our memory",
    cut="it completes none: `incomplete_chains.error`",
)
"""Bytes of DER; real ones have 1 to 3 KiB.  A larger one completes no chain."""

#: of the database, in bytes; beyond it there is the disk, for reading too: all is one transaction
_MEMORY = limit(
    32 << 20,
    "bytes of chains and certificates held in memory at the end of a run",
    protects="our memory",
    cut="nothing is cut: the rest is on disk",
)
#: The index is there before the rows: one made after them would be sorted in a directory of SQLite's choice.
_TABLES = """
    CREATE TABLE chains (chain TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE wanted (sha256 TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE certificates (sha256 TEXT PRIMARY KEY, der BLOB);
    CREATE TABLE intermediates (sha256 TEXT PRIMARY KEY, issuer BLOB, der BLOB);
    CREATE INDEX by_issuer ON intermediates (issuer, sha256);
"""


class CertificateIndex:
    """The chains that are to be judged, the certificates in them, and the intermediates of the run.

    Every method raises `OSError` when the disk will not take more, or cannot be read.
    """

    def __init__(self, directory: Path) -> None:
        """`directory` is that of the run, where there is room for a copy of its certificates."""
        path = temporary_name(directory / "shelf")
        path.unlink(missing_ok=True)
        with _disk_errors():
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.execute("PRAGMA journal_mode = OFF")
            self._database.execute("PRAGMA synchronous = OFF")
            self._database.execute(f"PRAGMA cache_size = -{_MEMORY >> 10}")
            self._database.executescript(f"BEGIN; {_TABLES}")
        path.unlink()

    def close(self) -> None:
        self._database.close()

    def keep(self, chains: Iterable[list[str]]) -> None:
        """Remember the chains, each once, and that their certificates are wanted; one with gaps cannot be judged."""
        chains = [chain for chain in chains if chain and None not in chain]
        with _disk_errors():
            self._database.executemany("INSERT OR IGNORE INTO chains VALUES (?)", ((",".join(c),) for c in chains))
            wanted = ((sha256,) for chain in chains for sha256 in chain)
            self._database.executemany("INSERT OR IGNORE INTO wanted VALUES (?)", wanted)

    def fill(self, parts: Iterable[Path], tick: Callable[[int], None]) -> None:
        """Take what is wanted from the parts of `certificates`, and every intermediate that could complete a chain.

        An intermediate is a CA certificate that did not sign itself. One that did ends a path: if the store does not
        hold it, no known certificate changes that.
        """
        for part in parts:
            with opened(part) as file:
                for batch in batches(file, ["sha256", "der", "is_ca", "self_signed"]):
                    self._take(batch)
                    tick(batch.num_rows)

    def _take(self, batch: pa.RecordBatch) -> None:
        rows = [row for row in zip(*(column.to_pylist() for column in batch.columns), strict=True) if row[1]]
        found = [(sha256, der, sha256) for sha256, der, _, _ in rows]
        intermediates = [
            (sha256, der_fields.issuer, der)
            for sha256, der, is_ca, self_signed in rows
            if is_ca and not self_signed and len(der) <= LARGEST_INTERMEDIATE and (der_fields := der_fields_of(der))
        ]
        with _disk_errors():
            self._database.executemany(
                "INSERT OR IGNORE INTO certificates SELECT ?, ? WHERE EXISTS (SELECT 1 FROM wanted WHERE sha256 = ?)",
                found,
            )
            self._database.executemany("INSERT OR IGNORE INTO intermediates VALUES (?, ?, ?)", intermediates)

    def count(self) -> int:
        """Distinct chains."""
        ((count,),) = self._rows("SELECT count(*) FROM chains")
        return int(count)

    def chains(self) -> Iterator[list[str]]:
        """The distinct chains, in the order of their digests whatever the order in which they came."""
        for (chain,) in self._rows("SELECT chain FROM chains ORDER BY chain"):
            yield chain.split(",")

    def known(
        self, chain: list[str], read: Callable[[bytes], ParsedCertificate | None]
    ) -> list[ParsedCertificate | None]:
        """The certificates of a chain; None for one that the run does not hold, or that cannot be read."""
        return [self._known(sha256, read) for sha256 in chain]

    def _known(self, sha256: str, read: Callable[[bytes], ParsedCertificate | None]) -> ParsedCertificate | None:
        row = next(self._rows("SELECT der FROM certificates WHERE sha256 = ?", sha256), None)
        known = read(row[0]) if row else None
        return known if known is not None and known.row.sha256 == sha256 else None

    def intermediates(self, issuer: bytes | None = None) -> Iterator[bytes]:
        """Intermediates that name this issuer, or all, in the order of their digests."""
        query = "SELECT der FROM intermediates"
        if issuer is None:
            rows = self._rows(f"{query} ORDER BY sha256")
        else:
            rows = self._rows(f"{query} WHERE issuer = ? ORDER BY sha256", issuer)
        for (der,) in rows:
            yield der

    def _rows(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        with _disk_errors():
            rows = self._database.execute(query, values)
            yield from iter(rows.fetchone, None)  # the cursor itself would be closed, of a closed database too


@contextmanager
def _disk_errors() -> Iterator[None]:
    """What SQLite says of a disk becomes the `OSError` that everybody knows."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if (said := getattr(error, "sqlite_errorcode", None)) is None:
            raise  # it is Python's own word, of a call that is wrong
        code = errno.ENOSPC if said == sqlite3.SQLITE_FULL else errno.EIO
        raise OSError(code, os.strerror(code)) from error
