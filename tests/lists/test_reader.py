"""Every form of list gives the same targets, and no line is fatal."""

import gzip
import io
import lzma
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dns.zone
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from crawler.lists.formats import MAX_LINE
from crawler.lists.reader import InputError, comes_once, read_targets, spool, survey
from crawler.lists.survey import ListContents, contents_of
from crawler.model.row_weights import WEIGHTS
from crawler.model.rows import Target


def targets_of(tmp_path: Path, content: bytes | str, limit: int = 0) -> list[Target]:
    path = tmp_path / "list"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_targets(path, limit))


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


def zipped(data: bytes, names: tuple[str, ...] = ("top-1m.csv",)) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, data)
    return out.getvalue()


def two_frames(data: bytes) -> bytes:
    return zstandard.compress(data[:100]) + zstandard.compress(data[100:])


PACKERS = [gzip.compress, lzma.compress, zstandard.compress, two_frames, zipped]
LIST = "".join(f"{n},name{n * n}.example\n" for n in range(1, 3001)).encode()


@pytest.mark.parametrize("pack", PACKERS)
def test_a_packed_list_is_known_by_its_first_bytes(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    plain = targets_of(tmp_path, LIST)
    assert targets_of(tmp_path, pack(LIST)) == plain
    assert survey(tmp_path / "list").lines == 3000


@pytest.mark.parametrize("pack", PACKERS)
def test_a_damaged_packed_list_is_refused_with_one_line(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(LIST)
    path = tmp_path / "list"
    for damaged in (packed[: len(packed) // 2], packed[:12], packed[:-5]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged") as caught:
            survey(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"# nothing\n\n   \n", "empty"),
        (b"rank,domain\n", "empty"),
        (gzip.compress(b"", mtime=0), "empty"),
        (bytes(range(256)) * 40, "binary"),
        (b"\x7fELF" + bytes(100), "binary"),
        (b"PAR1\x15\x04\x15\x10\x15\x14", "damaged Parquet file"),
        ("example.com\n".encode("utf-16"), "binary"),
        (gzip.compress(bytes(1000), mtime=0), "binary"),
        (zipped(b"a.example", ("one.csv", "two.csv")), "2 files"),
    ],
)
def test_what_is_no_list_is_refused_with_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "list"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        survey(path)
    assert "\n" not in str(caught.value)


def test_a_missing_list_a_directory_and_a_device_are_refused(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none", "No such file"), (tmp_path, "directory"), (Path("/dev/zero"), "regular")):
        with pytest.raises(InputError, match=words):
            survey(path)


def test_the_survey_tells_one_list_from_another(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(b"a.example\nb.example")
    first = survey(path)
    assert (first.size, first.lines) == (19, 2)
    path.write_bytes(b"a.example\nc.example")
    assert survey(path).sha256 != first.sha256


def test_a_list_that_comes_once_is_spooled(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert comes_once(fifo)
    spool(io.BytesIO(b"a.example\n"), tmp_path / "spooled")
    assert not comes_once(tmp_path / "spooled")
    assert survey(tmp_path / "spooled").lines == 1
    spool(io.BytesIO(gzip.compress(b"a.example\n")), tmp_path / "packed")
    assert survey(tmp_path / "packed").lines == 1
    with pytest.raises(InputError, match="binary"):
        spool(io.BytesIO(bytes(5000)), tmp_path / "junk")
    assert (tmp_path / "junk").stat().st_size == 0


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


# --- zone files -------------------------------------------------------------------------------------

ZONE = """\
example.\t900\tin\tsoa\tns1.nic.example. hostmaster.nic.example. 1 1800 900 604800 86400
example.\t86400\tin\tns\tns1.nic.example.
0--0.example.\t172800\tin\tns\tns1.host.test.
0--0.example.\t172800\tin\tns\tns2.host.test.
0--0.example.\t86400\tin\tds\t1 13 2 abcdef
ns.0--1.example.\t172800\tin\ta\t192.0.2.1
0--1.example.\t172800\tin\tns\tns.0--1.example.
shop.co.example.\t172800\tin\tns\tns1.host.test.
spf.example.\t900\tin\ttxt\t"a # is no comment here"
#.example.\t900\tin\tds\t1 13 2 abcdef
what is this
xn--bcher-kva.example.\t172800\tin\tns\tns1.host.test.
example.\t900\tin\tsoa\tns1.nic.example. hostmaster.nic.example. 1 1800 900 604800 86400
"""


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress])
def test_of_a_zone_file_the_delegated_names_are_taken_once_each(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "example.zone"
    path.write_bytes(pack(ZONE.encode()))
    assert [(target.domain, target.problem) for target in read_targets(path)] == [
        ("0--0.example", None),
        ("0--1.example", None),
        ("shop.co.example", None),
        (None, "not a record of a zone file"),
        ("xn--bcher-kva.example", None),
    ]
    assert survey(path).lines == 13
    assert [target.domain for target in read_targets(path, 2)] == ["0--0.example", "0--1.example"]


def test_a_zone_in_capitals_is_a_zone_too(tmp_path: Path) -> None:
    path = tmp_path / "example.zone"
    path.write_text("example.\t900\tIN\tSOA\tns. h. 1 1 1 1 1\na.example.\t900\tIN\tNS\tns.host.test.\n")
    assert [target.domain for target in read_targets(path)] == ["a.example"]


def test_a_zone_without_delegations_is_an_empty_list(tmp_path: Path) -> None:
    path = tmp_path / "example.zone"
    path.write_text("example.\t900\tin\tsoa\tns. h. 1 1 1 1 1\n")
    with pytest.raises(InputError, match="the list is empty"):
        survey(path)


# --- Parquet ----------------------------------------------------------------------------------------


def stored(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("columns", "ranks"),
    [
        ({"domain": ["a.test", "B.test.", None, " ", "not a name"]}, [None] * 3),
        ({"x": ["?"] * 5, "Rank": [1, 2, 3, 4, 5], "Domain": ["a.test", "b.test", None, "", "not a name"]}, [1, 2, 5]),
        ({"only_text": pa.array(["a.test", "b.test", "not a name"]).dictionary_encode(), "n": [7, 8, 9]}, [None] * 3),
        ({"host": pa.array(["a.test", "b.test", "not a name"], pa.large_string()), "position": [7, 8, 9]}, [7, 8, 9]),
        ({"domain": ["a.test", "b.test", "not a name"], "rank": pa.array([2**63, 0, 5], pa.uint64())}, [None, 0, 5]),
    ],
)
def test_a_parquet_file_is_a_list(tmp_path: Path, columns: dict[str, Any], ranks: list[int | None]) -> None:
    path = stored(tmp_path / "list.parquet", **columns)
    targets = list(read_targets(path))
    assert [target.domain for target in targets] == ["a.test", "b.test", None]
    assert [target.rank for target in targets] == ranks
    assert targets[2].problem and targets[2].input == "not a name"
    assert survey(path).lines == len(next(iter(columns.values())))
    assert len(list(read_targets(path, 2))) == 2


def test_a_cell_that_is_no_text_or_too_long_is_a_target_with_a_problem(tmp_path: Path) -> None:
    cells = pa.array([b"a.test", b"\xff\xfe", b"x" * 5_000_000], pa.binary()).view(pa.string())
    first, second, third = read_targets(stored(tmp_path / "list.parquet", domain=cells, rank=[1, 2, 3]))
    assert (first.domain, second.problem, second.rank) == ("a.test", "not UTF-8 text", 2)
    assert third.problem == f"longer than {MAX_LINE} bytes" and len(third.input or "") <= 1_024


def test_an_archive_that_cannot_be_unpacked_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "list.zip"
    content = bytearray(zipped(b"a.example\n"))
    for begin, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flag that says: with a password
        content[content.index(begin) + at] |= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be unpacked") as error:
        survey(path)
    assert "\n" not in str(error.value)


def test_a_parquet_file_that_does_not_say_which_column_has_the_names_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path / "list.parquet", a=["a.test"], b=["b.test"])
    with pytest.raises(
        InputError, match=r"which column has the names\? it has the text columns a, b; call one `domain`"
    ):
        survey(path)
    with pytest.raises(InputError, match=r"text columns \(none\)"):
        survey(stored(tmp_path / "numbers.parquet", a=[1]))


@pytest.mark.parametrize("keep", [4, 40, -9])
def test_a_damaged_parquet_file_is_refused_with_one_line(tmp_path: Path, keep: int) -> None:
    path = stored(tmp_path / "list.parquet", domain=["a.test"] * 100)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="damaged Parquet file") as error:
        survey(path)
    assert "\n" not in str(error.value)


def test_a_parquet_file_from_standard_input_is_spooled(tmp_path: Path) -> None:
    path = stored(tmp_path / "list.parquet", domain=["a.test"])
    with path.open("rb") as stream:
        spool(stream, tmp_path / "kept")
    assert [target.domain for target in read_targets(tmp_path / "kept")] == ["a.test"]


# --- the form of a list ------------------------------------------------------------------------------


def read_aloud(tmp_path: Path, content: bytes | str, limit: int = 0) -> tuple[list[str | None], ListContents]:
    """The names of a list, and what is said of it."""
    targets = targets_of(tmp_path, content, limit)
    return [target.domain for target in targets], survey(tmp_path / "list", limit).contents


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


MIXED = """\
example.\t3600\tin\tsoa\tns1.nic.example. h.nic.example. 1 1 1 1 1
a.example.\t3600\tin\tns\tns1.host.test.
b.example. 3600 in ns ns1.host.test.
"""
ROOT_ZONE = """\
.\t\t\t86400\tIN\tSOA\ta.ns.test. hostmaster.ns.test. 2026112600 1800 900 604800 86400
.\t\t\t518400\tIN\tNS\ta.ns.test.
.\t\t\t86400\tIN\tNSEC\talpha. NS SOA RRSIG NSEC DNSKEY
alpha.\t\t\t172800\tIN\tNS\tns1.nic.alpha.
alpha.\t\t\t86400\tIN\tDS\t1 8 2 ABCDEF
ns1.nic.alpha.\t\t172800\tIN\tA\t127.40.0.7
beta.\t\t\t172800\tIN\tNS\tns1.nic.alpha.
"""
BY_HAND = """\
; the zone of a hobbyist
$TTL 1h
$ORIGIN example.
@ IN SOA ns.example. hostmaster.example. ( 2026 ; serial
        1h 15m
        4w 1h )
        NS ns
        IN 1h NS ns2.other.test.
sub     NS ns.sub
ns.sub  A 192.0.2.1
text    TXT "a ; b ( c" "NS"
        NS ns1.host.test.
far.example. 300 NS ns1.host.test.
$ORIGIN deep.example.
x 1h30m IN NS (
    ns1.host.test. )
outside.test. NS ns1.host.test.
$INCLUDE other.zone
"""


@pytest.mark.parametrize(
    ("text", "names", "form"),
    [
        (MIXED, ["a.example", "b.example"], "zone file of example"),
        (ROOT_ZONE, ["alpha", "beta"], "zone file of the root"),
        (BY_HAND, ["sub.example", "text.example", "far.example", "x.deep.example", None, None], "zone file of example"),
    ],
)
def test_a_zone_in_any_white_space_gives_its_delegations_and_no_glue(
    tmp_path: Path, text: str, names: list[str | None], form: str
) -> None:
    found, contents = read_aloud(tmp_path, text)
    assert found == names and contents.form.startswith(form)


OWNERS = st.sampled_from(["", "a", "b", "a.b", "c.example.", "A"])
BLANKS = st.sampled_from([" ", "\t", "   ", "\t\t"])
RECORDS = st.tuples(
    OWNERS, BLANKS, st.sampled_from(["", "60", "1h"]), st.sampled_from(["", "IN"]),
    st.sampled_from(["NS ns.test.", f"DS 1 8 2 {'AB' * 32}", "A 192.0.2.1"]),
)  # fmt: skip


@given(st.lists(RECORDS, max_size=12))
def test_a_zone_is_read_as_dnspython_reads_it(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[str, str, str, str, str]]
) -> None:
    """Owners left out, relative or absolute, in any white space; the library is the oracle."""
    lines = ["$ORIGIN example.", "@ 60 IN SOA ns h 1 1 1 1 1", "@ 60 IN NS ns.test."]
    for owner, blank, ttl, in_class, record in records:
        lines.append(blank.join([owner, *filter(None, [ttl, in_class, record])]))
    text = "\n".join(lines) + "\n"
    zone = dns.zone.from_text(text, check_origin=False, relativize=False)
    owners = {name for name, _ in zone.iterate_rdatasets("NS") if name != zone.origin}
    path = tmp_path_factory.getbasetemp() / "zone"
    path.write_text(text)
    assert {target.domain for target in read_targets(path)} == {n.to_text(True).lower() for n in owners}


def test_a_parquet_list_is_told_by_the_content_of_its_columns_too(tmp_path: Path) -> None:
    path = stored(tmp_path / "list.parquet", name=["Acme Inc.", "Foo"], site=["https://a.example/", "b.example"])
    assert [target.domain for target in read_targets(path)] == ["a.example", "b.example"]
    assert survey(path).contents.form == "Parquet, names in column `site`"


@pytest.mark.parametrize("lines", [1_000, 4_000])
def test_origins_that_complete_each_other_do_not_grow_beyond_a_name(tmp_path: Path, lines: int) -> None:
    head = "$ORIGIN com.\n@ SOA a b 1 1 1 1 1\nx NS y\n"
    found = targets_of(tmp_path, head + "$ORIGIN abc\n" * lines + "x NS y\n NS z\nz.net. NS y\n$ORIGIN com.\ny NS y\n")
    assert [target.domain for target in found if target.domain] == ["x.com", "y.com"]
    assert sum(len(target.input or "") for target in found) < 20 * (lines + 10)
    assert any("longer than 255" in str(target.problem) for target in found)
    assert [(t.input, t.problem) for t in found if t.input and "NS" in t.input] == [
        ("x NS y", "below an $ORIGIN that is longer than 255 characters"),
        ("NS z", "of an owner that is longer than 255 characters"),
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


def test_a_rank_of_parquet_that_cannot_be_stored_is_none_for_bad_names_too(tmp_path: Path) -> None:
    ranks = pa.array([2**64 - 1, 2**64 - 1, 7], pa.uint64())
    path = stored(tmp_path / "list.parquet", domain=["x" * 20_000, "a.example", "b.example"], rank=ranks)
    assert [target.rank for target in read_targets(path)] == [None, None, 7]


def test_parquet_columns_of_one_name_or_of_no_text_are_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    pq.write_table(pa.table([pa.array(["a.example"]), pa.array(["b.example"])], names=["domain", "domain"]), path)
    with pytest.raises(InputError, match="several columns `domain`"):
        survey(path)
    pq.write_table(pa.table({"domainXY": ["a.example"]}), path)
    path.write_bytes(path.read_bytes().replace(b"domainXY", b"domain\xff\xfe"))
    with pytest.raises(InputError, match="columns is not UTF-8"):
        survey(path)


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
