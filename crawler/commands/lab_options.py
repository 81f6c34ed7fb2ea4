"""What the options of the lab's commands take, for `argparse`."""

from __future__ import annotations

import argparse

from crawler.lab.adversary.names import MOST
from crawler.lab.outages import Outage, outage_of


def count(text: str) -> int:
    """The length of a list.  Raises `argparse.ArgumentTypeError`."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 100_000_000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 1 and 100000000")
    return int(text)


def hostile(text: str) -> int:
    """How many hostile domains.  Raises `argparse.ArgumentTypeError`."""
    if not (text.isascii() and text.isdigit() and int(text) <= MOST):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and {MOST}")
    return int(text)


def port(text: str) -> int:
    """A port, or 0 for a free one.  Raises `argparse.ArgumentTypeError`."""
    if not (text.isascii() and text.isdigit() and int(text) <= 65_535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port between 1 and 65535, or 0 for a free one")
    return int(text)


def outage(text: str) -> Outage:
    """An outage in its three parts.  Raises `argparse.ArgumentTypeError`."""
    try:
        return outage_of(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not KIND:AFTER:SECONDS, e.g. mail:200:10") from None
