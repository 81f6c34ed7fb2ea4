"""Lists of hosts: which lines are understood, what each host is asked, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.lists.hosts import HostLines
from crawler.lists.reader import InputError, read_targets, survey
from crawler.model.rows import Target
from crawler.settings.config import Config
from tests.kit.lists import zipped

IMAP = HostLines.of(Config(protocol=("imap", "imaps")))
SMTP = HostLines.of(Config())
Understood = tuple[str | None, int | None, list[str] | None]


def understood(target: Target) -> Understood:
    return target.domain, target.port, target.services


@pytest.mark.parametrize(
    ("line", "host"),
    [
        ("Mail.Example.ORG.", "mail.example.org"),
        ("münchen.example.de", "xn--mnchen-3ya.example.de"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
    ],
)
def test_a_host_without_a_port_is_asked_every_protocol_of_the_run(line: str, host: str) -> None:
    target = IMAP.target(line)
    assert understood(target) == (host, None, ["imap", "imaps"])
    assert target.input == line and target.problem is None


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("mail.example.org:993", ("mail.example.org", 993, ["imaps"])),
        ("mail.example.org.:25", ("mail.example.org", 25, ["smtp"])),
        ("192.0.2.1:4190", ("192.0.2.1", 4190, ["sieve"])),
        ("[2001:db8::1]:465", ("2001:db8::1", 465, ["submissions"])),
    ],
)
def test_a_port_that_is_registered_says_by_itself_what_is_spoken_there(line: str, found: Understood) -> None:
    assert understood(IMAP.target(line)) == found


def test_any_other_port_is_asked_the_one_protocol_of_the_run() -> None:
    assert understood(SMTP.target("mx.example.org:2525")) == ("mx.example.org", 2525, ["smtp"])


def test_where_the_run_has_several_protocols_a_port_that_is_not_registered_is_a_bad_line() -> None:
    target = IMAP.target("mx.example.org:2525")
    assert understood(target)[0] is None
    assert target.problem and "2525" in target.problem and "--protocol" in target.problem


def test_a_port_of_the_run_comes_before_a_registered_one() -> None:
    lines = HostLines.of(Config(protocol=("imaps",), port={"imaps": 143}))
    assert understood(lines.target("mx.example.org:143")) == ("mx.example.org", 143, ["imaps"])


@pytest.mark.parametrize(
    "line",
    [
        "mail", "mx.example.org:", "mx.example.org:0", "mx.example.org:65536", "mx.example.org:smtp", "mx.example.org:²5",
        "imap://mx.example.org", "a@example.org", "[192.0.2.1]:25", "[2001:db8::1", "2001:db8::1]:25", "fe80::1%eth0",
        "192.0.2.256", "a b.example", "1,mx.example.org", "192.0.2.0/24", ":25", "[]:25",
    ],
)  # fmt: skip
def test_what_is_no_host_is_a_line_with_a_problem_and_keeps_its_text(line: str) -> None:
    target = SMTP.target(line)
    assert target.domain is None and target.problem and target.input == line


@given(st.text(max_size=80))
def test_any_line_is_a_host_with_something_to_ask_or_has_a_problem(line: str) -> None:
    target = IMAP.target(line)
    assert (target.domain is None) is bool(target.problem)
    assert (target.domain is None) is not bool(target.services)
    assert target.port is None or 1 <= target.port <= 65_535


@given(st.ip_addresses(), st.none() | st.integers(1, 65_535))
def test_every_address_is_read_in_the_form_in_which_it_is_written_with_a_port(
    address: object, port: int | None
) -> None:
    written = f"[{address}]" if ":" in str(address) else str(address)
    target = SMTP.target(written if port is None else f"{written}:{port}")
    assert (target.domain, target.port) == (str(address), port)


def test_comments_and_empty_lines_of_a_packed_list_of_hosts_are_skipped_and_the_rest_is_said_aloud(
    tmp_path: Path,
) -> None:
    text = "# hosts\n\nmx.example.org:25 # here\nmx.example.org:25\n192.0.2.1:993\n\nmx.example.net\nno host\n"
    path = tmp_path / "list.zip"
    path.write_bytes(zipped(text.encode()))
    assert [target.domain for target in read_targets(path, hosts=SMTP)] == [
        "mx.example.org", "mx.example.org", "192.0.2.1", "mx.example.net", None,
    ]  # fmt: skip
    contents = survey(path, hosts=SMTP).contents
    assert list(contents.lines()) == [
        "list: one host a line; e.g. mx.example.org:25, 192.0.2.1:993, mx.example.net",
        "list: 4 hosts, 1 of them duplicates, 1 line that is no host; e.g. 'no host': character ' ' is not allowed",
        "list: with a port 3: smtp on port 25 (2), imaps on port 993 (1)",
    ]
    assert contents.as_dict()["with_port"] == 3 and contents.as_dict()["invalid"] == 1


def test_a_list_most_of_whose_lines_are_no_hosts_is_refused_in_words_about_hosts(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("a b\nno host\nmore words\nmx.example.org\n")
    assert "3 of 4 lines are no hosts" in str(survey(path, hosts=SMTP).contents.why_refused())
    path.write_text("\n")
    with pytest.raises(InputError, match="give one host a line"):
        survey(path, hosts=SMTP)
