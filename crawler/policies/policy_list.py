"""Policy lists in the format of STARTTLS Everywhere: what somebody promised that mail hosts do.

This module is pure, but for the one file that it is told to read.  The format is that of EFF's `policy.json`, version
0.1, as RULES.md and the JSON schema of STARTTLS Everywhere state it. `crawler.policies.list_compliance` judges whether
a promise is kept.  EFF ended its own list in 2020; a list is imported on request and is no part of any other figure.

The format's documents do not agree everywhere, nor do published lists keep them.  So, on purpose:

- a leading dot stands for exactly one label, as in MTA-STS, where it may also be written `*.`; in a list from
  before `ONE_LABEL_SINCE` it stands for any number of them, as the rules then had it;
- a name that is there twice is one entry if both say the same (EFF's own list had such), else an error;
- `min-tls-version` (in the format until 2018) is heeded, `pin` (likewise) is remembered: nobody holds it against chains;
- fields that are not known demand nothing, and are named in `unread`.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crawler.model.errors import UsageError
from crawler.model.names import InvalidName, a_label
from crawler.model.rows import MtaStsMode
from crawler.policies.mta_sts import is_allowed
from crawler.settings.declared_limits import limit

MAX_BYTES = limit(
    32 << 20,
    "bytes of a policy list; JSON made for it takes up to 30 times its size in memory",
    protects="our memory",
    cut="a refusal, exit code 2",
)
"""The largest file that is read: some 400,000 domains.  EFF's last list had 926 in 121 kB."""

MAX_PATTERNS = limit(
    100,
    "patterns of one policy in a policy list",
    protects="our processor time",
    cut="a refusal that names the entry, exit code 2",
)
"""Patterns of one policy: as many as a scan takes mail hosts of a domain.  EFF's last list had ten at most."""

VERSION = "0.1"
ONE_LABEL_SINCE = datetime(2018, 11, 8, tzinfo=UTC)
"""When RULES.md went from *arbitrarily deep subdomains* to *only one subdomain label*, and the version stayed."""

#: Weakest first; what an entry demands is one of them or a later one.
TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")

_HALF = re.compile("[\ud800-\udfff]").search  # of a pair of surrogates, which no text has alone
_OF_LIST = {"timestamp", "expires", "version", "author", "pinsets", "policy-aliases", "policies"}
_OF_POLICY = {"mode", "mxs", "min-tls-version", "pin", "policy-alias"}
#: These demand nothing of a mail host.
_WITHOUT_DEMAND = {"comment", "mta-sts", "report", "tls-report"}


@dataclass(frozen=True, slots=True)
class ListedPolicy:
    """What a sender is to expect of a domain's mail hosts."""

    mode: MtaStsMode  #: `testing` or `enforce`
    mxs: tuple[str, ...]  #: A-labels; in front `*.` stands for exactly one label, `.` for any number of them
    min_tls_version: str = "TLSv1.2"  #: one of `TLS_VERSIONS`
    pinned: bool = False  #: it also demands one of certain keys, which is not judged

    def allows(self, name: str) -> bool:
        """Whether a name (A-label, lower case) is one of those expected, be it a mail host's or a certificate's."""
        return is_allowed(name, self.mxs) or any(p.startswith(".") and name.endswith(p) for p in self.mxs)

    @property
    def tls_versions(self) -> tuple[str, ...]:
        """The versions that do."""
        return TLS_VERSIONS[TLS_VERSIONS.index(self.min_tls_version) :]


@dataclass(frozen=True, slots=True)
class PolicyList:
    """Domains with their policies, aliases resolved, and what the file says of itself; times are in UTC."""

    source: str  #: name of the file
    sha256: str  #: of the file, hex
    author: str
    timestamp: datetime | None
    expires: datetime | None
    policies: dict[str, ListedPolicy]
    unread: tuple[str, ...] = ()  #: fields that are not known, in order

    def policy_of(self, domain: str) -> ListedPolicy | None:
        """The policy of exactly this domain (A-label, lower case); None: it is not listed."""
        return self.policies.get(domain)

    def is_expired(self, at: datetime) -> bool:
        """Whether a sender would have gone back to opportunistic TLS; a list without an end never expires."""
        return self.expires is not None and self.expires <= at

    def warnings(self, at: datetime) -> list[str]:
        """What a reader of figures must know, a line each."""
        made = []
        if self.is_expired(at):
            assert self.expires is not None
            made.append(
                f"{self.source}: expired {self.expires:%Y-%m-%d %H:%M} UTC, so no sender acted on it at the time of "
                "this measurement; it is held against what was measured all the same"
            )
        if self.unread:
            names = ", ".join(f"`{name}`" for name in self.unread[:8]) + (" …" if len(self.unread) > 8 else "")
            made.append(f"{self.source}: fields that this program does not know were left unread: {names}")
        return made


