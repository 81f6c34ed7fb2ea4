"""The report: what the page says, that it is whole, safe and needs nothing from elsewhere."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from analysis.charts import reference
from analysis.charts.drawing import COLOURS
from analysis.charts.history import history
from analysis.figures.compute import compute, figures
from analysis.figures.words import percent
from analysis.runs.run import Run
from analysis.site import report as site
from analysis.site.report import _text
from crawler.policies.senders import WORDS
from tests.kit.figure_runs import Page, run_report, run_stats
from tests.kit.report_rows import rows
from tests.kit.small_runs import KINDS, domain, probe, write_run

HOSTILE = "<script>alert('$x^2$')</script>&\"'"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with hostile text wherever a list, a server or an operator could put it."""
    directory = tmp_path_factory.mktemp("report")
    made = rows(public_suffix=HOSTILE)
    made[4] = probe("mx.d0.example", "192.0.2.0", tls_cipher=HOSTILE, tls_group="$\\frac{$")
    write_run(directory / "data", made, vantage=HOSTILE, ehlo_name=HOSTILE, list={"path": HOSTILE, "sha256": "ab" * 32})
    assert run_report("--data", str(directory / "data"), "--out", str(directory / "site")) == 0
    return directory / "site"


@pytest.fixture(scope="module")
def page(written: Path) -> Page:
    return Page((written / "index.html").read_text("utf-8"))


def test_the_page_opens_with_the_facebook_figure_and_how_much_of_it_is_unknown(written: Path, page: Page) -> None:
    figure = json.loads((written / "figures.json").read_text("utf-8"))["facebook_2014"]
    words = " ".join(page.text.split())
    assert f"{100 * figure['share']:.1f} % of domains: forward secrecy and strict certificate validation" in words
    assert (
        f"{100 * figure['unknown_share']:.1f} % of {len(KINDS)} domains are unknown, so the share of all lies in "
        in words
    )
    assert f"{100 * figure['bounds'][0]:.1f}–{100 * figure['bounds'][1]:.1f} %." in words
    assert figure["signature"] in words
    assert "Per domain, by Facebook’s criterion" in words


def test_what_senders_would_do_is_told_of_each_kind_with_what_is_not_known(written: Path, page: Page) -> None:
    figures = json.loads((written / "figures.json").read_text("utf-8"))["distributions"]
    words = " ".join(page.text.split())
    for name, indicator in (("Opportunistic", "opportunistic_sender"), ("DANE", "dane_sender")):
        figure = figures[f"{indicator}.domains.primary"]
        shares = {row["label"]: row["share"] for row in figure["values"]}
        said = [percent(shares.get(label, 0.0)) if figure["denominator"] else "–" for label in WORDS.values()]
        assert f"{name}{''.join(said)}{percent(figure['unknown'] / figure['all'])}" in words
    assert "By the same rule Dukhovni counted" in words


def test_hostile_text_stays_text(page: Page) -> None:
    assert page.tags["script"] == 0
    assert HOSTILE in page.text
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]


def test_nothing_is_fetched_from_elsewhere(page: Page) -> None:
    assert not {"script", "link", "img", "iframe", "object", "image"} & set(page.tags)
    for reference_ in page.values("href") + page.values("src") + page.values("xlink:href"):
        assert not re.match(r"[a-z]+:|//", reference_)
    assert "url(http" not in " ".join(page.values("style")) and "@import" not in page.text


def test_every_link_inside_the_page_and_to_a_download_leads_somewhere(written: Path, page: Page) -> None:
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    for link in page.values("href"):
        assert link[1:] in ids if link.startswith("#") else (written / link).is_file()
    for link in page.values("xlink:href") + re.findall(r"url\((#[^)]*)\)", " ".join(page.values("clip-path"))):
        assert link[1:] in ids


def test_charts_and_tables_can_be_read_without_seeing_them(page: Page) -> None:
    assert page.tags["svg"] == page.tags["desc"] == page.values("role").count("img") == 14
    ids = page.values("id")
    assert all(name in ids for names in page.values("aria-labelledby") for name in names.split())
    assert page.tags["caption"] == page.tags["table"]
    assert page.tags["th"] == len([value for tag, name, value in page.attributes if (tag, name) == ("th", "scope")])
    assert ("html", "lang", "en") in page.attributes


