"""What is known of a list before it is cut: its hash, its form in words, and what is in it.

A list is read through once for it, in bounded memory.  Nobody is contacted before a person could read what was
understood.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from crawler.lists.cells import is_from_mailbox, is_from_url
from crawler.model.rows import Target
from crawler.model.vocabulary import ONE_HOST_A_LINE
from crawler.settings.declared_limits import limit

_EXACTLY = limit(
    200_000,
    "names of a list told apart exactly",
    protects="our memory",
    cut="duplicates are estimated beyond it, and the line says `about`; `duplicates_estimated` in the manifest",
)
"""Different names that are told apart by their hashes; beyond it their number is estimated."""

_BITS = 1 << 26
"""Bits of the estimate, 8 MiB: of a hundred million names it is right to about one in a thousand."""

_EXAMPLES = 3

_PORTS = 8
"""Ports named of a list of hosts."""

_MANY_NAMES = 1_000
"""Listed names that one opt-out covers before that is worth a warning."""


class _Distinct:
    """How many different names there are, exactly or estimated by linear counting (Whang et al. 1990)."""

    def __init__(self) -> None:
        self._hashes: set[int] | None = set()
        self._bits = bytearray()
        self._set = 0

    @property
    def is_exact(self) -> bool:
        return self._hashes is not None

    def add(self, name: str) -> None:
        number = hash(name)
        if self._hashes is not None:
            self._hashes.add(number)
            if len(self._hashes) > _EXACTLY:
                self._bits, kept, self._hashes = bytearray(_BITS // 8), self._hashes, None
                for known in kept:
                    self._mark(known)
        else:
            self._mark(number)

    def _mark(self, number: int) -> None:
        place, bit = (number % _BITS) >> 3, 1 << (number & 7)
        if not self._bits[place] & bit:
            self._bits[place] |= bit
            self._set += 1

    def __len__(self) -> int:
        if self._hashes is not None:
            return len(self._hashes)
        return round(-_BITS * math.log(max(1, _BITS - self._set) / _BITS))


@dataclass
class ListContents:
    """What is in a list."""

    form: str = ""  #: in words
    valid: int = 0
    invalid: int = 0
    duplicates: int = 0  #: valid names that came before
    duplicates_estimated: bool = False
    from_urls: int = 0
    from_mailboxes: int = 0
    examples: list[str] = field(default_factory=list)  #: names as they were understood
    problems: list[str] = field(default_factory=list)  #: lines that are no names, and why
    asked: Counter[tuple[int, str]] = field(
        default_factory=Counter
    )  #: hosts with a port, by it and what is asked there
    opted_out: Counter[str] = field(default_factory=Counter)  #: listed names by the opt-out that covers them

    def lines(self) -> Iterator[str]:
        """For people, before anybody is contacted."""
        unit = "host" if self._is_of_hosts else "name"
        yield f"list: {self.form}; e.g. {', '.join(self.examples) or 'none'}"
        origins = [
            f"{count:,} from {what}"
            for count, what in ((self.from_urls, "URLs"), (self.from_mailboxes, "mail addresses"))
            if count
        ]
        about = "about " if self.duplicates_estimated else ""
        origin = f" ({', '.join(origins)})" if origins else ""
        yield (
            f"list: {self.valid:,} {unit}{'s' * (self.valid != 1)}{origin}, "
            f"{about}{self.duplicates:,} of them duplicates, "
            f"{f'1 line that is no {unit}' if self.invalid == 1 else f'{self.invalid:,} lines that are no {unit}s'}"
            + (f"; e.g. {self.problems[0]}" if self.problems else "")
        )
        if self.asked:
            ports = [f"{name} on port {port} ({count:,})" for (port, name), count in self.asked.most_common(_PORTS)]
            more = f" and {len(self.asked) - _PORTS:,} more ports" if len(self.asked) > _PORTS else ""
            yield f"list: with a port {self.asked.total():,}: {', '.join(ports)}{more}"
        for entry, count in self.opted_out.most_common():
            if count > _MANY_NAMES:
                yield f"warning: the opt-out of {entry} covers {count:,} names of the list"

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "form": self.form,
            "valid": self.valid,
            "invalid": self.invalid,
            "duplicates": self.duplicates,
            "duplicates_estimated": self.duplicates_estimated,
            "from_urls": self.from_urls,
            "from_mailboxes": self.from_mailboxes,
        } | ({"with_port": self.asked.total()} if self._is_of_hosts else {})

    def why_refused(self) -> str | None:
        """Why this can hardly be the list that was meant; None if it can."""
        if self.valid and self.invalid <= self.valid:
            return None
        unit = "host" if self._is_of_hosts else "domain name"
        what = (
            f"no line is a {unit}"
            if not self.valid
            else f"{self.invalid:,} of {self.invalid + self.valid:,} lines are no {unit}s"
        )
        example = f"; e.g. {self.problems[0]}" if self.problems else ""
        return f"{what} (read as: {self.form}{example}); give another list, or --accept-invalid to scan it all the same"

    @property
    def _is_of_hosts(self) -> bool:
        return self.form == ONE_HOST_A_LINE


def contents_of(
    targets: Callable[[Callable[[str], None]], Iterable[Target]], covering: Callable[[str], str | None] | None = None
) -> ListContents:
    """Look at every target once; `targets` is given who is told the form, `covering` names the opt-out that covers a name."""
    made = ListContents()
    names = _Distinct()

    def told(words: str) -> None:
        made.form = words

    for target in targets(told):
        if target.domain is None:
            made.invalid += 1
            if len(made.problems) < _EXAMPLES:
                made.problems.append(f"{(target.input or '')[:60]!r}: {target.problem}")
            continue
        made.valid += 1
        example = target.domain
        if target.port is not None:
            example = f"[{target.domain}]:{target.port}" if ":" in target.domain else f"{target.domain}:{target.port}"
            made.asked[target.port, (target.services or [""])[0]] += 1
        names.add(example)
        if len(made.examples) < _EXAMPLES and example not in made.examples:
            made.examples.append(example)
        if target.input != target.domain:
            made.from_urls += is_from_url(target)
            made.from_mailboxes += is_from_mailbox(target)
        if covering is not None and (entry := covering(target.domain)) is not None:
            made.opted_out[entry] += 1
    made.duplicates = made.valid - min(made.valid, len(names))
    made.duplicates_estimated = not names.is_exact
    return made
