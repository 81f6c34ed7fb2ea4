"""The lab's own policy list: which of its domains are on it, with what promise, and whether they keep it.

This module does no I/O.  A kind is one entry. The truth about it follows from the kind and from the truths of the mail
hosts. It is written by hand from RULES.md of STARTTLS Everywhere, never by the code that is measured with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from crawler.lab.behaviours.vocabulary import HostBehaviour, Tls

VALID_FOR = timedelta(days=14)
"""As EFF's list was."""

OTHER_MX = "mx.other.test"
_ORDER = ("SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")


@dataclass(frozen=True, slots=True)
class ListedBehaviour:
    """What the list says of a domain."""

    name: str
    about: str
    share: float  #: weight among the domains that take mail
    mode: str = ""  #: empty: it is not on the list
    suffix: bool = False  #: of each mail host, the name behind the first label and a dot in front
    alias: bool = False  #: the entry refers to a policy that others may share
    other_mx: bool = False  #: of another host than the domain's
    least: str = ""  #: `min-tls-version`
    pin: str = ""

    def mxs(self, hosts: Iterable[str]) -> list[str]:
        """Patterns of the entry, given the domain's mail hosts."""
        if self.other_mx:
            return [OTHER_MX]
        return list(dict.fromkeys(_suffix(host) if self.suffix else host for host in hosts))


def _suffix(host: str) -> str:
    """What stands behind the first label, if anything does."""
    behind = host.partition(".")[2]
    return f".{behind}" if behind else host


LISTED: dict[str, ListedBehaviour] = {}
"""Every kind by name."""


def _listed(name: str, about: str, share: float, **more: Any) -> None:
    LISTED[name] = ListedBehaviour(name, about, share, **more)


_listed("unlisted", "not on the list", 1_000)
_listed("listed-enforce", "its mail hosts by name, to be enforced", 4, mode="enforce")
_listed("listed-testing", "its mail hosts by name, in testing", 3, mode="testing")
_listed("listed-suffix", "its mail hosts by suffix", 3, mode="enforce", suffix=True)
_listed("listed-alias", "a policy that others may share", 3, mode="testing", alias=True)
_listed("listed-other-mx", "another mail host", 1, mode="enforce", other_mx=True)
_listed("listed-old-tls", "TLS 1.0 will do", 0.5, mode="testing", least="TLSv1")
_listed("listed-new-tls", "TLS 1.3 is demanded", 0.5, mode="enforce", least="TLSv1.3")
_listed("listed-pinned", "certain keys are demanded as well", 0.5, mode="testing", pin="somebody")

PROMISED = ("listed-enforce", "listed-testing", "listed-suffix", "listed-alias")
"""Kinds for domains that show what a mail host does: whether these are kept depends on the host alone."""


@dataclass(frozen=True, slots=True)
class ListedTruth:
    """What a perfect observer says of each demand; null is unknown."""

    host: bool | None
    tls: bool | None
    certificate: bool | None

    @property
    def compliant(self) -> bool | None:
        """Whether all are met."""
        return every((self.host, self.tls, self.certificate))


def truth_at(kind: ListedBehaviour, host: str, behaviour: HostBehaviour) -> ListedTruth:
    """What is true of a mail host that behaves so."""
    truth = behaviour.truth
    if truth.negotiated is False or truth.starttls_offered is False:
        return ListedTruth(not kind.other_mx, tls=False, certificate=False)
    new_enough = None
    if truth.tls_version is not None:
        new_enough = _ORDER.index(truth.tls_version) >= _ORDER.index(kind.least or "TLSv1.2")
    tls = every((truth.negotiated, new_enough))
    facts = (truth.negotiated, truth.chain_trusted, truth.within_validity, _is_named(kind, host, behaviour))
    certificate = every(facts)
    return ListedTruth(not kind.other_mx, tls, None if certificate and kind.pin else certificate)


def _is_named(kind: ListedBehaviour, host: str, behaviour: HostBehaviour) -> bool | None:
    """Whether the certificate names the mail host, or is one of those that a suffix or the CN lets pass."""
    tls = behaviour.server.tls
    if behaviour.truth.name_match is not False or not isinstance(tls, Tls):
        return behaviour.truth.name_match
    if tls.leaf.in_subject and len(host) <= 64:  # RFC 5280: no longer name fits into a CN
        return not kind.other_mx
    # No certificate of the lab that fails to name its host carries a name which the host's own suffix covers.
    return False


def every(facts: Iterable[bool | None]) -> bool | None:
    """No if one is no, else unknown if one is unknown."""
    found = list(facts)
    return False if False in found else None if None in found else True


def policy_list(members: Iterable[tuple[str, ListedBehaviour, tuple[str, ...]]], now: datetime) -> str:
    """The file, given each member with its kind and its mail hosts."""
    aliases: dict[tuple[str, ...], str] = {}
    policies: dict[str, dict[str, Any]] = {}
    for domain, kind, hosts in members:
        mxs = kind.mxs(hosts)
        if kind.alias:
            policies[domain] = {"policy-alias": aliases.setdefault(tuple(mxs), f"hosts-{len(aliases) + 1}")}
            continue
        demands = {"min-tls-version": kind.least, "pin": kind.pin}
        policies[domain] = {"mode": kind.mode, "mxs": mxs} | {key: text for key, text in demands.items() if text}
    mode = next(kind.mode for kind in LISTED.values() if kind.alias)
    top = {
        "version": "0.1",
        "author": "starttls-crawler lab",
        "timestamp": now.isoformat(timespec="seconds"),
        "expires": (now + VALID_FOR).isoformat(timespec="seconds"),
        "policy-aliases": {name: {"mode": mode, "mxs": list(mxs)} for mxs, name in aliases.items()},
        "policies": policies,
    }
    return json.dumps(top, indent=1) + "\n"