def read_policy_list(path: Path) -> PolicyList:
    """Read a file.  Raises `UsageError`: it cannot be read, is larger than `MAX_BYTES`, or is no policy list."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); --policy-list takes a policy.json") from error
    if len(content) > MAX_BYTES:
        raise UsageError(f"{path}: is larger than {MAX_BYTES >> 20} MiB, and so no policy list that is read here")
    return parse_policy_list(content, str(path))


def parse_policy_list(content: bytes, source: str) -> PolicyList:
    """Read a `policy.json`; `source` names it in messages.  Raises `UsageError`."""
    try:
        top = json.loads(content, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{source}: is not a policy list ({error})") from error
    if not isinstance(top, dict) or not isinstance(top.get("policies"), dict):
        raise UsageError(f"{source}: is not a policy list (no object `policies`)")
    if top.get("version", VERSION) != VERSION:
        raise UsageError(f"{source}: version {_short(top['version'])} is not the one that is read here ({VERSION!r})")
    author = top.get("author", "")
    if not isinstance(author, str) or _HALF(author):
        raise UsageError(f"{source}: `author` {_short(author)} is no text")
    timestamp, expires = _time(top.get("timestamp"), source), _time(top.get("expires"), source)
    reader = _Reader(source, deep=timestamp is not None and timestamp < ONE_LABEL_SINCE)
    policies = reader.policies(top["policies"], top.get("policy-aliases", {}))
    unread = tuple(sorted((top.keys() - _OF_LIST - _WITHOUT_DEMAND) | reader.unread))
    return PolicyList(
        source, hashlib.sha256(content).hexdigest(), author, timestamp, expires, policies,
        tuple(_short(name)[1:-1] for name in unread),
    )  # fmt: skip


class _Reader:
    """The entries of one list; an alias is read once, however many domains refer to it."""

    def __init__(self, source: str, *, deep: bool) -> None:
        self._source, self._deep = source, deep
        self.unread: set[str] = set()

    def policies(self, entries: dict[str, Any], aliases: Any) -> dict[str, ListedPolicy]:
        if not isinstance(aliases, dict):
            raise UsageError(f"{self._source}: `policy-aliases` is no object")
        named = {name: self._policy(entry, f"{self._source}: alias {_short(name)}") for name, entry in aliases.items()}
        made: dict[str, ListedPolicy] = {}
        for domain, entry in entries.items():
            where = f"{self._source}: policy of {_short(domain)}"
            if isinstance(entry, dict) and "policy-alias" in entry:  # the entry's other fields do not count
                alias = entry["policy-alias"]
                if not isinstance(alias, str) or alias not in named:
                    raise UsageError(f"{where}: there is no alias {_short(alias)}")
                policy = named[alias]
            else:
                policy = self._policy(entry, where)
            if made.setdefault(_name(domain, where), policy) != policy:
                raise UsageError(f"{where}: the domain is there in another spelling, with another policy")
        return made

    def _policy(self, entry: Any, where: str) -> ListedPolicy:
        if not isinstance(entry, dict):
            raise UsageError(f"{where}: is no object")
        mode = entry.get("mode", MtaStsMode.TESTING)
        if mode not in (MtaStsMode.TESTING, MtaStsMode.ENFORCE):
            raise UsageError(f"{where}: mode {_short(mode)} is neither 'testing' nor 'enforce'")
        mxs = entry.get("mxs")
        if not isinstance(mxs, list) or not mxs or not all(isinstance(pattern, str) for pattern in mxs):
            raise UsageError(f"{where}: `mxs` is no list of host names")
        if len(mxs) > MAX_PATTERNS:
            raise UsageError(f"{where}: `mxs` has {len(mxs)} names, more than {MAX_PATTERNS}")
        least = entry.get("min-tls-version", "TLSv1.2")
        if least not in TLS_VERSIONS:
            raise UsageError(f"{where}: min-tls-version {_short(least)} is none of {', '.join(TLS_VERSIONS)}")
        self.unread |= entry.keys() - _OF_POLICY - _WITHOUT_DEMAND
        patterns = tuple(dict.fromkeys(self._pattern(pattern, where) for pattern in mxs))
        return ListedPolicy(MtaStsMode(mode), patterns, least, pinned="pin" in entry)

    def _pattern(self, text: str, where: str) -> str:
        if text.startswith("*."):
            return f"*.{_name(text[2:], where)}"
        if text.startswith("."):
            return f"{'' if self._deep else '*'}.{_name(text[1:], where)}"
        return _name(text, where)


def _name(text: str, where: str) -> str:
    try:
        return a_label(text)
    except InvalidName as error:
        raise UsageError(f"{where}: {_short(text)} is no host name ({error})") from error


def _time(value: Any, source: str) -> datetime | None:
    """Epoch seconds, or ISO 8601, where UTC is meant if no zone is said."""
    if value is None:
        return None
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        made = datetime.fromisoformat(value)
        return made.replace(tzinfo=UTC) if made.tzinfo is None else made.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, OSError) as error:
        raise UsageError(f"{source}: {_short(value)} is no time") from error


def _short(value: Any) -> str:
    """A value for a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:76]} …{text[-1]}"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; what is there twice must say the same."""
    made: dict[str, Any] = {}
    for name, value in pairs:
        if made.setdefault(name, value) != value:
            raise ValueError(f"{_short(name)} is there twice, with different values")
    return made
