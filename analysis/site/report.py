"""The report: one static page with its charts and downloads, no script, nothing fetched from elsewhere.

A reader never meets half a site.  All files are written and synced beside their
places first, then renamed into them, the page last.  Text from servers and lists is escaped by the template.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from analysis.charts import charts
from analysis.charts.drawing import Chart
from analysis.charts.history import history
from analysis.charts.reference import CONFIDENCE, FILE_NAME, published, published_csv
from analysis.figures.compute import FACEBOOK, MAIN, Computed, Figure, facebook
from analysis.figures.shares import Share
from analysis.figures.units import HEADLINE_RULE, VIEWS
from analysis.figures.words import certainty, count, percent, span
from analysis.runs.facts import RunFacts
from analysis.runs.leftovers import working_directory
from analysis.tables import json_csv as machine
from crawler import __version__
from crawler.model.errors import UsageError
from crawler.policies.senders import WORDS

PAGE = "index.html"

#: What the page breaks its main figures down by, with the titles of those tables.
GROUPED_BY = {"tld": "By public suffix", "rank": "By rank in the list"}

_TITLES = {"messages": "Messages:", "domains": "Domains:", "hosts": "Mail hosts:", "addresses": "Addresses:"}

#: Dukhovni's figure.
_SIGNED = "dane_authenticated_of_signed.domains.primary_all"

#: What the page says of the manifest: words -> keys from the outside in.
_MANIFEST = {
    "Run": ("run",),
    "State": ("state",),
    "Started": ("started_at",),
    "Ended": ("ended_at",),
    "Resumed": ("resumed_at",),
    "Changed when resumed": ("resumed_with",),
    "List": ("list", "path"),
    "Lines of the list": ("list", "lines"),
    "SHA-256 of the list": ("list", "sha256"),
    "SHA-256 of the settings": ("config_sha256",),
    "Protocols": ("configuration", "protocol"),
    "Measured from": ("vantage",),
    "Source addresses": ("source_address",),
    "EHLO name": ("ehlo_name",),
    "Resolvers": ("resolvers",),
    "Trust anchors": ("trust_anchors",),
    "Public Suffix List": ("public_suffix_list",),
    "Special-purpose networks allowed": ("configuration", "allow_network"),
    "Counts": ("counts",),
    "Versions": ("versions",),
}


def publish(computed: Computed, site: Path) -> Path:
    """Write the report on what was computed to directory `site`; returns the page.

    Files of the same names are replaced, others left alone.  Raises `UsageError` if `site` cannot be written.
    """
    check_site(site)
    files = pages(computed)
    try:
        site.mkdir(parents=True, exist_ok=True)
        _replace(site, files)
    except OSError as error:
        raise UsageError(f"{site}: cannot be written ({error.strerror}); check --out") from error
    return site / PAGE


def check_site(site: Path) -> None:
    """Raise `UsageError` where no site can be, before anything is counted."""
    if site.exists() and not site.is_dir():
        raise UsageError(f"{site}: is not a directory; --out takes a directory for the site")


def pages(computed: Computed) -> dict[str, str]:
    """Every file of the site by its name, the page last."""
    made, listed = computed.figures, computed.listed
    drawn = _charts(made, computed.run)
    return {
        "figures.json": json.dumps(machine.document(computed), indent=2, ensure_ascii=False) + "\n",
        "figures.csv": machine.table(made + (listed.figures if listed else [])),
        FILE_NAME: published_csv(),
        **{f"charts/{chart.name}.svg": chart.svg for chart in drawn.values()},
        PAGE: _page(computed, drawn),
    }


def _charts(made: list[Figure], run: RunFacts) -> dict[str, Chart]:
    by_id = {figure.id: figure for figure in made}
    first = _first(made)
    return {
        "steps": charts.steps(made),
        "senders": charts.senders(first),
        "peers": charts.peers(first["authentication"]),
        "dane": charts.promises(first["tlsa"], "dane", kept="match", none=("no DNSSEC", "no records")),
        "mta_sts": charts.promises(
            first["mta_sts"], "mta_sts", kept="mode enforce", none=("no record", "mode none", "mode testing")
        ),
        "tlsrpt": charts.promises(first["tlsrpt"], "tlsrpt", kept="valid", none=("absent",)),
        "history": history(made, run.stored.started_at),
        "history_narrow": history(made, run.stored.started_at, "history_narrow", columns=1),
        "versions": charts.bars(by_id["tls_versions.endpoints"], "versions"),
        "groups": charts.bars(by_id["groups.endpoints"], "groups"),
        "ciphers": charts.bars(by_id["ciphers.endpoints"], "ciphers"),
        "problems": charts.problems(by_id["certificate_problems.endpoints"]),
        "outcomes": charts.outcomes(by_id["outcomes.endpoints"]),
        "routes": charts.bars(by_id["routes.list"], "routes"),
    }


def _first(made: list[Figure]) -> dict[str, Figure]:
    """Each indicator's headline figure."""
    return {figure.indicator.name: figure for figure in reversed(made)}


