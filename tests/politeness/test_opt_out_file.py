"""The file of opt-outs, read strictly and generously."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.model.errors import ConfigError
from crawler.model.rows import Outcome
from crawler.politeness.exclusions import Exclusions
from crawler.settings.config import Config
from tests.kit.opt_outs import opted


@pytest.mark.parametrize(
    "line",
    [
        "a.example",
        "a.example,2026-03-01,asked",
        "a.example;2026-03-01",
        "a.example\t2026-03-01\tasked by postmaster",
        "@a.example",
        "user@a.example",
        "postmaster@a.example, 2026-03-01",
        "*.a.example",
        ".a.example.",
        "A.Example.",
        "https://www@a.example:8443/contact?x=y  asked",
        '"a.example","2026-03-01","asked"',
        "a.example # asked",
        "a.example 01.03.2026 asked",
        "a.example  see our reply of 2026-03-01.",
        "a.example asked by x@y.example and z@y.example",
        "a.example - asked by b.example",
        "a.example 2026-03-01, the owner of b.example wrote to us",
        "a.example - i.e. all hosts, see above",
        "a.example and all below it, 1.3.2026",
        "a.example - 01.03.2026",
    ],
)
def test_an_entry_is_taken_as_people_write_it(tmp_path: Path, line: str) -> None:
    guard = opted(tmp_path, f"{line}\n")
    assert guard.opt_outs.names == {"a.example"}
    assert guard.domain("mx.a.example") and not guard.domain("b.example")


def test_names_of_any_script_byte_order_marks_and_line_ends_of_windows_are_read(tmp_path: Path) -> None:
    guard = opted(
        tmp_path, "\ufeffb\u00fccher.example,2026-03-01\r\n\r\n# more\r\n\u4f8b\u3048.\u30c6\u30b9\u30c8\r\n".encode()
    )
    assert guard.domain("xn--bcher-kva.example") and guard.domain("xn--r8jz45g.xn--zckzah")
    assert len(guard.opt_outs.names) == 2


@pytest.mark.parametrize(
    ("line", "inside", "outside"),
    [
        ("127.0.0.0-127.255.255.255", "127.9.9.9", "10.0.0.1"),
        ("127.0.0.5 - 127.0.0.9  2026-03-01", "127.0.0.9", "127.0.0.10"),
        ("127.0.0.5\u2013127.0.0.9", "127.0.0.5", "127.0.0.4"),
        ("127.0.0.0/30,2026-03-01,asked", "127.0.0.3", "127.0.0.4"),
        ("127.0.0.7/24", "127.0.0.1", "127.0.1.1"),
        ("127.0.0.7;asked", "127.0.0.7", "127.0.0.8"),
        ("127.0.0.0 /24 asked", "127.0.0.9", "127.0.1.1"),
        ("127.0.0.0/ 24, asked", "127.0.0.9", "127.0.1.1"),
        ("127.0.0.5 to 127.0.0.9", "127.0.0.9", "127.0.0.10"),
        ("127.0.0.5..127.0.0.9", "127.0.0.9", "127.0.0.10"),
        ("127.0.0.5 \u2014 127.0.0.9;asked", "127.0.0.9", "127.0.0.10"),
        ("127.0.0.7 / asked", "127.0.0.7", "127.0.0.8"),
        ("127.0.0.7 - asked", "127.0.0.7", "127.0.0.8"),
        ("127.0.0.7 - 2026-03-01 asked", "127.0.0.7", "127.0.0.8"),
        ("127.0.0.7 - 1.3.2026", "127.0.0.7", "127.0.0.8"),
        ("127.0.0.7 to be left out", "127.0.0.7", "127.0.0.8"),
        ("::ffff:127.0.0.7", "127.0.0.7", "127.0.0.8"),
        ("::ffff:127.0.0.0/120", "127.0.0.7", "127.0.1.7"),
        ("::ffff:127.0.0.5 - ::ffff:127.0.0.9", "127.0.0.9", "127.0.0.10"),
    ],
)
def test_addresses_networks_and_ranges_opt_out(tmp_path: Path, line: str, inside: str, outside: str) -> None:
    guard = opted(tmp_path, f"{line}\n")
    assert guard.address(inside) is Outcome.OPTED_OUT and guard.address(outside) is None
    assert (guard.opt_outs.entries, guard.opt_outs.names) == (1, frozenset())


def test_ranges_of_ipv6_and_brackets(tmp_path: Path) -> None:
    guard = opted(
        tmp_path, "2606::1-2606::ff\n[2a00::1] asked\n[2a01::]/32\n[2a02::]/ 32;asked\n[2a03::1] - [2a03::9]\n"
    )
    for inside in ("2606::80", "2a00::1", "2a01::9", "2a02::9", "2a03::5"):
        assert guard.address(inside) is Outcome.OPTED_OUT, inside
    assert guard.address("2606::100") is guard.address("2a03::a") is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", "'nonsense' is no domain"),
        ("org", "'org' is no domain"),
        (",a.example", "begins with no domain"),
        ("AS64500", "'AS64500' is no domain"),
        ("a.example and b.example", "'b.example' is joined to the entry"),
        ("a.example & b.example", "'b.example' is joined"),
        ("a.example &b.example", "'b.example' is joined"),
        ("a.example / b.example", "'b.example' is joined"),
        ("a.example + b.example", "'b.example' is joined"),
        ("a.example | b.example", "'b.example' is joined"),
        ("a.example - b.example", "'b.example' is joined"),
        ("a.example, and b.example.", "'b.example.' is joined"),
        ("a.example and/or b.example", "'b.example' is joined"),
        ("a.example (and b.example)", "'b.example' is joined"),
        ("a.example, all of it, and also 127.0.0.9", "'127.0.0.9' is joined"),
        ("a.example und b.com", "'b.com' is joined"),
        ("127.0.0.1 through 127.0.0.9", "give one entry a line, a range of addresses as FIRST-LAST"),
        ("127.0.0.1 up to 127.0.0.9", "'127.0.0.9' is joined"),
        ("127.0.0.1 bis 127.0.0.9", "'127.0.0.9' is joined"),
        ("127.0.0.1 -> 127.0.0.9", "'127.0.0.9' is joined"),
        ("127.0.0.1 ~ 127.0.0.9", "'127.0.0.9' is joined"),
        ("127.0.0.1 : 127.0.0.9", "'127.0.0.9' is joined"),
        ("127.0.0.0 mask 255.255.255.0", "'255.255.255.0' is joined"),
        ("2606::1 ~ 2606::9", "'2606::9' is joined"),
        ("2606::1 until ::9", "'::9' is joined"),
        ("a_b.example!", "is no domain"),
        ("127.0.0.9-127.0.0.1", "does not end after it begins"),
        ("127.0.0.1-2606::1", "does not end after it begins"),
        ("127.0.0.1-300.0.0.1", "is no range"),
        ("127.0.0.0/40", "is no domain"),
        ("127.0.0.0 /40", "is no domain"),
        ("127.0.0.1 - 9", "is no range"),
        ("fe80::1%eth0", "is no domain"),
        ("127.0.0.1-x", "is no domain"),
        ("127.0.0.1-x9", "is no range"),
        ("a.example.7b", "is no domain"),
        ("127.0.0.1-127.0.0.9 b.example", "'b.example' is a second entry"),
        ("a.example, b.example, c.example", "'b.example' is a second entry"),
        ("a.example 127.0.0.1", "'127.0.0.1' is a second entry"),
        ("127.0.0.1 127.0.0.2", "'127.0.0.2' is a second entry"),
    ],
)
def test_a_line_that_cannot_be_an_opt_out_is_an_error_with_its_number(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        opted(tmp_path, f"# asked\ngood.example\n{line}\n{line}\n")
    assert "opt-outs.txt:3: " in str(raised.value) and said in str(raised.value)
    assert "1 more such lines" in str(raised.value)


@given(st.text(max_size=60))
def test_any_line_is_an_opt_out_or_an_error(line: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        try:
            found = opted(Path(name), line.encode("utf-8", "surrogatepass")).opt_outs
        except ConfigError:
            return
    has_entry = any(part.partition("#")[0].strip() for part in line.removeprefix("\ufeff").splitlines())
    assert bool(found.names or found.networks) is has_entry


@pytest.mark.parametrize("line", ["cafe.de - 2026", "cafe.de / 24 mails", "cafe.de to bad.de later"])
def test_a_name_of_hexadecimal_letters_is_a_name(tmp_path: Path, line: str) -> None:
    assert opted(tmp_path, line).opt_outs.names == {"cafe.de"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a.example, anna@b.example", "'anna@b.example' is taken for a note"),
        ("co.uk", "below the public suffix co.uk"),
        ("0.0.0.0/0", "0.0.0.0/0 opts out one in 1 of all IPv4 addresses"),
        ("8.0.0.0-11.255.255.255", "8.0.0.0-11.255.255.255 opts out one in 64 of all IPv4 addresses"),
        ("2000::/3", "2000::/3 opts out one in 8 of all IPv6 addresses"),
    ],
)
def test_an_entry_that_says_more_or_less_than_was_probably_meant_is_taken_with_a_warning(
    tmp_path: Path, line: str, said: str
) -> None:
    (warning,) = opted(tmp_path, f"{line}\n").opt_outs.warnings
    assert said in warning and "opt-outs.txt:1: " in warning


@pytest.mark.parametrize(
    "line", ["a.example anna@a.example", "127.0.0.0/8", "2a00::/16", "a.example 2026 anna@b.example"]
)
def test_what_is_plain_is_taken_without_one(tmp_path: Path, line: str) -> None:
    assert opted(tmp_path, f"{line}\n").opt_outs.warnings == ()


def test_what_was_read_is_said_with_what_is_odd_about_it(tmp_path: Path) -> None:
    guard = opted(
        tmp_path, "a.example\nb.example\n127.0.0.1-127.0.0.2\nanna@gmail.com\nanna@firm.example\npostmaster@c.example\n"
    )
    first, *others = guard.opt_outs.lines()
    digest = hashlib.sha256((tmp_path / "opt-outs.txt").read_bytes()).hexdigest()
    assert first == f"opt-outs: 5 domains, 1 network, from {tmp_path / 'opt-outs.txt'}, sha256 {digest[:12]}…"
    assert [line.split(": ")[1].rpartition(":")[2] for line in others] == ["4", "5"]
    assert "gmail.com is where strangers" in others[0] and "all of firm.example" in others[1]
    assert guard.opt_outs.as_dict() == {
        "path": str(tmp_path / "opt-outs.txt"), "sha256": digest, "domains": 5, "networks": 1,
    }  # fmt: skip
    assert list(Exclusions(Config()).opt_outs.lines()) == [] and Exclusions(Config()).opt_outs.as_dict() is None