def test_charts_are_also_documents_of_their_own(written: Path) -> None:
    drawn = sorted((written / "charts").glob("*.svg"))
    assert len(drawn) == 14
    for path in drawn:
        assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_every_colour_of_a_chart_has_a_value_for_light_and_for_dark(written: Path) -> None:
    html = (written / "index.html").read_text("utf-8")
    for name, value in COLOURS.items():
        assert len(re.findall(rf"--{name}: #", html)) == 2
        assert value not in html.split("</style>")[1]


def test_what_nobody_has_checked_is_not_published(written: Path, page: Page) -> None:
    with reference.reference_file().open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    unchecked = [row for row in rows if row["confidence"] == "from-memory"]
    assert len(unchecked) == 5 and len(reference.published()) == len(rows) - 5
    with (written / reference.FILE_NAME).open(encoding="utf-8", newline="") as text:
        assert list(csv.DictReader(text)) == [row for row in rows if row not in unchecked]
    assert not [row for row in unchecked if row["value_percent"] in page.text and row["population"] in page.text]
    assert "unchecked" not in page.text and "unchecked" not in (written / "charts" / "history.svg").read_text("utf-8")


def test_a_disputed_figure_says_who_disputes_it_and_stands_beside_the_other_figure(page: Page) -> None:
    rows = reference.published()
    first, second, reply = (
        next(number for number, row in enumerate(rows) if row.metric == f"other:{metric}")
        for metric in ("tlsa_dnssec_invalid", "tlsa_cert_mismatch", "tlsa_rrset_mismatch")
    )
    assert (second, reply) == (first + 1, first + 2)
    assert [bool(row.disputed) for row in rows[first : reply + 1]] == [True, True, False]
    assert sum(bool(row.disputed) for row in rows) == 2
    assert (rows[reply].value_percent, rows[reply].unit) == (3.4, "tlsa_rrsets")
    for row in rows[first:reply]:
        assert f"Disputed: {row.disputed}" in page.text and "disputed" not in row.remark
    assert page.values("class").count("confidence disputed") == 2


def test_the_fonts_of_the_page_are_what_the_style_sheet_names(written: Path) -> None:
    """Escaped as text, quotation marks broke both `font` rules."""
    html = (written / "index.html").read_text("utf-8")
    sheet = (Path(site.__file__).parent / "templates" / "style.css").read_text("utf-8")
    assert html[html.index("<style>\n") + 8 : html.index("\n</style>")].rstrip() == sheet.rstrip()
    assert '"Segoe UI"' in sheet


def test_every_published_figure_is_shown_with_its_confidence(page: Page) -> None:
    published = reference.published()
    levels = Counter(row.confidence for row in published)
    shown = Counter(value.split()[-1] for value in page.values("class") if value.startswith("confidence "))
    assert set(levels) == set(reference.CONFIDENCE)
    assert shown - Counter(disputed=2) == levels
    read_off = sum(row.off_a_chart for row in reference.published())
    assert page.text.count(", read off a chart") >= read_off == 3


def test_published_shares_of_encrypted_mail_only_do_not_stand_beside_shares_of_all() -> None:
    left_out = {(row.metric, row.value_percent) for row in reference.published() if not row.of_all}
    assert {("cert_strict_valid", 50.0), ("pfs", 74.0), ("pfs", 98.0), ("tls13", 79.0)} <= left_out
    kept = {(row.metric, row.value_percent) for row in reference.published() if row.of_all}
    assert {("pfs_and_strict_valid", 95.0), ("cert_strict_valid", 28.6), ("starttls_offered", 76.0)} <= kept


@pytest.mark.parametrize(
    ("text", "day"), [("2021", "2021-07-01"), ("2014-12", "2014-12-15"), ("2014-08-19", "2014-08-19")]
)
def test_a_date_stands_where_it_is_as_precise_as_it_is_known(text: str, day: str) -> None:
    row = reference.published()[0]
    changed = reference.Published(**{name: getattr(row, name) for name in row.__slots__} | {"date": text})
    assert changed.day.isoformat() == day


