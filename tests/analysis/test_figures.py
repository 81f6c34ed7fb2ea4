"""Shares, their bounds and weights, groups and signatures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.figures.compute import FACEBOOK, Figure, facebook, figures, figures_by
from analysis.figures.indicators import REGISTRY
from analysis.figures.shares import Distribution, Share
from analysis.figures.units import DOMAINS, MESSAGES
from analysis.figures.weights import load_weights
from analysis.figures.words import percent
from crawler.model.errors import UsageError
from tests.kit.small_runs import KINDS, certificate, domain, host, opened, probe

MIXED = ("strict", "self_signed", "static_rsa", "not_offered", "greeting_timeout", "connection_refused", "sampled_out")


def small_world(kinds: list[list[str]]) -> list[Any]:
    """One domain for each list of kinds, with one primary mail host for each kind."""
    rows: list[Any] = []
    for number, of_domain in enumerate(kinds):
        hosts = [f"mx{i}.d{number}.example" for i in range(len(of_domain))]
        rows.append(domain(f"d{number}.example", *hosts, rank=number + 1))
        for i, (name, kind) in enumerate(zip(hosts, of_domain, strict=True)):
            rows += [host(name, f"10.0.{number}.{i}"), probe(name, f"10.0.{number}.{i}", kind)]
    return rows


def share(made: list[Figure], name: str) -> Share:
    """The share called `indicator.unit.rule`."""
    value = next(figure.value for figure in made if figure.id == name)
    assert isinstance(value, Share)
    return value


def labels(made: list[Figure], name: str) -> dict[str, float]:
    """Counts by label of the distribution called `indicator.unit`."""
    value = next(figure.value for figure in made if figure.id == name)
    assert isinstance(value, Distribution)
    return {row.label: row.count for row in value.table() if row.count}


@given(yes=st.integers(0, 50), no=st.integers(0, 50), unknown=st.integers(0, 50), data=st.data())
def test_the_share_stays_within_its_bounds_however_the_unknown_resolve(
    yes: int, no: int, unknown: int, data: st.DataObject
) -> None:
    turned_yes = data.draw(st.integers(0, unknown))
    never_belonged = data.draw(st.integers(0, unknown - turned_yes))
    now = Share(yes, no, unknown)
    resolved = Share(yes + turned_yes, no + unknown - turned_yes - never_belonged, 0)
    if resolved.share is None or now.lower is None or now.upper is None:
        assert resolved.decided == 0
        return
    assert now.lower - 1e-12 <= resolved.share <= now.upper + 1e-12
    if now.share is not None:
        assert now.lower <= now.share <= now.upper


def test_a_share_of_nothing_decided_is_not_a_number() -> None:
    assert Share(0, 0, 5).share is None
    assert (Share(0, 0, 5).lower, Share(0, 0, 5).upper) == (0.0, 1.0)
    assert Share(0, 0, 0).lower is None
    assert percent(None) == "–"


def test_a_share_is_not_rounded_to_all_or_nothing() -> None:
    assert percent(1.0) == "100.0 %"
    assert percent(0.99999) == ">99.9 %"
    assert percent(0.00001) == "<0.1 %"
    assert percent(0.0) == "0.0 %"


def test_facebooks_figure_is_the_mean_over_the_best_endpoints_that_accept_connections() -> None:
    kinds = [
        ["strict"],  # 1
        ["strict", "static_rsa"],  # 1/2: valid without forward secrecy is half the criterion, which is no
        ["strict", "self_signed", "not_offered", "connection_refused"],  # 1/3: the refused one gets no mail
        ["strict", "greeting_timeout"],  # half yes, half unknown
        ["connection_refused"],  # unknown
    ]
    with opened(*small_world(kinds)) as run:
        headline = facebook(figures(run, only={"facebook_2014.domains.primary"}))
    value = headline.value
    assert isinstance(value, Share)
    assert headline.id == "facebook_2014.domains.primary"
    assert value.yes == pytest.approx(1 + 1 / 2 + 1 / 3 + 1 / 2)
    assert value.no == pytest.approx(1 / 2 + 2 / 3)
    assert value.unknown == pytest.approx(1 / 2 + 1)
    assert value.all == pytest.approx(5)


def test_domains_hosts_and_addresses_are_counted_apart() -> None:
    with opened(
        *(domain(f"d{n}.example", "shared.example") for n in range(9)),
        domain("own.example", "own.example"),
        host("shared.example", "192.0.2.1", "192.0.2.2"),
        host("own.example", "192.0.2.3"),
        probe("shared.example", "192.0.2.1"),
        probe("shared.example", "192.0.2.2"),
        probe("own.example", "192.0.2.3", "not_offered"),
    ) as run:
        made = figures(run)
    assert share(made, "starttls_offered.domains.primary").share == 9 / 10
    assert share(made, "starttls_offered.hosts.any").share == 1 / 2
    assert share(made, "starttls_offered.addresses.any").share == 2 / 3


def test_inferred_units_are_told_from_observed_ones_in_every_share() -> None:
    with opened(
        domain("a.example", "a.example"),
        domain("b.example", "b.example"),
        host("a.example", "192.0.2.1"),
        host("b.example", "192.0.2.1"),
        probe("a.example", "192.0.2.1"),
        probe("b.example", "192.0.2.1", "sampled_out", representative_host="a.example"),
        certificate(),
    ) as run:
        made = figures(run)
    strict = share(made, "strict_validation.domains.primary")
    assert (strict.yes, strict.no, strict.unknown, strict.observed, strict.inferred) == (1, 1, 0, 1, 1)
    assert share(made, "tls_negotiated.hosts.all").inferred == 1
    assert share(made, "tls_negotiated.addresses.any").inferred == 0


def test_each_reason_why_a_certificate_is_not_strictly_valid_is_counted_apart() -> None:
    kinds = ["strict", "self_signed", "untrusted", "wrong_name", "expired", "not_offered", "not_now"]
    rows = small_world([[kind] for kind in kinds])
    both = probe("mx0.d0.example", "10.9.9.9", "expired", name_match=False)
    with opened(*rows, host("x.example"), certificate(), certificate("5e" * 32, self_signed=True)) as run:
        problems = labels(figures(run, only={"certificate_problems.endpoints"}), "certificate_problems.endpoints")
    assert problems == {
        "none: strictly valid": 1,
        "self-signed": 1,
        "untrusted issuer": 1,
        "names another host": 1,
        "outside its dates": 1,
    }
    rows = [domain("d0.example", "mx0.d0.example"), host("mx0.d0.example", "10.9.9.9"), both]
    with opened(*rows, certificate()) as run:
        problems = labels(figures(run, only={"certificate_problems.endpoints"}), "certificate_problems.endpoints")
    assert problems == {"names another host": 1, "outside its dates": 1}


def test_distributions_keep_apart_those_of_whom_it_is_not_known_whether_they_belong() -> None:
    with opened(*small_world([["strict"], ["quantum"], ["static_rsa"], ["not_offered"], ["not_now"]])) as run:
        made = figures(run)
    assert labels(made, "tls_versions.endpoints") == {"TLSv1.3": 2, "TLSv1.2": 1}
    assert labels(made, "groups.endpoints") == {"x25519": 1, "X25519MLKEM768": 1, "static RSA": 1}
    versions = next(figure.value for figure in made if figure.id == "tls_versions.endpoints")
    assert isinstance(versions, Distribution)
    assert (versions.total, versions.unknown, versions.decided) == (4, 1, 3)


def test_where_probes_end_covers_every_endpoint() -> None:
    with opened(*small_world([[kind] for kind in KINDS])) as run:
        ends = labels(figures(run, only={"outcomes.endpoints"}), "outcomes.endpoints")
    assert sum(ends.values()) == len(KINDS)
    assert ends["capabilities not_offered"] == 1
    assert ends["sampled_out"] == 1  # without representative


def test_routes_say_which_domains_have_mail_hosts_without_an_address() -> None:
    with opened(
        domain("a.example", "gone.example"),
        domain("b.example", "mx.example"),
        domain("c.example", route="unknown", dns_error="servfail"),
        host("gone.example"),
        host("mx.example", "192.0.2.1"),
    ) as run:
        routes = labels(figures(run, only={"routes.list"}), "routes.list")
    assert routes == {"explicit": 1, "explicit, no address": 1, "unknown (servfail)": 1}


def weighted(run: Any, directory: Path, text: str | bytes) -> tuple[list[Figure], Any]:
    """Figures weighted by a CSV of this text."""
    path = directory / "weights.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    weights = load_weights(path, run)
    return figures(run, weights), weights


@settings(max_examples=12)
@given(st.lists(st.lists(st.sampled_from(MIXED), min_size=1, max_size=3), min_size=1, max_size=6))
def test_weights_of_one_reproduce_the_unweighted_figure(kinds: list[list[str]]) -> None:
    compute = REGISTRY[FACEBOOK].compute
    with opened(*small_world(kinds)) as run:
        path = run.path / "weights.csv"
        path.write_text("domain,messages\n" + "".join(f"d{n}.example,1\n" for n in range(len(kinds))), "utf-8")
        load_weights(path, run)
        assert compute(MESSAGES.count(run)) == compute(DOMAINS.count(run))


def test_weights_make_shares_of_messages_and_what_matches_nothing_is_shown(tmp_path: Path) -> None:
    rows = small_world([["strict"], ["not_offered"], ["strict"]])
    text = "domain,messages\nd0.example,900\nD1.EXAMPLE.,50\nd1.example,50\nnull.example,7\nelsewhere.example,30.5\n"
    with opened(*rows, domain("null.example", route="null_mx")) as run:
        made, weights = weighted(run, tmp_path, text)
        unweighted = figures(run)
    assert share(made, "facebook_2014.messages.primary") == Share(900, 100, 0, 0)
    assert share(made, "starttls_offered.messages.primary").share == 0.9
    assert share(made, "starttls_offered.domains.primary") == share(unweighted, "starttls_offered.domains.primary")
    assert (weights.domains, weights.messages, weights.counted) == (4, 1037.5, 1000)
    assert (weights.undeliverable, weights.unmatched, weights.unmatched_domains) == (7, 30.5, 1)
    assert weights.domains_without_weight == 1


def test_weights_that_match_nothing_give_no_figure_rather_than_a_wrong_one(tmp_path: Path) -> None:
    with opened(*small_world([["strict"]])) as run:
        made, weights = weighted(run, tmp_path, "domain,messages\nelsewhere.example,5\n")
    value = facebook(made).value
    assert isinstance(value, Share)
    assert (value.share, value.all, weights.unmatched) == (None, 0, 5)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "header"),
        ("name,count\na.example,1\n", "header"),
        ("domain,messages\na.example\n", ":2: .*second column"),
        ("domain,messages\na.example,1\nb.example,many\n", ":3: .*number of messages"),
        ("domain,messages\na.example,-1\n", ":2: .*number of messages"),
        ("domain,messages\na.example,nan\n", ":2: .*number of messages"),
        ("domain,messages\na.example,inf\n", ":2: .*number of messages"),
        ("domain,messages\nnot a name,1\n", ":2: .*not a domain name"),
        (b"domain,messages\n\xff\xfe\x00,1\n", "not CSV text"),
        (b"domain,messages\n\x00,1\n", "not"),
    ],
)
def test_a_bad_weights_file_is_refused_with_file_line_and_reason(
    tmp_path: Path, text: str | bytes, reason: str
) -> None:
    with (
        opened(*small_world([["strict"]])) as run,
        pytest.raises(UsageError, match=rf"weights\.csv.*{reason}") as error,
    ):
        weighted(run, tmp_path, text)
    assert "\n" not in str(error.value)


def test_a_weights_file_that_is_not_there_or_a_directory_is_refused(tmp_path: Path) -> None:
    with opened() as run:
        for path in (tmp_path / "none.csv", tmp_path):
            with pytest.raises(UsageError, match="cannot be read"):
                load_weights(path, run)


@pytest.mark.parametrize(
    ("by", "truth"),
    [
        ("tld", {"example": 2, "co.uk": 1, "(none)": 1}),
        ("provider", {"big.example": 2, "own.co.uk": 1, "(none)": 1}),
        ("rank", {"1 to 100": 2, "1,001 to 10,000": 1, "(none)": 1}),
    ],
)
def test_groups_divide_the_domains(by: str, truth: dict[str, int]) -> None:
    with opened(
        domain("a.example", "mx1.big.example", rank=1),
        domain("b.example", ("mx2.big.example", 10), ("mx.own.co.uk", 20), rank=100),
        domain("own.co.uk", "mx.own.co.uk", rank=5000),
        domain("lost.example", route="unknown", public_suffix=None),
        *(host(name, "192.0.2.1") for name in ("mx1.big.example", "mx2.big.example", "mx.own.co.uk")),
    ) as run:
        made = figures_by(run, by, smallest=1)
    sizes = {figure.group: figure.value.all for figure in made if isinstance(figure.value, Share)}
    assert sizes == truth


def test_small_groups_are_one_group_so_that_output_stays_bounded() -> None:
    rows = [domain(f"{n}.s{n % 7}.example", "mx.example", public_suffix=f"s{n % 7}.example") for n in range(20)]
    with opened(*rows, host("mx.example", "192.0.2.1")) as run:
        made = figures_by(run, "tld", largest=2, smallest=1)
    assert {figure.group: figure.value.all for figure in made if isinstance(figure.value, Share)} == {
        "s0.example": 3,
        "s1.example": 3,
        "(others)": 14,
    }
    assert made[-1].group == "(others)"


def test_every_figure_has_words_a_population_and_a_signature_of_its_own() -> None:
    with opened(*small_world([["strict"]])) as run:
        made = figures(run)
    assert {figure.indicator.name for figure in made} == {one.name for one in REGISTRY.values() if not one.on_request}
    assert all(figure.indicator.title and figure.indicator.words and figure.population for figure in made)
    assert len({figure.id for figure in made}) == len({figure.signature for figure in made}) == len(made)
    signature = facebook(made).signature
    assert signature.startswith(f"{FACEBOOK}|run:20260101T000000Z|list:abababababab|state:finished|protocol:smtp|")
    assert "|unit:domains|rule:primary|all:1|yes:1|no:0|unknown:0|inferred:0|measured:0.1.0|counted:" in signature


def test_one_figure_asked_for_is_one_figure_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(
        domain("a.example", "mx.example"), host("mx.example", "192.0.2.1"), probe("mx.example", "192.0.2.1")
    ) as run:
        whole = {figure.id: figure for figure in figures(run)}
        asked: list[str] = []
        genuine = type(run).frame
        monkeypatch.setattr(type(run), "frame", lambda self, sql, *more: asked.append(sql) or genuine(self, sql, *more))
        (one,) = figures(run, only={"tls_negotiated.hosts.all"})
    assert len(asked) == 1
    assert (one.value, one.signature) == (
        whole["tls_negotiated.hosts.all"].value,
        whole["tls_negotiated.hosts.all"].signature,
    )
