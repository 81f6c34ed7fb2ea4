"""Where the mail of the list goes, before anything is probed."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pandas as pd

from analysis.figures.indicators import indicator
from analysis.figures.shares import Distribution, distribution_of


@indicator(title="Mail routes", population="names of the list, duplicates dropped", unit="list")
def routes(lines: pd.DataFrame) -> Distribution:
    """Explicit MX, implicit MX (own address), null MX, null MX that does not stand alone, no mail host, no such
    name, DNS failure, not a name, `host` of a list of hosts; `no address`: none of the mail hosts has one, or there is none. Only MX, own
    address and the hosts beside a null MX, if there is an address, and failures as unknown enter the figures of
    domains.
    """
    return distribution_of(lines, _route)


def _route(line: dict[Hashable, Any]) -> str | None:
    route, error = line["route"], line["dns_error"]
    if route == "unknown":
        return f"unknown ({error})" if pd.notna(error) else "unknown"
    if route in ("explicit", "implicit", "null_mx_invalid") and not line["counted"]:
        return f"{route}, no address"
    return str(route) if pd.notna(route) else None