def test_the_published_figures_are_found_in_an_installed_package_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "analysis" / "reference" / reference.FILE_NAME
    installed.parent.mkdir(parents=True)
    installed.write_bytes(reference.reference_file().read_bytes())
    monkeypatch.setattr(reference, "_PLACES", (tmp_path / "data" / reference.FILE_NAME, installed))
    assert reference.reference_file() == installed
    installed.unlink()
    with pytest.raises(FileNotFoundError):
        reference.reference_file()


def test_the_downloads_are_those_of_stats(written: Path, tmp_path: Path) -> None:
    document = json.loads((written / "figures.json").read_text("utf-8"))
    assert document["format"] == 1 and document["shares"] and document["distributions"]
    assert (written / "figures.csv").read_text("utf-8").startswith("group,figure,title,")
    assert (written / reference.FILE_NAME).read_text("utf-8") == reference.published_csv()


def test_routes_that_are_unknown_are_grey_and_never_among_the_more(tmp_path: Path) -> None:
    routes = ["null_mx", "no_mail_host", "nxdomain", "invalid", "opted_out", "null_mx_invalid", "explicit", "implicit"]
    errors = ["servfail", "refused", "bogus", "timeout"]
    made = [domain(f"{n}{route}.example".replace("_", ""), route=route) for route in routes for n in range(3)]
    made += [domain(f"{error}.example", route="unknown", dns_error=error) for error in errors]
    write_run(tmp_path, made)
    with Run.open(tmp_path) as run:
        svg = site.pages(compute(run))["charts/routes.svg"]
    assert svg.count(f"fill: {COLOURS['unknown']}") == len(errors)
    assert all(f">unknown ({error})</text>" in svg for error in errors)
    assert " more</text>" not in svg


def test_key_figures_show_the_share_of_the_headline_beside_the_bar_of_everything(written: Path) -> None:
    figure = json.loads((written / "figures.json").read_text("utf-8"))["facebook_2014"]
    svg = (written / "charts" / "steps.svg").read_text("utf-8")
    assert f">{percent(figure['share'])}</text>" in svg and ">share of</text>" in svg


def test_readings_of_a_chart_are_called_so_beside_their_points(written: Path) -> None:
    svg = (written / "charts" / "history.svg").read_text("utf-8")
    assert "≈ 95 %, read off a chart</text>" in svg and ">Facebook 95 %</text>" in svg


def test_a_run_late_in_the_year_stands_at_its_day_and_not_in_the_next_year(written: Path) -> None:
    with Run.open(written.parent / "data") as run:
        svg = history(figures(run), "2026-11-23T12:00:00+00:00").svg
    assert ">2026</text>" in svg and ">2027</text>" not in svg


def test_an_unfinished_run_and_a_laboratory_are_called_what_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "data", [], state="running", configuration={"allow_network": ["127.0.0.0/8"]})
    assert run_report("--data", str(tmp_path / "data"), "--out", str(tmp_path / "site")) == 0
    out, err = capsys.readouterr()
    text = Page((tmp_path / "site" / "index.html").read_text("utf-8")).text
    assert out == f"{tmp_path / 'site' / 'index.html'}\n"
    assert "is not finished" in err
    assert "This run is not finished." in text and "not finished: running" in text
    assert "A laboratory run." in text and "127.0.0.0/8" in text


def test_what_was_another_when_the_run_was_continued_is_told(tmp_path: Path) -> None:
    first = {"starttls-crawler": "0.1.0", "certifi": "1"}
    second = {"starttls-crawler": "0.2.0", "certifi": "1"}
    begun = {"host_name": "one", "public_suffix_list": "2026-01-01", "versions": first}
    resumed = [
        {**begun, "at": "2026-01-01T01:00:00+00:00"},
        {**begun, "at": "2026-01-01T02:00:00+00:00", "versions": second},
        {**begun, "at": "2026-01-01T03:00:00+00:00", "versions": second, "host_name": "<other>"},
    ]
    write_run(tmp_path / "data", [], **begun, resumed_with=resumed)
    with Run.open(tmp_path / "data") as run:
        page = site.publish(compute(run), tmp_path / "site").read_text("utf-8")
    (row,) = re.findall(r"<th scope=\"row\">Changed when resumed</th><td>(.*?)</td>", page)
    assert row == ("2026-01-01T02:00:00+00:00: starttls-crawler 0.2.0, 2026-01-01T03:00:00+00:00: host &lt;other&gt;")


