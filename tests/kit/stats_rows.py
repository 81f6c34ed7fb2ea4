"""Rows of a small run for `stats` to count: one domain strictly valid, one without STARTTLS, one silent, one self-signed."""

from __future__ import annotations

from tests.kit.small_runs import certificate, domain, host, probe

ROWS = [
    domain("a.example", "mx.a.example", rank=1),
    domain("b.example", "mx.b.example", rank=2),
    domain("c.example", "mx.c.example", rank=3),
    domain("d.example", "mx.d.example", rank=4),
    *(host(f"mx.{name}.example", f"192.0.2.{n}") for n, name in enumerate("abcd")),
    probe("mx.a.example", "192.0.2.0"),
    probe("mx.b.example", "192.0.2.1", "not_offered"),
    probe("mx.c.example", "192.0.2.2", "connect_timeout"),
    probe("mx.d.example", "192.0.2.3", "self_signed"),
    certificate(),
]
