"""Which form a list has, what is in it, and when it can hardly be meant."""

from pathlib import Path

import pytest

from crawler.lists.reader import survey
from crawler.lists.survey import contents_of
from crawler.model.row_weights import WEIGHTS
from crawler.model.rows import Target
from tests.kit.lists import read_aloud, targets_of


@pytest.mark.parametrize(
    ("text", "names", "column"),
    [
        ("id,company,website\n1,Acme Inc.,www.acme.example\n", ["www.acme.example"], "3 (`website`)"),
        ("name,url\nACME,https://www.acme.example/\n", ["www.acme.example"], "2 (`url`)"),
        ("origin,rank\nhttps://a.example,1000\nhttps://b.example,1000\n", ["a.example", "b.example"], "1 (`origin`)"),
        ("Rank\tSite\n1\ta.example\n2\tb.example\n", ["a.example", "b.example"], "2 (`Site`)"),
        ("name;contact\nAcme;x@acme.example\nFoo;y@foo.example\n", ["acme.example", "foo.example"], "2 (`contact`)"),
        ("Domain,MX\na.example,mx.a.example\nb.example,mx.b.example\n", ["a.example", "b.example"], "1 (`Domain`)"),
        ("1 a.example\n2 b.example\n", ["a.example", "b.example"], "2"),
    ],
)
def test_the_content_of_columns_tells_which_one_has_the_names(
    tmp_path: Path, text: str, names: list[str | None], column: str
) -> None:
    found, contents = read_aloud(tmp_path, text)
    assert found == names
    assert f"names in column {column}" in contents.form
    assert contents.examples == names and contents.why_refused() is None


@pytest.mark.parametrize(
    "text", ["firm,country\nAcme Inc.,Germany!\n", "Acme Inc\nBarbaz Ltd\n", "192.0.2.1\n192.0.2.2\n"]
)
def test_a_list_without_any_name_is_refused(tmp_path: Path, text: str) -> None:
    found, contents = read_aloud(tmp_path, text)
    assert set(found) == {None} and "no line is a domain name" in (contents.why_refused() or "")


@pytest.mark.parametrize("length", [199, 200, 201, 500])
@pytest.mark.parametrize("line", ["n{}.example", "{},n{}.example", "n{}.example,x!,{}"])
def test_no_line_is_lost_where_the_sample_ends(tmp_path: Path, length: int, line: str) -> None:
    """The form is told by the first two hundred lines."""
    text = "".join(line.format(*[number] * line.count("{}")) + "\n" for number in range(length))
    assert [target.domain for target in targets_of(tmp_path, text)] == [
        f"n{number}.example" for number in range(length)
    ]


def test_every_name_of_a_line_counts_where_there_is_nothing_else(tmp_path: Path) -> None:
    found, contents = read_aloud(tmp_path, "a.example, b.example, c.example")
    assert found == ["a.example", "b.example", "c.example"]
    assert contents.form == "several names a line, divided by `,`"
    assert read_aloud(tmp_path, "a.example b.example\nc.example\td.example e.example\n")[0] == [
        "a.example", "b.example", "c.example", "d.example", "e.example",
    ]  # fmt: skip


def test_mail_addresses_and_urls_give_their_hosts_and_are_counted_as_such(tmp_path: Path) -> None:
    text = (
        "anna@a.example\nmailto:b@b.example\n<c@c.example>\n"
        "https://u:p@www.d.example:8443/x?y@z\ne.example/path\nf.example\n"
    )
    found, contents = read_aloud(tmp_path, text)
    assert found == ["a.example", "b.example", "c.example", "www.d.example", "e.example", "f.example"]
    assert (contents.from_mailboxes, contents.from_urls, contents.valid, contents.invalid) == (3, 2, 6, 0)
    assert "6 names (2 from URLs, 3 from mail addresses)" in list(contents.lines())[1]


@pytest.mark.parametrize(
    "text", ["http://x/", "http://192.0.2.1/", "https:///x", "anna@localhost", "a@b@c", "http://[::1]/"]
)
def test_urls_and_mail_addresses_without_a_domain_are_no_names(tmp_path: Path, text: str) -> None:
    assert read_aloud(tmp_path, f"{text}\na.example\n")[0] == [None, "a.example"]


def test_what_is_in_a_list_is_counted_and_shown(tmp_path: Path) -> None:
    _, contents = read_aloud(tmp_path, "a.example\nA.example.\nb.example\nbad name\nc.example\nd.example\n")
    assert (contents.valid, contents.invalid, contents.duplicates, contents.duplicates_estimated) == (5, 1, 1, False)
    assert list(contents.lines()) == [
        "list: one name a line; e.g. a.example, b.example, c.example",
        "list: 5 names, 1 of them duplicates, 1 line that is no name; e.g. 'bad name': character ' ' is not allowed",
    ]
    _, limited = read_aloud(tmp_path, "a.example\nb.example\nbad name\nbad name\nbad name\n", limit=2)
    assert (limited.valid, limited.invalid) == (2, 0)


