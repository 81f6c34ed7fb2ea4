"""Lists of domains: plain and CSV, line by line; any bytes are targets or one line of error."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.lists.formats import MAX_LINE
from crawler.lists.reader import InputError, read_targets, survey
from crawler.model.rows import Target
from tests.kit.lists import targets_of


def named(targets: list[Target]) -> list[tuple[str | None, int | None]]:
    return [(target.domain, target.rank) for target in targets]


def test_a_plain_list_has_names_as_written_and_no_ranks(tmp_path: Path) -> None:
    assert targets_of(tmp_path, "Example.COM.\nmünchen.de\n") == [
        Target("example.com", "Example.COM."),
        Target("xn--mnchen-3ya.de", "münchen.de"),
    ]


def test_comments_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    text = "# a list\n\n  \t\nexample.com  # the first\r\n#example.net\n   example.org"
    assert targets_of(tmp_path, text) == [
        Target("example.com", "example.com"),
        Target("example.org", "example.org"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "1,example.com\n2,example.org\n",
        "1,example.com\r\n2,example.org\r\n",
        "\ufeff1,example.com\n2,example.org",
        "rank,domain\n1,example.com\n2,example.org\n",
        "Domain;Rank\nexample.com;1\nexample.org;2\n",
        "1\texample.com\n2\texample.org\n",
        '"1","example.com"\n"2","example.org"\n',
        "# made today\n\n1, example.com\n2, example.org\n",
        "1,1,example.com,com,1000\n2,2,example.org,org,900\n",
        "GlobalRank,TldRank,Domain,TLD,RefIPs,IDN_Domain\n1,1,example.com,com,2,x\n2,7,example.org,org,2,x\n",
    ],
)
def test_a_csv_with_ranks_is_read_with_and_without_header(tmp_path: Path, text: str) -> None:
    assert named(targets_of(tmp_path, text)) == [("example.com", 1), ("example.org", 2)]


def test_a_header_without_rank_leaves_ranks_null(tmp_path: Path) -> None:
    assert named(targets_of(tmp_path, "domain,messages\nexample.com,17\n")) == [("example.com", None)]
    assert named(targets_of(tmp_path, "domain\nexample.com\n")) == [("example.com", None)]


def test_bad_lines_are_targets_with_a_problem_and_never_fatal(tmp_path: Path) -> None:
    long = b"a" * (3 * MAX_LINE)
    lines = [b"http://example.com/", b"*.example.com", b"caf\xe9.example", b"a\0b.example", long, b"a,b", b"192.0.2.1"]
    got = targets_of(tmp_path, b"example.com\n" * 9 + b"\n".join(lines) + b"\nlast.example")[9:]
    assert [target.domain for target in got] == ["example.com", *[None] * (len(lines) - 1), "last.example"]
    assert [target.problem for target in got] == [
        None,
        "a wildcard, not a domain name",
        "not UTF-8 text",
        "character '\\x00' is not allowed",
        f"longer than {MAX_LINE} bytes",
        "character ',' is not allowed",
        "an IP address, not a domain name",
        None,
    ]
    assert got[2].input == "caf\\xe9.example"
    assert got[4].input == "a" * 1_024


def test_bad_lines_of_a_csv_keep_what_they_say(tmp_path: Path) -> None:
    got = targets_of(
        tmp_path, '1,example.com\nx,example.net\nexample.org\n4\n5,"broken\n99999999999999999999,b.example\n'
    )
    assert named(got) == [
        ("example.com", 1),
        ("example.net", None),
        ("example.org", None),
        (None, None),
        (None, None),
        ("b.example", None),
    ]


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
def test_the_limit_counts_lines_of_the_list(tmp_path: Path, limit: int) -> None:
    got = targets_of(tmp_path, "# head\na.example\n\nbad line\nb.example\nc.example\n", limit)
    assert [target.input for target in got] == ["a.example", "bad line", "b.example", "c.example"][:limit]


@given(st.binary(max_size=4000))
def test_any_bytes_are_targets_or_an_input_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    try:
        survey(path)
    except InputError as error:
        assert "\n" not in str(error)
        return
    for target in read_targets(path):
        assert target.input is not None
        assert (target.domain is None) == (target.problem is not None)


@given(st.lists(st.text(alphabet="ab.,-\"';\t #é", max_size=12)))
def test_any_text_lines_are_targets(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "lines"
    path.write_text("\n".join(["seed.example", *lines]), "utf-8")
    for target in read_targets(path):
        assert (target.domain is None) == (target.problem is not None)