def _page(computed: Computed, drawn: dict[str, Chart]) -> str:
    run, made, listed = computed.run, computed.figures, computed.listed
    environment = Environment(
        loader=PackageLoader("analysis.site"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters.update(percent=percent, count=count, span=span, certainty=certainty)
    templates = Path(__file__).parent / "templates"
    counts = [figure for figure in made if isinstance(figure.value, Share) and figure.indicator.name != FACEBOOK]
    shares = [(title, [figure for figure in counts if figure.view.unit == unit]) for unit, title in _TITLES.items()]
    manifest = _publishable(run)
    return environment.get_template("report.html.j2").render(
        run=run,
        state=run.stored.state,
        started=run.stored.started_at.replace("T", " ").replace("+00:00", " UTC"),
        laboratory=_entry(run.manifest.as_dict(), ("configuration", "allow_network")),
        headline=facebook(made),
        headline_rule=HEADLINE_RULE,
        weights=computed.weights,
        key=[figure for figure in counts if figure.view is VIEWS[figure.view.unit][0]],
        senders=[(label.replace("\n", " "), _first(made)[name].value) for name, label in charts.SENDERS.items()],
        deliveries=list(WORDS.values()),
        signed=next(figure for figure in made if figure.id == _SIGNED),
        dukhovni=[row for row in published() if row.metric == "dane_valid"][-1],
        shares=[(title, chosen) for title, chosen in shares if chosen],
        rules=[(view.rule, view.words) for view in VIEWS["domains"]],
        charts=drawn,
        listed=listed and listed.listing,
        promises=[figure for figure in listed.figures if isinstance(figure.value, Share)] if listed else [],
        modes=[figure.value for figure in listed.figures if not isinstance(figure.value, Share)] if listed else [],
        published=published(),
        confidence=CONFIDENCE,
        groups=[
            (title, MAIN.values(), rows)
            for by, title in GROUPED_BY.items()
            if len(rows := _groups(computed.groups.get(by, []))) > 1
        ],
        smallest_group=computed.smallest_group,
        manifest=[(words, _text(value)) for words, keys in _MANIFEST.items() if (value := _entry(manifest, keys))],
        version=__version__,
        style=(templates / "style.css").read_text("utf-8"),
    )


def _groups(made: list[Figure]) -> list[tuple[str, list[Share]]]:
    rows: dict[str, list[Share]] = {}
    for figure in made:
        if figure.indicator.name in MAIN:
            assert isinstance(figure.value, Share)
            rows.setdefault(str(figure.group), []).append(figure.value)
    return list(rows.items())


def _publishable(run: RunFacts) -> dict[str, Any]:
    """The manifest without the directories of whoever scanned; files are known by their names and hashes."""
    manifest = run.manifest.as_dict()
    made = {**manifest, "resumed_with": _changes(manifest)}
    if run.limit is not None and made.get("list"):
        lines = _text(made["list"].get("lines") or "unknown")
        made["list"] = {**made["list"], "lines": f"{lines}; only the first {run.limit:,} names were taken"}
    for part, path in (("list", "path"), ("trust_anchors", "source")):
        if made.get(part) and made[part].get(path):
            made[part] = {**made[part], path: Path(made[part][path]).name}
    return made


def _changes(manifest: dict[str, Any]) -> list[str]:
    """Everything that had changed when the run was continued: versions, host, Public Suffix List; each with the
    time."""
    before = manifest
    changes = []
    for record in manifest.get("resumed_with") or ():
        new = {name: value for name, value in _plain(record).items() if value != _plain(before).get(name)}
        if new:
            changes.append(f"{record.get('at')}: {_text(new)}")
        before = record
    return changes


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """The entries that a manifest and the record of a resumption have in common; versions are named by their
    package."""
    said = {"host": record.get("host_name"), "Public Suffix List": record.get("public_suffix_list")}
    return said | (record.get("versions") or {})


def _entry(manifest: dict[str, Any], keys: tuple[str, ...]) -> Any:
    value: Any = manifest
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _text(value: Any) -> str:
    """A value of the manifest in a line: what is inside what is set off by semicolons."""
    if isinstance(value, dict):
        nested = any(isinstance(one, (dict, list)) for one in value.values())
        entries = (
            f"{str(name).replace('_', ' ')}{':' if isinstance(one, dict) else ''} {_text(one)}"
            for name, one in value.items()
            if one is not None
        )
        return ("; " if nested else ", ").join(entries)
    if isinstance(value, list):
        return ("; " if any(isinstance(one, dict) for one in value) else ", ").join(map(_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _replace(site: Path, files: dict[str, str]) -> None:
    """Write all, then rename each into its place; a reader of the old page loses nothing before the new is whole."""
    with working_directory(".new-", site) as beside:
        for name, text in files.items():
            path = beside / name
            path.parent.mkdir(exist_ok=True)
            with path.open("w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        for name in files:
            (site / name).parent.mkdir(exist_ok=True)
            (beside / name).replace(site / name)