def test_a_list_that_can_hardly_be_meant_is_refused_with_the_reason(tmp_path: Path) -> None:
    _, contents = read_aloud(tmp_path, "a.example\nAcme!\nFoo!\n")
    assert "2 of 3 lines are no domain names (read as: one name a line; e.g. " in (contents.why_refused() or "")
    assert "--accept-invalid" in (contents.why_refused() or "")
    assert read_aloud(tmp_path, "a.example\nbad!\n")[1].why_refused() is None


def test_duplicates_of_a_long_list_are_estimated_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crawler.lists.survey._EXACTLY", 1_000)
    names = [f"n{number % 40_000}.example" for number in range(60_000)]
    contents = contents_of(lambda told: (Target(name, name) for name in names))
    assert contents.duplicates_estimated and abs(contents.duplicates - 20_000) < 400


def test_opt_outs_that_cover_many_names_are_warned_of() -> None:
    names = [f"n{number}.big.example" for number in range(1_001)] + ["a.small.example"]

    def covering(name: str) -> str:
        return ".".join(name.split(".")[-2:])

    contents = contents_of(lambda told: (Target(name, name) for name in names), covering)
    assert [line for line in contents.lines() if line.startswith("warning")] == [
        "warning: the opt-out of big.example covers 1,001 names of the list"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a.example\n" + "x" * 9_000 + "\n",  # no name
        "a.example\nhttps://b.example/" + "x" * 9_000 + "\n",  # a name from a long URL
        "a.example\n" + "x" * 20_000 + "\n",  # beyond what is read of a line
        "a.example\n" + "\u4e00" * 3_000 + "\n",
        "$ORIGIN com.\n@ SOA a b 1 1 1 1 1\n" + "x" * 9_000 + " NS y\n",
    ],
)
def test_of_a_long_text_the_beginning_is_kept_and_what_is_left_out_is_said(tmp_path: Path, text: str) -> None:
    found = targets_of(tmp_path, text)[-1]
    assert found.input is not None and len(found.input) < 1_100 and len(found.problem or "") < 1_100
    assert found.input.endswith("more characters)") or "longer than 16384 bytes" in str(found.problem)
    assert WEIGHTS[Target](found) >= len(found.input)


@pytest.mark.parametrize(
    ("text", "ranks"),
    [
        ('"1" a.example\n"2" b.example\n', [1, 2]),
        ('1,a.example\n2,b.example\n"""3""",c.example\n', [1, 2, 3]),
        ("1,a.example\n2,b.example\n" + "9" * 5_000 + ",c.example\n", [1, 2, None]),
        ("1,a.example\n2,b.example\n" + "9" * 19 + ",c.example\n", [1, 2, None]),
        ("1,a.example\n2,b.example\n\u0663,c.example\n", [1, 2, None]),
    ],
)
def test_a_rank_is_up_to_eighteen_digits_and_anything_else_is_none(
    tmp_path: Path, text: str, ranks: list[int | None]
) -> None:
    assert [(target.problem, target.rank) for target in targets_of(tmp_path, text)] == [(None, rank) for rank in ranks]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (
            "page,domain\nhttps://a.example/,b.example\nhttps://victim.example/#top,c.example\n",
            ["b.example", "c.example"],
        ),
        ("https://victim.example/#a,b.example\nhttps://victim.example/#b,c.example\n", ["victim.example"] * 4),
        ("id,note,domain\n1,ticket #1,b.example\n2,#2,c.example\n# 3,4,d.example\n", ["b.example", "c.example"]),
        ("#note\nid;domain\n1;b.example\n2;c.example # the second\n", ["b.example", None]),
        ("a.example, b.example # two\nc.example, d.example\n", ["a.example", "b.example", "c.example", "d.example"]),
        ("a.example # with, commas\nb.example # too, here\n", ["a.example", "b.example"]),
        ("a.example#one\nhttps://b.example/#two\n", ["a.example", "b.example"]),
    ],
)
def test_a_hash_is_a_comment_where_no_other_column_can_have_it(
    tmp_path: Path, text: str, names: list[str | None]
) -> None:
    found = [target.domain for target in targets_of(tmp_path, text)]
    if names == ["victim.example"] * 4:  # both columns have names, and none of them is lost
        assert sorted(map(str, found)) == ["b.example", "c.example", "victim.example", "victim.example"]
    else:
        assert found == names


@pytest.mark.parametrize(
    ("text", "limit", "names", "cut"),
    [
        (",".join(f"d{number}.example" for number in range(60)), 5, 5, True),
        ("domain\na.example\nb.example\nc.example\n", 3, 3, False),
        ("domain\na.example\nb.example\nc.example\n", 2, 2, True),
        ("# c\n\na.example\nno name\n", 0, 2, False),
        ("# c\n\na.example\nno name\n", 1, 1, True),
    ],
)
def test_a_survey_counts_the_names_that_are_taken_and_tells_whether_more_come(
    tmp_path: Path, text: str, limit: int, names: int, cut: bool
) -> None:
    (tmp_path / "list").write_text(text)
    facts = survey(tmp_path / "list", limit)
    assert (facts.names, facts.cut) == (names, cut)
    assert (facts.as_dict()["names"], facts.as_dict()["cut"]) == (names, cut)
