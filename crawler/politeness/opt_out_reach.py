"""How many names of a list each opt-out reaches, by itself and as the host of their mail.

A person who opts out `user@provider.example` probably meant himself, and opts out the mail of all customers of the
provider. The entry is heeded all the same. Its reach is told to the operator and written into the manifest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from crawler.politeness.opt_out_file import OptOuts

MANY_NAMES = 1_000
"""Listed names that an entry reaches before that is worth a warning."""


class Reach:
    """Counts for each entry that is a domain: listed names that it covers, and those whose mail it covers a host of."""

    def __init__(self, opt_outs: OptOuts) -> None:
        self._opt_outs = opt_outs
        self._listed: Counter[str] = Counter()
        self._mail: dict[str, float] = {}

    def __bool__(self) -> bool:
        """Whether there is anything to be counted."""
        return bool(self._opt_outs.names)

    def add_domains(self, names: Iterable[str | None]) -> None:
        """Names of the list, each once."""
        self._listed.update(
            entry for name in names if name is not None and (entry := self._opt_outs.covering(name)) is not None
        )

    def add_host(self, names: Iterable[str], weight: float) -> None:
        """A mail host by its name and aliases, to which so many listed domains send their mail."""
        for entry in {entry for name in names if (entry := self._opt_outs.covering(name)) is not None}:
            self._mail[entry] = self._mail.get(entry, 0.0) + weight

    def far(self) -> list[dict[str, Any]]:
        """Entries that reach many names, for the manifest: the farthest first."""
        counts = {
            entry: (self._listed[entry], round(self._mail.get(entry, 0.0)))
            for entry in self._listed.keys() | self._mail.keys()
        }
        far = [entry for entry, both in counts.items() if max(both) > MANY_NAMES]
        far.sort(key=lambda entry: (-sum(counts[entry]), entry))
        return [
            {"entry": entry, "listed_names": counts[entry][0], "names_with_mail_there": counts[entry][1]}
            for entry in far
        ]

    def lines(self) -> Iterator[str]:
        """The same for people."""
        for one in self.far():
            yield (
                f"warning: the opt-out {one['entry']} covers {one['listed_names']:,} listed names, and mail hosts of about "
                f"{one['names_with_mail_there']:,}; if a single mailbox or customer was meant, name that"
            )
