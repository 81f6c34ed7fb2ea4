"""The counts of a run: rows by table, domains by route, endpoints by outcome.

This module adds up what the shards said of themselves and reads no rows.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from crawler.dataset.parts import row_count
from crawler.dataset.run import RunDirectory
from crawler.dataset.steps import DOMAINS, INCOMPLETE, MERGED, STEPS
from crawler.model.rows import TABLES


def counts_of(run: RunDirectory) -> dict[str, Any]:
    """Rows by table, and how domains and endpoints came out, over all finished shards."""
    rows: Counter[str] = Counter()
    tallies: dict[str, Counter[str]] = {table: Counter() for table in ("domains", "hosts", "probes", "certificates")}
    in_domains: dict[str, Counter[str]] = {}
    duplicates = 0
    for step in STEPS.values():
        for marker in run.finished(step).values():
            rows.update(marker["rows"])
            for table, tally in marker["tallies"].items():
                tallies[table].update(tally)
            for protocol, outcomes in (marker.get("in_domains") or {}).items():
                in_domains.setdefault(protocol, Counter()).update(outcomes)
            duplicates += marker["duplicates"] if step is DOMAINS else 0
    for table in (*MERGED, INCOMPLETE):
        if run.is_merged(table):
            rows[table] = sum(row_count(part) for part in run.parts(table) if part.name.startswith("merged-"))
    return {
        "rows": {table: rows[table] for table in TABLES},
        "duplicates_dropped": duplicates,
        "routes": dict(tallies["domains"].most_common()),
        "host_lookups": dict(tallies["hosts"].most_common()),
        "outcomes": dict(tallies["probes"].most_common()),
        "outcomes_in_domains": {
            protocol: {outcome: round(domains, 3) for outcome, domains in outcomes.items()}
            for protocol, outcomes in in_domains.items()
        },
        "certificates_over_budget": tallies["certificates"]["True"],
    }


def summary(run: RunDirectory, ending: dict[str, Any], where: str | Path) -> str:
    """The last words of a scan, for people."""
    counts = ending["counts"]
    lines = [f"run {run.id} {ending['state']}: {where}"]
    for table, count in counts["rows"].items():
        tally = {"domains": counts["routes"], "probes": counts["outcomes"]}.get(table, {})
        words = ", ".join(f"{word} {number:,}" for word, number in tally.items())
        lines.append(f"  {table:<17} {count:>12,}  {words}".rstrip())
    if counts["certificates_over_budget"]:
        lines.append(
            f"  {'over budget':<17} {counts['certificates_over_budget']:>12,}  certificates stored without their bytes"
        )
    if counts["duplicates_dropped"]:
        lines.append(f"  {'duplicates':<17} {counts['duplicates_dropped']:>12,}  dropped")
    return "\n".join(lines) + "\n"