@pytest.mark.parametrize("never", [[], None])
def test_a_run_that_was_never_continued_tells_of_no_versions(never: Any) -> None:
    assert site._changes({"resumed_with": never, "versions": {"python": "3.11"}}) == []


def test_a_clock_that_went_back_costs_no_report(tmp_path: Path) -> None:
    """The run began in the future and ended before it."""
    times = {"started_at": "2100-12-31T23:59:59+00:00", "ended_at": "1999-01-01T00:00:00+00:00"}
    write_run(tmp_path / "data", [], **times)
    with Run.open(tmp_path / "data") as run:
        page = site.publish(compute(run), tmp_path / "site").read_text("utf-8")
    assert "2100-12-31" in page and "1999-01-01" in page


def test_a_weighted_report_says_what_the_weights_met(tmp_path: Path) -> None:
    write_run(tmp_path / "data", rows())
    weights = tmp_path / "weights.csv"
    weights.write_text("domain,messages\nd0.example,900\nd7.example,100\nelsewhere.example,5\n", "utf-8")
    run_report("--data", str(tmp_path / "data"), "--out", str(tmp_path / "site"), "--weights", str(weights))
    words = " ".join(Page((tmp_path / "site" / "index.html").read_text("utf-8")).text.split())
    assert "90.0 % of messages: forward secrecy and strict certificate validation Weighted by message volume." in words
    assert "Of 1,005 messages in the weights file, 1,000 are counted; 5 go to 1 domains" in words


REJUDGED = {
    "trust_anchors": {"source": "/srv/somebody/anchors.pem", "sha256": "ab" * 32},
    "rejudged": [{"intermediates": "known", "judged_for": "2027-06-01T00:00:00+00:00"}],
}


SENTENCE = (
    "Certificates were judged again after the scan, with the trust anchors of anchors.pem and the intermediates that any "
    "host sent, as of 2027-06-01 00:00 UTC."
)


def test_a_run_that_was_judged_again_says_so_wherever_it_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "data", [domain("a.example", "mx.a.example")], **REJUDGED)
    data = str(tmp_path / "data")
    assert run_stats("--data", data) == 0 and SENTENCE in capsys.readouterr().out
    assert run_stats("--data", data, "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["run"]["rejudged"] == SENTENCE
    assert run_report("--data", data, "--out", str(tmp_path / "site")) == 0
    assert SENTENCE in " ".join(Page((tmp_path / "site" / "index.html").read_text()).text.split())


def test_a_run_as_it_was_measured_says_nothing_of_that(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "data", [domain("a.example", "mx.a.example")])
    assert run_stats("--data", str(tmp_path / "data"), "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["run"]["rejudged"] is None


def test_what_is_published_names_no_directory_of_whoever_scanned(tmp_path: Path) -> None:
    listed = {"path": "/srv/somebody/lists/top.csv", "sha256": "cd" * 32, "lines": 3}
    write_run(tmp_path / "data", [domain("a.example", "mx.a.example")], list=listed, **REJUDGED)
    assert run_report("--data", str(tmp_path / "data"), "--out", str(tmp_path / "site")) == 0
    page = (tmp_path / "site" / "index.html").read_text()
    assert "somebody" not in page and "top.csv" in page and "anchors.pem" in page


def test_nested_entries_of_the_manifest_are_told_apart() -> None:
    counts = {"rows": {"domains": 1_200, "hosts": 3}, "outcomes": {"not_offered": 1}}
    assert _text(counts) == "rows: domains 1,200, hosts 3; outcomes: not offered 1"
    assert _text([{"address": "127.0.0.1:53", "trusted": True}]) == "address 127.0.0.1:53, trusted yes"
