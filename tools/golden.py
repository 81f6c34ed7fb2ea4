"""Pages derived from the source: golden schema, data dictionary, settings, limits, figures, lab.  `make golden` writes them anew."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import pyarrow as pa

from analysis.figures.indicators import REGISTRY
from crawler.lab.behaviours.policy_list import LISTED
from crawler.lab.behaviours.protection import MTA_STS, TLSA
from crawler.lab.behaviours.reporting import TLSRPT
from crawler.lab.behaviours.routes import ROUTES
from crawler.lab.behaviours.services import SERVICES
from crawler.lab.world.world import HOSTS
from crawler.model import rows as records
from crawler.model import vocabulary as words
from crawler.settings.config import Config
from tools.limits_page import lines as limits_page_lines

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "tests" / "golden" / "schema.json"
DICTIONARY = ROOT / "docs" / "data.md"
SETTINGS = ROOT / "docs" / "settings.md"
LIMITS = ROOT / "docs" / "limits.md"
FIGURES = ROOT / "docs" / "figures.md"
LAB = ROOT / "docs" / "lab.md"
MARK = "<!-- From here on written by `make golden` from {source}; edit that. -->\n"
MARK_OF_LIMITS = (
    "<!-- From here on written by `make golden` from the settings and limits in the source; edit those. -->\n"
)


def schema() -> str:
    """Name and Arrow type of every stored column, and every word of the vocabulary."""
    content = {
        "schema_version": records.SCHEMA_VERSION,
        "tables": {
            table: {field.name: str(field.type) for field in records.schema_of(row)}
            for table, row in records.TABLES.items()
        },
        "vocabulary": {kind.__name__: [str(word) for word in kind] for kind in vocabulary()},
    }
    return json.dumps(content, indent=2) + "\n"


def vocabulary() -> list[type[StrEnum]]:
    """The enumerations of vocabulary.py, in the order in which it states them."""
    kinds = [value for value in vars(words).values() if isinstance(value, type) and issubclass(value, StrEnum)]
    return [kind for kind in kinds if kind is not StrEnum]


def data_page() -> str:
    """docs/data.md with its derived half as it should be."""
    return _page(DICTIONARY, "crawler/model/rows.py", [*_tables(), *_words()])


def settings_page() -> str:
    """docs/settings.md with its derived half as it should be."""
    return _page(SETTINGS, "crawler/settings/config.py", list(_settings(Config(), "")))


def limits_page() -> str:
    """docs/limits.md with its derived half as it should be."""
    begin = LIMITS.read_text("utf-8").partition(MARK_OF_LIMITS)[0]
    return begin + MARK_OF_LIMITS + "\n" + "\n".join(limits_page_lines()) + "\n"


def figures_page() -> str:
    """docs/figures.md with its derived half as it should be."""
    return _page(FIGURES, "analysis/figures/indicators", list(_figures()))


def lab_page() -> str:
    """docs/lab.md with its derived half as it should be."""
    return _page(LAB, "crawler/lab", [*_hosts(), *_routes(), *_protection(), *_services(), *_listed()])


def _page(path: Path, source: str, lines: list[str]) -> str:
    mark = MARK.format(source=source)
    return path.read_text("utf-8").partition(mark)[0] + mark + "\n" + "\n".join(lines).rstrip() + "\n"


def _tables() -> Iterator[str]:
    for table, row in records.TABLES.items():
        yield from (f"## `{table}`", "", inspect.getdoc(row) or "", "")
        yield from ("| column | type | meaning |", "|---|---|---|")
        for field in records.schema_of(row):
            assert field.metadata is not None
            yield f"| `{field.name}` | {_kind(field.type)} | {field.metadata[b'doc'].decode()} |"
        yield ""


def _figures() -> Iterator[str]:
    yield from ("## All figures", "", "| figure | title | units | meaning |", "|---|---|---|---|")
    for figure in REGISTRY.values():
        yield f"| `{figure.name}` | {figure.title} | {', '.join(figure.units)} | {figure.words} |"


def _protection() -> Iterator[str]:
    yield from ("", "## TLSA records", "", "Shares are weights among the hosts in signed zones.", "")
    yield from ("| name | what there is | share | status | DANE |", "|---|---|---|---|---|")
    for tlsa in TLSA.values():
        yield f"| `{tlsa.name}` | {tlsa.about} | {tlsa.share:g} | {tlsa.status} | {tlsa.dane} |"
    yield from ("", "## MTA-STS", "", "Shares are weights among the domains that take mail.", "")
    yield from ("| name | what there is | share | record | fetch | mode |", "|---|---|---|---|---|---|")
    for sts in MTA_STS.values():
        yield f"| `{sts.name}` | {sts.about} | {sts.share:g} | {sts.record} | {sts.fetch or ''} | {sts.mode or ''} |"
    yield from ("", "## TLSRPT", "", "Shares are weights among the domains that take mail.", "")
    yield from ("| name | what there is | share | state |", "|---|---|---|---|")
    for rpt in TLSRPT.values():
        yield f"| `{rpt.name}` | {rpt.about} | {rpt.share:g} | {rpt.status or 'unknown'} |"


def _services() -> Iterator[str]:
    yield from ("", "## SRV records", "", "Shares are weights among the domains that have a mail host.", "")
    yield from ("| name | what there is | share | state |", "|---|---|---|---|")
    for services in SERVICES.values():
        yield f"| `{services.name}` | {services.about} | {services.share:g} | {services.status} |"


def _listed() -> Iterator[str]:
    yield from ("", "## The policy list", "", "Shares are weights among the domains that take mail.", "")
    yield from ("| name | what the list says of the domain | share | mode |", "|---|---|---|---|")
    for listed in LISTED.values():
        yield f"| `{listed.name}` | {listed.about} | {listed.share:g} | {listed.mode} |"


def _kind(kind: pa.DataType) -> str:
    """An Arrow type in a reader's words."""
    if pa.types.is_list(kind):
        return f"list of {_kind(kind.value_type)}"
    if pa.types.is_struct(kind):
        members = [kind.field(number) for number in range(kind.num_fields)]
        return "(" + ", ".join(f"{member.name} {_kind(member.type)}" for member in members) + ")"
    return {"string": "text", "bool": "boolean", "timestamp[us, tz=UTC]": "timestamp (µs, UTC)"}.get(
        str(kind), str(kind)
    )


