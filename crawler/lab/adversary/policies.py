"""MTA-STS policies of hostile domains: as many patterns as fit, floods, and detours to somebody else's policy host.

This module does no I/O.
"""

from __future__ import annotations

from crawler.lab.behaviours.protection import MTA_STS, StsBehaviour
from crawler.model.rows import MtaStsRecord

_TEXTS = (b"v=STSv1; id=20260101000000Z;",)
_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
_PLAIN = _HEAD + "Connection: close\r\n\r\n"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_BEGIN, _END = "version: STSv1\nmode: enforce\nmax_age: 604800\n", "mx: *.bad1.test\n"

VICTIM = MTA_STS["sts-enforce"]
"""The policy host of honest domains that detours lead to."""


def policies(size: float) -> tuple[StsBehaviour, ...]:
    """One of each kind; `size` scales how much they send."""
    pairs = [f"mx:{a}.{b}\n" for a in _DIGITS for b in _DIGITS[10:]]
    patterns = "".join(pairs[n % len(pairs)] for n in range(max(1, int(9_300 * size))))
    chunks = "".join(f"1;{'x' * 200}\r\n{letter}\r\n" for letter in (_BEGIN + _END) * max(1, int(40 * size)))
    interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * max(1, int(20_000 * size))
    return (
        _kind("bad-patterns", "a policy of 9,300 patterns", _PLAIN, _BEGIN + patterns),
        _kind("bad-interim", "interim responses without end", interim + _PLAIN, _BEGIN + _END),
        _kind("bad-chunks", "chunks of one byte with long extensions", _HEAD + "Transfer-Encoding: chunked\r\n\r\n", chunks),
        _kind("bad-detour", "an address that refuses, and one of somebody else", _PLAIN, _BEGIN + _END),
    )  # fmt: skip


def _kind(name: str, about: str, head: str, policy: str) -> StsBehaviour:
    return StsBehaviour(name, about, 0, MtaStsRecord.VALID, texts=_TEXTS, head=head, policy=policy)


def is_detour(kind: StsBehaviour) -> bool:
    """Whether the policy host has an address that refuses, and one of the victim."""
    return kind.name == "bad-detour"
