"""Policy lists in the format of STARTTLS Everywhere: what somebody promised that mail hosts do.

Rule of this room: pure.  The format is that of EFF's `policy.json` (RULES.md of STARTTLS Everywhere,
version 0.1).  EFF no longer keeps its own; a list is imported on request and is no part of any
other figure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from crawler.config import UsageError
from crawler.mta_sts import is_allowed
from crawler.names import InvalidName, a_label
from crawler.records import MtaStsMode, Probe

_TLS_VERSIONS = frozenset({"TLSv1.2", "TLSv1.3"})


@dataclass(frozen=True, slots=True)
class ListedPolicy:
    """What a sender is to expect of a domain's mail hosts."""

    mode: MtaStsMode  #: `testing` or `enforce`
    mxs: tuple[str, ...]  #: patterns as in MTA-STS: `*.` stands for exactly one label

    def allows(self, host: str) -> bool:
        """Whether the host (A-label, lower case) is one of those expected."""
        return is_allowed(host, self.mxs)


@dataclass(frozen=True, slots=True)
class PolicyList:
    """Domains with their policies, aliases resolved."""

    author: str
    timestamp: datetime | None
    expires: datetime | None
    policies: dict[str, ListedPolicy]

    def policy_of(self, domain: str) -> ListedPolicy | None:
        """The policy of exactly this domain (A-label, lower case); None: it is not listed."""
        return self.policies.get(domain)

    def is_expired(self, at: datetime) -> bool:
        """Whether a sender would go back to opportunistic TLS; a list without an end never expires."""
        return self.expires is not None and self.expires < at


def parse_policy_list(text: str | bytes, source: str) -> PolicyList:
    """Read a `policy.json`; `source` names it in messages.  Raises `UsageError`."""
    try:
        top = json.loads(text, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{source}: is not a policy list ({error})") from error
    if not isinstance(top, dict) or not isinstance(top.get("policies"), dict):
        raise UsageError(f"{source}: is not a policy list (no object `policies`)")
    aliases = top.get("policy-aliases", {})
    if not isinstance(aliases, dict):
        raise UsageError(f"{source}: `policy-aliases` is no object")
    policies = {}
    for domain, entry in top["policies"].items():
        where = f"{source}: policy of {domain!r}"
        if isinstance(entry, dict) and "policy-alias" in entry:
            alias = entry["policy-alias"]
            if not isinstance(alias, str) or alias not in aliases:
                raise UsageError(f"{where}: there is no alias {alias!r}")
            entry = aliases[alias]
        policies[_name(domain, where)] = _policy(entry, where)
    return PolicyList(
        str(top.get("author", "")), _time(top.get("timestamp"), source), _time(top.get("expires"), source), policies
    )


def keeps_promise(policy: ListedPolicy, probe: Probe, leaf_names: Iterable[str]) -> bool | None:
    """Whether an endpoint does what the list says: an expected host, TLS 1.2 or later, a valid certificate.

    `leaf_names` are the DNS names of its leaf; that one of them fits a pattern is enough, as the
    format has it.  None: it was not found out.
    """
    if not policy.allows(probe.host or ""):
        return False
    if not probe.negotiated:
        return probe.negotiated
    named = probe.name_match or any(is_allowed(name.lower(), policy.mxs) for name in leaf_names)
    return _all([probe.tls_version in _TLS_VERSIONS, probe.chain_trusted, probe.unexpired, named])


def _all(facts: list[bool | None]) -> bool | None:
    """No if one is no, else unknown if one is unknown."""
    if any(fact is False for fact in facts):
        return False
    return None if None in facts else True


def _policy(entry: Any, where: str) -> ListedPolicy:
    if not isinstance(entry, dict):
        raise UsageError(f"{where}: is no object")
    mode = entry.get("mode", MtaStsMode.TESTING)
    if mode not in (MtaStsMode.TESTING, MtaStsMode.ENFORCE):
        raise UsageError(f"{where}: mode {mode!r} is neither 'testing' nor 'enforce'")
    mxs = entry.get("mxs")
    if not isinstance(mxs, list) or not mxs or not all(isinstance(pattern, str) for pattern in mxs):
        raise UsageError(f"{where}: `mxs` is no list of host names")
    return ListedPolicy(MtaStsMode(mode), tuple(_pattern(pattern, where) for pattern in mxs))


def _pattern(text: str, where: str) -> str:
    """`.eff.org` and `*.eff.org` are the same."""
    suffix = text.removeprefix("*")
    if suffix.startswith("."):
        return f"*.{_name(suffix[1:], where)}"
    return _name(text, where)


def _name(text: str, where: str) -> str:
    try:
        return a_label(text)
    except InvalidName as error:
        raise UsageError(f"{where}: {text!r} is no host name ({error})") from error


def _time(value: Any, source: str) -> datetime | None:
    """Epoch seconds, or ISO 8601."""
    if value is None:
        return None
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        made = datetime.fromisoformat(value)
    except (ValueError, TypeError, OverflowError, OSError) as error:
        raise UsageError(f"{source}: {value!r} is no time") from error
    return made if made.tzinfo is not None else made.replace(tzinfo=UTC)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return made
