"""Mail hosts that mean no harm, each with a domain of its own."""

from __future__ import annotations

from crawler.model.rows import Endpoint


def honest(number: int) -> Endpoint:
    address = f"10.{number // 250}.{number % 250}.1"
    return Endpoint("smtp", f"mx.honest{number}.test", address, 25, weight=1.0)
