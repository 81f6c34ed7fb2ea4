"""Rows of a small run for reports."""

from __future__ import annotations

from typing import Any

from tests.kit.small_runs import KINDS, certificate, domain, host, probe


def rows(**of_first: Any) -> list[Any]:
    """One domain for each way a probe may end."""
    made: list[Any] = [certificate(), certificate("5e" * 32, self_signed=True)]
    for number, kind in enumerate(KINDS):
        name = f"d{number}.example"
        made += [
            domain(name, f"mx.{name}", rank=1 + 100 * number, **(of_first if number == 0 else {})),
            host(f"mx.{name}", f"192.0.2.{number}"),
            probe(f"mx.{name}", f"192.0.2.{number}", kind),
        ]
    return made
