"""Zone files as lists: the names delegated from one zone, which are the owners of NS records but for the zone itself.

The rules are those of RFC 1035 §5.1. Any white space divides fields. An owner that is left out is the one before.
`$ORIGIN` completes relative names, `;` begins a comment, and parentheses let a record go over several lines.  Other
files are never included.  A zone as registries publish it (ICANN's base registry agreement, specification 4 §2.1.4) is
a case of that.

A name that `$ORIGIN` makes longer than any name may be is a problem at once: origins that complete each other would grow
without an end.
"""

from __future__ import annotations

import re
from typing import ClassVar

import dns.rdatatype

from crawler.lists.cells import target_of
from crawler.model.names import InvalidName
from crawler.model.rows import Target

_LONGEST = 255  # characters of a name, and so octets at least (RFC 1035 §2.3.4)
_CLASSES = frozenset({"IN", "CH", "HS", "CS"})
# A unit stands between numbers: were it optional there, a name of forty digits would be tried in a million million ways.
_TTL = re.compile(r"[0-9]+(?:[smhdw][0-9]+)*[smhdw]?", re.IGNORECASE).fullmatch
_TYPES = frozenset(name.replace("_", "-") for name in dns.rdatatype.RdataType.__members__)
_UNKNOWN_TYPE = re.compile(r"TYPE[0-9]{1,5}").fullmatch  # RFC 3597 §5
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"?')
_ESCAPED = re.compile(r"\\(?:[0-9]{3}|.)")


def zone_of(lines: list[str]) -> Zone | None:
    """A zone, if these first lines of a list are of one: a directive or the SOA record comes before all else."""
    for line in lines:
        text = line.partition(";")[0]
        if not text.strip():
            continue
        if text.startswith(("$ORIGIN", "$TTL", "$origin", "$ttl")) or _fields(text)[1] == "SOA":
            return Zone(_apex_of(lines))
        return None
    return None


def _apex_of(lines: list[str]) -> str | None:
    """The owner of the SOA record among these lines."""
    zone = Zone()
    for line in lines:
        zone.targets(line)
        if zone.apex is not None:
            return zone.apex
    return None


class Zone:
    """What is known of a zone file so far, line by line."""

    comment: ClassVar[re.Pattern[str] | None] = None  # a line loses its own here
    keeps_white_space: ClassVar[bool] = True

    def __init__(self, apex: str | None = None) -> None:
        self.apex = apex  #: absolute, lower case, without its last dot; None: not yet known
        self._origin: str | None = ""  # None, here and below: too long
        self._owner: str | None = ""
        self._last = ""
        self._open = 0  # parentheses

    @property
    def words(self) -> str:
        """For people: what kind of list this is."""
        apex = "the root" if self.apex == "" else self.apex or "an unknown zone"
        return f"zone file of {apex}, the owners of NS records below it"

    def targets(self, line: str) -> list[Target]:
        """The name that a line delegates; none for other records."""
        try:
            return self._delegated(line)
        except InvalidName as error:
            return [Target(None, line.strip(), problem=str(error))]

    def _delegated(self, line: str) -> list[Target]:
        if ";" in line or '"' in line or "(" in line or ")" in line or self._open:
            line = self._plain(line)
        if not line.strip():
            return []
        if line.startswith("$"):
            return self._directive(line)
        owner, kind = _fields(line)
        if kind is None:
            return [Target(None, line.strip(), problem="not a record of a zone file")]
        if owner:
            self._owner = None
            self._owner = _completed(owner, self._origin)
        if self._owner is None:
            raise InvalidName(f"of an owner that is longer than {_LONGEST} characters")
        if kind == "SOA" and self.apex is None:
            self.apex = self._owner
        if kind != "NS" or self._owner in (self.apex, self._last):
            return []
        self._last = self._owner
        if self.apex and not self._owner.endswith(f".{self.apex}"):
            return [Target(None, self._owner, problem=f"outside the zone {self.apex}")]
        return [target_of(self._owner, is_owner=True)]

    def _plain(self, line: str) -> str:
        """A line without comment and without what belongs to the record of a line before."""
        if "\\" in line:
            line = _ESCAPED.sub("x", line)
        line = _QUOTED.sub("x", line).partition(";")[0]
        before, self._open = self._open, max(0, self._open + line.count("(") - line.count(")"))
        return "" if before else line.replace("(", " ").replace(")", " ")

    def _directive(self, line: str) -> list[Target]:
        word, *rest = line.split()
        if word.upper() == "$ORIGIN" and rest:
            before, self._origin = self._origin, None
            self._origin = _completed(rest[0], before)
        elif word.upper() != "$TTL":
            return [Target(None, line.strip(), problem=f"{word} is not followed; give one file with the whole zone")]
        return []


def _completed(name: str, origin: str | None) -> str:
    """An absolute name, lower case, without its last dot.  Raises `InvalidName` for what is too long to be one."""
    if name.endswith("."):
        made = name[:-1]
    elif origin is None:
        raise InvalidName(f"below an $ORIGIN that is longer than {_LONGEST} characters")
    else:
        made = origin if name == "@" else f"{name}.{origin}".removesuffix(".")
    if len(made) > _LONGEST:
        raise InvalidName(f"longer than {_LONGEST} characters")
    return made.lower()


def _fields(line: str) -> tuple[str, str | None]:
    """Owner (empty: as before) and type of a record; the type is None where this is no record (RFC 1035 §5.1)."""
    fields = line.split(None, 5)
    owner = "" if line[0].isspace() else fields.pop(0)
    for field in fields[:3]:
        word = field.upper()
        if word in _CLASSES or _TTL(field):
            continue
        return owner, word if word in _TYPES or _UNKNOWN_TYPE(word) else None
    return owner, None
