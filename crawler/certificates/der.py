"""The elements of DER (X.690): where each begins and ends.

This module is pure.  The bytes are a stranger's, so everything here raises `IndexError` or `ValueError` where they
have no such form, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Element(NamedTuple):
    """A DER element: its tag, and where it and its content stand."""

    tag: int
    start: int
    content: int
    end: int


def element(der: bytes, at: int, end: int) -> Element:
    """The element at an offset (X.690 §8.1).  Raises `IndexError` or `ValueError` if none ends before `end`."""
    tag, length, content = der[at], der[at + 1], at + 2
    if tag & 0x1F == 0x1F:
        raise ValueError("a tag of several bytes, which no certificate has")
    if length >= 0x80:
        octets = length & 0x7F
        if not 1 <= octets <= 4:
            raise ValueError("a length that DER does not have")
        content += octets
        length = int.from_bytes(der[at + 2 : content])
    if content + length > end:
        raise ValueError("ends too early")
    return Element(tag, at, content, content + length)


def elements(der: bytes, at: int, end: int) -> Iterator[Element]:
    """The elements from an offset to an end, which the last must meet."""
    while at < end:
        found = element(der, at, end)
        yield found
        at = found.end


def only(der: bytes, at: int, end: int, tag: int) -> Element:
    """The one element that fills the bytes from an offset to an end."""
    found = element(der, at, end)
    if found.tag != tag or found.end != end:
        raise ValueError("another element, or more than one")
    return found


def wrapped(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(octets)]) + octets + content