def _words() -> Iterator[str]:
    yield from ("## Words", "")
    for kind in vocabulary():
        yield from (f"**{kind.__name__}**: {inspect.getdoc(kind)}", "")
        yield from (f"- `{word}`" + (f": {meaning}" if meaning else "") for word, meaning in _meanings(kind).items())
        yield ""


def _meanings(kind: type[StrEnum]) -> dict[str, str]:
    """Each word of an enumeration with the `#:` comment that stands behind it, empty if none does."""
    found = re.findall(r'^    [A-Z0-9_]+ = "(\w+)"(?:  #: (.+))?$', inspect.getsource(kind), re.MULTILINE)
    assert [word for word, _ in found] == [str(word) for word in kind]
    return dict(found)


def _settings(group: Any, title: str) -> Iterator[str]:
    inner = [field for field in fields(group) if is_dataclass(getattr(group, field.name))]
    if title:
        yield from (f"## `[{title}]`", "", inspect.getdoc(group) or "", "")
    yield from ("| setting | default | range | meaning |", "|---|---|---|---|")
    for field in fields(group):
        if field not in inner:
            low, high = field.metadata["low"], field.metadata["high"]
            bounds = " – ".join(
                f"{bound:,g}" if bound < 1e6 else f"{bound:,.0f}" for bound in (low, high) if bound is not None
            )
            bounds = f"≥ {bounds}" if bounds and high is None else bounds
            yield f"| `{field.name}` | {_toml(getattr(group, field.name))} | {bounds} | {field.metadata['doc']} |"
    yield ""
    for field in inner:
        yield from _settings(getattr(group, field.name), field.name)


def _hosts() -> Iterator[str]:
    yield from (
        "## Mail hosts",
        "",
        "| name | what it does | share | stage, outcome | seen in TLS |",
        "|---|---|---|---|---|",
    )
    for behaviour in HOSTS.values():
        truth = behaviour.truth
        ended = f"{truth.stage or 'not contacted'}, {truth.outcome}{'' if truth.conclusive else ' (not conclusive)'}"
        judged = {"trusted": truth.chain_trusted, "named": truth.name_match, "within dates": truth.within_validity}
        seen = [
            truth.tls_version,
            truth.tls_group,
            *(f"not {word}" for word, holds in judged.items() if holds is False),
        ]
        about = behaviour.about + (", classical groups on the second try" if truth.pq_intolerant else "")
        words = ", ".join(filter(None, seen))
        yield f"| `{behaviour.name}` | {about} | {behaviour.share:g} | {ended} | {words} |"
    yield ""


def _routes() -> Iterator[str]:
    yield from ("## Routes", "", "| name | what the domain's DNS says | share | route |", "|---|---|---|---|")
    for route in ROUTES.values():
        error = f", {route.dns_error}" if route.dns_error else ""
        yield f"| `{route.name}` | {route.about} | {route.share:g} | {route.route}{error} |"


def _toml(value: Any) -> str:
    return "`{}`" if value == {} else f"`{json.dumps(value)}`"


if __name__ == "__main__":
    SCHEMA.parent.mkdir(exist_ok=True)
    SCHEMA.write_text(schema(), "utf-8")
    DICTIONARY.write_text(data_page(), "utf-8")
    SETTINGS.write_text(settings_page(), "utf-8")
    LIMITS.write_text(limits_page(), "utf-8")
    FIGURES.write_text(figures_page(), "utf-8")
    LAB.write_text(lab_page(), "utf-8")
