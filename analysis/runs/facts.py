"""What a stored run says of itself: its manifest, read; nothing is counted here.

Tables, charts and the site are given this and the figures, and ask the run nothing.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from crawler.dataset.stored_manifest import time_of
from crawler.dataset.stored_runs import SUSPECT, Choice, PassedOver


class RunFacts:
    """A run that was chosen to be read, and which others were passed over."""

    def __init__(self, choice: Choice, protocol: str) -> None:
        self.path = choice.run.path
        self.manifest = choice.run.manifest
        self.stored = choice.run
        self.passed_over: tuple[PassedOver, ...] = choice.passed_over
        self.notes = tuple(choice.notes())
        self.protocol = protocol  #: whose endpoints are judged

    @property
    def id(self) -> str:
        """The run's name, which is its UTC start time unless `--run` said otherwise."""
        return self.stored.id

    @property
    def finished(self) -> bool:
        """Whether every shard is in and nothing is suspect; figures of an unfinished run cover what there is."""
        return self.stored.is_whole and not self.suspect

    @property
    def suspect(self) -> bool:
        """Whether the crawler itself finds implausible what it measured; `stored.suspicions` says why."""
        return self.stored.state == SUSPECT

    @property
    def limit(self) -> int | None:
        """How many names of the list were taken at most; None: all."""
        return self.stored.limit

    @property
    def list_hash(self) -> str:
        """SHA-256 (hex) of the list that was scanned, or `unknown`."""
        return self.stored.list_sha256 or "unknown"

    @property
    def origin(self) -> str:
        """List, limit and vantage in a few words."""
        limit = f", limited to its first {self.limit:,} names" if self.limit is not None else ""
        vantage = f", measured from {self.stored.vantage}" if self.stored.vantage else ""
        return f"list {self.list_hash[:12]}{limit}{vantage}"

    @property
    def version(self) -> str:
        """Version of the crawler that measured, or `unknown`."""
        return str((self.manifest.versions or {}).get("starttls-crawler") or "unknown")

    @property
    def judged_for(self) -> datetime | None:
        """The time for which certificates were held against their dates; None: each at its probe."""
        text = self._rejudged.get("judged_for")
        return time_of(text) if text else None

    @property
    def judged_by(self) -> str:
        """How stored chains were judged again, and by which anchors; empty for a run as it was measured."""
        if not self._rejudged:
            return ""
        words = str((self.manifest.trust_anchors or {}).get("sha256") or "unknown")[:12]
        return "+".join(
            str(word) for word in (self._rejudged.get("intermediates"), words, self._rejudged.get("judged_for")) if word
        )

    @property
    def rejudged(self) -> str:
        """The same as a sentence for a reader; empty for a run as it was measured."""
        if not self._rejudged:
            return ""
        place = Path(str((self.manifest.trust_anchors or {}).get("source"))).name
        known = " and the intermediates that any host sent" if self._rejudged.get("intermediates") == "known" else ""
        dates = f", as of {self.judged_for:%Y-%m-%d %H:%M} UTC" if self.judged_for else ""
        return f"Certificates were judged again after the scan, with the trust anchors of {place}{known}{dates}."

    @property
    def _rejudged(self) -> dict[str, Any]:
        again = self.manifest.rejudged or [{}]
        return dict(again[-1])
